"""Trained networks over whole maps."""

from hicfm_jax.infer.enhance import enhance
from hicfm_jax.infer.enhance_file import enhance_file
from hicfm_jax.infer.network import Network, load_network

__all__ = ["Network", "enhance", "enhance_file", "load_network"]
