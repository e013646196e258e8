"""Commands of the documentation: extracted, and checked in this process."""

import functools
import json
import pathlib
import re
import runpy
import shlex
import sys
from collections.abc import Sequence
from typing import Any
from unittest import mock

from absl import flags
from absl.testing import flagsaver

from hicfm_jax.cli import define_shared_flags, last_of_settings, named
from hicfm_jax.config import base_config, micro_batch_size
from hicfm_jax.programs import PROGRAMS
from hicfm_jax.train.tasks import check_config

ROOT = pathlib.Path(__file__).resolve().parents[1]
PAGES = [
    *("README.md", "BUILD.md", "CONTRIBUTING.md"),
    *sorted(page.relative_to(ROOT).as_posix() for page in (ROOT / "docs").rglob("*.md")),
]
BLOCK = re.compile(r"^ *```(?:bash|sh)\n(.*?)^ *```", flags=re.DOTALL | re.MULTILINE)
PLACEHOLDER = re.compile(r"\[[A-Z]+\]")  # [OPTIONS] stands for flags that the page lists


def commands_of(name: str) -> list[list[str]]:
    """Shell lines of a file, split into words, without comments; continuation lines are joined.

    Args:
      name: path from the root. Commands are the code blocks of a page marked bash or sh, the lines of a
        notebook that begin with `!`, or all lines of any other file.
    """
    text = (ROOT / name).read_text()
    if name.endswith(".md"):
        text = "\n".join(BLOCK.findall(text))
    elif name.endswith(".ipynb"):
        cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
        code = "\n".join("".join(cell["source"]) for cell in cells).replace("\\\n", " ")
        text = "\n".join(line[1:] for line in code.splitlines() if line.startswith("!"))
    lines = text.replace("\\\n", " ").splitlines()
    return [words for words in (shlex.split(line, comments=True) for line in lines) if words]


def values_of(words: list[str]) -> dict[str, str]:
    """Values of a command's flags by name; the last of a repeated flag."""
    return dict(word[2:].split("=", 1) for word in words if word.startswith("--") and "=" in word)


def check_command(words: list[str], extras: set[str]) -> None:
    """Fails if a target of make or an extra does not exist, or a script would not take its flags.

    Args:
      words: one command.
      extras: those of setup.py.
    """
    if words[0] == "make":
        makefile = (ROOT / "Makefile").read_text()
        for target in (word for word in words[1:] if "=" not in word):
            assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), f"make {target}"
    if "install" in words:
        check_extras(" ".join(words), extras)
    words = [word for word in words if not PLACEHOLDER.fullmatch(word)]
    scripts = [word for word in words if word.startswith("scripts/")]
    if scripts:
        _parse(words[words.index(scripts[0]) :])
    elif words and words[0] == "hicfm" and words[1:] != ["--help"]:
        program = PROGRAMS[words[1]]
        if words[2:] == ["--help"]:
            return
        _parse([f"scripts/{program.module}.py", *program.defaults, *words[2:]], program.positional)


def check_extras(text: str, extras: set[str]) -> None:
    """Fails if `.[NAME,...]` in the text names an unknown extra."""
    for listed in re.findall(r"\.\[([\w,]+)\]", text):
        assert set(listed.split(",")) <= extras, f"not an extra of setup.py: .[{listed}]"


def check_config_fields(name: str) -> None:
    """Fails if the text of a file names a config field that does not exist; FIELD stands for any."""
    for path in re.findall(r"--config\.([a-z][\w.]+\w)", (ROOT / name).read_text()):
        field = base_config()
        for part in path.split("."):
            assert part in field, f"{name} names --config.{path}"
            field = field[part]


def _parse(words: list[str], positional: Sequence[str] = ()) -> None:
    """Parses the words with the script's own flags and validates its config, without running it."""
    with flagsaver.flagsaver(), mock.patch.object(sys, "argv", words):
        for name, (flag, unparsed) in flags_of(words[0]).items():
            flag.__dict__.update(unparsed)
            flags.FLAGS[name] = flag
        words[1:] = last_of_settings(named(words[1:], positional))
        sys.argv = words
        rest = flags.FLAGS(words)
        assert rest == words[:1], f"{rest} are not flags"
        if "config" in flags.FLAGS and flags.FLAGS.config:
            check_config(flags.FLAGS.config)
            processes = int(values_of(words).get("processes", 1))
            assert micro_batch_size(flags.FLAGS.config) % processes == 0, (
                "the batch cannot be divided by the processes"
            )


_DEFINING = ("<run_path>", "hicfm_jax.cli", "hicfm_jax.contacts.reading_flags")


@functools.cache
def flags_of(path: str) -> dict[str, tuple[flags.Flag, dict[str, Any]]]:
    """A script's flags and their attributes before parsing, which are removed from `FLAGS`."""
    with mock.patch.object(sys, "argv", [path]):
        module = pathlib.Path(path).stem
        if (ROOT / f"hicfm_jax/programs/{module}.py").exists():
            define_shared_flags(replaces=True)
            path = f"hicfm_jax/programs/{module}.py"
        runpy.run_path(str(ROOT / path))
    # Not the flags of libraries that it was the first to import.
    own = [name for name in flags.FLAGS if flags.FLAGS.find_module_defining_flag(name) in _DEFINING]
    defined = {name: (flags.FLAGS[name], dict(vars(flags.FLAGS[name]))) for name in own}
    for name in own:
        delattr(flags.FLAGS, name)
    return defined
