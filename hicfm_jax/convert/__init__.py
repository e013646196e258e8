"""Files of the original HiCFoundation, read and written."""

from hicfm_jax.checkpoints.weights import Report, Weights
from hicfm_jax.convert.export import export
from hicfm_jax.convert.files import is_original_file
from hicfm_jax.convert.load import convert_to_folder, load_original, load_torch_checkpoint

__all__ = [
    "Report",
    "Weights",
    "convert_to_folder",
    "export",
    "is_original_file",
    "load_original",
    "load_torch_checkpoint",
]
