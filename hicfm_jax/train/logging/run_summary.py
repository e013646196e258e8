"""Last lines of a run: its files, first and last scores, next commands."""

import json

from etils import epath
from ml_collections import ConfigDict

from hicfm_jax.cli import called
from hicfm_jax.train.metrics import METRICS
from hicfm_jax.train.tasks import TASKS


def _number(value: float | None) -> str:
    return "     nan" if value is None else f"{value:8.3f}"  # JSON has no NaN, the file has null


def summary(config: ConfigDict, workdir: str, finished: bool, step: int) -> str:
    """Text for the end of `scripts/train.py`, after `step` optimizer steps."""
    lines = [
        "",
        f"{'Finished' if finished else 'Stopped and saved'} at step {step}. Everything is in {workdir}:",
        "  checkpoints/     parameters and optimizer (newest and best)",
        f"  images/          held-out windows: {', '.join(TASKS[config.task].pictures)}",
        f"  tensorboard/     tensorboard --logdir={workdir}/tensorboard",
        "  metrics.jsonl    every logged number",
    ]
    records = map(json.loads, (epath.Path(workdir) / "metrics.jsonl").read_text().splitlines())
    validations = [record for record in records if record["split"] == "val"]
    if len(validations) > 1:
        first, last = validations[0], validations[-1]
        data = f"the val split of {config.data.tiles}" if config.data.tiles else "SIMULATED maps held out"
        lines += ["", f"Learned, on {data} (step {first['step']} -> step {last['step']}):"]
        for name, metric in METRICS.items():
            if metric.meaning and name in last:
                numbers = f"{_number(first[name])} -> {_number(last[name])}"
                lines.append(f"  {name:<21} {numbers}   {metric.meaning}")
    if not finished:
        lines += ["", "The same command continues from here."]
    elif not config.data.tiles and config.task != "pretrain":
        lines += [
            "",
            f"These maps were simulated. With your own: --config.data.tiles=TILES of {called('make_tiles')}.",
        ]
    elif not config.data.tiles:
        simulate = config.data.simulate
        size = simulate.tile_size
        variant = ":demo" if size < 448 else ":small_batch"
        lines += [
            "",
            "These maps were simulated. With your own map:",
            f"  {called('make_tiles')} --input=MAP.mcool --resolution={simulate.resolution} \\",
            f"      --tile_size={size} --stride={simulate.stride} --val_chromosomes=Chr4 --output=tiles/mine",
            f"  {called('train')} --config=configs/pretrain_arabidopsis.py{variant} \\",
            "      --config.data.tiles=tiles/mine --workdir=runs/mine",
        ]
    return "\n".join(lines)
