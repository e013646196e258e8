"""Comparison of contact maps with a deeper one: scores, baselines, reports."""

from hicfm_jax.evaluate.compare import compare
from hicfm_jax.evaluate.comparison import Comparison
from hicfm_jax.evaluate.loop_comparison import evaluate_loops, score_loops
from hicfm_jax.evaluate.report import write_report

__all__ = ["Comparison", "compare", "evaluate_loops", "score_loops", "write_report"]
