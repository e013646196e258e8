"""The command `hicfm convert-tiles` from a checkout: see hicfm_jax/programs/convert_tiles.py, or --help."""

from hicfm_jax.programs import start

if __name__ == "__main__":
    start("convert-tiles")
