"""Windows of a shallower experiment: binomial downsampling in the stream.

Each contact of a deep window is kept or dropped independently. Of Poisson counts, kept and dropped contacts
are independent given the intensity, so that a network can learn from one map alone, by predicting the dropped
ones from those kept (Noise2Noise, Lehtinen et al. 2018; data thinning, Neufeld et al. 2024).

A draw depends on the seed and on the step and place in the global batch, or in evaluation on the tile, so
that runs resume exactly, hosts agree, and the batch size of an evaluation does not matter.
"""

import collections
import dataclasses
import functools
import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from hicfm_jax.batch import Batch
from hicfm_jax.errors import InputError
from hicfm_jax.tiles.stream.workers import stream_workers
from hicfm_jax.types import PATCH

_TRAINING, _EVALUATION = 100, 101  # streams of words under one seed, distinct from those of `sampling`
_AHEAD = 2  # batches in preparation
_TOGETHER = 4  # windows that a worker gets at a time
_BITS = 16  # fractions are multiples of 2**-16
_LOWEST_BITS = np.array([2**bits - 1 for bits in range(65)], np.uint64)
_LARGE = 256  # larger counts are drawn by numpy's binomial, which is slower for small ones


class _Window(NamedTuple):
    counts: np.ndarray
    diag: int
    context: dict[str, np.ndarray]
    place: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Thinning:
    """How much of each window is kept.

    Attributes:
      low, high: fraction of the contacts to keep, 0 < low <= high <= 1; drawn log-uniformly.
      seed: of the run.
      replicate: draw every window twice, with the same fraction.
      split: the target is the contacts that were not kept, not all of them.
      processes: number of worker processes, 0 for two threads; the draws are the same.
    """

    low: float
    high: float
    seed: int
    replicate: bool = False
    processes: int = 0
    split: bool = False

    def train(self, batches: Iterator[Batch], start_step: int = 0, first: int = 0) -> Iterator[Batch]:
        """Downsamples a training stream, the global batches from `start_step` on.

        The stream may be one host's part, which begins at example `first` of the global batch.

        Returns:
          The batches with downsampled `counts`, their `total_count` and `matrix_count` in proportion,
          and in `targets`: "deep", the original counts `[B, H, W]`, with `split` those that were not kept;
          "kept", the contacts kept for each contact in "deep", `[B]` float32; with `replicate`,
          "replicate", a second draw `[B, H, W]`. A `context` becomes that of the shallower experiment of
          the first draw (see `thin_context`).

        Raises:
          InputError: counts that are not whole (with the first batch), or a killed worker process.
        """
        return self._stream(batches, lambda number, i: (_TRAINING, start_step + number, first + i))

    def evaluation(self, batches: Iterator[Batch], batch_size: int, first: int = 0) -> Iterator[Batch]:
        """Downsamples an evaluation stream: a tile's draw does not depend on its batch.

        Arguments and batches as for `train`; `batch_size` is that of the global batches.
        """
        return self._stream(batches, lambda number, i: (_EVALUATION, number * batch_size + first + i))

    def _stream(self, batches: Iterator[Batch], place) -> Iterator[Batch]:
        with stream_workers(self.processes) as pool:
            waiting = collections.deque()
            for number, batch in enumerate(batches):
                _check_whole(batch.counts)
                windows = []
                for i, (counts, diag) in enumerate(zip(batch.counts, batch.diag.tolist(), strict=True)):
                    context = {name: values[i] for name, values in batch.context.items()}
                    windows.append(_Window(counts, diag, context, place(number, i)))
                parts = [windows[i : i + _TOGETHER] for i in range(0, len(windows), _TOGETHER)]
                waiting.append((batch, [pool.submit(self._draw, part) for part in parts]))
                if len(waiting) > _AHEAD:
                    yield self._thinned(*waiting.popleft())
            while waiting:
                yield self._thinned(*waiting.popleft())

    def _draw(self, windows: list[_Window]) -> list[tuple]:
        """Fraction, context and draws (one, or two with `replicate`) of each window."""
        drawn = []
        for counts, diag, context, place in windows:
            words = np.random.SFC64(np.random.SeedSequence((self.seed, *place)))
            fraction = log_uniform(self.low, self.high, int(words.random_raw()))
            draws = [thin_window(counts, diag, fraction, words) for _ in range(1 + self.replicate)]
            if context:
                context = thin_context(context, counts, draws[0], diag, fraction, words)
            drawn.append((fraction, context, *draws))
        return drawn

    def _thinned(self, batch: Batch, futures: list) -> Batch:
        drawn = [each for future in futures for each in future.result()]
        fractions, contexts, counts, *replicates = zip(*drawn, strict=True)
        counts, kept = np.stack(counts), np.array(fractions, np.float32)
        targets = dict(batch.targets, deep=batch.counts, kept=kept)
        if self.split:
            targets |= {"deep": batch.counts - counts, "kept": kept / (1 - kept)}
        if self.replicate:
            targets["replicate"] = np.stack(replicates[0])
        return batch.replace(
            counts=counts,
            total_count=batch.total_count * kept,
            matrix_count=batch.matrix_count * kept,
            targets=targets,
            context={name: np.stack([each[name] for each in contexts]) for name in batch.context},
        )


