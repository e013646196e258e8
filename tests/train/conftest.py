"""What the tests of training share."""

import pytest

from configs import pretrain_arabidopsis
from tests.train.toy_configs import save_fresh, toy


@pytest.fixture(scope="module")
def pretrained(tiles, tmp_path_factory):
    """(workdir, parameters) of pretraining at step 0."""
    workdir = tmp_path_factory.mktemp("pretrained")
    return workdir, save_fresh(toy(pretrain_arabidopsis.get_config("demo"), tiles), workdir)
