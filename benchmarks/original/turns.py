"""Sides of a comparison that take turns, each in a process of its own."""

import multiprocessing
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

_FIGURES = "figures"


class Side(NamedTuple):
    """A process that measures: `target(end, *arguments)` there calls `answer`; names of what it can run."""

    target: Callable[..., None]
    arguments: tuple[Any, ...]
    names: Sequence[str]


def take_turns(sides: Mapping[str, Side], rounds: int) -> tuple[dict[str, list[float]], dict[str, Any]]:
    """Lets each side run once in every round while the others wait, after a round that is not counted.

    Other work on the machine then slows all of them alike, and no threads of one library run in the process
    of the other.

    Returns:
      Seconds of each round by the names, and the figures of each side.
    """
    context = multiprocessing.get_context("spawn")
    ends: dict[str, Connection] = {}
    seconds: dict[str, list[float]] = {}
    for title, side in sides.items():
        ends[title], theirs = context.Pipe()
        context.Process(target=side.target, args=(theirs, *side.arguments), daemon=True).start()
        theirs.close()
    for _ in range(1 + rounds):
        for title, side in sides.items():
            for name in side.names:
                ends[title].send(name)
                seconds.setdefault(name, []).append(ends[title].recv())
    figures = {}
    for title, end in ends.items():
        end.send(_FIGURES)
        figures[title] = end.recv()
    return {name: times[1:] for name, times in seconds.items()}, figures


def answer(end: Connection, run: Callable[[str], float], figures: Callable[[], Any]) -> None:
    """Runs what is asked for, by its name, and sends the seconds; at last the figures."""
    while (name := end.recv()) != _FIGURES:
        end.send(run(name))
    end.send(figures())
