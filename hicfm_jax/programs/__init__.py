"""The programs of this project, and the command `hicfm`, which runs each of them."""

import contextlib
import difflib
import os
import pathlib
import re
import runpy
import shutil
import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from absl import flags

from hicfm_jax import cli, interrupts
from hicfm_jax.errors import InputError, OutputExists
from hicfm_jax.progress import doing, shown_steps


class Program(NamedTuple):
    """A command of `hicfm`.

    Attributes:
      module: the file of this folder that it runs, and the script of that name in a checkout.
      text: what it does.
      positional: flags that words without a flag are values of.
      defaults: flags that it adds, unless the user gives them.
      replaces: flag of the output that --force replaces; "" where it replaces it anyway, or continues.
      beside: name of a file that may be written beside the output and is replaced with it.
    """

    module: str
    text: str
    positional: tuple[str, ...] = ("input", "output")
    defaults: tuple[str, ...] = ()
    replaces: str = "output"
    beside: str = ""


PROGRAMS = {
    "enhance": Program("infer", "a deeper map of a shallow one", defaults=("--task=resolution",)),
    "infer": Program(
        "infer",
        "apply a network: loops, tracks, embeddings, single cells, deeper maps",
        beside="{0.stem}.png",
    ),
    "evaluate": Program("evaluate", "compare maps with a deeper one, and write a report", ("maps",), (), ""),
    "certify": Program(
        "certify",
        "judge an enhanced map by reads that were set aside",
        ("enhanced", "fitted", "held_out", "output"),
        replaces="",
    ),
    "compartments": Program("compartments", "eigenvectors of a map, oriented by gene density", replaces=""),
    "tiles": Program("make_tiles", "cut maps into tiles to train on"),
    "pretrain": Program(
        "train", "pretrain a network", ("workdir",), ("--config=pretrain_arabidopsis:demo",), ""
    ),
    "train": Program("train", "pretrain or fine-tune, as a config says", ("config", "workdir"), (), ""),
    "convert": Program("convert_weights", "convert the original's checkpoints, and ours back"),
    "convert-tiles": Program("convert_tiles", "convert the original's tile folders, and ours back"),
    "thin": Program("thin_map", "keep a fraction of the contacts of a map"),
    "simulate": Program(
        "simulate_map", "write a simulated Arabidopsis map", ("output",), beside="{0.name}.bedpe"
    ),
    "experiment": Program(
        "experiment", "train, enhance and compare, from one deep map", ("map", "workdir"), (), ""
    ),
    "info": Program("info", "describe a map, a folder of tiles or a checkpoint", ("file",), (), ""),
}


@cli.until_nobody_reads()
def main() -> None:
    """The command `hicfm NAME ...`."""
    words = sys.argv[1:]
    if words == ["--version"]:
        print(f"hicfm_jax {cli.version()}")
        return
    if words[:1] == ["help"]:
        words = [*words[1:2], "--help"]
    if not words or words[0] in ("-h", "--help"):
        print(_overview())
        sys.exit(0 if words else 2)
    name = cli.COMMANDS.get(words[0], words[0])  # as the scripts are called
    if name not in PROGRAMS:
        near = [known for known, program in PROGRAMS.items() if program.text.startswith(f"{name} ")]
        near += difflib.get_close_matches(name, PROGRAMS, 1)
        hint = f"did you mean {near[0]}?" if near else f"choose one of {', '.join(PROGRAMS)}."
        print(f"error: There is no command {words[0]!r}: {hint}", file=sys.stderr)
        sys.exit(2)
    sys.argv = [f"hicfm {name}", *words[1:]]
    start(name)


def _overview() -> str:
    lines = [f"  {name:14}{program.text}" for name, program in PROGRAMS.items()]
    return "\n".join(
        [
            "usage: hicfm COMMAND [INPUT] [OUTPUT] [--FLAG=VALUE ...]",
            "",
            "Foundation models for Hi-C contact maps of plants.",
            "",
            "  hicfm info leaf.mcool",
            "  hicfm enhance shallow.mcool deep.mcool --resolution=10000",
            "  hicfm evaluate deep.mcool --reference=leaf.mcool --output=report",
            "",
            "Commands:",
            *lines,
            "",
            "hicfm COMMAND --help lists the flags of each. hicfm --version tells the version.",
        ]
    )


