"""The command `hicfm infer` from a checkout: see hicfm_jax/programs/infer.py, or --help."""

from hicfm_jax.programs import start

if __name__ == "__main__":
    start("infer")
