"""Which contacts are kept when each is kept by itself: exact draws, many at once.

The context of a window as the shallower experiment that its thinned counts are from would give it.

Of a bin's contacts, those that the window shows are known to be kept or not; the others are drawn,
each kept with the same probability. Its visibility follows its coverage, as it does in
`contacts.expected` to first order. What has become of the other bins is left out, which makes it a
little noisier than a fit to a thinned map would find it. The decay is that of the deep map, scaled: it
lacks the noise that such a fit would have.

Windows as a shallower experiment would show them: contacts are dropped in the stream, anew each step.

Each contact of a deep window is kept or dropped by itself (binomial thinning). What is drawn
depends on the seed and on the step and place in the global batch alone, or in evaluation on the
tile, so that a run resumes exactly, hosts agree, and batches may be cut differently.
"""

import collections
import dataclasses
import functools
import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from hicfm_jax.errors import InputError
from hicfm_jax.tiles.stream.workers import workers
from hicfm_jax.types import PATCH, Batch

_SHARE_BITS = 16  # shares are whole multiples of 2**-16
_LOWEST_BITS = np.array([2**bits - 1 for bits in range(65)], np.uint64)
_LARGE = 256  # counts above it are drawn by numpy's binomial: slower for small, faster for large ones


def log_uniform(low: float, high: float, word: int) -> float:
    """The share in [low, high] that a random 64-bit word stands for, a multiple of 2**-16.

    Within a range it has four binary digits, because every digit takes another random word a read.
    """
    share = low * (high / low) ** ((word >> 11) / 2**53)
    step = 2.0 ** max(math.floor(math.log2(share)) - 3, -_SHARE_BITS)
    share = min(max(round(share / step) * step, low), high)
    return max(1, round(share * 2**_SHARE_BITS)) / 2**_SHARE_BITS


def binomial(counts: np.ndarray, share: float, words: np.random.BitGenerator) -> np.ndarray:
    """Exact binomial draws `[N]` int64 of `counts` trials each.

    A read is a bit: combining random words by the binary digits of `share` sets each bit with that
    probability, and counting bits is several times faster than drawing one number at a time.
    """
    digits = round(share * 2**_SHARE_BITS)
    if digits == 1 << _SHARE_BITS:
        return counts.astype(np.int64)
    kept = np.zeros(len(counts), np.int64)
    large = np.flatnonzero(counts > _LARGE)
    if len(large):
        kept[large] = np.random.Generator(words).binomial(counts[large].astype(np.int64), share)
    pixels = np.flatnonzero((counts > 0) & (counts <= _LARGE))
    left = counts[pixels].astype(np.int64)
    while len(pixels):
        reads = _biased_words(len(pixels), digits, words)
        reads &= _LOWEST_BITS[np.minimum(left, 64)]
        kept[pixels] += np.bitwise_count(reads)
        more = left > 64
        pixels, left = pixels[more], left[more] - 64
    return kept


def _biased_words(count: int, digits: int, words: np.random.BitGenerator) -> np.ndarray:
    """Words whose bits are 1 with probability `digits / 2**16`, independently."""
    lowest = (digits & -digits).bit_length() - 1  # zeros at the end would only be "and"ed with 0
    biased = words.random_raw(count)
    for place in range(lowest + 1, _SHARE_BITS):
        word = words.random_raw(count)
        (np.bitwise_or if digits >> place & 1 else np.bitwise_and)(biased, word, out=biased)
    return biased


