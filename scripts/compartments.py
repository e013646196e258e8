"""The command `hicfm compartments` from a checkout: see hicfm_jax/programs/compartments.py, or --help."""

from hicfm_jax.programs import start

if __name__ == "__main__":
    start("compartments")
