"""What the tests of inference share."""

import pytest

from hicfm_jax.infer import load_network
from tests.infer.toy_networks import SEEN, write_checkpoint


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """Folder of an untrained network that is told the depth: of a map of 80,000 contacts."""
    return write_checkpoint(tmp_path_factory.mktemp("run") / "run", **SEEN)


@pytest.fixture(scope="session")
def sure(tmp_path_factory):
    """Folder of an untrained network that also predicts how sure it is."""
    return write_checkpoint(tmp_path_factory.mktemp("sure") / "run", dispersion=True, **SEEN)


@pytest.fixture(scope="session")
def network(checkpoint):
    return load_network(checkpoint)