def thin_context(
    context: Mapping[str, np.ndarray],
    deep: np.ndarray,
    kept: np.ndarray,
    diag: int,
    share: float,
    words: np.random.BitGenerator,
) -> dict[str, np.ndarray]:
    """The context of one window after thinning.

    A bin that lies in the rows and in the columns has one value, made of all contacts that the window
    shows of it. Two simplifications: contacts beyond the window are drawn for each bin by itself,
    also those that two of its bins share; and the bias keeps the scale of the deep map, whose mean
    is 1 over a whole chromosome.

    Args:
      context: of the deep window, see `types.Batch`, without the batch's axis.
      deep, kept: its contacts and those that are left of them, whole numbers `[H, W]`.
      diag: where the map's diagonal enters, in patches.
      share: the probability that a contact is kept, a multiple of 2**-16.
      words: where random bits come from.
    """
    height, width = deep.shape
    # Row r and column r + offset are one bin where the window has both.
    offset = diag * PATCH
    first = max(0, -offset)
    last = max(first, min(height, width - offset))
    twice = slice(first, last), slice(first + offset, last + offset)
    (deep_rows, deep_columns), (kept_rows, kept_columns) = (_shown(each, twice) for each in (deep, kept))
    once = np.ones(width, bool)
    once[twice[1]] = False

    coverage = np.concatenate([context["row_coverage"], context["column_coverage"][once]])
    shown = np.concatenate([deep_rows, deep_columns[once]])
    # Coverage beyond 2**24 is rounded in float32.
    outside = np.maximum(np.rint(coverage - shown), 0)
    left = np.concatenate([kept_rows, kept_columns[once]]) + binomial(outside, share, words)
    ratio = np.divide(left, coverage * share, out=np.zeros(len(left)), where=coverage > 0)

    def by_column(of_rows: np.ndarray, of_others: np.ndarray) -> np.ndarray:
        columns = np.empty(width)
        columns[once], columns[twice[1]] = of_others, of_rows[twice[0]]
        return columns

    return {
        "row_bias": (context["row_bias"] * ratio[:height]).astype(np.float32),
        "column_bias": (context["column_bias"] * by_column(ratio[:height], ratio[height:])).astype(
            np.float32
        ),
        "row_coverage": left[:height].astype(np.float32),
        "column_coverage": by_column(left[:height], left[height:]).astype(np.float32),
        "decay": context["decay"] * np.float32(share),
    }


def _shown(counts: np.ndarray, twice: tuple[slice, slice]) -> tuple[np.ndarray, np.ndarray]:
    """Contacts of every row's and every column's bin that a window shows, `[H]` and `[W]` float64.

    For the bins that are in both they are those of the row and of the column, each contact once.
    """
    counts = counts.astype(np.float64)  # once: summing other dtypes converts them each time
    rows, columns = counts.sum(1), counts.sum(0)
    both = rows[twice[0]] + columns[twice[1]] - counts[twice].sum(1)
    rows[twice[0]] = columns[twice[1]] = both
    return rows, columns


_TRAINING, _EVALUATION = 100, 101  # streams of words under one seed, apart from those of `sampling`
_AHEAD = 2  # batches whose contacts are drawn before they are asked for
_TOGETHER = 4  # windows that a worker is given at a time


class _Window(NamedTuple):
    counts: np.ndarray
    diag: int
    context: dict[str, np.ndarray]
    place: tuple[int, ...]


