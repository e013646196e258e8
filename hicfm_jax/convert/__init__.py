"""Checkpoints of the original HiCFoundation <-> parameters of ours."""

from hicfm_jax.convert.export import export
from hicfm_jax.convert.load import Weights, load_torch_checkpoint, load_weights
from hicfm_jax.convert.report import Report
from hicfm_jax.convert.to_folder import convert_to_folder

__all__ = ["Report", "Weights", "convert_to_folder", "export", "load_torch_checkpoint", "load_weights"]
