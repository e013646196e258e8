"""Named model sizes, and the function that creates a model."""

from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from hicfm_jax.errors import InputError
from hicfm_jax.models.heads import OUTPUTS, RESIDUALS, WITH_RESIDUAL, TaskModel
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


def find_preset(name: str, widths: Sequence[int], depths: Sequence[int]) -> str:
    """The key of `PRESETS` with these sizes of encoder and decoder; without one InputError, about `name`."""
    for preset, size in PRESETS.items():
        if (*widths, *depths) == (size["dim"], size["decoder_dim"], size["depth"], size["decoder_depth"]):
            return preset
    known = ", ".join(f"{preset} ({size['dim']} x {size['depth']})" for preset, size in PRESETS.items())
    raise InputError(
        f"{name} holds an encoder of width {widths[0]} and depth {depths[0]} with a decoder of width "
        f"{widths[1]} and depth {depths[1]}, which is none of {known}: give the checkpoint of one of these."
    )


OF_TRACKS = ("tracks", "track_means", "track_sds")
"""Options of a model for task epigenome, sequences."""


def create_model(
    name: str,
    input_size: tuple[int, int],
    task: str = "pretrain",
    *,
    dtype: str = "float32",
    scan: bool = False,
    remat: str = "none",
    residual: str = "none",
    **options: Any,
) -> nn.Module:
    """The network for a task.

    Args:
      name: a key of `PRESETS`.
      input_size: (H, W) of a window in bins, multiples of 16.
      task: "pretrain", or a key of `heads.OUTPUTS`.
      dtype, scan, remat: see `vit.Blocks`.
      residual, options: further attributes of `heads.TaskModel`, which `head_options` takes from a config, or
        of `mae.MaskedAutoencoder`, which has no residual.

    Returns:
      A Linen module. Pretraining: `model.apply({"params": p}, images, total_count, diag, noise=noise)`
      returns a `mae.PretrainOutput`. Heads: `model.apply({"params": p}, images, total_count)` returns a
      `heads.HeadOutput`; with a residual it also needs a `heads.Shallow`. `heads.apply_head` starts from
      raw counts.

    Raises:
      InputError: unknown name, task, residual or remat, an invalid size, or invalid names of tracks.
      TypeError: an option that the network does not have.
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
    size = dict(PRESETS[name], dtype=jnp.dtype(dtype), scan=scan, remat=remat)
    if task == "pretrain":
        return MaskedAutoencoder(**size, **options)
    options |= {field: tuple(options[field]) for field in OF_TRACKS if field in options}
    model = TaskModel(**size, task=task, input_size=tuple(input_size), residual=residual, **options)
    if residual == "none" and not model.transformer:
        raise InputError("Without a residual the transformer is the whole network: leave transformer True.")
    if model.dispersion and (residual == "none" or task != "resolution"):
        raise InputError("Only task resolution with a residual has a dispersion: leave dispersion False.")
    if "tracks" in OUTPUTS[task]:
        _check_tracks(model.tracks, model.track_means, model.track_sds)
    return model


def head_options(model: Mapping[str, Any]) -> dict[str, Any]:
    """The options of `create_model` for the head of a config's section `model`; {} for an original's head."""
    options: dict[str, Any] = {name: tuple(model[name]) for name in OF_TRACKS if model.get(name)}
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
