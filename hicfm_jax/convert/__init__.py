"""Checkpoints of this project and of the original HiCFoundation: loading and conversion."""

from hicfm_jax.checkpoints.weights import Report, Weights
from hicfm_jax.convert.export import export
from hicfm_jax.convert.files import is_original_file
from hicfm_jax.convert.load import convert_to_folder, load_torch_checkpoint, load_weights

__all__ = [
    "Report",
    "Weights",
    "convert_to_folder",
    "export",
    "is_original_file",
    "load_torch_checkpoint",
    "load_weights",
]
