"""How a script reads its maps: flags that hold for all of them."""

import contextlib
import contextvars
import functools
from collections.abc import Callable, Iterator, Mapping

from absl import flags

_OPTIONS: contextvars.ContextVar[Mapping[str, str]] = contextvars.ContextVar("reading", default={})  # noqa: B039


@contextlib.contextmanager
def reading(**options: str | None) -> Iterator[None]:
    """Options of `open_contacts` for each map that is opened within, where its format takes them.

    Options that are given to `open_contacts` itself come first; None stands for none.
    """
    token = _OPTIONS.set({name: value for name, value in options.items() if value is not None})
    try:
        yield
    finally:
        _OPTIONS.reset(token)


def reading_options() -> Mapping[str, str]:
    """The options of `reading` that hold now."""
    return _OPTIONS.get()


def reads_maps(main: Callable[[], None]) -> Callable[[], None]:
    """Gives a script the flags `--chromsizes` and `--engine`, and runs its main function with them."""
    chosen = (
        flags.DEFINE_string(
            "chromsizes", None, "File of chromosome names and lengths, for formats without them."
        ),
        flags.DEFINE_string("engine", None, "Library that reads .hic files: hictk or straw."),
    )

    @functools.wraps(main)
    def with_options() -> None:
        with reading(**{flag.name: flag.value for flag in chosen}):
            main()

    return with_options
