"""Networks for fine-tuning: encoder, decoder and the head of a task."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp

from hicfm_jax.errors import InputError
from hicfm_jax.models import preprocess
from hicfm_jax.models.bin_path import BinPath
from hicfm_jax.models.pixel_path import PIXEL_FEATURES, PixelPath
from hicfm_jax.models.preprocess import denormalize, unpatchify
from hicfm_jax.models.smoothing import estimated_counts, expected_counts
from hicfm_jax.models.vit import Dense, EncoderDecoder
from hicfm_jax.types import PATCH, Array

OUTPUTS = {
    "finetune": ("embedding", "map", "track"),
    "reproducibility": ("embedding",),
    "loop": ("map",),
    "resolution": ("map",),
    "epigenome": ("tracks",),
    "single_cell": ("map",),
    "embedding": ("features",),
    "reconstruction": ("image",),
}
"""Fields of `HeadOutput` that each task has."""

TRACKS = ("CTCF", "H3K4me3", "H3K27ac", "H3K27me3", "ATAC-seq", "DNase-seq")
"""Tracks of the original's epigenome task, in its order."""

# What the predicted map corrects: nothing, as in the original, or a coverage-aware estimate.
RESIDUALS = ("none", "coverage")
WITH_RESIDUAL = ("resolution", "loop", "epigenome")  # tasks that have one
RARE = -5.0  # logit that a pixel is one of a loop, before training, where contacts are as expected
FIXED = ("decoder/pos_embed",)  # parameters that are never trained, as in the original


@flax.struct.dataclass
class Shallow:
    """Windows of a shallow map.

    Attributes:
      counts: contacts `[B, H, W]` float32.
      expected: see `smoothing.expected_counts`, same shape.
      depth_ratio: contacts of the deep map over those of the shallow one, `[B]`.
    """

    counts: Array
    expected: Array
    depth_ratio: Array


@flax.struct.dataclass
class HeadOutput:
    """Predictions of a head; fields that its task does not have are None (see `OUTPUTS`).

    Attributes:
      embedding: the decoder's class token, one vector per window, `[B, D']`.
      map: `[B, H, W]`, on the scale of the targets the head was trained on. Loop: logits, as in the
        original. Published resolution and single-cell weights: `log10(x + 1) / log10(1001)`. With
        `residual="coverage"`: `log10(x + 1)`.
      log_shape: log of the shape k of a gamma distribution of each pixel's intensity, whose mean is that of
        `map`, `[B, H, W]`; None without `TaskModel.dispersion`. The standard deviation is mean / sqrt(k), at
        any depth.
      track: one value per row of bins, `[B, H]`.
      tracks: one value per row of bins for each of K tracks, in the order of `TaskModel.tracks`, `[B, K, H]`.
      features: patch tokens `[B, h, w, C]` of the encoder after its norm, and of each decoder block.
      image: the window as colors in 0..255, `[B, H, W, 3]`.
    """

    embedding: Array | None = None
    map: Array | None = None
    log_shape: Array | None = None
    track: Array | None = None
    tracks: Array | None = None
    features: list[Array] | None = None
    image: Array | None = None


def _uniform_dense(features: int, fan_in: int, **options) -> nn.Dense:
    # PyTorch's default for nn.Linear, which the original keeps for these heads: kernel and bias.
    def init(key, shape, dtype=jnp.float32):
        return jax.random.uniform(key, shape, dtype, -(fan_in**-0.5), fan_in**-0.5)

    return nn.Dense(features, kernel_init=init, bias_init=init, **options)


