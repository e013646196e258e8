"""Windows as a shallower experiment would show them: contacts are dropped in the stream, anew each step.

Each contact of a deep window is kept or dropped by itself (binomial thinning). What is drawn
depends on the seed and on the step and place in the global batch alone, or in evaluation on the
tile, so that a run resumes exactly, hosts agree, and batches may be cut differently.
"""

import collections
import dataclasses
import functools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from hicfm_jax.errors import InputError
from hicfm_jax.tiles.binomial import binomial, log_uniform
from hicfm_jax.tiles.thinned_context import thin_context
from hicfm_jax.tiles.workers import workers
from hicfm_jax.types import PATCH, Batch

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
