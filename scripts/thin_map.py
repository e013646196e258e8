"""The command `hicfm thin` from a checkout: see hicfm_jax/programs/thin_map.py, or --help."""

from hicfm_jax.programs import start

if __name__ == "__main__":
    start("thin")
