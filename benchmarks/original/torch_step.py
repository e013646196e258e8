"""A pretraining step of the original in PyTorch, to compare ours with.

The network is `tests/reference_torch.py`, which parity tests hold to the original. It can run as the
original runs it, or as fast as PyTorch can. The three losses and the settings of AdamW are the original's.
"""

import functools
import math
import time

import torch
from torch.nn import functional

from hicfm_jax.models.presets import PRESETS
from hicfm_jax.train.losses.pretraining_losses import C1, C2, gaussian_taps
from tests import reference_torch

VARIANTS = {
    "as the original": dict(attention="explicit", ssim="float64", optimizer="loop"),
    "PyTorch at its best": dict(attention="fused", ssim="float32", optimizer="fused"),
}
"""How the same step is computed. The original's SSIM is in float64 by accident, its attention is explicit."""


class TorchStep:
    """A network of the original with its optimizer, on random windows.

    Args:
      model: a key of `presets.PRESETS`.
      input_size: (H, W) in bins.
      batch: windows a step.
      device: "cpu" or "cuda".
      compiled: let `torch.compile` make the network of the fast variant.
    """

    def __init__(
        self, model: str, input_size: tuple[int, int], batch: int, device: str = "cpu", compiled: bool = False
    ):
        size = PRESETS[model]
        names = ("dim", "depth", "heads", "decoder_dim", "decoder_depth", "decoder_heads")
        grid = tuple(side // reference_torch.PATCH for side in input_size)
        torch.manual_seed(0)
        network = reference_torch.Pretraining(grid, **{name: size[name] for name in names})
        self.network = reference_torch.randomize(network, seed=0).to(device).train()
        self.compiled = torch.compile(self.network.reconstruct) if compiled else self.network.reconstruct
        trained = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        groups = [
            {"params": [p for p in trained if p.ndim > 1], "weight_decay": 0.05},
            {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=1e-6, betas=(0.9, 0.95), foreach=False)
        generator = torch.Generator().manual_seed(0)
        counts = torch.poisson(2 * torch.rand(batch, *input_size, generator=generator), generator)
        # Red is constant, green and blue are equal, as of an image of counts.
        level = 1 - torch.log10(counts + 1) / torch.log10(counts.max() + 1)
        colors = torch.stack([torch.ones_like(level), level, level], dim=1)
        mean, std = (
            torch.tensor(each)[:, None, None] for each in (reference_torch.MEAN, reference_torch.STD)
        )
        self.images = ((colors - mean) / std).to(device)
        self.total_count = torch.full((batch,), 1e7, device=device)
        self.matrix_count = counts.sum(dim=(1, 2)).to(device)
        noise = torch.rand(batch, *grid, generator=generator)
        self.keep = self.network.visible(noise, torch.zeros(batch)).to(device)

    def __call__(self, variant: str) -> float:
        """Seconds of one step computed as `VARIANTS[variant]`.

        Raises:
          FloatingPointError: a loss that is not finite.
        """
        how = VARIANTS[variant]
        for block in self.network.modules():
            if isinstance(block, reference_torch.Attention):
                block.fused = how["attention"] == "fused"
        for group in self.optimizer.param_groups:
            group["fused"] = how["optimizer"] == "fused"
        apply = self.compiled if how["attention"] == "fused" else self.network.reconstruct
        dtype = getattr(torch, how["ssim"])
        started = time.perf_counter()
        self.optimizer.zero_grad()
        patches, count, _ = apply(self.images, self.total_count, self.keep)
        loss = pretraining_loss(patches, count, self.images, self.matrix_count, dtype)
        loss.backward()
        self.optimizer.step()
        value = loss.item()  # also waits for the device
        if not math.isfinite(value):
            raise FloatingPointError(f"The loss of {variant} is {value}.")
        return time.perf_counter() - started


def pretraining_loss(
    patches: torch.Tensor,
    count: torch.Tensor,
    images: torch.Tensor,
    matrix_count: torch.Tensor,
    dtype: torch.dtype,
) -> torch.Tensor:
    """SSIM, count and contrastive loss of windows that are full of data; SSIM in `dtype`."""
    grid = tuple(side // reference_torch.PATCH for side in images.shape[2:])
    mean, std = (
        torch.tensor(each, device=images.device)[:, None, None]
        for each in (reference_torch.MEAN, reference_torch.STD)
    )
    predicted, true = (
        (each * std + mean).clamp(0, 1).to(dtype) for each in (reference_torch.tile(patches, grid, 3), images)
    )
    cells = images.unflatten(2, (grid[0], -1)).unflatten(4, (grid[1], -1)).permute(0, 2, 4, 3, 5, 1)
    own = functional.normalize(cells.reshape(*patches.shape), dim=-1)
    logits = functional.normalize(patches, dim=-1) @ own.transpose(1, 2)
    index = torch.arange(logits.shape[1], device=images.device).expand(len(images), -1)
    contrastive = functional.cross_entropy(logits.flatten(0, 1), index.flatten())
    count_loss = functional.mse_loss(count, torch.log10(matrix_count + 1))
    return (1 - ssim(predicted, true).mean()).float() + count_loss + contrastive


def ssim(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Mean SSIM of each image and channel, `[B, C, H, W]` -> `[B, C]` (original: `ops/ssim.py`)."""
    mean_x, mean_y, square_x, square_y, product = map(_smooth, (x, y, x * x, y * y, x * y))
    contrast = (2 * (product - mean_x * mean_y) + C2) / (square_x - mean_x**2 + square_y - mean_y**2 + C2)
    luminance = (2 * mean_x * mean_y + C1) / (mean_x**2 + mean_y**2 + C1)
    return (luminance * contrast).flatten(2).mean(dim=-1)


def _smooth(x: torch.Tensor) -> torch.Tensor:
    channels, taps = x.shape[1], torch.tensor(gaussian_taps()).to(x)
    convolve = functools.partial(functional.conv2d, groups=channels)
    x = convolve(x, taps.view(1, 1, -1, 1).expand(channels, 1, -1, 1))
    return convolve(x, taps.view(1, 1, 1, -1).expand(channels, 1, 1, -1))


def matmul_rate(device: str = "cpu", rounds: int = 4) -> float:
    """FLOP/s of square matrix products in float32, measured as JAX's are."""
    size = 1024 if device == "cpu" else 8192
    x = torch.randn(size, size, device=device) / math.sqrt(size)
    best = math.inf
    for _ in range(1 + rounds):
        started = time.perf_counter()
        (x @ x @ x @ x @ x).sum().item()
        best = min(best, time.perf_counter() - started)
    return 4 * 2 * size**3 / best
