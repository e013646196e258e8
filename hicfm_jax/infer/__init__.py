"""Trained networks over whole maps."""

from hicfm_jax.infer.network import Network, load_network
from hicfm_jax.infer.tasks import infer_file
from hicfm_jax.infer.tasks.reconstruction import reconstruct
from hicfm_jax.infer.tasks.resolution import enhance
from hicfm_jax.infer.tasks.single_cell import single_cell

__all__ = ["Network", "enhance", "infer_file", "load_network", "reconstruct", "single_cell"]
