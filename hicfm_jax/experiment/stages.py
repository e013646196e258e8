"""The stages of an experiment: its chromosomes and its commands."""

import dataclasses
import os
from collections.abc import Sequence
from typing import NamedTuple

from hicfm_jax.contacts import ContactMap
from hicfm_jax.errors import InputError

WINDOW = 224
"""Side of the enhancing networks' windows, in bins."""

SHORTEST = WINDOW + 1
"""Bins that a chromosome needs: a tile overhangs its end by half its side at most."""

CHECKPOINTS = "checkpoints"
"""Folder of a training run that its results lie in."""

_PRETRAINING = {"": "one_gpu", "demo": "demo"}


class Chromosomes(NamedTuple):
    """Names by use. No chromosome has two uses."""

    train: list[str]
    val: list[str]
    test: list[str]


def choose_chromosomes(
    contact_map: ContactMap, bins: int, val: Sequence[str] = (), test: Sequence[str] = ()
) -> Chromosomes:
    """Splits a genome for an experiment.

    By default the two shortest chromosomes are for testing (one of three or four) and the second longest is
    for validation, so that most of the genome is for training. For *Arabidopsis thaliana* these are Chr2
    and Chr4, and Chr5.

    Args:
      contact_map: the deep map.
      bins: shortest usable length.
      val, test: the user's choice.

    Raises:
      InputError: too few chromosomes of that length, an unknown one, or one with two uses.
    """
    val, test = ([contact_map.find_chromosome(name) for name in names] for names in (val, test))
    for name in val + test:
        if contact_map.n_bins(name) < bins:
            raise InputError(
                f"{name} has {contact_map.n_bins(name)} bins at {contact_map.resolution} bp, expected {bins} "
                "or more: name longer chromosomes or give a finer resolution."
            )
    long_enough = [name for name in contact_map.chromsizes if contact_map.n_bins(name) >= bins]
    by_length = sorted(long_enough, key=contact_map.chromsizes.get)
    if not test:
        test = [name for name in by_length if name not in val][: 2 if len(by_length) > 4 else 1]
    if not val:
        val = [name for name in by_length if name not in test][-2:][:1]
    train = [name for name in long_enough if name not in val + test]
    twice = sorted(set(val) & set(test))
    if twice:
        raise InputError(f"{twice[0]} is both for validation and for testing: name different chromosomes.")
    if not (train and val and test):
        raise InputError(
            f"{contact_map.name} has {len(long_enough)} chromosomes of {bins} bins or more at "
            f"{contact_map.resolution} bp, expected one each for training, validation and testing: give a "
            "finer resolution or another map."
        )
    in_order = list(contact_map.chromsizes)
    return Chromosomes(*(sorted(names, key=in_order.index) for names in (train, val, test)))


@dataclasses.dataclass(frozen=True)
class Setting:
    """The choices of an experiment.

    Attributes:
      workdir: folder of all results.
      deep: URI of the deep map.
      resolution: bp.
      contacts: of the deep map.
      chromosomes: for training, validation and testing.
      fractions: of the contacts that the shallow maps keep.
      variant: of the configs: "demo" for two CPU cores, "" for ViT-L on a GPU.
      seeds: number of fine-tuning runs from pretraining, and of runs from scratch.
      weights: checkpoint file of the original to compare with, or "".
      options: further flags of every training run.
    """

    workdir: str
    deep: str
    resolution: int
    contacts: float
    chromosomes: Chromosomes
    fractions: tuple[float, ...] = (1 / 16, 1 / 64, 1 / 256)
    variant: str = "demo"
    seeds: int = 1
    weights: str = ""
    options: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Stage:
    """One command.

    Attributes:
      title: what it does.
      command: script and flags.
      output: file or folder that exists when the command has succeeded.
      inputs: files and folders that it reads.
      resumes: the command checks itself whether it is finished, and continues if not.
    """

    title: str
    command: tuple[str, ...]
    output: str
    inputs: tuple[str, ...] = ()
    resumes: bool = False


def parse_fraction(text: str) -> float:
    """1/16 for `16`; raises InputError for anything but a number above 1."""
    try:
        fold = float(text)
    except ValueError:
        fold = 0.0
    if not 1 < fold < 1e6:
        raise InputError(
            f"fractions has {text!r}, expected how many times shallower: give 16 for a sixteenth."
        )
    return 1 / fold


def depth_name(fraction: float) -> str:
    """`16` for a sixteenth."""
    return f"{1 / fraction:g}"


def simulation(workdir: str) -> tuple[Stage, str]:
    """The stage that simulates a deep map where none is given, and the path of the map."""
    path = os.path.join(workdir, "simulated.cool")
    command = ("scripts/simulate_map.py", f"--output={path}", "--resolution=30000", "--contacts=104e6")
    return Stage("simulate a deep map (SIMULATED data, not an experiment)", command, path), path


def stages(setting: Setting) -> list[Stage]:
    """All commands in order; later ones read the outputs of earlier ones."""
    return [*_prepare(setting), *_train(setting), *_enhance(setting), *_evaluate(setting)]


def report(setting: Setting, fraction: float) -> str:
    """Folder of the report at one depth."""
    return _place(setting, f"report_{depth_name(fraction)}")