def _check_whole(counts: np.ndarray) -> None:
    # Whole counts beyond uint16 are stored as float32.
    if not np.issubdtype(counts.dtype, np.integer) and (counts != np.floor(counts)).any():
        raise InputError(
            "data.thin and data.split need tiles of whole counts, and these have "
            f"{counts[counts != np.floor(counts)][0]}: make them from a map of raw counts without --weight, "
            "or leave both empty."
        )


def log_uniform(low: float, high: float, word: int) -> float:
    """The fraction in [low, high] for a random 64-bit word, a multiple of 2**-16.

    Within a range it has four binary digits, because every digit costs another random word a contact.
    """
    fraction = low * (high / low) ** ((word >> 11) / 2**53)
    step = 2.0 ** max(math.floor(math.log2(fraction)) - 3, -_BITS)
    fraction = min(max(round(fraction / step) * step, low), high)
    return max(1, round(fraction * 2**_BITS)) / 2**_BITS


def thin_window(counts: np.ndarray, diag: int, fraction: float, words: np.random.BitGenerator) -> np.ndarray:
    """Keeps each contact with probability `fraction`; both triangles keep the same contacts.

    A pixel and its mirror image in the window have one draw; all other pixels, for instance of trans
    windows, are independent. `counts` `[H, W]` are whole numbers, `diag` is in patches as in
    `batch.Batch`, `fraction` a multiple of 2**-16.
    """
    drawn, below, above = _mirror(*counts.shape, diag)
    flat = counts.ravel()
    filled = np.flatnonzero((flat > 0) & drawn)
    thinned = np.zeros_like(flat)
    thinned[filled] = binomial(flat[filled], fraction, words)
    thinned[below] = thinned[above]
    return thinned.reshape(counts.shape)


