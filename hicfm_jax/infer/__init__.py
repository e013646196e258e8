"""Trained networks over whole maps."""

from hicfm_jax.infer.features import embed
from hicfm_jax.infer.network import Network, load_network
from hicfm_jax.infer.replicate_scores import compare_replicates
from hicfm_jax.infer.tasks import infer_file
from hicfm_jax.infer.tasks.embedding import embed_map
from hicfm_jax.infer.tasks.epigenome import predict_tracks as tracks
from hicfm_jax.infer.tasks.loops import find_loops as loops
from hicfm_jax.infer.tasks.reconstruction import reconstruct
from hicfm_jax.infer.tasks.reproducibility import reproducibility
from hicfm_jax.infer.tasks.resolution import enhance
from hicfm_jax.infer.tasks.single_cell import single_cell

__all__ = [
    "Network",
    "compare_replicates",
    "embed",
    "embed_map",
    "enhance",
    "infer_file",
    "load_network",
    "loops",
    "reconstruct",
    "reproducibility",
    "single_cell",
    "tracks",
]
