"""A workdir of an earlier version resumes, and its checkpoint serves init_from and inference.

`data/workdir_v1.zip` was trained for 2 of 4 steps on simulated maps, before the package was divided into
rooms; its metrics.jsonl has the lines of all 4. Only it knows what they were: do not make it again.
"""

import json
import pathlib
import zipfile

import numpy as np
import pytest

from configs import finetune_resolution_arabidopsis
from hicfm_jax.checkpoints.folder import chosen_step
from hicfm_jax.infer.network import load_network
from hicfm_jax.train import loop
from hicfm_jax.train.initialize import read_source

ARCHIVE = pathlib.Path(__file__).parent / "data" / "workdir_v1.zip"


@pytest.fixture
def workdir(tmp_path):
    with zipfile.ZipFile(ARCHIVE) as archive:
        archive.extractall(tmp_path / "old")
    return tmp_path / "old"


@pytest.fixture
def config(workdir):
    config = finetune_resolution_arabidopsis.get_config("demo")
    stored = json.loads((workdir / "config.json").read_text())
    for section, fields in stored.items():
        if isinstance(fields, dict):
            config[section].update(fields)
    return config


def _lines(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.slow  # simulates maps and trains the pixel path
def test_it_resumes_and_ends_with_the_numbers_that_it_had(workdir, config):
    before = _lines(workdir)
    result = loop.train_and_evaluate(config, workdir)
    assert result.finished and not result.first and int(result.state.step) == 4
    for line, expected in zip(_lines(workdir), before, strict=True):
        for name in expected.keys() - {"samples_per_second", "mfu"}:
            value = expected[name]
            assert line[name] == (pytest.approx(value, rel=1e-4) if isinstance(value, float) else value), name


def test_its_checkpoint_serves_init_from_and_inference(workdir, config):
    assert chosen_step(workdir)[0] == chosen_step(f"{workdir}@best")[0] == 2
    weights = read_source(f"{workdir}@best", config, go_on=True)
    assert weights.step == weights.adam.count == 2
    total = sum(float(np.abs(value).sum()) for value in weights.params.values())
    assert total == pytest.approx(130.640832, rel=1e-6)
    network = load_network(workdir)
    assert network.model.task == "resolution" and network.takes_depth
