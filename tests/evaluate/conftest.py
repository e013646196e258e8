"""A small simulated map and the same map at a sixteenth of its depth."""

import pytest

from hicfm_jax.contacts import simulate, thin


@pytest.fixture(scope="session")
def deep():
    return simulate(contacts=30e6, resolution=60_000, seed=1, chromosomes=["Chr3", "Chr4"])


@pytest.fixture(scope="session")
def shallow(deep):
    return thin(deep, 1 / 16, seed=0)
