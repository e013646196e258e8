"""Mixtures of assays: which tiles the epochs of a mixture visit.

As in `sampling`, everything is a function of (seed, step), made of raw words of Philox.
"""

import dataclasses
import fnmatch
import functools
import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from hicfm_jax.errors import InputError
from hicfm_jax.tiles.stream import sampling

_BLOCK = 4096  # visits of a group that are drawn at once, at least


@dataclasses.dataclass(frozen=True, eq=False)
class Group:
    """Tiles that have one weight of a mixture in common.

    Attributes:
      fraction: of the training samples, 0 to 1.
      tiles: positions in the split, `[n]`, ascending.
    """

    fraction: float
    tiles: np.ndarray


def parse_mix(text: str) -> dict[str, float]:
    """Reads `rice=2,maize*=1`: weights by assay name or pattern; raises InputError for other texts.

    An empty text is an empty mix.
    """
    mix = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, number = (piece.strip() for piece in part.rpartition("="))
        try:
            weight = float(number)
        except ValueError:
            weight = math.nan
        if not name or not (math.isfinite(weight) and weight > 0):
            raise InputError(f"mix has {part!r}, expected NAME=WEIGHT with a weight above 0: rice=2,maize=1.")
        if name in mix:
            raise InputError(f"mix names {name!r} twice: give each name one weight.")
        mix[name] = weight
    return mix


def match_assays(mix: Mapping[str, float], assays: Iterable[str]) -> dict[str, list[str]]:
    """The assays that each key of a mix matches; keys are names or patterns such as `rice*`.

    Raises InputError for an assay that matches no key or several, and for a key without an assay.
    """
    matches = {key: [] for key in mix}
    for assay in assays:
        keys = [key for key in mix if fnmatch.fnmatchcase(assay, key)]
        if len(keys) != 1:
            what = f"several keys ({', '.join(keys)})" if keys else f"no key ({', '.join(mix)})"
            raise InputError(f"Assay {assay!r} matches {what} of the mix: each has to match exactly one.")
        matches[keys[0]].append(assay)
    for key, found in matches.items():
        if not found:
            raise InputError(
                f"mix names {key!r} but the training tiles are of {', '.join(assays)}: use these names."
            )
    return matches


def make_groups(mix: Mapping[str, float], assays: Sequence[str], numbers: np.ndarray) -> tuple[Group, ...]:
    """The groups of a mix, one per key; `numbers` `[num_tiles]` are positions in `assays`.

    Raises InputError as `match_assays`.
    """
    groups, total = [], sum(mix.values())
    for key, found in match_assays(mix, assays).items():
        tiles = np.isin(numbers, [assays.index(name) for name in found])
        groups.append(Group(mix[key] / total, np.flatnonzero(tiles)))
    return tuple(groups)


def quotas(fractions: Sequence[float], length: int) -> np.ndarray:
    """Samples of each group in an epoch of `length`, by the largest remainder.

    Raises InputError for a fraction that is too small for one sample.
    """
    exact = np.array(fractions) * length
    counts = np.floor(exact).astype(np.int64)
    rest = length - counts.sum()
    counts[np.argsort(counts - exact, kind="stable")[:rest]] += 1
    if not counts.all():
        raise InputError(
            f"A mix with a fraction of {min(fractions):.2g} leaves a group without a sample in an epoch of "
            f"{length}: raise its weight or make more tiles."
        )
    return counts


def batch_indices(
    seed: int, step: int, num_tiles: int, batch_size: int, groups: tuple[Group, ...]
) -> np.ndarray:
    """Tiles of the global batch at `step`, `[batch_size]`.

    An epoch has as many batches as without a mix. Each group fills its quota and visits all of its
    tiles, in a new order each time, before it repeats one.
    """
    if not groups:
        return sampling.batch_indices(seed, step, num_tiles, batch_size)
    epoch, position = divmod(step, sampling.steps_per_epoch(num_tiles, batch_size))
    length = sampling.steps_per_epoch(num_tiles, batch_size) * batch_size
    return _epoch(seed, epoch, length, groups)[position * batch_size :][:batch_size]


@functools.lru_cache(maxsize=4)
def _epoch(seed: int, epoch: int, length: int, groups: tuple[Group, ...]) -> np.ndarray:
    counts = quotas([group.fraction for group in groups], length)
    # The order of the groups is shuffled, not the tiles: each group visits its own in order.
    turns = np.repeat(np.arange(len(groups)), counts)[sampling.epoch_order(seed, epoch, length)]
    tiles = np.empty(length, np.int64)
    for number, (group, count) in enumerate(zip(groups, counts.tolist(), strict=True)):
        walk = _walk(seed, number, len(group.tiles), epoch * count, (epoch + 1) * count)
        tiles[turns == number] = group.tiles[walk]
    tiles.flags.writeable = False  # the cache returns the same array again
    return tiles


def _walk(seed: int, group: int, num_tiles: int, first: int, last: int) -> np.ndarray:
    """Visits `first` to `last - 1` of a group's endless sequence of permutations of its tiles."""
    rounds = -(-_BLOCK // num_tiles)  # permutations drawn at once; fewer would cost the same
    size = rounds * num_tiles
    blocks = range(first // size, -(-last // size))
    row = [sampling.permutations(seed, rounds, num_tiles, group, block).ravel() for block in blocks]
    return np.concatenate(row)[first - blocks.start * size :][: last - first]
