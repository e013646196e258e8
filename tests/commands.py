"""The commands that pages and what else is handed out tell people to run, and what is checked of them."""

import json
import pathlib
import re
import runpy
import shlex
import sys
from unittest import mock

from absl import flags
from absl.testing import flagsaver

from hicfm_jax.config import base_config, micro_batch_size, validate

ROOT = pathlib.Path(__file__).resolve().parents[1]
PAGES = [
    *("README.md", "BUILD.md", "CONTRIBUTING.md"),
    *sorted(page.relative_to(ROOT).as_posix() for page in (ROOT / "docs").rglob("*.md")),
]
BLOCK = re.compile(r"^ *```(?:bash|sh)\n(.*?)^ *```", flags=re.DOTALL | re.MULTILINE)
PLACEHOLDER = re.compile(r"\[[A-Z]+\]")  # [OPTIONS] stands for flags that the page lists


def commands_of(name: str) -> list[list[str]]:
    """The shell lines of a file, split into words: continuation lines joined, comments dropped.

    Args:
      name: from the root. Of a page the code blocks marked bash or sh count, of a notebook the lines that
        begin with `!`, of anything else all lines.
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
    """What a command gives to its flags, by their names; of a flag given again the last."""
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
    scripts = [word for word in words if word.startswith("scripts/")]
    if scripts:
        _parse([word for word in words[words.index(scripts[0]) :] if not PLACEHOLDER.fullmatch(word)])


def check_extras(text: str, extras: set[str]) -> None:
    """Fails if `.[NAME,...]` in the text names what is no extra."""
    for named in re.findall(r"\.\[([\w,]+)\]", text):
        assert set(named.split(",")) <= extras, f"no extra of setup.py: .[{named}]"


def check_config_fields(name: str) -> None:
    """Fails if a file names a field that no config has, anywhere in its text; FIELD stands for any."""
    for path in re.findall(r"--config\.([a-z][\w.]+\w)", (ROOT / name).read_text()):
        field = base_config()
        for part in path.split("."):
            assert part in field, f"{name} names --config.{path}"
            field = field[part]


def _parse(words: list[str]) -> None:
    """Has the script's own flags read the words, and its config validated, without running it."""
    with flagsaver.flagsaver(), mock.patch.object(sys, "argv", words):
        runpy.run_path(str(ROOT / words[0]))
        rest = flags.FLAGS(words)
        assert rest == words[:1], f"{rest} are no flags"
        if "config" in flags.FLAGS and flags.FLAGS.config:
            validate(flags.FLAGS.config)
            processes = int(values_of(words).get("processes", 1))
            assert micro_batch_size(flags.FLAGS.config) % processes == 0, "a batch that cannot be split"
