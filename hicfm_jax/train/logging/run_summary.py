"""Last lines of a run: its files, first and last scores, next commands."""

import json
import os
import sys

from etils import epath
from ml_collections import ConfigDict

_PANELS = {
    "pretrain": "target, what the encoder saw, reconstruction",
    "reproducibility": "two draws, all contacts",
}

MEANINGS = {
    "pixel_r": "correlation of predicted and true windows, visible patches included",
    "ssim_loss_gb": "1 - SSIM of the channels that hold data",
    "count_loss": "squared error of log10 of the tile's contacts",
    "masked_r2_distance": "masked pixels: 0 is as good as the mean at each distance",
    "masked_r2_coverage": "masked pixels: 0 is as good as distance, row and column means",
    "map_r": "correlation of predicted and true maps (log10 counts), each window's mean off",
    "input_r": "the same of the input, scaled to the depth of the target",
    "smoothed_r": "the same of the input, scaled and smoothed",
    "coverage_aware_r": "the same of the input, smoothed relative to distance and coverage",
    "map_r_distance": "as map_r, after the mean at each distance is taken off both",
    "input_r_distance": "the same of the input",
    "smoothed_r_distance": "the same of the smoothed input",
    "coverage_aware_r_distance": "the same of the input, smoothed relative to distance and coverage",
    "track_r": "correlation of predicted and true tracks, each window's mean off",
    "embedding_cosine": "cosine of predicted and true embeddings",
    "call_f1": "F1 score of pixels called at 0.5",
    "replicate_cosine": "cosine of the embeddings of two draws of a window",
    "other_cosine": "cosine of the embeddings of two windows",
    "told_apart": "windows that are more like their replicate than like another",
}
"""What the scores of a validation say."""


def _validations(workdir: str) -> list[dict]:
    text = (epath.Path(workdir) / "metrics.jsonl").read_text()
    records = [json.loads(line) for line in text.splitlines()]
    return [record for record in records if record["split"] == "val"]


def _number(value: float | None) -> str:
    return "     nan" if value is None else f"{value:8.3f}"  # JSON has no NaN, the file has null


def summary(config: ConfigDict, workdir: str, finished: bool, step: int) -> str:
    """Text for the end of `scripts/train.py`.

    Args:
      config: of the run.
      workdir: of the run.
      finished: whether the last step was reached.
      step: optimizer steps taken.
    """
    lines = [
        "",
        f"{'Finished' if finished else 'Stopped and saved'} at step {step}. Everything is in {workdir}:",
    ]
    lines += [
        "  checkpoints/     parameters and optimizer (newest and best)",
        f"  images/          held-out windows: {_PANELS.get(config.task, 'input, output, target')}",
        f"  tensorboard/     tensorboard --logdir={workdir}/tensorboard",
        "  metrics.jsonl    every logged number",
    ]
    validations = _validations(workdir)
    if len(validations) > 1:
        first, last = validations[0], validations[-1]
        data = f"the val split of {config.data.tiles}" if config.data.tiles else "SIMULATED maps held out"
        lines += ["", f"Learned, on {data} (step {first['step']} -> step {last['step']}):"]
        for name, meaning in MEANINGS.items():
            if name in last:
                lines.append(f"  {name:<21} {_number(first[name])} -> {_number(last[name])}   {meaning}")
    if not finished:
        lines += ["", "The same command continues from here."]
    elif not config.data.tiles and config.task != "pretrain":
        lines += [
            "",
            "These maps were simulated. With your own: --config.data.tiles=TILES, made by make_tiles.py.",
        ]
    elif not config.data.tiles:
        python = min(sys.executable, os.path.relpath(sys.executable), key=len)
        simulate = config.data.simulate
        size = simulate.tile_size
        variant = ":demo" if size < 448 else ":small_batch"
        lines += [
            "",
            "These maps were simulated. With your own map:",
            f"  {python} scripts/make_tiles.py --input=MAP.mcool --resolution={simulate.resolution} \\",
            f"      --tile_size={size} --stride={simulate.stride} --val_chromosomes=Chr4 --output=tiles/mine",
            f"  {python} scripts/train.py --config=configs/pretrain_arabidopsis.py{variant} \\",
            "      --config.data.tiles=tiles/mine --workdir=runs/mine",
        ]
    return "\n".join(lines)
