"""Start and end of a script: exit status 0, or one sentence and status 2."""

import contextlib
import errno
import logging as standard_logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence

from absl import app, flags, logging

from hicfm_jax.errors import InputError, InputNote

# Errors of a path that the user can mend: a full disk, missing rights, a file in place of a folder.
_PLACE_ERRORS = {
    getattr(errno, name)
    for name in "ENOSPC EDQUOT EFBIG EACCES EPERM EROFS ENOTDIR EISDIR EEXIST ENAMETOOLONG".split()
}


def _fail(message: str) -> None:
    # On one line: exceptions of libraries may have line breaks and tables.
    print("error: " + " ".join(message.split()), file=sys.stderr)
    sys.exit(2)


def _parse(argv: Sequence[str]) -> list[str]:
    try:
        rest = flags.FLAGS(list(argv))
    except OSError as error:  # a config file that cannot be opened; the last line names it
        _fail(str(error).splitlines()[-1])
    except SyntaxError as error:
        _fail(f"{error.filename} is not a config: {error.msg} in line {error.lineno}.")
    except (flags.Error, InputError, AttributeError, KeyError, TypeError, ValueError) as error:
        _fail(str(error) or type(error).__name__)
    if len(rest) > 1:
        _fail(f"Unexpected argument {rest[1]!r}: every value needs a flag, see --help.")
    return rest


def config_loads(config: object) -> bool:
    """Validator of the flag `config`, whose file is read lazily: turns a wrong path into a flag error."""
    return config is None or bool(config.to_dict())


def mistake(error: BaseException) -> str:
    """The sentence for a mistake that the user can mend; "" for a defect of this program."""
    if isinstance(error, InputError):
        return str(error)
    if isinstance(error, OSError) and error.errno in _PLACE_ERRORS:
        return f"{error.filename or 'The output'} cannot be used: {error.strerror}."
    return ""


def _is_news(record: standard_logging.LogRecord) -> bool:
    """False for tracebacks that Orbax logs from its threads: the exception reaches `run` as well."""
    of_orbax = f"{os.sep}orbax{os.sep}" in record.pathname or record.name == "asyncio"
    return not (of_orbax and record.exc_info)


@contextlib.contextmanager
def _notes() -> Iterator[None]:
    """Prints each `InputNote` once, and no warnings of libraries, which name lines of their code."""
    said = set()

    def show(message: Warning | str, *_: object) -> None:
        if str(message) not in said:
            print(f"note: {message}", file=sys.stderr)
        said.add(str(message))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", InputNote)
        warnings.showwarning = show
        yield


def run(main: Callable[[], None]) -> None:
    """Runs `main()` under absl; a user's mistake becomes one sentence and exit status 2.

    Flag errors, `InputError` and a full disk count as mistakes that the user can mend. Any other
    exception is a defect of this program and keeps its traceback.
    """

    def guarded(_: Sequence[str]) -> None:
        if not flags.FLAGS["verbosity"].present:
            logging.set_verbosity(logging.WARNING)  # otherwise Orbax logs every step of a save
            for name in ("absl", "asyncio"):
                standard_logging.getLogger(name).addFilter(_is_news)
        try:
            with _notes():
                main()
        except KeyboardInterrupt:
            print("Stopped.", file=sys.stderr)
            sys.exit(130)  # as a shell reports it
        except (InputError, OSError) as error:
            if not (sentence := mistake(error)):
                raise
            _fail(sentence)

    app.run(guarded, flags_parser=_parse)
