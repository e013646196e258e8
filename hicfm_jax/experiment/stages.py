"""The stages of an experiment: its chromosomes and its commands."""

import contextlib
import dataclasses
import functools
import os
from collections.abc import Sequence
from typing import NamedTuple

from hicfm_jax.contacts import ContactMap
from hicfm_jax.errors import InputError

WINDOW = 224  # side of the enhancing networks' windows, in bins
SHORTEST = WINDOW + 1  # bins that a chromosome needs: a tile overhangs its end by half its side at most
CHECKPOINTS = "checkpoints"  # folder of a training run


class Chromosomes(NamedTuple):
    """Names by use. No chromosome has two uses."""

    train: list[str]
    val: list[str]
    test: list[str]


def choose_chromosomes(
    contact_map: ContactMap, bins: int, val: Sequence[str] = (), test: Sequence[str] = ()
) -> Chromosomes:
    """Splits a genome for an experiment on chromosomes of at least `bins` bins.

    By default the two shortest are for testing (one of three or four) and the second longest is for
    validation, so that most of the genome is for training: for *Arabidopsis thaliana* Chr2 and Chr4, and
    Chr5. Too few chromosomes of that length, an unknown one, or one with two uses raise InputError.
    """
    val, test = (contact_map.find_chromosomes(names) for names in (val, test))
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


def parse_fraction(text: str) -> float:
    """1/16 for `16`; raises InputError for anything but a number above 1."""
    with contextlib.suppress(ValueError):
        if 1 < float(text) < 1e6:
            return 1 / float(text)
    raise InputError(f"fractions has {text!r}, expected a factor above 1: give 16 for a sixteenth.")


def depth_name(fraction: float) -> str:
    """`16` for a sixteenth."""
    return f"{1 / fraction:g}"


@dataclasses.dataclass(frozen=True)
class Setting:
    """The choices of an experiment."""

    workdir: str  # folder of all results
    deep: str  # URI of the deep map
    resolution: int  # bp
    contacts: float  # of the deep map
    chromosomes: Chromosomes
    fractions: tuple[float, ...] = (1 / 16, 1 / 64, 1 / 256)  # of the contacts that the shallow maps keep
    variant: str = "demo"  # of the configs: "demo" for two CPU cores, "" for ViT-L on a GPU
    seeds: int = 1  # number of fine-tuning runs from pretraining, and of runs from scratch
    weights: str = ""  # checkpoint file of the original to compare with
    options: tuple[str, ...] = ()  # further flags of every training run

    def path(self, *names: str) -> str:
        """Of a file or folder in the workdir."""
        return os.path.join(self.workdir, *names)

    def report(self, fraction: float) -> str:
        """Folder of the report at one depth."""
        return self.path(f"report_{depth_name(fraction)}")


@dataclasses.dataclass(frozen=True)
class Stage:
    """One command."""

    title: str
    command: tuple[str, ...]  # script and flags
    output: str  # file or folder that exists when the command has succeeded
    inputs: tuple[str, ...] = ()  # files and folders that it reads
    resumes: bool = False  # the command checks itself whether it is finished, and continues if not


def simulation(workdir: str) -> Stage:
    """The stage that simulates a deep map where none is given."""
    path = os.path.join(workdir, "simulated.cool")
    command = script_command("simulate_map", output=path, resolution=30_000, contacts="104e6")
    return Stage("simulate a deep map (SIMULATED data, not an experiment)", command, path)


def binning(workdir: str, deep: str, resolution: int | None, chromsizes: str) -> Stage:
    """The stage that bins a list of contacts, on chromosomes of lengths that it does not hold."""
    path, choices = os.path.join(workdir, "deep.cool"), {"input": deep, "chromsizes": chromsizes}
    choices |= {"resolution": resolution} if resolution else {}
    command = script_command("thin_map", **choices, fraction=1, output=path)
    return Stage("bin the list of contacts", command, path, (deep, chromsizes))


