"""The folder NAME.partial of a build under way: its lock, what it was begun with, finished pieces."""

import contextlib
import fcntl
import json
import pathlib
import shutil
from collections.abc import Iterator

from hicfm_jax.errors import InputError
from hicfm_jax.tiles import context
from hicfm_jax.tiles.shards import UNFINISHED

PIECES = "pieces"
DATASET = "dataset"
_LOCK = "lock"
_STATE = "begun_with.json"


@contextlib.contextmanager
def locked(folder: pathlib.Path) -> Iterator[None]:
    """Makes the folder and keeps other builds out of it, also those of other machines.

    The operating system takes the lock from a killed build.

    Raises:
      InputError: another build is at work there, or the folder holds something else.
      OSError: the folder cannot be made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    strangers = sorted(
        {path.name for path in folder.iterdir()} - {_LOCK, _STATE, context.FILE, PIECES, DATASET}
    )
    strangers = [name for name in strangers if not name.endswith(UNFINISHED)]
    if strangers:
        raise InputError(
            f"{folder}, where an unfinished build would be kept, holds {strangers[0]}: "
            "move it or choose another --output."
        )
    with open(folder / _LOCK, "a") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:
            raise InputError(
                f"{folder} is in use by another build of the same tiles: wait for it, or choose another "
                "--output."
            ) from error
        except OSError as error:
            raise InputError(
                f"{folder} cannot be locked ({error.strerror}): choose an --output on a file system "
                "with locks."
            ) from error
        yield


def read_state(folder: pathlib.Path) -> dict | None:
    """What the build in `folder` was begun with; None if there is none or it got no further."""
    try:
        state = json.loads((folder / _STATE).read_text())
    except (OSError, ValueError):
        return None
    return state if isinstance(state, dict) else None


def prepare(folder: pathlib.Path) -> None:
    """Clears away what is of no use to a build that goes on: files half written or half assembled."""
    shutil.rmtree(folder / DATASET, ignore_errors=True)
    (folder / PIECES).mkdir(exist_ok=True)
    for path in folder.rglob("*" + UNFINISHED):
        path.unlink()


def begin(folder: pathlib.Path, state: dict, expected: context.ByChromosome) -> None:
    """Throws finished pieces away and notes what the new build is begun with, and its maps' context."""
    (folder / _STATE).unlink(missing_ok=True)
    shutil.rmtree(folder / PIECES)
    (folder / PIECES).mkdir()
    unfinished = folder / (context.FILE + UNFINISHED)
    context.write_context(unfinished, expected)
    unfinished.replace(folder / context.FILE)
    unfinished = folder / (_STATE + UNFINISHED)
    unfinished.write_text(json.dumps(state))
    unfinished.replace(folder / _STATE)


def discard(folder: pathlib.Path) -> None:
    """Removes the folder."""
    shutil.rmtree(folder, ignore_errors=True)
