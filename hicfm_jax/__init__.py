"""Masked-autoencoder foundation models for Hi-C contact maps, in JAX and Flax."""
