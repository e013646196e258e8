"""The stages of the experiment, each a command that could be typed by hand."""

import dataclasses
import os

from hicfm_jax.errors import InputError
from hicfm_jax.experiment.chromosomes import Chromosomes

WINDOW = 224
"""Side of the enhancing networks' windows, in bins."""

_PRETRAINING = {"": "one_gpu", "demo": "demo"}


@dataclasses.dataclass(frozen=True)
class Setting:
    """What an experiment is about.

    Attributes:
      workdir: where everything goes.
      deep: URI of the deep map.
      resolution: bp.
      contacts: of the deep map.
      chromosomes: of training, validation and judgement.
      fractions: of the contacts that the shallow maps keep.
      variant: of the configs: "demo" for two CPU cores, "" for ViT-L on a GPU.
      seeds: fine-tuning runs from pretraining, and as many from scratch.
      weights: file of the original to compare with, or "".
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
      output: file or folder that is there when it is done.
      resumes: the command itself knows whether it is done, and goes on if not.
    """

    title: str
    command: tuple[str, ...]
    output: str
    resumes: bool = False


def parse_fraction(text: str) -> float:
    """The share that `16` stands for; raises InputError for what is no number above 1."""
    try:
        fold = float(text)
    except ValueError:
        fold = 0.0
    if not 1 < fold < 1e6:
        raise InputError(
            f"fractions has {text!r}: give how many times shallower, such as 16 for a sixteenth."
        )
    return 1 / fold


def depth_name(fraction: float) -> str:
    """`16` for a sixteenth."""
    return f"{1 / fraction:g}"


def simulation(workdir: str) -> tuple[Stage, str]:
    """The stage that makes a deep map where none is given, and the map."""
    path = os.path.join(workdir, "simulated.cool")
    command = ("scripts/simulate_map.py", f"--output={path}", "--resolution=30000", "--contacts=104e6")
    return Stage("simulate a deep map (SIMULATED data, not an experiment)", command, path), path


def stages(setting: Setting) -> list[Stage]:
    """All commands in order; later ones read what earlier ones wrote."""
    return [*_prepare(setting), *_train(setting), *_enhance(setting), *_judge(setting)]


def _place(setting: Setting, *parts: str) -> str:
    return os.path.join(setting.workdir, *parts)


def _prepare(setting: Setting) -> list[Stage]:
    tiles, names = _place(setting, "tiles"), setting.chromosomes
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
    found = [Stage("cut the deep map into tiles", cut, tiles)]
    for fraction in setting.fractions:
        path = _shallow(setting, fraction)
        command = (
            "scripts/thin_map.py",
            f"--input={setting.deep}",
            f"--resolution={setting.resolution}",
            f"--fraction={fraction!r}",
            f"--output={path}",
        )
        found.append(Stage(f"thin it to 1/{depth_name(fraction)}", command, path))
    return found


def _shallow(setting: Setting, fraction: float) -> str:
    return _place(setting, f"shallow_{depth_name(fraction)}.cool")


def _networks(setting: Setting) -> dict[str, tuple[str, int]]:
    """Workdir names of the fine-tuned networks -> where they start ("" for scratch), seed."""
    found = {}
    for index in range(setting.seeds):
        suffix = f"_{index + 1}" if index else ""
        found[f"enhance{suffix}"] = ("pretrain", 888 + index)
        found[f"scratch{suffix}"] = ("", 888 + index)
    return found


def _train(setting: Setting) -> list[Stage]:
    tiles = f"--config.data.tiles={_place(setting, 'tiles')}"

    def training(title, config, name, *more):
        workdir = _place(setting, name)
        command = ("scripts/train.py", f"--config={config}", tiles, *more, *setting.options)
        return Stage(title, (*command, f"--workdir={workdir}"), os.path.join(workdir, "checkpoints"), True)

    pretraining = f"configs/pretrain_arabidopsis.py:{_PRETRAINING[setting.variant]}"
    # The demo validates by epochs, which are short over the tiles of one map.
    by_steps = ("--config.log.eval_every_steps=100",) if setting.variant == "demo" else ()
    found = [training("pretrain", pretraining, "pretrain", *by_steps)]
    config = "configs/enhance_arabidopsis.py" + (f":{setting.variant}" if setting.variant else "")
    for name, (start, seed) in _networks(setting).items():
        flags = [f"--config.train.seed={seed}"]
        if start:
            flags.append(f"--config.init_from={_place(setting, start)}")
        title = f"fine-tune from {'our pretraining' if start else 'scratch'}, seed {seed}"
        found.append(training(title, config, name, *flags))
    return found


def _enhanced(setting: Setting, name: str, fraction: float) -> str:
    return _place(setting, f"{name}_{depth_name(fraction)}.mcool")


def _enhance(setting: Setting) -> list[Stage]:
    checkpoints = {name: _place(setting, name) for name in _networks(setting)}
    if setting.weights:
        checkpoints["original"] = setting.weights
    found = []
    for name, checkpoint in checkpoints.items():
        for fraction in setting.fractions:
            output = _enhanced(setting, name, fraction)
            command = (
                "scripts/infer.py",
                "--task=resolution",
                f"--input={_shallow(setting, fraction)}",
                f"--resolution={setting.resolution}",
                f"--checkpoint={checkpoint}",
                f"--output={output}",
                # Ours know it; the original's has a depth of its own, which scores would hold against it.
                f"--target_contacts={setting.contacts:.0f}",
            )
            found.append(Stage(f"enhance 1/{depth_name(fraction)} with {name}", command, output))
    return found


def _judge(setting: Setting) -> list[Stage]:
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
        # Replaced last.
        done = os.path.join(output, "report.png")
        found.append(Stage(f"compare at 1/{depth_name(fraction)}", command, done))
    return found


def report(setting: Setting, fraction: float) -> str:
    """Folder of the report at one depth."""
    return _place(setting, f"report_{depth_name(fraction)}")


SHORTEST = WINDOW + 1
"""Bins that a chromosome needs: a tile overhangs its end by half its side at most."""
