"""The stages of an experiment that predicts tracks, and the table of its scores."""

import functools
import os
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from hicfm_jax.evaluate.compare_tracks import TABLE_OF_SCORES
from hicfm_jax.experiment.stages import Setting, Stage, depth_name, script_command, training_stage

WINDOW = 128  # side of the windows of configs/finetune_track.py, in bins
SHORTEST = WINDOW
STRIDE = 4  # bins from tile to tile; training has no other shift of windows along the chromosome
DEPTHS = (1.0, 1 / 64)
"""Fractions of the contacts at which tracks are predicted by default."""

KINDS = {"pretrained": "pretrain", "scratch": "", "convolutions": ""}
"""Fine-tuning runs, and what each starts from: two of the variant `demo`, one without a transformer."""


def track_stages(setting: Setting, tracks: str) -> list[Stage]:
    """Cuts tiles with tracks, pretrains, fine-tunes, predicts and compares, at each depth.

    Args:
      setting: the choices; of its fractions, 1 is the map as it is.
      tracks: table of measured tracks, perhaps with `:COLUMN,COLUMN`, see `tiles.build.targets.parse_tracks`.
    """
    names, tiles = setting.chromosomes, setting.path("tiles")
    measured = tracks if os.path.exists(tracks) else tracks.rpartition(":")[0]
    deep = {"input": setting.deep, "resolution": setting.resolution}
    source = setting.deep.partition("::")[0]
    cut = script_command(
        "make_tiles",
        **deep | {"input": f"deep={setting.deep}"},
        mode="diagonal",
        tile_size=WINDOW,
        stride=STRIDE,
        track=tracks,
        val_chromosomes=",".join(names.val),
        test_chromosomes=",".join(names.test),
        output=tiles,
    )
    found = [Stage("cut the map and its tracks into tiles", cut, tiles, (source, measured))]
    maps = {1.0: setting.deep}
    for fraction in setting.fractions:
        if fraction < 1:
            maps[fraction] = path = setting.path(f"shallow_{depth_name(fraction)}.cool")
            command = script_command("thin_map", **deep, fraction=fraction, output=path)
            found.append(Stage(f"downsample it to 1/{depth_name(fraction)}", command, path, (source,)))
    found += _training(setting, tiles)
    for fraction in setting.fractions:
        title, uri = f"at 1/{depth_name(fraction)}", maps[fraction]
        predicted = {}
        for name in (name for name, *_ in _runs(setting)):
            predicted[name] = path = setting.path(f"tracks_{depth_name(fraction)}_{name}")
            command = script_command(
                "infer",
                task="epigenome",
                **deep | {"input": uri},
                checkpoint=setting.path(name),
                chromosomes=",".join(names.test),
                stride=WINDOW // 8,
                output=path,
            )
            inputs = (uri.partition("::")[0], setting.path(name))
            found.append(Stage(f"predict tracks {title} with {name}", command, path, inputs))
        command = script_command(
            "evaluate",
            reference=measured,
            tracks=",".join(f"{name}={path}" for name, path in predicted.items()),
            **deep | {"input": uri},
            chromosomes=",".join(names.test),
            tune_chromosomes=",".join(names.train),
            output=setting.report(fraction),
        )
        inputs = (uri.partition("::")[0], measured, *predicted.values())
        last = os.path.join(setting.report(fraction), f"{names.test[-1]}.png")
        found.append(Stage(f"compare them {title}", command, last, inputs))
    return found


def _runs(setting: Setting) -> list[tuple[str, str, int]]:
    """Fine-tuning runs: name in the workdir, kind, seed."""
    return [
        (f"{kind}_{index + 1}" if index else kind, kind, 888 + index)
        for index in range(setting.seeds)
        for kind in KINDS
    ]


def _training(setting: Setting, tiles: str) -> list[Stage]:
    run = functools.partial(training_stage, setting, tiles)
    size = f"--config.model.input_size={WINDOW},{WINDOW}"
    steps = ("--config.train.total_steps=300", "--config.log.eval_every_steps=100")
    found = [run("pretrain", "pretrain_arabidopsis.py:demo", "pretrain", size, *steps)]
    for name, kind, seed in _runs(setting):
        variant = kind if kind == "convolutions" else "demo"
        title = f"fine-tune, {kind}, seed {seed}"
        config, flags = f"finetune_track.py:{variant}", f"--config.train.seed={seed}"
        found.append(run(title, config, name, flags, start=KINDS[kind]))
    return found


def track_table(setting: Setting) -> str:
    """Mean Pearson correlation over the tracks by chromosome and depth, with standard errors over seeds."""
    lines = [
        f"Mean Pearson r over the tracks on {', '.join(setting.chromosomes.test)}, not used for training "
        "or tuning:"
    ]
    for fraction in setting.fractions:
        scores = _read_scores(os.path.join(setting.report(fraction), TABLE_OF_SCORES))
        lines += [
            "",
            f"{'1/' + depth_name(fraction):26}" + "".join(f"{c:>18}" for c in setting.chromosomes.test),
        ]
        for kind, names in _by_kind(setting, scores).items():
            texts = []
            for chrom in setting.chromosomes.test:
                texts.append(_mean_and_error([scores[name, chrom] for name in names]))
            lines.append(f"{kind:26}" + "".join(f"{text:>18}" for text in texts))
    return "\n".join(lines)


def _read_scores(path: str) -> dict[tuple[str, str], float]:
    """Mean correlation of all tracks, by prediction and chromosome."""
    names = ["prediction", "chromosome"]
    # Chromosomes may be called 1, or NA.
    table = pd.read_csv(path, dtype=dict.fromkeys(names, str), keep_default_na=False, na_values=[""])
    return table.groupby(names, sort=False).pearson.mean().to_dict()


def _by_kind(setting: Setting, scores: Mapping[tuple[str, str], float]) -> dict[str, list[str]]:
    """Names of the predictions that are of one kind, runs before baselines."""
    kinds: dict[str, list[str]] = {}
    for name, kind, _ in _runs(setting):
        kinds.setdefault(kind, []).append(name)
    ours = [name for names in kinds.values() for name in names]
    return kinds | {name: [name] for name, _ in scores if name not in ours}


def _mean_and_error(values: Sequence[float]) -> str:
    if len(values) < 2:
        return f"{values[0]:.3f}"
    return f"{np.mean(values):.3f} ± {np.std(values, ddof=1) / len(values) ** 0.5:.3f}"
