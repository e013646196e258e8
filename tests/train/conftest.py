"""What the tests of training share."""

import pytest

from configs import pretrain_arabidopsis
from hicfm_jax.train.logging import metric_writer
from tests.train.toy_configs import save_fresh, toy


@pytest.fixture(scope="module", autouse=True)
def no_benchmark():
    """Runs do not measure matrix products first, which takes seconds. Programs in their own process do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metric_writer, "matmul_rate", lambda dtype: 1.0)
        yield


@pytest.fixture(scope="module")
def pretrained(tiles, tmp_path_factory):
    """(workdir, parameters) of pretraining at step 0."""
    workdir = tmp_path_factory.mktemp("pretrained")
    return workdir, save_fresh(toy(pretrain_arabidopsis.get_config("demo"), tiles), workdir)
