"""Exceptions for mistakes that the user can mend, and the warning for what he should know."""

import os


class InputError(ValueError):
    """An invalid file, flag or config value.

    The message is one sentence that names the file, flag or field, the value found, the value
    expected and what to do. Scripts print it without a traceback and exit with status 2
    (`hicfm_jax.cli.run`).
    """


class OutputExists(InputError):
    """A file or folder that would be made is there; a program with the flag --force says so."""

    def __init__(self, path: str | os.PathLike, how: str = "already"):
        self.path, self.fact = path, f"{os.fspath(path)} exists {how}"
        super().__init__(f"{self.fact}: remove it or choose another name.")


class InputNote(UserWarning):
    """What a user should know of a file that is read all the same, in one sentence.

    Scripts print it as `note: ...` (`hicfm_jax.cli.run`).
    """