class TaskModel(EncoderDecoder):
    """Encoder, decoder and head on whole windows (original: `Finetune_Model_Head`).

    Heads start as in the original; position tables start as in pretraining (in the original the encoder's
    starts at random).

    Attributes:
      task: a key of `OUTPUTS`.
      input_size: (H, W) of a window in bins; it fixes the size of the position tables.
      tracks: names of the K tracks of task epigenome; other tasks have none.
      track_means, track_sds: of each track; empty: 0 and 1. The tracks are `sd * output + mean`.
      residual: one of `RESIDUALS`; "coverage" for tasks resolution, loop and epigenome only.
      transformer: with a residual, False leaves out encoder and decoder.
      dispersion: with a residual, also predict how sure the map is, `HeadOutput.log_shape`.
      unsmoothed, pixel_width, pixel_depth, bin_heads: with a residual, see `pixel_path.PixelPath`, and
        `bin_path.BinPath`, which has neither the first nor heads.
    """

    task: str
    input_size: tuple[int, int]
    tracks: tuple[str, ...] = TRACKS
    track_means: tuple[float, ...] = ()
    track_sds: tuple[float, ...] = ()
    residual: str = "none"
    transformer: bool = True
    dispersion: bool = False
    unsmoothed: bool = False
    pixel_width: int = 32
    pixel_depth: int = 2
    bin_heads: int = 4

    @nn.compact
    def __call__(
        self, images: Array, total_count: Array | None = None, shallow: Shallow | None = None
    ) -> HeadOutput:
        """Predicts the outputs of the task.

        Args:
          images: normalized images `[B, H, W, 3]` of exactly `input_size`.
          total_count: contacts of each experiment `[B]`, None where unknown.
          shallow: the windows themselves, for a residual; otherwise None.

        Raises:
          InputError: images of another size, or a residual without `shallow`.
        """
        batch, height, width, _ = images.shape
        if (height, width) != tuple(self.input_size):
            raise InputError(
                f"The windows are {height} x {width} bins but the model was made for "
                f"{self.input_size[0]} x {self.input_size[1]}: cut windows of that size, or make the "
                "model with this input_size."
            )
        if self.residual != "none" and shallow is None:
            raise InputError(
                "This model corrects an estimate from shallow windows: pass shallow, or use "
                "models.heads.apply_head, which makes it."
            )
        if not self.transformer and self.task == "epigenome":
            return HeadOutput(tracks=self._scaled(self._along_bins(shallow)))
        if not self.transformer:
            return HeadOutput(**self._by_pixel(shallow))
        grid = (height // PATCH, width // PATCH)
        encoder, decoder = self.parts(grid, norm_eps=1e-5)

        def on_grid(tokens):  # patches only, [B, 2 + L, C] -> [B, h, w, C]
            return tokens[:, 2:].reshape(batch, *grid, -1)

        latent = encoder(images, total_count)
        if self.task == "embedding":
            *layers, _ = decoder.layers(latent)
            return HeadOutput(features=[on_grid(tokens) for tokens in [latent, *layers]])
        decoded = decoder(latent)
        patches, rows = decoded[:, 2:], on_grid(decoded).mean(axis=2)
        head = partial(_uniform_dense, fan_in=self.decoder_dim, dtype=self.dtype)
        fields, found = OUTPUTS[self.task], {}
        if "embedding" in fields:
            found["embedding"] = decoded[:, 0]
        if "map" in fields and self.residual == "coverage":
            pixels = nn.Dense(PIXEL_FEATURES * PATCH**2, dtype=self.dtype, name="pixel_features")(patches)
            means = (jnp.repeat(side, PATCH, axis=1) for side in (rows, on_grid(decoded).mean(axis=1)))
            found |= self._by_pixel(shallow, unpatchify(pixels, height, width), tuple(means))
        elif "map" in fields:
            values = head(PATCH**2, name="map_head")(patches)
            found["map"] = unpatchify(values, height, width)[..., 0]
        if "track" in fields:
            found["track"] = head(PATCH, name="track_head")(rows).reshape(batch, height)
        if "tracks" in fields:
            if self.residual == "coverage":
                tracks = self._along_bins(shallow, jnp.repeat(rows, PATCH, axis=1))
            else:
                layers = [
                    Dense(PATCH, dtype=self.dtype, name=f"track_heads_{k}") for k in range(len(self.tracks))
                ]
                tracks = jnp.stack([layer(rows).reshape(batch, height) for layer in layers], axis=1)
            found["tracks"] = self._scaled(tracks)
        if "image" in fields:
            pixels = head(3 * PATCH**2, name="pixel_head")(patches).astype(jnp.float32)
            found["image"] = jnp.clip(255 * denormalize(unpatchify(pixels, height, width)), 0, 255)
        return HeadOutput(**{name: value.astype(jnp.float32) for name, value in found.items()})

    def _along_bins(self, shallow: Shallow, bins: Array | None = None) -> Array:
        """Tracks `[B, K, H]` in standard deviations; arguments as of `BinPath`."""
        path = BinPath(len(self.tracks), self.pixel_width, self.pixel_depth, self.dtype, name="bin_path")
        return path(shallow.counts, shallow.expected, bins)

    def _scaled(self, tracks: Array) -> Array:
        """Tracks `[B, K, H]` in their units."""
        if not self.track_sds:
            return tracks
        return tracks * jnp.array(self.track_sds)[:, None] + jnp.array(self.track_means)[:, None]

    def _by_pixel(
        self, shallow: Shallow, pixels: Array | None = None, bins: tuple[Array, Array] | None = None
    ) -> dict[str, Array]:
        """Fields of the output `[B, H, W]`; arguments see `PixelPath`.

        `map`, logits of loops, else `log10(1 + contacts)`; `log_shape` if it is predicted.
        """
        choices = dict(dispersion=self.dispersion, unsmoothed=self.unsmoothed)
        size = self.pixel_width, self.pixel_depth, self.bin_heads
        path = PixelPath(*size, self.dtype, **choices, name="pixel_path")
        log_ratio, log_shape = path(shallow.counts, shallow.expected, pixels, bins)
        if self.task == "loop":
            return {"map": log_ratio + RARE}
        contacts = shallow.expected * shallow.depth_ratio[:, None, None] * jnp.exp(log_ratio)
        found = {"map": jnp.log1p(contacts) / jnp.log(10.0)}
        return found | ({"log_shape": log_shape} if self.dispersion else {})


def apply_head(
    model: TaskModel,
    params: Any,
    counts: Array,
    total_count: Array | None,
    *,
    cutoff: float = 0.0,
    context: Mapping[str, Array] | None = None,
    depth_ratio: Array | None = None,
) -> HeadOutput:
    """Runs a head on windows of raw counts.

    With a residual, the transformer's input is the estimate of the deep map, which is closer to the maps of
    pretraining than the sparse shallow counts.

    Args:
      model, params: from `presets.create_model`, and its parameters.
      counts: raw contacts `[B, H, W]`, any real dtype.
      total_count: contacts of each experiment `[B]`, None where unknown.
      cutoff: see `preprocess.intensity`.
      context, depth_ratio: see `batch.Batch` and `Shallow`; for a residual.

    Raises:
      InputError: a residual without context or depth ratio.
    """
    if model.residual == "none":
        return model.apply({"params": params}, preprocess.normalize(counts, cutoff), total_count)
    if not context or depth_ratio is None:
        raise InputError(
            "A model with a residual needs the context and the depth ratio of each window: use tiles that "
            "have a context, and set data.thin or data.split."
        )
    counts, expected = counts.astype(jnp.float32), expected_counts(context)
    shallow = Shallow(counts, expected, depth_ratio)
    estimate = estimated_counts(counts, expected) * depth_ratio[:, None, None]
    return model.apply({"params": params}, preprocess.normalize(estimate, cutoff), total_count, shallow)


def init_head(model: TaskModel, key: Array) -> Any:
    """Fresh parameters of a head."""
    images = jnp.zeros((1, *model.input_size, 3))
    pixels = images[..., 0]
    shallow = None if model.residual == "none" else Shallow(pixels, pixels, jnp.ones(1))
    return model.init(key, images, None, shallow)["params"]
