"""The command `hicfm info` from a checkout: see hicfm_jax/programs/info.py, or --help."""

from hicfm_jax.programs import start

if __name__ == "__main__":
    start("info")
