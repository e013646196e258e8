"""Losses of pretraining in bfloat16 beside those in float32, step by step."""

import json
import os
import pathlib
import tempfile
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from benchmarks.step import step_config
from hicfm_jax.storage import atomic_file
from hicfm_jax.train.loop import train_and_evaluate

DTYPES = ("float32", "bfloat16")
_WINDOW = 20  # steps of a running mean


def measure_losses(
    steps: int = 200, model: str = "vit_tiny_patch16", side: int = 64, batch: int = 8
) -> dict[str, Any]:
    """Pretrains twice on the same simulated windows, from the same parameters and with the same masks.

    Returns:
      `device`, `model`, `side` in bins, `batch`; `losses` of every step, by dtype; `largest` difference of
      the two, and `difference` of their means over the last `_WINDOW` steps, as fractions of the loss in
      float32.
    """
    losses = {}
    for dtype in DTYPES:
        config = step_config(model, "pretrain", (side, side), batch, dtype, "all")
        config.train.total_steps = config.log.eval_every_steps = steps
        config.log.every_steps, config.log.image_count = 1, 0
        config.optim.learning_rate, config.optim.clip_norm = 1e-4, 1.0
        config.model.center_count = True
        config.data.simulate.resolution = 30_000  # hundreds of windows
        config.data.simulate.val_assays = 1  # their scores are not read
        with tempfile.TemporaryDirectory() as folder:
            train_and_evaluate(config, folder)
            lines = (pathlib.Path(folder) / "metrics.jsonl").read_text().splitlines()
        records = map(json.loads, lines)
        losses[dtype] = [record["loss"] for record in records if record["split"] == "train"]
    exact, rounded = (np.array(losses[dtype]) for dtype in DTYPES)
    ends = exact[-_WINDOW:].mean(), rounded[-_WINDOW:].mean()
    return {
        "device": jax.devices()[0].device_kind,
        "model": model,
        "side": side,
        "batch": batch,
        "losses": losses,
        "largest": float((np.abs(rounded - exact) / exact).max()),
        "difference": float(abs(ends[1] - ends[0]) / ends[0]),
    }


def table(found: Mapping[str, Any]) -> str:
    """The figures of `measure_losses` as text."""
    exact = found["losses"][DTYPES[0]]
    return (
        f"{found['model']} on {found['device']}, {found['batch']} windows of {found['side']} a step: the "
        f"loss falls from {exact[0]:.3f} to {exact[-1]:.3f} in {len(exact)} steps.\n"
        f"In bfloat16 it differs by {found['largest']:.2%} at most, and by {found['difference']:.3%} in the "
        f"mean of the last {_WINDOW} steps."
    )


def draw(found: Mapping[str, Any], path: str | os.PathLike) -> None:
    """Writes a picture: both losses, and their relative difference."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 5), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    exact, rounded = (np.array(found["losses"][dtype]) for dtype in DTYPES)
    for name, losses, style in zip(DTYPES, (exact, rounded), ("-", "--"), strict=True):
        above.plot(1 + np.arange(len(losses)), losses, style, label=name)
    below.plot(1 + np.arange(len(exact)), 100 * (rounded / exact - 1), color="0.3")
    above.set_ylabel("loss")
    above.legend(frameon=False)
    below.set_ylabel("difference, %")
    below.set_xlabel("step")
    with atomic_file(path) as partial:
        figure.savefig(partial, format="png", dpi=100)
