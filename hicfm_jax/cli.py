"""Start and end of a program: flags and help; exit status 0, or one sentence and status 2."""

import contextlib
import errno
import importlib.metadata
import io
import itertools
import logging as standard_logging
import os
import pathlib
import re
import select
import signal
import sys
import textwrap
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence

from absl import app, flags, logging

from hicfm_jax import interrupts
from hicfm_jax.errors import InputError, InputNote

# Errors of a path that the user can mend: a full disk, missing rights, a file in place of a folder.
_PLACE_ERRORS = {
    getattr(errno, name)
    for name in "ENOSPC EDQUOT EFBIG EACCES EPERM EROFS ENOTDIR EISDIR EEXIST ENAMETOOLONG".split()
}
_MISSING = re.compile(r"Flag --(\S+) must have a value other than None")
_WIDTH = 100  # of help texts, in characters


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
    except KeyError as error:
        field = str(error.args[0]) if error.args else "The config raised a KeyError."
        known = re.fullmatch(r"\w+", field)
        _fail(
            f"There is no setting {field!r}: docs/reference/python/config.md lists all." if known else field
        )
    except (flags.Error, InputError, AttributeError, TypeError, ValueError) as error:
        if missing := _MISSING.search(str(error)):
            _fail(f"--{missing[1]} is missing: give it, see --help.")
        # A config that raised, with its traceback: the last line has the reason.
        message = str(error) or type(error).__name__
        if "Traceback (most recent" in message:
            message = message.strip().splitlines()[-1].partition(": ")[2] or message
        _fail(message)
    except Exception as error:  # of a config, which may raise anything
        _fail(f"The config cannot be used, it raised {type(error).__name__}: {error}.")
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


def version() -> str:
    """Version of the installed package."""
    try:
        return importlib.metadata.version("hicfm_jax")
    except importlib.metadata.PackageNotFoundError:  # a checkout on the path
        return "(not installed)"


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


@contextlib.contextmanager
def until_nobody_reads() -> Iterator[None]:
    """Ends this program without a word once nobody reads what it prints, as after `| head`."""
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        output = select.poll()
        output.register(sys.stdout.fileno(), 0)
        if not any(events & select.POLLERR for _, events in output.poll(0)):
            raise  # of another pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is left
        sys.exit(128 + signal.SIGPIPE)


def run(
    main: Callable[[], None],
    text: str = "",
    positional: Sequence[str] = (),
    groups: Mapping[str, Sequence[str]] | None = None,
) -> None:
    """Runs `main()` under absl; a user's mistake becomes one sentence and exit status 2.

    Flag errors, `InputError` and a full disk count as mistakes that the user can mend. Any other
    exception is a defect of this program and keeps its traceback.

    Args:
      main: called after the flags of `sys.argv` are parsed.
      text: of --help, before the flags; the docstring of main's module if empty.
      positional: flags that words without a flag are values of, in order; a list may take several.
      groups: titles of the help text -> flags; those in no group come last.
    """

    def guarded(_: Sequence[str]) -> None:
        if not flags.FLAGS["verbosity"].present:
            logging.set_verbosity(logging.WARNING)  # otherwise Orbax logs every step of a save
            for name in ("absl", "asyncio"):
                standard_logging.getLogger(name).addFilter(_is_news)
        try:
            interrupts.working()
            with _notes():
                main()
        except KeyboardInterrupt:
            interrupts.stop()
        except (InputError, OSError) as error:
            if not (sentence := mistake(error)):
                raise
            _fail(sentence)

    if isinstance(sys.stdout, io.TextIOWrapper):  # names may have letters that the locale lacks
        sys.stdout.reconfigure(errors="backslashreplace")
    words = sys.argv[1:]
    if {"-h", "--help"} & set(words):
        print(_help(text or main.__globals__["__doc__"], positional, groups or {}))
        sys.exit(0)
    # ml_collections reads the settings of a config from sys.argv itself.
    sys.argv[1:] = last_of_settings(named(words, positional))
    app.run(guarded, flags_parser=_parse)


def named(words: Sequence[str], positional: Sequence[str]) -> list[str]:
    """The words, those that belong to no flag named as values of the flags `positional`."""
    found, bare, left = [], [], iter(words)
    for word in left:
        if not word.startswith("-") or word == "-":
            bare.append(word)
            continue
        name = word.lstrip("-")
        flag = flags.FLAGS[name] if name in flags.FLAGS else None
        takes_value = name.startswith("config.") if flag is None else not flag.boolean
        if "=" not in name and takes_value:
            word = "=".join([word, *itertools.islice(left, 1)])
        found.append(word)
    # The last of the flags takes the last word, and a list before it all the others.
    kinds = {name: flags.FLAGS[name].flag_type() for name in positional}
    given = {word.lstrip("-").split("=")[0] for word in found}
    names = [name for name in positional if name not in given or kinds[name].startswith("multi")]
    names = names[: len(bare)]
    several = [name for name in names if kinds[name].startswith(("multi", "comma"))]
    if several and len(bare) > len(names):
        at = names.index(several[0])
        names[at:at] = several[:1] * (len(bare) - len(names))
    if len(bare) > len(names):
        _fail(f"Unexpected argument {bare[len(names)]!r}: every value needs a flag, see --help.")
    values: dict[str, list[str]] = {}
    for name, value in zip(names, bare, strict=True):
        values.setdefault(name, []).append(value)
    words = []
    for name, parts in values.items():
        words += [f"--{name}={part}" for part in ([",".join(parts)] if kinds[name][:5] == "comma" else parts)]
    return [*words, *found]  # a config is named before its settings


