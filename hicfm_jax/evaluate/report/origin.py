"""How a report was made: version, date, command, checksums of the input."""

import datetime
import hashlib
import html
import os
import pathlib
import shlex
import sys
from collections.abc import Mapping

from hicfm_jax.cli import version
from hicfm_jax.evaluate.report.tables import html_table
from hicfm_jax.progress import doing


def describe_origin(files: Mapping[str, str | os.PathLike]) -> list[str]:
    """HTML of version, date, command, and the SHA-256 of each input.

    Args:
      files: URIs of the input by the name of their part in the report.
    """
    program = pathlib.Path(sys.argv[0])
    by_command = program.parent.name == "scripts" or program.name.startswith("hicfm ")
    command = f"{program.name} {shlex.join(sys.argv[1:])}" if by_command else "Made from Python."
    now = datetime.datetime.now(datetime.UTC)
    parts = [
        "<h2>How this page was made</h2>",
        f'<p class="about">hicfm_jax {html.escape(version())}, {now:%Y-%m-%d %H:%M} UTC</p>',
        f"<pre>{html.escape(command)}</pre>",
    ]
    paths = {name: pathlib.Path(os.fspath(uri).partition("::")[0]) for name, uri in files.items()}
    with doing("Computing checksums"):
        rows = [
            [html.escape(name), html.escape(path.name), f"{path.stat().st_size:,}", _sha256(path)]
            for name, path in paths.items()
            if path.is_file()
        ]
    if rows:
        parts.append(html_table(["", "file", "bytes", "SHA-256"], rows))
    return parts


def _sha256(path: pathlib.Path) -> str:
    with open(path, "rb") as file:
        return f"<code>{hashlib.file_digest(file, 'sha256').hexdigest()}</code>"
