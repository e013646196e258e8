"""Masked-autoencoder foundation models for Hi-C contact maps, in JAX and Flax."""

from hicfm_jax import xla_flags

# XLA reads its flags once, when JAX computes first: this cannot wait for a script or a call.
xla_flags.set_fusions()
