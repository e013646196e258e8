"""`python -m hicfm_jax.programs`, the same as `hicfm`."""

from hicfm_jax.programs import main

if __name__ == "__main__":
    main()
