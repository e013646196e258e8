"""The command `hicfm experiment` from a checkout: see hicfm_jax/programs/experiment.py, or --help."""

from hicfm_jax.programs import start

if __name__ == "__main__":
    start("experiment")