@cli.until_nobody_reads()
def start(name: str) -> None:
    """Runs a program with the flags of `sys.argv`, to its exit status.

    Args:
      name: a key of `PROGRAMS`.
    """
    program, words = PROGRAMS[name], _spelled(sys.argv[1:])
    if "--version" in words:
        print(f"hicfm_jax {cli.version()}")
        return
    given = {word.split("=")[0] for word in words}
    added = [flag for flag in program.defaults if flag.split("=")[0] not in given]
    sys.argv[1:] = [*added, *words]
    if cores := re.search(r"--?nproc[= ](\d+)", " ".join(words)):
        _use_cores(int(cores[1]))
    with interrupts.watched(), shown_steps(quiet="--quiet" in words):
        cli.define_shared_flags(bool(program.replaces))
        with doing("Starting"):
            # Not imported: flags are defined anew, as `absl` wants them, for the program of `sys.argv`.
            inside = runpy.run_module(f"{__name__}.{program.module}", run_name="__main__")

        def guarded() -> None:
            with _replacing(program.replaces, program.beside):
                inside["main"]()

        cli.run(guarded, inside["__doc__"], program.positional, inside.get("GROUPS"))


def _spelled(words: Sequence[str]) -> list[str]:
    """`-p4` and `-p 4` as `--nproc=4`."""
    return [re.sub(r"^-p=?(\d*)$", lambda found: f"--nproc={found[1]}".rstrip("="), word) for word in words]


def _use_cores(number: int) -> None:
    """Keeps this process, its threads and children on so many cores, before a library counts them."""
    if number and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:number])


@contextlib.contextmanager
def _replacing(flag: str, beside: str) -> Iterator[None]:
    """With --force, an output that exists, and what belongs to it, is set aside until it is written anew."""
    path = pathlib.Path(flags.FLAGS[flag].value or "") if flag and flags.FLAGS.force else None
    if path is None or not flags.FLAGS[flag].value or not os.path.lexists(path):
        try:
            yield
        except OutputExists as error:
            output = pathlib.Path(str(flags.FLAGS[flag].value)) if flag else None
            if output is None or output.resolve() != pathlib.Path(error.path).resolve():
                raise  # a file beside it, which --force would leave
            raise InputError(f"{error.fact}: choose another name, or --force to replace it.") from error
        return
    if not path.name:
        raise InputError(f"--force cannot replace the folder {path}: give the name of another output.")
    with contextlib.ExitStack() as stack:
        stack.enter_context(_set_aside(path, flag))
        if beside and (file := path.with_name(beside.format(path))).is_file():
            stack.enter_context(_set_aside(file, flag))
        yield


@contextlib.contextmanager
def _set_aside(path: pathlib.Path, flag: str) -> Iterator[None]:
    """Renames a file or folder to NAME.old, which comes back unless a new one was written."""
    old = path.with_name(f"{path.name}.old")
    for name in flags.FLAGS:
        values = flags.FLAGS[name].value if name != flag else None
        for value in values if isinstance(values, list) else [values]:
            file = str(value).rpartition("=")[2].partition("::")[0]
            if os.path.exists(file) and os.path.samefile(file, path):
                raise InputError(f"--force would remove {path}, which is also --{name}: give another output.")
    if os.path.lexists(old) or path.resolve() in (pathlib.Path.cwd(), *pathlib.Path.cwd().parents):
        raise InputError(f"--force cannot set {path} aside as {old}: remove one of them.")
    path.rename(old)
    failed = True
    try:
        yield
        failed = False
    finally:
        if not os.path.lexists(path):
            old.rename(path)
        elif not failed:
            shutil.rmtree(old) if old.is_dir() and not old.is_symlink() else old.unlink()