def _place(setting: Setting, *parts: str) -> str:
    return os.path.join(setting.workdir, *parts)


def _shallow(setting: Setting, fraction: float) -> str:
    return _place(setting, f"shallow_{depth_name(fraction)}.cool")


def _enhanced(setting: Setting, name: str, fraction: float) -> str:
    return _place(setting, f"{name}_{depth_name(fraction)}.mcool")


def _file(uri: str) -> str:
    return uri.partition("::")[0]


def _prepare(setting: Setting) -> list[Stage]:
    tiles, names, deep = _place(setting, "tiles"), setting.chromosomes, (_file(setting.deep),)
    cut = (
        "scripts/make_tiles.py",
        f"--input=deep={setting.deep}",
        f"--resolution={setting.resolution}",
        "--mode=diagonal",
        # Twice a window's side: every offset up to a window's side is drawn.
        f"--tile_size={2 * WINDOW}",
        "--stride=48",
        f"--val_chromosomes={','.join(names.val)}",
        f"--test_chromosomes={','.join(names.test)}",
        f"--output={tiles}",
    )
    found = [Stage("cut the deep map into tiles", cut, tiles, deep)]
    for fraction in setting.fractions:
        path = _shallow(setting, fraction)
        command = (
            "scripts/thin_map.py",
            f"--input={setting.deep}",
            f"--resolution={setting.resolution}",
            f"--fraction={fraction!r}",
            f"--output={path}",
        )
        found.append(Stage(f"downsample it to 1/{depth_name(fraction)}", command, path, deep))
    return found


def _networks(setting: Setting) -> dict[str, tuple[str, int]]:
    """Workdir names of the fine-tuned networks -> name of their start ("" for scratch), seed."""
    found = {}
    for index in range(setting.seeds):
        suffix = f"_{index + 1}" if index else ""
        found[f"enhance{suffix}"] = ("pretrain", 888 + index)
        found[f"scratch{suffix}"] = ("", 888 + index)
    return found


def _train(setting: Setting) -> list[Stage]:
    tiles = _place(setting, "tiles")

    def training(title, config, name, *more, start=""):
        workdir = _place(setting, name)
        command = ("scripts/train.py", f"--config={config}", f"--config.data.tiles={tiles}", *more)
        command += (*setting.options, f"--workdir={workdir}")
        inputs = (tiles, start) if start else (tiles,)
        return Stage(title, command, os.path.join(workdir, CHECKPOINTS), inputs, resumes=True)

    pretraining = f"configs/pretrain_arabidopsis.py:{_PRETRAINING[setting.variant]}"
    # The demo validates by epochs, which are short over the tiles of one map.
    by_steps = ("--config.log.eval_every_steps=100",) if setting.variant == "demo" else ()
    found = [training("pretrain", pretraining, "pretrain", *by_steps)]
    config = "configs/enhance_arabidopsis.py" + (f":{setting.variant}" if setting.variant else "")
    for name, (start, seed) in _networks(setting).items():
        flags = [f"--config.train.seed={seed}"]
        if start:
            start = _place(setting, start)
            flags.append(f"--config.init_from={start}")
        title = f"fine-tune from {'our pretraining' if start else 'scratch'}, seed {seed}"
        found.append(training(title, config, name, *flags, start=start))
    return found


def _enhance(setting: Setting) -> list[Stage]:
    checkpoints = {name: _place(setting, name) for name in _networks(setting)}
    if setting.weights:
        checkpoints["original"] = setting.weights
    found = []
    for name, checkpoint in checkpoints.items():
        for fraction in setting.fractions:
            shallow, output = _shallow(setting, fraction), _enhanced(setting, name, fraction)
            command = (
                "scripts/infer.py",
                "--task=resolution",
                f"--input={shallow}",
                f"--resolution={setting.resolution}",
                f"--checkpoint={checkpoint}",
                f"--output={output}",
                # Ours know it. The original's outputs have another depth, which would lower its scores.
                f"--target_contacts={setting.contacts:.0f}",
            )
            title = f"enhance 1/{depth_name(fraction)} with {name}"
            found.append(Stage(title, command, output, (shallow, checkpoint)))
    return found


def _evaluate(setting: Setting) -> list[Stage]:
    names = [*_networks(setting), *(["original"] if setting.weights else [])]
    found = []
    for fraction in setting.fractions:
        maps = {"input": _shallow(setting, fraction)}
        maps |= {
            name: f"{_enhanced(setting, name, fraction)}::/resolutions/{setting.resolution}" for name in names
        }
        output = report(setting, fraction)
        command = (
            "scripts/evaluate.py",
            f"--reference={setting.deep}",
            f"--resolution={setting.resolution}",
            f"--maps={','.join(f'{name}={uri}' for name, uri in maps.items())}",
            f"--chromosomes={','.join(setting.chromosomes.test)}",
            "--baselines_of=input",
            f"--tune_chromosomes={','.join(setting.chromosomes.train)}",
            f"--output={output}",
        )
        inputs = tuple(map(_file, (setting.deep, *maps.values())))
        last = os.path.join(output, "report.png")  # the last of its files to be written
        found.append(Stage(f"compare at 1/{depth_name(fraction)}", command, last, inputs))
    return found
