"""Report of a comparison: `metrics.csv`, `report.html`, `report.png`."""

import contextlib
import os
import pathlib

from hicfm_jax.errors import InputError
from hicfm_jax.evaluate.comparison import Comparison
from hicfm_jax.evaluate.report.tables import write_csv
from hicfm_jax.progress import doing
from hicfm_jax.storage import atomic_file, local_path

FILES = ("metrics.csv", "report.html", "report.png")


def check_folder(folder: str | os.PathLike) -> pathlib.Path:
    """The folder to write to, which need not exist; InputError if it cannot be created or written."""
    path = local_path(folder)
    for part in (path, *path.parents):
        if part.exists():
            if not part.is_dir():
                raise InputError(f"{part} is a file: give a folder for the report.")
            if not os.access(part, os.W_OK):
                raise InputError(f"{part} is not writable: give another folder for the report.")
            break
    return path


def write_report(comparison: Comparison, folder: str | os.PathLike) -> list[pathlib.Path]:
    """Writes `FILES`, all of them complete or none; older ones are replaced.

    Returns:
      Their paths.

    Raises:
      InputError: the folder cannot be created or written.
      OSError: the disk is full or not writable.
    """
    # Comparing works without matplotlib.
    from hicfm_jax.evaluate.report import figures
    from hicfm_jax.evaluate.report.html import render

    target = check_folder(folder)
    target.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        stack.enter_context(doing("Drawing the report"))
        table, page, picture = (stack.enter_context(atomic_file(target / name)) for name in FILES)
        write_csv(comparison, table)
        page.write_text(render(comparison), encoding="utf-8")
        picture.write_bytes(figures.png(figures.draw_for_talk(comparison)))
    return [target / name for name in FILES]
