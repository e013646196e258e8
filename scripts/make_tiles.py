"""The command `hicfm tiles` from a checkout: see hicfm_jax/programs/make_tiles.py, or --help."""

from hicfm_jax.programs import start

if __name__ == "__main__":
    start("tiles")
