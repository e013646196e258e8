"""How close contact maps are to a deeper one: scores, baselines, pictures and a report."""

from hicfm_jax.evaluate.compare import compare
from hicfm_jax.evaluate.comparison import Comparison
from hicfm_jax.evaluate.report.write_report import write_report

__all__ = ["Comparison", "compare", "write_report"]
