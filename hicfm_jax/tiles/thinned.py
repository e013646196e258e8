"""Windows as a shallower experiment would show them: contacts are dropped in the stream, anew each step.

Each contact of a deep window is kept or dropped by itself (binomial thinning). What is drawn
depends on the seed and on the step and place in the global batch alone, or in evaluation on the
tile, so that a run resumes exactly, hosts agree, and batches may be cut differently.
"""

import collections
import dataclasses
import functools
import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from hicfm_jax.errors import InputError
from hicfm_jax.types import PATCH, Batch

_TRAINING, _EVALUATION = 100, 101  # streams of words under one seed, apart from those of `sampling`
_SHARE_BITS = 16  # shares are whole multiples of 2**-16
_LARGE = 256  # counts above it are drawn by numpy's binomial: slower for small, faster for large ones
_AHEAD = 2  # batches whose contacts are drawn before they are asked for


@dataclasses.dataclass(frozen=True)
class Thinning:
    """How much of each window is kept.

    Attributes:
      low, high: share of the contacts kept, 0 < low <= high <= 1; drawn log-uniformly for each
        window (see `log_uniform`).
      seed: of the run.
      replicate: draw every window twice, with one share.
    """

    low: float
    high: float
    seed: int
    replicate: bool = False

    def train(self, batches: Iterator[Batch], start_step: int = 0, first: int = 0) -> Iterator[Batch]:
        """Thins a training stream.

        Args:
          batches: global batches from `start_step` on, or one host's part of each.
          start_step: step of the first of them.
          first: place of the part's first example in the global batch.

        Returns:
          The batches with thinned `counts`, their `total_count` and `matrix_count` to scale, and
          in `targets`: "deep", the counts before `[B, H, W]`; "kept", the share kept `[B]` float32;
          if asked for "replicate", a second draw `[B, H, W]`.

        Raises:
          InputError: counts that are not whole (when the first batch is drawn).
        """
        return self._stream(batches, lambda number, i: (_TRAINING, start_step + number, first + i))

    def evaluation(self, batches: Iterator[Batch], batch_size: int, first: int = 0) -> Iterator[Batch]:
        """Thins an evaluation stream: a tile's draw is the same whatever batch it comes in.

        Arguments and batches as for `train`; `batch_size` is that of the global batches.
        """
        return self._stream(batches, lambda number, i: (_EVALUATION, number * batch_size + first + i))

    def _stream(self, batches: Iterator[Batch], place) -> Iterator[Batch]:
        # Threads, because numpy leaves the interpreter while it draws.
        with ThreadPoolExecutor(max_workers=2) as pool:
            waiting = collections.deque()
            for number, batch in enumerate(batches):
                _check_whole(batch.counts)
                drawn = [
                    pool.submit(self._draw, counts, int(diag), place(number, i))
                    for i, (counts, diag) in enumerate(zip(batch.counts, batch.diag, strict=True))
                ]
                waiting.append((batch, drawn))
                if len(waiting) > _AHEAD:
                    yield self._thinned(*waiting.popleft())
            while waiting:
                yield self._thinned(*waiting.popleft())

    def _draw(self, counts: np.ndarray, diag: int, place: tuple[int, ...]) -> tuple[np.ndarray, float]:
        words = np.random.SFC64(np.random.SeedSequence((self.seed, *place)))
        share = log_uniform(self.low, self.high, int(words.random_raw()))
        replicates = [thin_window(counts, diag, share, words) for _ in range(1 + self.replicate)]
        return np.stack(replicates), share

    def _thinned(self, batch: Batch, drawn: list) -> Batch:
        counts, kept = zip(*(future.result() for future in drawn), strict=True)
        counts, kept = np.stack(counts), np.array(kept, np.float32)
        targets = dict(batch.targets, deep=batch.counts, kept=kept)
        if self.replicate:
            targets["replicate"] = counts[:, 1]
        return batch.replace(
            counts=counts[:, 0],
            total_count=batch.total_count * kept,
            matrix_count=batch.matrix_count * kept,
            targets=targets,
        )


def _check_whole(counts: np.ndarray) -> None:
    # Whole counts beyond uint16 are stored as float32.
    if not np.issubdtype(counts.dtype, np.integer) and (counts != np.floor(counts)).any():
        raise InputError(
            f"data.thin needs tiles of whole counts, and these hold {counts[counts != np.floor(counts)][0]}: "
            "make them from a map of raw counts without --weight, or leave data.thin empty."
        )


def log_uniform(low: float, high: float, word: int) -> float:
    """The share in [low, high] that a random 64-bit word stands for, a multiple of 2**-16.

    Within a range it has four binary digits, because every digit takes another random word a read.
    """
    share = low * (high / low) ** ((word >> 11) / 2**53)
    step = 2.0 ** max(math.floor(math.log2(share)) - 3, -_SHARE_BITS)
    share = min(max(round(share / step) * step, low), high)
    return max(1, round(share * 2**_SHARE_BITS)) / 2**_SHARE_BITS


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
    thinned = np.zeros_like(flat)
    thinned[drawn] = binomial(flat[drawn], share, words)
    thinned[below] = thinned[above]
    return thinned.reshape(counts.shape)


@functools.lru_cache(maxsize=256)
def _mirror(height: int, width: int, diag: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Flat indices of the pixels to draw, and of the others beside those they are copied from."""
    rows, columns = np.divmod(np.arange(height * width), width)
    offset = diag * PATCH
    mirror_rows, mirror_columns = columns - offset, rows + offset
    inside = (0 <= mirror_rows) & (mirror_rows < height) & (0 <= mirror_columns) & (mirror_columns < width)
    copied = inside & (columns - rows < offset)
    below = np.flatnonzero(copied)
    return np.flatnonzero(~copied), below, mirror_rows[below] * width + mirror_columns[below]


def binomial(counts: np.ndarray, share: float, words: np.random.BitGenerator) -> np.ndarray:
    """Exact binomial draws `[N]` int64 of `counts` trials each.

    A read is a bit: combining random words by the binary digits of `share` sets each bit with that
    probability, and counting bits is several times faster than drawing one number at a time.
    """
    counts = counts.astype(np.int64)
    digits = round(share * 2**_SHARE_BITS)
    if digits == 1 << _SHARE_BITS:
        return counts
    kept = np.zeros(len(counts), np.int64)
    large = np.flatnonzero(counts > _LARGE)
    if len(large):
        kept[large] = np.random.Generator(words).binomial(counts[large], share)
    pixels = np.flatnonzero((counts > 0) & (counts <= _LARGE))
    left = counts[pixels]
    while len(pixels):
        reads = np.uint64(2**64 - 1) >> (64 - np.minimum(left, 64)).astype(np.uint64)
        kept[pixels] += np.bitwise_count(_biased_words(len(pixels), digits, words) & reads)
        more = left > 64
        pixels, left = pixels[more], left[more] - 64
    return kept


def _biased_words(count: int, digits: int, words: np.random.BitGenerator) -> np.ndarray:
    """Words whose bits are 1 with probability `digits / 2**16`, independently."""
    lowest = (digits & -digits).bit_length() - 1  # zeros at the end would only be "and"ed with 0
    biased = words.random_raw(count)
    for place in range(lowest + 1, _SHARE_BITS):
        word = words.random_raw(count)
        biased = biased | word if digits >> place & 1 else biased & word
    return biased
