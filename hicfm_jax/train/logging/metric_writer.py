"""Metrics of a run: metrics.jsonl, TensorBoard, pictures, a line on the screen."""

import io
import itertools
import json
import math
import sys
import tempfile
import time
import types
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from etils import epath
from ml_collections import ConfigDict
from PIL import Image

from hicfm_jax.errors import InputError
from hicfm_jax.progress import NullProgress
from hicfm_jax.storage import in_bucket, parse_json, write_atomically
from hicfm_jax.tiles.stream.batches import WindowPlace
from hicfm_jax.train.logging.matmul_rate import matmul_rate, published_peak
from hicfm_jax.train.logging.panels import panel_picture
from hicfm_jax.train.metrics import METRICS

TIMING = ("samples_per_second", "matmul_fraction", "mfu")
"""Fields of metrics.jsonl that differ from run to run; everything else is reproducible."""

UPLOAD_SECONDS = 60
"""Least time between two uploads of metrics.jsonl to a bucket, which cannot append to an object."""


def duration(seconds: float) -> str:
    """Seconds as h:mm:ss, or m:ss below an hour."""
    minutes, rest = divmod(int(max(seconds, 0)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class MetricsFile:
    """`metrics.jsonl`: one line per logged step or validation, cut back on resume."""

    def __init__(self, workdir: epath.Path, resumed_step: int):
        """Drops lines after `resumed_step`: those steps will be trained and logged again."""
        self.path = workdir / "metrics.jsonl"
        text = self.path.read_text() if resumed_step and self.path.exists() else ""
        lines = text[: text.rfind("\n") + 1].splitlines(keepends=True)  # a kill can leave half a line
        steps = map(self._step, itertools.count(1), lines)
        self._text = "".join(line for step, line in zip(steps, lines, strict=True) if step <= resumed_step)
        self._pending = True
        self.flush()

    def _step(self, number: int, line: str) -> int:
        try:
            return int(parse_json(line)["step"])
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{self.path}, line {number}, is {line.strip()[:60]!r}, expected a JSON object with a step: "
                "remove this line."
            ) from error

    def write(self, record: dict) -> None:
        """Appends one record; values that are not finite become null, which JSON knows."""
        clean = {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in record.items()
        }
        line = json.dumps(clean) + "\n"
        if not in_bucket(self.path):
            with self.path.open("a") as file:
                file.write(line)
            return
        self._text, self._pending = self._text + line, True
        if time.monotonic() - self._stored_at >= UPLOAD_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Stores the lines that a bucket does not have yet."""
        if self._pending:
            write_atomically(self.path, self._text.encode())
            self._pending, self._stored_at = False, time.monotonic()


def import_tensorboard() -> types.ModuleType:
    """The module tensorboardX, kept from importing PyTorch, which takes seconds and is not needed here."""
    sys.modules.setdefault("torch", None)  # importing it now fails
    try:
        import tensorboardX
    finally:
        if sys.modules["torch"] is None:
            del sys.modules["torch"]
    return tensorboardX


class _Board:
    """TensorBoard's event file, without which training goes on: a first error warns, one in writing ends it.

    Written without tensorboardX's `SummaryWriter`, whose thread dies of a full disk and blocks the program.
    """

    def __init__(self, folder: epath.Path, next_step: int):
        """Opens a file in the folder; in a bucket, a local one that `flush(upload=True)` copies there."""
        self._folder, self._local, self._writer, self._warned = folder, folder, None, False
        if in_bucket(folder):
            self._temporary = tempfile.TemporaryDirectory()
            self._local = epath.Path(self._temporary.name)
        self._attempt(lambda: self._open(next_step))

    def _open(self, next_step: int) -> None:
        self._board = import_tensorboard()
        event_pb2 = self._board.proto.event_pb2
        self._event = event_pb2.Event
        self._local.mkdir(parents=True, exist_ok=True)
        self._writer = self._board.event_file_writer.EventsWriter(str(self._local / "events"))
        # TensorBoard drops what an earlier process logged from this step on.
        start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
        self._writer.write_event(self._event(wall_time=time.time(), step=next_step, session_log=start))

    def add(self, step: int, kind: str, name: str, value: Any, **options) -> None:
        """Adds a "scalar" or an "image"; shown after `flush`."""
        if self._writer:
            self._attempt(lambda: self._add(step, kind, name, value, **options))

    def _add(self, step: int, kind: str, name: str, value: Any, **options) -> None:
        made = getattr(self._board.summary, kind)(name, value, **options)
        self._writer.write_event(self._event(wall_time=time.time(), step=step, summary=made))

    def flush(self, upload: bool = False) -> None:
        if self._writer:
            self._attempt(self._writer.flush)
        if self._writer and upload and self._local != self._folder:
            self._attempt(self._upload, ends=False)  # the next one has all of this one

    def _upload(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        for file in self._local.iterdir():
            write_atomically(self._folder / file.name, file.read_bytes())

    def _attempt(self, do: Callable[[], None], ends: bool = True) -> None:
        try:
            do()
        except Exception as error:  # every kind of disk and bucket has its own
            if ends:
                self._writer = None
            if not self._warned:
                print(f"WARNING: {self._folder} lacks what metrics.jsonl has: {error}.", flush=True)
            self._warned = True


class MetricWriter(NullProgress):
    """Writes what the loop measures; does nothing on processes other than the first."""

    def __init__(
        self,
        workdir: epath.Path,
        config: ConfigDict,
        resumed_step: int,
        total_steps: int,
        steps_per_epoch: int,
        flops: int,
    ):
        """Opens the files; `flops` are of one training sample."""
        self.active = jax.process_index() == 0
        self.workdir, self.flops = workdir, flops
        self.batch_size = config.train.global_batch_size
        self.total_steps, self.steps_per_epoch = total_steps, steps_per_epoch
        self.matmul_rate = matmul_rate(config.model.dtype) * jax.device_count()
        self.peak = (published_peak(jax.devices()[0].device_kind) or math.nan) * jax.device_count()
        self.restart_clock(resumed_step)
        if self.active:
            self.file = MetricsFile(workdir, resumed_step)
            self.board = _Board(workdir / "tensorboard", resumed_step + 1)

    def restart_clock(self, step: int) -> None:
        """Leaves what came before (compilation) out of the next rate."""
        self._marked_step, self._marked_time, self._paused = step, time.perf_counter(), 0.0

    def pause(self, seconds: float) -> None:
        """Leaves `seconds` (a validation) out of the next rate."""
        self._paused += seconds

    def train(self, step: int, metrics: dict[str, float], skipped: int) -> None:
        """Logs means since the last call, dropped micro-batches of the whole run, and the speed."""
        now = time.perf_counter()
        seconds = now - self._marked_time - self._paused
        steps = step - self._marked_step
        self.restart_clock(step)
        rate = steps * self.batch_size / seconds if steps > 0 and seconds > 0 else math.nan
        speed = {"samples_per_second": rate, "matmul_fraction": rate * self.flops / self.matmul_rate}
        if math.isfinite(self.peak):
            speed["mfu"] = rate * self.flops / self.peak
        self._write("train", step, {**metrics, "skipped_micro_batches": skipped, **speed})
        shown = "compiled"
        if math.isfinite(rate):
            eta = duration((self.total_steps - step) * self.batch_size / rate)
            fractions = "  ".join(f"{name} {speed[name]:.0%}" for name in TIMING[1:] if name in speed)
            shown = f"{rate:.1f} samples/s  {fractions}  eta {eta}"
        dropped = f"dropped {skipped}  " if skipped else ""
        self.say(
            f"step {step}/{self.total_steps}  epoch {step / self.steps_per_epoch:.2f}  "
            f"{_terms(metrics)}  {dropped}lr {metrics['learning_rate']:.2e}  {shown}"
        )

    def validation(
        self,
        step: int,
        metrics: dict[str, float],
        panels: np.ndarray,
        names: tuple[str, ...],
        places: Sequence[WindowPlace] = (),
    ) -> None:
        """Logs a validation and its picture (`[B, H, P, W]` intensities, windows at these places)."""
        self._write("val", step, metrics)
        if not self.active:
            return
        shown = [name for name, metric in METRICS.items() if metric.shown and name in metrics]
        shown = "  ".join(f"{name} {metrics[name]:.3f}" for name in shown)
        self.say(f"step {step}/{self.total_steps}  validation  {_terms(metrics)}  {shown}")
        if len(panels):
            picture = panel_picture(np.asarray(panels), names, places)
            folder, image = self.workdir / "images", io.BytesIO()
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(image, format="PNG")
            write_atomically(folder / f"step_{step:08d}.png", image.getvalue())
            self.board.add(step, "image", "val/windows", picture, dataformats="HWC")
        self.flush()

    def _write(self, split: str, step: int, metrics: dict[str, float]) -> None:
        if not self.active:
            return
        self.file.write({"step": step, "epoch": step / self.steps_per_epoch, "split": split, **metrics})
        for name, value in metrics.items():
            self.board.add(step, "scalar", f"{split}/{name}", value)
        self.board.flush()

    def say(self, line: str) -> None:
        """Shows a line on the screen."""
        if self.active:
            print(line, flush=True)

    def flush(self) -> None:
        """Stores everything written so far; needed only in buckets, at validations and checkpoints."""
        if self.active:
            self.file.flush()
            self.board.flush(upload=True)

    close = flush


def _terms(metrics: dict[str, float]) -> str:
    losses = {name: value for name, value in metrics.items() if name.endswith("_loss")}
    parts = [f"{name.removesuffix('_loss')} {value:.3f}" for name, value in losses.items()]
    return "  ".join([f"loss {metrics['loss']:.3f}", *parts])
