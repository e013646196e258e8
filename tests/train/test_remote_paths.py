"""Tiles and workdirs in a bucket: everything that this project opens itself goes through epath."""

import json
import os
import types

import numpy as np
import pytest
from etils import epath
from etils.epath import backend, gpath

from hicfm_jax.config import base_config, to_json
from hicfm_jax.contacts import simulate
from hicfm_jax.convert import files as original_file
from hicfm_jax.errors import InputError
from hicfm_jax.storage import check_new_folder
from hicfm_jax.tiles import dataset
from hicfm_jax.tiles.build.builder import build_tiles
from hicfm_jax.tiles.build.splits import HeldOut
from hicfm_jax.tiles.stream import context
from hicfm_jax.tiles.stream.source import DiskTiles, open_source
from hicfm_jax.train.checkpoint import has_checkpoints
from hicfm_jax.train.logging import metric_writer
from hicfm_jax.train.logging.metric_writer import MetricWriter
from hicfm_jax.train.workdir import check_workdir, open_workdir, summary
from tests.train import small_run


@pytest.fixture
def bucket(tmp_path, monkeypatch):
    """A folder that epath takes for gs://bucket."""

    class Bucket:
        """epath's backend for local files, at other places."""

        def __getattr__(self, name):
            function = getattr(backend.os_backend, name)

            def at_its_place(*paths, **options):
                paths = [self._place(path) for path in paths]
                return function(*paths, **options)

            return at_its_place

        def _place(self, path):
            text = os.fspath(path) if isinstance(path, (str, os.PathLike)) else path
            return text.replace("gs://bucket", str(tmp_path)) if isinstance(text, str) else text

    monkeypatch.setattr(gpath._GPath, "_backend", property(lambda self: Bucket()))
    return tmp_path


def test_a_workdir(bucket):
    config, workdir = base_config(), "gs://bucket/run"
    check_workdir(workdir, config)
    with open_workdir(workdir, config) as folder:
        writer = MetricWriter(folder, config, 0, total_steps=1, steps_per_epoch=1, flops=1)
        for step in (0, 1):
            losses = {"loss": 1.0 + step, "count_loss": 1.0 + step}
            writer.validation(step, losses, np.zeros((1, 4, 3, 4)), ("a", "b", "c"))
        writer.close()
    assert (bucket / "run" / "images" / "step_00000001.png").stat().st_size
    values = [
        value
        for event in small_run.board_events(bucket / "run" / "tensorboard")
        for value in event.summary.value
    ]
    assert [value.simple_value for value in values if value.tag == "val/count_loss"] == [1.0, 2.0]
    assert [value.image.width > 0 for value in values if value.tag == "val/windows"] == [True, True]
    assert (bucket / "run" / "config.json").read_text() == to_json(config) + "\n"
    assert _steps(bucket) == [0, 1]
    check_workdir(workdir, config)
    step = bucket / "run" / "checkpoints" / "2"
    (step / "params").mkdir(parents=True)
    assert not has_checkpoints(workdir)  # Orbax writes it under its name, and this file last
    (step / "commit_success.txt").touch()
    assert has_checkpoints(workdir)
    assert "count_loss               1.000 ->    2.000" in summary(config, workdir, True, 1)


def _steps(bucket):
    return [json.loads(line)["step"] for line in (bucket / "run" / "metrics.jsonl").open()]


def test_metrics_are_uploaded_in_parts(bucket, monkeypatch):
    """A line costs no upload of all lines before it: 8 lines, uploads at most once a minute."""
    clock = types.SimpleNamespace(now=0.0, monotonic=lambda: clock.now)
    monkeypatch.setattr(metric_writer, "time", clock)
    uploads = []
    write = metric_writer.write_atomically
    monkeypatch.setattr(
        metric_writer, "write_atomically", lambda *file: uploads.append(clock.now) or write(*file)
    )
    (bucket / "run").mkdir()
    file = metric_writer.MetricsFile(epath.Path("gs://bucket/run"), 0)
    for step, clock.now in enumerate((1.0, 2.0, 59.0, 61.0, 62.0, 63.0)):
        file.write({"step": step})
    assert uploads == [0.0, 61.0] and _steps(bucket) == [0, 1, 2, 3]
    file.flush()  # at validations, checkpoints and the end
    file.flush()
    assert uploads == [0.0, 61.0, 63.0] and _steps(bucket) == [0, 1, 2, 3, 4, 5]
    resumed = metric_writer.MetricsFile(epath.Path("gs://bucket/run"), 3)
    resumed.write({"step": 4})
    resumed.flush()
    assert _steps(bucket) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    "use",
    [
        lambda path: build_tiles({"assay": simulate(contacts=1e5, resolution=500_000, seed=0)}, path),
        check_new_folder,
        original_file.read,
    ],
)
def test_what_has_to_be_local_is_refused(use, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="gs://bucket/new is in a bucket"):
        use("gs://bucket/new")
    assert not list(tmp_path.iterdir())


def test_a_file_of_tiles(bucket):
    small_run.save_tiles(bucket)
    assert len(open_source("gs://bucket/tiles.npz").tiles("train")) == 10


def test_what_a_folder_of_tiles_says(bucket):
    maps = {"assay": simulate(contacts=1e6, resolution=200_000, seed=0)}
    held_out = HeldOut(val_chromosomes=["Chr4"])
    build_tiles(maps, bucket / "tiles", tile_size=64, stride=48, held_out=held_out)
    tiles = DiskTiles("gs://bucket/tiles")
    assert tiles.manifest == dataset.read_manifest(bucket / "tiles")
    found, local = (context.read_context(place, []) for place in ("gs://bucket/tiles", bucket / "tiles"))
    assert found.keys() == local.keys()
    for key, expected in local.items():
        np.testing.assert_array_equal(found[key].decay, expected.decay)
