"""Files of several resolutions: which one serves a wanted one, and which ones to write."""

from collections.abc import Iterable, Mapping

from hicfm_jax.errors import InputError

COARSEST_BINS = 200
"""Zoom levels stop before the genome has fewer bins: about one screen tile."""


def choose_resolution(path: str, held: Iterable[int], wanted: int | None) -> int:
    """The largest stored bin width (bp) that divides the wanted one; None takes the file's only one.

    Raises:
      InputError: no stored width divides the wanted one, or there are several and none is wanted.
    """
    held = sorted(set(held))
    listed = ", ".join(str(width) for width in held) + " bp"
    if wanted is None:
        if len(held) > 1:
            raise InputError(f"{path} holds several resolutions, {listed}: choose one with resolution=BP.")
        return held[0]
    divisors = [width for width in held if wanted % width == 0]
    if not divisors:
        raise InputError(
            f"{path} cannot give {int(wanted)} bp: it holds {listed}; choose one of these or a multiple."
        )
    return divisors[-1]


def zoom_levels(resolution: int, chromsizes: Mapping[str, int]) -> list[int]:
    """The bin widths (bp) that a map is written in for viewers: steps of 1, 2, 5, 10 of its own."""
    coarsest = max(sum(chromsizes.values()) // COARSEST_BINS, resolution)
    steps = (step * 10**decade for decade in range(10) for step in (1, 2, 5))
    return [level for level in (resolution * step for step in steps) if level <= coarsest]
