"""Trained networks over whole maps."""

from hicfm_jax.infer.network import Network, load_network
from hicfm_jax.infer.tasks import infer_file
from hicfm_jax.infer.tasks.epigenome import predict_tracks
from hicfm_jax.infer.tasks.resolution import enhance

tracks = predict_tracks

__all__ = ["Network", "enhance", "infer_file", "load_network", "predict_tracks", "tracks"]
