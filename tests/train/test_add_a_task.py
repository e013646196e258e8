"""A new fine-tuning task is one line in a table, and a file where it needs new functions."""

import numpy as np
import pytest

from configs import finetune_multitask
from hicfm_jax.config import require
from hicfm_jax.errors import InputError
from hicfm_jax.train.tasks import TASKS, check_config, create_task
from hicfm_jax.train.tasks.finetune_task import finetune_task
from hicfm_jax.train.tasks.task import TaskKind
from hicfm_jax.train.workdir import summary
from tests.train import small_run
from tests.train.toy_configs import leaves, take_step, toy


def insulation_task(config, kind, shapes):
    """The file of a new task: the track of fine-tuning with a score of its own."""
    task = finetune_task(config, kind, shapes)

    def finish(sums):
        return {**task.finish(sums), "insulation_r": 0.5}

    return task._replace(finish=finish)


def insulation_check(config):
    require(config.data.cutoff > 0, "data.cutoff", config.data.cutoff, "above 0 for task=insulation")


INSULATION = TaskKind(
    insulation_task,
    {"track": "track"},
    head="finetune",
    pictures=("map", "insulation"),
    check=insulation_check,
)


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.setitem(TASKS, "insulation", INSULATION)
    config = toy(
        finetune_multitask.get_config("demo"),
        small_run.save_tiles(tmp_path),
        data__derive=("track",),
        targets__map_weight=0.0,
        targets__embedding_weight=0.0,
        optim__trainable="none",
        optim__trainable_patterns=("^track_head/",),
        train__accum_steps=1,
    )
    config.task = "insulation"
    return config


@pytest.mark.slow  # compiles a whole run
def test_a_new_task_trains(config):
    check_config(config)
    before, after, means = take_step(config)
    assert means.keys() == {"loss", "track_loss"} and np.isfinite(means["loss"])
    moved = [name for name, value in leaves(after).items() if (value != leaves(before)[name]).any()]
    assert moved == ["track_head/bias", "track_head/kernel"]


def test_its_scores_and_pictures_are_those_of_its_entry(config, tmp_path):
    task = create_task(config)
    sums = dict.fromkeys(("examples", "loss", "track_loss"), 1.0)
    assert task.finish(sums) == {"loss": 1.0, "track_loss": 1.0, "insulation_r": 0.5}
    (tmp_path / "metrics.jsonl").write_text("")
    assert "map, insulation" in summary(config, str(tmp_path), True, 1)


def test_its_own_check_is_applied(config):
    config.data.cutoff = 0.0
    with pytest.raises(InputError, match="config.data.cutoff is 0.0 but must be above 0"):
        check_config(config)


def test_a_word_without_an_entry_is_refused(config):
    config.task = "insulations"
    with pytest.raises(InputError, match="config.task is 'insulations' but must be one of pretrain, "):
        check_config(config)
