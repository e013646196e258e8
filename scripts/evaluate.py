"""The command `hicfm evaluate` from a checkout: see hicfm_jax/programs/evaluate.py, or --help."""

from hicfm_jax.programs import start

if __name__ == "__main__":
    start("evaluate")
