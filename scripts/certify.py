"""The command `hicfm certify` from a checkout: see hicfm_jax/programs/certify.py, or --help."""

from hicfm_jax.programs import start

if __name__ == "__main__":
    start("certify")
