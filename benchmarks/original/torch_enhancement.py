"""The original's loop over the windows of a shallow map in PyTorch, to compare ours with.

The network is `tests/reference_torch.py`, which parity tests hold to the original. Windows, images and
merging are those of its inference for resolution: one dense matrix a chromosome, and numpy for each window.
"""

import math
import os

import numpy as np
import torch

from hicfm_jax.contacts import ContactMap
from hicfm_jax.infer.scan_plan import original_positions
from hicfm_jax.infer.tasks.target_depth import ORIGINAL_CUTOFF
from hicfm_jax.models.presets import PRESETS
from tests import reference_torch

LEAST = 0.01  # contacts; smaller means are dropped


class OriginalEnhancement:
    """An untrained network of the original, with its loop.

    Args:
      model: a key of `presets.PRESETS`.
      window: (H, W) in bins.
    """

    def __init__(self, model: str, window: tuple[int, int]):
        size = PRESETS[model]
        names = ("dim", "depth", "heads", "decoder_dim", "decoder_depth", "decoder_heads")
        grid = tuple(side // reference_torch.PATCH for side in window)
        network = reference_torch.Head("resolution", grid, **{name: size[name] for name in names})
        self.network, self.window = reference_torch.randomize(network, seed=0), window
        # So that the outputs are contacts of a map, and not powers of ten.
        self.network.decoder_map.weight.data *= 0.1
        self.network.decoder_map.bias.data += 0.5

    def save(self, path: str | os.PathLike) -> None:
        """Writes the weights in the form of the original's files."""
        torch.save({"model": self.network.state_dict()}, path)

    def __call__(
        self, contact_map: ContactMap, stride: int, bound: int, batch_size: int, fused: bool = False
    ) -> dict[str, np.ndarray]:
        """The deep map: the upper triangle `[n, n]` float64 of each chromosome that is long enough.

        Args:
          contact_map: raw counts.
          stride, bound: see `original_positions`.
          batch_size: windows at once.
          fused: by PyTorch's own attention, in place of the explicit one.
        """
        for block in self.network.modules():
            if isinstance(block, reference_torch.Attention):
                block.fused = fused
        uppers = {chrom: contact_map.matrix(chrom) for chrom in contact_map.chromsizes}
        uppers = {chrom: part for chrom, part in uppers.items() if part.shape[0] >= self.window[0] // 2}
        total = float(sum(part.sum() for part in uppers.values()))
        bins = sum(part.shape[0] for part in uppers.values())
        cutoff = ORIGINAL_CUTOFF if total / bins / contact_map.resolution <= 1 else 0.0
        found = {}
        for chrom, upper in uppers.items():
            size = upper.shape[0]
            dense = np.zeros([max(size, side) for side in self.window], np.float32)
            dense[:size, :size] = upper.toarray()
            dense[:size, :size] += np.triu(dense[:size, :size], 1).T
            sums, number = np.zeros((2, *[max(dense.shape)] * 2))
            places = original_positions(size, self.window, stride, bound).tolist()
            for first in range(0, len(places), batch_size):
                batch = places[first : first + batch_size]
                images = np.stack([self._image(dense, place, cutoff) for place in batch])
                for place, values in zip(batch, self._predict(images, total), strict=True):
                    _merge(sums, number, place, values)
            mean = np.divide(sums, number, out=np.zeros_like(sums), where=number > 0)[:size, :size]
            found[chrom] = np.triu(np.where(mean > LEAST, mean, 0))
        return found

    def _image(self, dense: np.ndarray, place: tuple[int, int], cutoff: float) -> np.ndarray:
        """Colors `[3, H, W]` float32 of a window."""
        (row, col), (height, width) = place, self.window
        counts = dense[row : row + height, col : col + width].copy()
        if row == col:
            np.fill_diagonal(counts, 0)
        top = cutoff or counts.max()
        level = 1 - np.log10(np.minimum(counts, top) + 1.0) / math.log10(max(top, 1e-9) + 1)
        return np.stack([np.ones_like(level), level, level]).astype(np.float32)

    def _predict(self, images: np.ndarray, total: float) -> np.ndarray:
        """Contacts `[B, H, W]` of images `[B, 3, H, W]`."""
        mean, std = (
            torch.tensor(each)[:, None, None] for each in (reference_torch.MEAN, reference_torch.STD)
        )
        with torch.inference_mode():
            normalized = (torch.from_numpy(images) - mean) / std
            output = self.network(normalized, torch.full((len(images),), total))["map"]
        return np.maximum(10 ** (output.numpy().astype(np.float64) * math.log10(1001)) - 1, 0)


def _merge(sums: np.ndarray, number: np.ndarray, place: tuple[int, int], values: np.ndarray) -> None:
    """Adds the predictions of a window that are not 0, and those of its mirror image."""
    row, col = place
    for top, left, part in ((row, col, values), (col, row, values.T)):
        height, width = part.shape
        sums[top : top + height, left : left + width] += part
        number[top : top + height, left : left + width] += part != 0