@functools.lru_cache(maxsize=256)
def _mirror(height: int, width: int, diag: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels to draw, as a flat mask; flat indices of the other pixels and of their mirror images."""
    rows, columns = np.divmod(np.arange(height * width), width)
    offset = diag * PATCH
    mirror_rows, mirror_columns = columns - offset, rows + offset
    inside = (0 <= mirror_rows) & (mirror_rows < height) & (0 <= mirror_columns) & (mirror_columns < width)
    copied = inside & (columns - rows < offset)
    below = np.flatnonzero(copied)
    return ~copied, below, mirror_rows[below] * width + mirror_columns[below]


def binomial(counts: np.ndarray, fraction: float, words: np.random.BitGenerator) -> np.ndarray:
    """Exact binomial draws `[N]` int64 of `counts` trials each.

    Each contact is a bit: combining random words by the binary digits of `fraction` sets a bit with
    that probability, and counting bits is several times faster than one draw at a time.
    """
    digits = round(fraction * 2**_BITS)
    if digits == 1 << _BITS:
        return counts.astype(np.int64)
    kept = np.zeros(len(counts), np.int64)
    large = np.flatnonzero(counts > _LARGE)
    if len(large):
        kept[large] = np.random.Generator(words).binomial(counts[large].astype(np.int64), fraction)
    pixels = np.flatnonzero((counts > 0) & (counts <= _LARGE))
    left = counts[pixels].astype(np.int64)
    while len(pixels):
        contacts = _biased_words(len(pixels), digits, words)
        contacts &= _LOWEST_BITS[np.minimum(left, 64)]
        kept[pixels] += np.bitwise_count(contacts)
        more = left > 64
        pixels, left = pixels[more], left[more] - 64
    return kept


def _biased_words(count: int, digits: int, words: np.random.BitGenerator) -> np.ndarray:
    """Words whose bits are 1 with probability `digits / 2**16`, independently."""
    lowest = (digits & -digits).bit_length() - 1  # trailing zeros would only be "and"ed with 0
    biased = words.random_raw(count)
    for place in range(lowest + 1, _BITS):
        word = words.random_raw(count)
        (np.bitwise_or if digits >> place & 1 else np.bitwise_and)(biased, word, out=biased)
    return biased


def thin_context(
    context: Mapping[str, np.ndarray],
    deep: np.ndarray,
    kept: np.ndarray,
    diag: int,
    fraction: float,
    words: np.random.BitGenerator,
) -> dict[str, np.ndarray]:
    """The context of one window after downsampling, from that of the deep window (see `batch.Batch`).

    `deep` and `kept` are its contacts before and after, whole numbers `[H, W]`. Contacts of a bin within the
    window are known; those beyond it are drawn, independently for each bin. The bias follows the coverage,
    as in `contacts.expected` to first order, at the scale of the deep map, whose mean is 1 over a whole
    chromosome. The decay is that of the deep map, scaled. Compared with a fit to a downsampled map, the bias
    is slightly noisier and the decay has no noise.
    """
    height, width = deep.shape
    # Row r and column r + offset are one bin where the window has both.
    offset = diag * PATCH
    first = max(0, -offset)
    last = max(first, min(height, width - offset))
    twice = slice(first, last), slice(first + offset, last + offset)
    (deep_rows, deep_columns), (kept_rows, kept_columns) = (_sums(each, twice) for each in (deep, kept))
    once = np.ones(width, bool)
    once[twice[1]] = False

    # A bin in both rows and columns has one value.
    coverage = np.concatenate([context["row_coverage"], context["column_coverage"][once]])
    inside = np.concatenate([deep_rows, deep_columns[once]])
    # Coverage beyond 2**24 is rounded in float32.
    outside = np.maximum(np.rint(coverage - inside), 0)
    left = np.concatenate([kept_rows, kept_columns[once]]) + binomial(outside, fraction, words)
    ratio = np.divide(left, coverage * fraction, out=np.zeros(len(left)), where=coverage > 0)

    def by_column(of_all: np.ndarray) -> np.ndarray:
        columns = np.empty(width)
        columns[once], columns[twice[1]] = of_all[height:], of_all[:height][twice[0]]
        return columns

    fields = {
        "row_bias": context["row_bias"] * ratio[:height],
        "column_bias": context["column_bias"] * by_column(ratio),
        "row_coverage": left[:height],
        "column_coverage": by_column(left),
        "decay": context["decay"] * np.float32(fraction),
    }
    return {name: values.astype(np.float32) for name, values in fields.items()}


def _sums(counts: np.ndarray, twice: tuple[slice, slice]) -> tuple[np.ndarray, np.ndarray]:
    """Contacts of each row and column; a bin that is in both has each of its contacts counted once."""
    counts = counts.astype(np.float64)  # once: summing other dtypes converts them each time
    rows, columns = counts.sum(1), counts.sum(0)
    both = rows[twice[0]] + columns[twice[1]] - counts[twice].sum(1)
    rows[twice[0]] = columns[twice[1]] = both
    return rows, columns