def stages(setting: Setting) -> list[Stage]:
    """All commands in order; later ones read the outputs of earlier ones."""
    deep, names = {"input": setting.deep, "resolution": setting.resolution}, setting.chromosomes
    source, tiles = setting.deep.partition("::")[0], setting.path("tiles")
    cut = script_command(
        "make_tiles",
        **deep | {"input": f"deep={setting.deep}"},
        mode="diagonal",
        # Twice a window's side: every offset up to a window's side is drawn.
        tile_size=2 * WINDOW,
        stride=48,
        val_chromosomes=",".join(names.val),
        test_chromosomes=",".join(names.test),
        output=tiles,
    )
    found = [Stage("cut the deep map into tiles", cut, tiles, (source,))]
    shallow = {each: setting.path(f"shallow_{depth_name(each)}.cool") for each in setting.fractions}
    for fraction, path in shallow.items():
        command = script_command("thin_map", **deep, fraction=fraction, output=path)
        found.append(Stage(f"downsample it to 1/{depth_name(fraction)}", command, path, (source,)))

    found += _training(setting, tiles)
    networks = {name: setting.path(name) for name, *_ in _runs(setting)}
    if setting.weights:
        networks["original"] = setting.weights
    enhanced = {
        (name, each): setting.path(f"{name}_{depth_name(each)}.mcool")
        for name in networks
        for each in shallow
    }
    for (name, fraction), path in enhanced.items():
        command = script_command(
            "infer",
            task="resolution",
            **deep | {"input": shallow[fraction]},
            checkpoint=networks[name],
            output=path,
            # Ours know it. The original's outputs have another depth, which would lower its scores.
            target_contacts=f"{setting.contacts:.0f}",
        )
        title = f"enhance 1/{depth_name(fraction)} with {name}"
        found.append(Stage(title, command, path, (shallow[fraction], networks[name])))

    for fraction in setting.fractions:
        maps = {name: enhanced[name, fraction] for name in networks}
        uris = [f"{name}={path}::/resolutions/{setting.resolution}" for name, path in maps.items()]
        command = script_command(
            "evaluate",
            reference=setting.deep,
            resolution=setting.resolution,
            maps=",".join([f"input={shallow[fraction]}", *uris]),
            chromosomes=",".join(names.test),
            baselines_of="input",
            tune_chromosomes=",".join(names.train),
            output=setting.report(fraction),
        )
        last = os.path.join(setting.report(fraction), "report.png")  # the last of its files to be written
        inputs = (source, shallow[fraction], *maps.values())
        found.append(Stage(f"compare at 1/{depth_name(fraction)}", command, last, inputs))
    return found


def _runs(setting: Setting) -> list[tuple[str, str, int]]:
    """Fine-tuning runs: name in the workdir, name of their start ("" for scratch), seed."""
    found = []
    for index in range(setting.seeds):
        suffix, seed = f"_{index + 1}" if index else "", 888 + index
        found += [(f"enhance{suffix}", "pretrain", seed), (f"scratch{suffix}", "", seed)]
    return found


def _training(setting: Setting, tiles: str) -> list[Stage]:
    demo = setting.variant == "demo"

    run = functools.partial(training_stage, setting, tiles)
    # The demo validates by epochs, which are short over the tiles of one map.
    by_steps = ["--config.log.eval_every_steps=100"] if demo else []
    found = [
        run("pretrain", f"pretrain_arabidopsis.py:{'demo' if demo else 'one_gpu'}", "pretrain", *by_steps)
    ]
    config = "enhance_arabidopsis.py" + (f":{setting.variant}" if setting.variant else "")
    for name, start, seed in _runs(setting):
        title = f"fine-tune from {'our pretraining' if start else 'scratch'}, seed {seed}"
        found.append(run(title, config, name, f"--config.train.seed={seed}", start=start))
    return found


def training_stage(
    setting: Setting, tiles: str, title: str, config: str, name: str, *flags: str, start: str = ""
) -> Stage:
    """A run of `train.py` in the folder `name`, from the checkpoint of the run `start` if there is one."""
    command = ("scripts/train.py", f"--config=configs/{config}", f"--config.data.tiles={tiles}", *flags)
    inputs = (tiles,)
    if start:
        inputs += (setting.path(start),)
        command += (f"--config.init_from={setting.path(start)}",)
    command += (*setting.options, f"--workdir={setting.path(name)}")
    return Stage(title, command, setting.path(name, CHECKPOINTS), inputs, resumes=True)


def script_command(script: str, **flags: object) -> tuple[str, ...]:
    """A script of this project and its flags."""
    return (f"scripts/{script}.py", *(f"--{name}={value}" for name, value in flags.items()))
