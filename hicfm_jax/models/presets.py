"""Named model sizes, and the function that creates a model."""

from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from hicfm_jax.errors import InputError
from hicfm_jax.models.heads import OUTPUTS, RESIDUALS, TRACKS, WITH_RESIDUAL, TaskModel
from hicfm_jax.models.mae import MaskedAutoencoder
from hicfm_jax.models.vit import REMATS
from hicfm_jax.types import PATCH

PRESETS = {
    # The original (ViT-L/16 of Dosovitskiy et al. 2021; decoder of He et al. 2022).
    "vit_large_patch16": dict(
        dim=1024, depth=24, heads=16, decoder_dim=512, decoder_depth=8, decoder_heads=16
    ),
    "vit_base_patch16": dict(dim=768, depth=12, heads=12, decoder_dim=512, decoder_depth=8, decoder_heads=16),
    "vit_small_patch16": dict(dim=384, depth=12, heads=6, decoder_dim=256, decoder_depth=4, decoder_heads=8),
    # As wide as ViT-Ti but shallow, for two CPU cores: 3 M parameters, half of them in the decoder.
    "vit_tiny_patch16": dict(dim=192, depth=3, heads=3, decoder_dim=192, decoder_depth=3, decoder_heads=6),
    # Exactly the size of the golden numbers computed with the original.
    "vit_test": dict(dim=32, depth=2, heads=4, decoder_dim=16, decoder_depth=2, decoder_heads=4),
}


def create_model(
    name: str,
    input_size: tuple[int, int],
    task: str = "pretrain",
    *,
    mask_ratio: float = 0.75,
    mask_combine: str = "sum",
    dtype: str = "float32",
    scan: bool = False,
    remat: str = "none",
    tracks: Sequence[str] = TRACKS,
    track_means: Sequence[float] = (),
    track_sds: Sequence[float] = (),
    residual: str = "none",
    transformer: bool = True,
    dispersion: bool = False,
    unsmoothed: bool = False,
    pixel_width: int = 32,
    pixel_depth: int = 2,
    bin_heads: int = 4,
) -> nn.Module:
    """The network for a task.

    Args:
      name: a key of `PRESETS`.
      input_size: (H, W) of a window in bins, multiples of 16.
      task: "pretrain", or a key of `heads.OUTPUTS`.
      mask_ratio, mask_combine: see `mae.MaskedAutoencoder`.
      dtype, scan, remat: see `vit.Blocks`.
      tracks, track_means, track_sds: see `heads.TaskModel`; `head_options` takes them from a config.
      residual, transformer, dispersion, unsmoothed, pixel_width, pixel_depth, bin_heads: the same.

    Returns:
      A Linen module. Pretraining: `model.apply({"params": p}, images, total_count, diag, noise=noise)`
      returns a `mae.PretrainOutput`. Heads: `model.apply({"params": p}, images, total_count)` returns a
      `heads.HeadOutput`; with a residual it also needs a `heads.Shallow`. `heads.apply_head` starts from
      raw counts.

    Raises:
      InputError: unknown name, task, residual or remat, an invalid size, or invalid names of tracks.
    """
    if name not in PRESETS:
        raise InputError(f"There is no model {name!r}: take one of {', '.join(PRESETS)}.")
    if any(side <= 0 or side % PATCH for side in input_size):
        raise InputError(
            f"The input size {tuple(input_size)} must be two positive multiples of {PATCH} bins, "
            "such as (448, 448)."
        )
    if task not in ("pretrain", *OUTPUTS):
        raise InputError(f"There is no model for task {task!r}: take one of pretrain, {', '.join(OUTPUTS)}.")
    if residual not in RESIDUALS or (residual != "none" and task not in WITH_RESIDUAL):
        raise InputError(
            f"There is no residual {residual!r} for task {task!r}: take none, or coverage for "
            f"{', '.join(WITH_RESIDUAL)}."
        )
    if remat not in REMATS:
        raise InputError(f"There is no remat {remat!r}: take one of {', '.join(REMATS)}.")
    if residual == "none" and not transformer:
        raise InputError("Without a residual the transformer is the whole network: leave transformer True.")
    if dispersion and (residual == "none" or task != "resolution"):
        raise InputError("Only task resolution with a residual has a dispersion: leave dispersion False.")
    size = dict(PRESETS[name], dtype=jnp.dtype(dtype), scan=scan, remat=remat)
    if task == "pretrain":
        return MaskedAutoencoder(**size, mask_ratio=mask_ratio, mask_combine=mask_combine)
    if "tracks" in OUTPUTS[task]:
        _check_tracks(tracks, track_means, track_sds)
    path = dict(pixel_width=pixel_width, pixel_depth=pixel_depth, bin_heads=bin_heads)
    path |= dict(transformer=transformer, dispersion=dispersion, unsmoothed=unsmoothed)
    head = dict(tracks=tuple(tracks), track_means=tuple(track_means), track_sds=tuple(track_sds))
    head |= dict(task=task, input_size=tuple(input_size), residual=residual)
    return TaskModel(**size, **head, **path)


def head_options(model: Mapping[str, Any]) -> dict[str, Any]:
    """The options of `create_model` for the head of a config's section `model`; {} for an original's head."""
    of_tracks = ("tracks", "track_means", "track_sds")
    options: dict[str, Any] = {name: tuple(model[name]) for name in of_tracks if model.get(name)}
    if model.get("residual", "none") != "none":
        names = ("residual", "transformer", "dispersion", "unsmoothed")
        names += ("pixel_width", "pixel_depth", "bin_heads")
        options |= {name: model[name] for name in names if name in model}  # older checkpoints lack some
    return options


def _check_tracks(tracks: Sequence[str], means: Sequence[float], sds: Sequence[float]) -> None:
    """Raises InputError unless the names differ and can be names of files, and statistics are complete."""
    if {len(means), len(sds)} not in ({0}, {len(tracks)}) or not all(sd > 0 for sd in sds):
        raise InputError(
            f"There are {len(tracks)} tracks, {len(means)} means and {len(sds)} standard deviations: give a "
            "mean and a positive standard deviation of each track, or none."
        )
    if not tracks or len(set(tracks)) < len(tracks):
        raise InputError(f"The tracks are {', '.join(tracks) or 'none'}: give each one a name of its own.")
    for name in tracks:
        if not (name and name.isprintable()) or "/" in name or name.startswith("."):
            raise InputError(f"A track is named {name!r}, which cannot be the name of a file: rename it.")
