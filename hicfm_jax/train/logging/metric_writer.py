"""What a run says while it goes on: metrics.jsonl, TensorBoard, pictures, a line on the screen."""

import io
import json
import math
import time

import jax
import numpy as np
from etils import epath
from ml_collections import ConfigDict
from PIL import Image

from hicfm_jax.storage import in_bucket, write_atomically
from hicfm_jax.train.logging.event_files import summary_folder
from hicfm_jax.train.logging.matmul_rate import matmul_rate
from hicfm_jax.train.logging.panels import panel_picture
from hicfm_jax.train.metrics import METRICS

TIMING = ("samples_per_second", "mfu")
"""Fields of metrics.jsonl that differ from run to run; everything else is reproducible."""


def duration(seconds: float) -> str:
    """Seconds as h:mm:ss, or m:ss below an hour."""
    minutes, rest = divmod(int(max(seconds, 0)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class MetricsFile:
    """`metrics.jsonl`: one line a logged step or validation, cut back on resume."""

    def __init__(self, workdir: epath.Path, resumed_step: int):
        """Drops lines after `resumed_step`: those steps will be taken, and logged, again."""
        self.path = workdir / "metrics.jsonl"
        kept = [line for line in self._lines() if json.loads(line)["step"] <= resumed_step]
        if not resumed_step:
            kept = []
        write_atomically(self.path, "".join(line + "\n" for line in kept).encode())

    def _lines(self) -> list[str]:
        if not self.path.exists():
            return []
        text = self.path.read_text()
        # A kill can leave half a line at the end.
        return text[: text.rfind("\n") + 1].splitlines()

    def write(self, record: dict) -> None:
        """Appends one record; values that are not finite become null, which JSON knows."""
        clean = {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in record.items()
        }
        line = json.dumps(clean) + "\n"
        if in_bucket(self.path):
            write_atomically(self.path, (self.path.read_text() + line).encode())
            return
        with self.path.open("a") as file:
            file.write(line)


class Progress:
    """Writes what the loop measures; does nothing on hosts other than the first."""

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
        self.full_speed = matmul_rate(config.model.dtype) * jax.device_count()
        self.restart_clock(resumed_step)
        if self.active:
            # Imported here because it imports torch where that is installed.
            from tensorboardX import SummaryWriter

            self.file = MetricsFile(workdir, resumed_step)
            self.board = SummaryWriter(summary_folder(workdir / "tensorboard"), purge_step=resumed_step + 1)

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
        mfu = rate * self.flops / self.full_speed
        record = {**metrics, "skipped_micro_batches": skipped, "samples_per_second": rate, "mfu": mfu}
        self._write("train", step, record)
        left = (self.total_steps - step) * self.batch_size / rate if rate > 0 else math.nan
        eta = duration(left) if math.isfinite(left) else "?"
        speed = f"{rate:.1f} samples/s  mfu {mfu:.0%}  eta {eta}" if math.isfinite(rate) else "compiled"
        dropped = f"dropped {skipped}  " if skipped else ""
        self.say(
            f"step {step}/{self.total_steps}  epoch {step / self.steps_per_epoch:.2f}  "
            f"{_terms(metrics)}  {dropped}lr {metrics['learning_rate']:.2e}  "
            f"{speed}"
        )

    def validation(
        self, step: int, metrics: dict[str, float], panels: np.ndarray, names: tuple[str, ...]
    ) -> None:
        """Logs a validation and its picture (`[B, H, P, W]` intensities)."""
        self._write("val", step, metrics)
        if not self.active:
            return
        names = [name for name, metric in METRICS.items() if metric.shown and name in metrics]
        shown = "  ".join(f"{name} {metrics[name]:.3f}" for name in names)
        self.say(f"step {step}/{self.total_steps}  validation  {_terms(metrics)}  {shown}")
        if len(panels):
            picture = panel_picture(np.asarray(panels), names)
            folder = self.workdir / "images"
            folder.mkdir(parents=True, exist_ok=True)
            image = io.BytesIO()
            Image.fromarray(picture).save(image, format="PNG")
            write_atomically(folder / f"step_{step:08d}.png", image.getvalue())
            self.board.add_image("val/windows", picture, step, dataformats="HWC")

    def _write(self, split: str, step: int, metrics: dict[str, float]) -> None:
        if not self.active:
            return
        self.file.write({"step": step, "epoch": step / self.steps_per_epoch, "split": split, **metrics})
        for name, value in metrics.items():
            self.board.add_scalar(f"{split}/{name}", value, step)
        self.board.flush()

    def say(self, line: str) -> None:
        """Shows a line on the screen."""
        if self.active:
            print(line, flush=True)

    def close(self) -> None:
        if self.active:
            self.board.close()


def _terms(metrics: dict[str, float]) -> str:
    losses = {name: value for name, value in metrics.items() if name.endswith("_loss")}
    parts = [f"{name.removesuffix('_loss')} {value:.3f}" for name, value in losses.items()]
    return "  ".join([f"loss {metrics['loss']:.3f}", *parts])
