"""The command `hicfm convert` from a checkout: see hicfm_jax/programs/convert_weights.py, or --help."""

from hicfm_jax.programs import start

if __name__ == "__main__":
    start("convert")