def last_of_settings(words: Sequence[str]) -> list[str]:
    """The words, `--config=NAME` with its file found, and only the last of repeated settings.

    ml_collections would append a repeated one to a tuple.
    """
    found: dict[str, str] = {}
    for number, word in enumerate(words):
        name, equals, value = word.partition("=")
        setting = equals and re.match(r"--?config(\.|$)", name)
        if setting and name.lstrip("-") == "config":
            word = f"{name}={find_config(value)}"
        key = name if setting else str(number)
        found.pop(key, None)
        found[key] = word
    return list(found.values())


def find_config(name: str) -> str:
    """The file of `NAME[:VARIANT]`: as given, or of the configs that come with this package."""
    path, colon, variant = name.partition(":")
    bare = pathlib.Path(path).name.removesuffix(".py")
    if not os.path.exists(path) and os.path.dirname(path) in ("", "configs"):
        for folder in config_folders():
            if (folder / f"{bare}.py").is_file():
                return f"{folder / bare}.py{colon}{variant}"
    return name


def checkout() -> pathlib.Path | None:
    """The folder of `scripts/`; None where the package is installed without it."""
    root = pathlib.Path(__file__).resolve().parents[1]
    return root if (root / "scripts/train.py").is_file() else None


COMMANDS = {
    "make_tiles": "tiles",
    "convert_weights": "convert",
    "convert_tiles": "convert-tiles",
    "thin_map": "thin",
    "simulate_map": "simulate",
}
"""Scripts whose command of `hicfm` has another name."""


def of_hicfm() -> bool:
    """Whether a user started this program as a command of `hicfm`, or has no other way."""
    return sys.argv[0].startswith("hicfm ") or not checkout()


def called(script: str) -> str:
    """How a user starts another program in the same way: `python scripts/make_tiles.py` or `hicfm tiles`."""
    if of_hicfm():
        return f"hicfm {COMMANDS.get(script, script)}"
    return f"{min(sys.executable, os.path.relpath(sys.executable), key=len)} scripts/{script}.py"


def config_folders() -> list[pathlib.Path]:
    """Where the configs of an installed package are, and those of a checkout."""
    package = pathlib.Path(__file__).resolve().parent
    return [package / "configs", package.parent / "configs"]


def _help(text: str, positional: Sequence[str], groups: Mapping[str, Sequence[str]]) -> str:
    words = " ".join(f"[{name.upper()}]" for name in positional)
    lines = [f"usage: {sys.argv[0]} {words} [--FLAG=VALUE ...]".replace("  ", " "), "", text.strip()]
    modules = (sys.argv[0], "hicfm_jax.contacts.reading_flags")
    own = [flag.name for module in modules for flag in flags.FLAGS.get_key_flags_for_module(module)]
    shared = [flag.name for flag in flags.FLAGS.get_key_flags_for_module("hicfm_jax.cli")]
    grouped = {name for names in groups.values() for name in names}
    rest = [name for name in own if name not in grouped]
    for title, names in {
        **groups,
        ("More flags" if groups else "Flags"): rest,
        "Every command": shared,
    }.items():
        lines += ["", f"{title}:"] if names else []
        for name in names:
            lines += _flag_lines(flags.FLAGS[name])
    return "\n".join(lines)


def _flag_lines(flag: flags.Flag) -> Iterator[str]:
    if flag.boolean:
        yield f"  --[no]{flag.name}" if flag.default or flag.default is None else f"  --{flag.name}"
    else:
        choices = getattr(flag.parser, "enum_values", None)
        yield f"  --{flag.name}={'|'.join(choices) if choices else 'VALUE'}"
    text = flag.help
    if flag.default not in (None, "", [], False):
        default = ",".join(map(str, flag.default)) if isinstance(flag.default, list) else flag.default
        text += f" Default: {default}."
    yield from textwrap.wrap(text, _WIDTH - 8, initial_indent=" " * 8, subsequent_indent=" " * 8)


def define_shared_flags(replaces: bool) -> None:
    """Defines the flags of every command; with `replaces` also --force."""
    known = flags.FLAGS
    if "nproc" not in known:
        flags.DEFINE_integer("nproc", None, "Most CPU cores to use; -p 4 is the same.", lower_bound=1)
    if "quiet" not in known:
        flags.DEFINE_bool("quiet", False, "Show no progress.")
    if replaces and "force" not in known:
        flags.DEFINE_bool("force", False, "Replace an output that exists; after an error it is still there.")