class _Drawn(NamedTuple):
    draws: list[np.ndarray]
    share: float
    context: dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Thinning:
    """How much of each window is kept.

    Attributes:
      low, high: share of the contacts kept, 0 < low <= high <= 1; drawn log-uniformly for each
        window (see `binomial.log_uniform`).
      seed: of the run.
      replicate: draw every window twice, with one share.
      processes: that draw, 0 for two threads of this one; the draws are the same.
    """

    low: float
    high: float
    seed: int
    replicate: bool = False
    processes: int = 0

    def train(self, batches: Iterator[Batch], start_step: int = 0, first: int = 0) -> Iterator[Batch]:
        """Thins a training stream.

        Args:
          batches: global batches from `start_step` on, or one host's part of each.
          start_step: step of the first of them.
          first: place of the part's first example in the global batch.

        Returns:
          The batches with thinned `counts`, their `total_count` and `matrix_count` to scale, and
          in `targets`: "deep", the counts before `[B, H, W]`; "kept", the share kept `[B]` float32;
          if asked for "replicate", a second draw `[B, H, W]`. A `context` becomes that of the
          shallower experiment, the one that the first draw is from (see `thinned_context`).

        Raises:
          InputError: counts that are not whole (when the first batch is drawn), or one of `processes`
            was killed.
        """
        return self._stream(batches, lambda number, i: (_TRAINING, start_step + number, first + i))

    def evaluation(self, batches: Iterator[Batch], batch_size: int, first: int = 0) -> Iterator[Batch]:
        """Thins an evaluation stream: a tile's draw is the same whatever batch it comes in.

        Arguments and batches as for `train`; `batch_size` is that of the global batches.
        """
        return self._stream(batches, lambda number, i: (_EVALUATION, number * batch_size + first + i))

    def _stream(self, batches: Iterator[Batch], place) -> Iterator[Batch]:
        with workers(self.processes) as pool:
            waiting = collections.deque()
            for number, batch in enumerate(batches):
                _check_whole(batch.counts)
                windows = [
                    _Window(
                        counts,
                        int(batch.diag[i]),
                        {name: values[i] for name, values in batch.context.items()},
                        place(number, i),
                    )
                    for i, counts in enumerate(batch.counts)
                ]
                parts = [windows[i : i + _TOGETHER] for i in range(0, len(windows), _TOGETHER)]
                waiting.append((batch, [pool.submit(self._draw, part) for part in parts]))
                if len(waiting) > _AHEAD:
                    yield self._thinned(*waiting.popleft())
            while waiting:
                yield self._thinned(*waiting.popleft())

    def _draw(self, windows: list[_Window]) -> list[_Drawn]:
        drawn = []
        for counts, diag, context, place in windows:
            words = np.random.SFC64(np.random.SeedSequence((self.seed, *place)))
            share = log_uniform(self.low, self.high, int(words.random_raw()))
            draws = [thin_window(counts, diag, share, words) for _ in range(1 + self.replicate)]
            if context:
                context = thin_context(context, counts, draws[0], diag, share, words)
            drawn.append(_Drawn(draws, share, context))
        return drawn

    def _thinned(self, batch: Batch, futures: list) -> Batch:
        drawn = [each for future in futures for each in future.result()]
        kept = np.array([each.share for each in drawn], np.float32)
        targets = dict(batch.targets, deep=batch.counts, kept=kept)
        if self.replicate:
            targets["replicate"] = np.stack([each.draws[1] for each in drawn])
        return batch.replace(
            counts=np.stack([each.draws[0] for each in drawn]),
            total_count=batch.total_count * kept,
            matrix_count=batch.matrix_count * kept,
            targets=targets,
            context={name: np.stack([each.context[name] for each in drawn]) for name in batch.context},
        )


def _check_whole(counts: np.ndarray) -> None:
    # Whole counts beyond uint16 are stored as float32.
    if not np.issubdtype(counts.dtype, np.integer) and (counts != np.floor(counts)).any():
        raise InputError(
            f"data.thin needs tiles of whole counts, and these hold {counts[counts != np.floor(counts)][0]}: "
            "make them from a map of raw counts without --weight, or leave data.thin empty."
        )


def thin_window(counts: np.ndarray, diag: int, share: float, words: np.random.BitGenerator) -> np.ndarray:
    """Keeps each contact with probability `share`; both triangles show the same contacts.

    Args:
      counts: whole numbers `[H, W]`.
      diag: where the map's diagonal enters, in patches (see `types.Batch`).
      share: a multiple of 2**-16, at most 1.
      words: where random bits come from.

    Returns:
      `[H, W]`, dtype of `counts`. A pixel whose mirror image lies in the window shares its draw;
      all others, those of trans windows for instance, are drawn by themselves.
    """
    drawn, below, above = _mirror(*counts.shape, diag)
    flat = counts.ravel()
    filled = np.flatnonzero((flat > 0) & drawn)
    thinned = np.zeros_like(flat)
    thinned[filled] = binomial(flat[filled], share, words)
    thinned[below] = thinned[above]
    return thinned.reshape(counts.shape)


@functools.lru_cache(maxsize=256)
def _mirror(height: int, width: int, diag: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which pixels are drawn, as a flat mask; flat indices of the others and of what they are copied from."""
    rows, columns = np.divmod(np.arange(height * width), width)
    offset = diag * PATCH
    mirror_rows, mirror_columns = columns - offset, rows + offset
    inside = (0 <= mirror_rows) & (mirror_rows < height) & (0 <= mirror_columns) & (mirror_columns < width)
    copied = inside & (columns - rows < offset)
    below = np.flatnonzero(copied)
    return ~copied, below, mirror_rows[below] * width + mirror_columns[below]
