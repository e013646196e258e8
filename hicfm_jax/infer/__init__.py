"""Trained networks over whole maps."""

from hicfm_jax.infer.network import Network, load_network
from hicfm_jax.infer.tasks import infer_file
from hicfm_jax.infer.tasks.epigenome import predict_tracks as tracks
from hicfm_jax.infer.tasks.loops import find_loops as loops
from hicfm_jax.infer.tasks.resolution import enhance

__all__ = ["Network", "enhance", "infer_file", "load_network", "loops", "tracks"]
