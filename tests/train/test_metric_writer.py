"""Speed in the lines of metrics.jsonl, and TensorBoard files that cannot be written."""

import errno
import json
import os
import time

import numpy as np
import pytest
from etils import epath

from hicfm_jax.config import base_config
from hicfm_jax.train.logging import metric_writer
from hicfm_jax.train.logging.matmul_rate import published_peak
from hicfm_jax.train.logging.metric_writer import MetricWriter
from tests.train import small_run

EventsWriter = metric_writer.import_tensorboard().event_file_writer.EventsWriter


@pytest.fixture
def open_writer(tmp_path, monkeypatch):
    monkeypatch.setattr(metric_writer, "matmul_rate", lambda dtype: 1e6)

    def open_writer(step=0):
        return MetricWriter(epath.Path(tmp_path), base_config(), step, 12, steps_per_epoch=2, flops=1000)

    return open_writer


def _lines(tmp_path):
    return [json.loads(line) for line in (tmp_path / "metrics.jsonl").open()]


@pytest.mark.parametrize("peak", [None, 4e6])
def test_mfu_is_of_the_published_peak_and_nothing_else(open_writer, tmp_path, monkeypatch, capsys, peak):
    monkeypatch.setattr(metric_writer, "published_peak", lambda kind: peak)
    writer = open_writer()
    writer.train(1, {"loss": 1.0, "learning_rate": 0.1}, skipped=0)
    (line,) = _lines(tmp_path)
    flops = line["samples_per_second"] * 1000
    assert line["matmul_fraction"] == pytest.approx(flops / 1e6)
    assert ("mfu" in line) == ("mfu" in capsys.readouterr().out) == (peak is not None)
    assert line.get("mfu", flops / 4e6) == pytest.approx(flops / 4e6)


@pytest.mark.parametrize(
    ("kind", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA H200", 989e12),
        ("NVIDIA A100-SXM4-40GB", 312e12),
        ("NVIDIA L4", 121e12),
        ("TPU v4", 275e12),
        ("TPU v5 lite", 197e12),
        ("TPU v5", 459e12),
        ("TPU v6 lite", 918e12),
        ("NVIDIA L40S", None),
        ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", None),
        ("cpu", None),
    ],
)
def test_published_peaks(kind, peak):
    assert published_peak(kind) == peak


def test_a_resumed_run_replaces_what_was_logged_after_its_checkpoint(open_writer, tmp_path):
    for first, steps in ((0, (0, 1, 2)), (1, (2, 3))):
        writer = open_writer(first)
        for step in steps:
            writer.validation(step, {"loss": 10.0 * first + step}, np.zeros((0,)), ())
        writer.close()
        time.sleep(1.1)  # the names of TensorBoard's files have seconds
    lines = [(line["step"], line["loss"]) for line in _lines(tmp_path)]
    assert lines == [(0, 0.0), (1, 1.0), (2, 12.0), (3, 13.0)]
    events = small_run.board_events(tmp_path / "tensorboard")
    # TensorBoard drops what was logged before such a start from its step on.
    assert [event.step for event in events if event.session_log.status == event.session_log.START] == [1, 2]
    scalars = [(event.step, value.simple_value) for event in events for value in event.summary.value]
    assert scalars == [(0, 0.0), (1, 1.0), (2, 2.0), (2, 12.0), (3, 13.0)]


def _on_a_full_disk(monkeypatch):
    """Has TensorBoard's file written where there is no room."""
    init = EventsWriter.__init__

    def at_once_full(self, *arguments):
        init(self, *arguments)
        self._py_recordio_writer._writer = open("/dev/full", "wb")

    monkeypatch.setattr(EventsWriter, "__init__", at_once_full)


def _unmade(monkeypatch):
    def fail(*_):
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(EventsWriter, "__init__", fail)


@pytest.mark.parametrize("fault", [_on_a_full_disk, _unmade])
def test_tensorboard_warns_once_and_training_goes_on(open_writer, tmp_path, monkeypatch, capsys, fault):
    fault(monkeypatch)
    writer = open_writer()
    for step in range(9):
        noise = np.random.default_rng(step).random((1, 50, 3, 50))
        writer.validation(step, {"loss": 1.0}, noise, ("a", "b", "c"))
    writer.close()
    warnings = [line for line in capsys.readouterr().out.splitlines() if line.startswith("WARNING: ")]
    assert len(warnings) == 1 and "tensorboard lacks what metrics.jsonl has" in warnings[0]
    assert len(_lines(tmp_path)) == 9
