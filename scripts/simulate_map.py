"""The command `hicfm simulate` from a checkout: see hicfm_jax/programs/simulate_map.py, or --help."""

from hicfm_jax.programs import start

if __name__ == "__main__":
    start("simulate")
