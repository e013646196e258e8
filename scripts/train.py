"""The command `hicfm train` from a checkout: see hicfm_jax/programs/train.py, or --help."""

from hicfm_jax.programs import start

if __name__ == "__main__":
    start("train")
