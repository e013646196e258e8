"""Task reconstruction: what a pretrained network makes of hidden patches."""

import dataclasses
import functools
import math
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
import scipy.sparse
from flax.traverse_util import unflatten_dict

from hicfm_jax.checkpoints.weights import for_task
from hicfm_jax.contacts import ContactMap, open_contacts
from hicfm_jax.contacts.annotations.regions import Region
from hicfm_jax.convert import load_weights
from hicfm_jax.errors import InputError
from hicfm_jax.infer.network import Network
from hicfm_jax.infer.region_windows import assemble_windows, parse_regions, region_counts, window_places
from hicfm_jax.infer.scan import ScanWindow, cut_windows, scan
from hicfm_jax.infer.scan_plan import InferenceTask, Option, make_plan
from hicfm_jax.models.heads import TaskModel
from hicfm_jax.models.mae import MaskedAutoencoder
from hicfm_jax.models.preprocess import denormalize, log_scale, normalize, target_scaling, unpatchify
from hicfm_jax.models.presets import create_model
from hicfm_jax.progress import NullProgress
from hicfm_jax.storage import atomic_file, write_atomically
from hicfm_jax.types import NO_DIAGONAL, PATCH, Array

MASK_RATIO, SEED = 0.75, 0

ORIGINAL_COUNT = 1e8
"""Contacts that the original's example gives the network, whatever the map has."""

WHITE = 255.0  # no contacts; their color is red, with as much green and blue as they are few


@dataclasses.dataclass(frozen=True)
class ReconstructedRegion:
    """A region of a map, and what a network makes of it. H and W are its bins.

    Attributes:
      rows, columns: the region.
      resolution: bin width in bp.
      counts: raw contacts `[H, W]`.
      hidden: the pixels of hidden patches, `[H, W]` bool.
      colors: the network's picture, red, green and blue in 0..255, `[H, W, 3]` float32.
      decades: `log10(1 + x)` of the counts x that are fully red, those of each pixel's window, `[H, W]`.
      window: (H, W) in bins of the windows that the region was cut in.
    """

    rows: Region
    columns: Region
    resolution: int
    counts: np.ndarray
    hidden: np.ndarray
    colors: np.ndarray
    decades: np.ndarray
    window: tuple[int, int]

    @property
    def contacts(self) -> np.ndarray:
        """Contacts that the network's picture stands for, `[H, W]`."""
        intensity = 1 - self.colors[..., 1:].mean(axis=-1) / WHITE
        return 10 ** (intensity * self.decades) - 1

    @property
    def hidden_r(self) -> float:
        """Pearson's r of `log10(1 + contacts)` in hidden patches; NaN without any, or without variance."""
        true, found = (np.log10(1 + image[self.hidden]) for image in (self.counts, self.contacts))
        if not (true.size and true.std() and found.std()):
            return math.nan
        return float(np.corrcoef(true, found)[0, 1])


@dataclasses.dataclass(frozen=True)
class MaskedModel:
    """The pretraining model, with what a scan asks a model for; `input_size` (H, W) in bins."""

    autoencoder: MaskedAutoencoder
    input_size: tuple[int, int]
    task: str = "pretrain"
    residual: str = "none"


def reconstruct(
    contact_map: ContactMap,
    params: Network | str | os.PathLike,
    region: str,
    *,
    region2: str | None = None,
    mask_ratio: float = MASK_RATIO,
    seed: int = SEED,
    window: tuple[int, int] | None = None,
    total_count: float | None = None,
    batch_size: int = 8,
    progress: NullProgress | None = None,
) -> ReconstructedRegion:
    """Hides patches of a region and lets the pretrained network fill them in.

        found = reconstruct(open_contacts("leaf.mcool", 10_000), "runs/pretrain", "Chr4:1M-3M")

    A region larger than a window is cut in several, next to each other, each with its own hidden patches;
    those below the diagonal are mirror images. A smaller one is the middle of a window.

    Args:
      contact_map: raw counts.
      params: a pretraining checkpoint, or a network of `load_pretrained`.
      region: see `regions.parse_region`; the rows, and the columns too without `region2`.
      region2: columns, on the same chromosome.
      mask_ratio: fraction of patches to hide. With 0 the network sees everything, and its picture is that of
        the original's reconstruction (`Finetune_Model_Head`, task 7); of a `Network`, as it was loaded.
      seed: of the hidden patches.
      window: (H, W) in bins, multiples of 16; that of pretraining if not given.
      total_count: contacts of the experiment, as the network gets it; those of the map if not given.
      batch_size, progress: see `scan.scan`.

    Raises:
      InputError: a region that does not fit the map, is too large or has no contacts; not a pretraining
        checkpoint; values out of range.
    """
    network = params
    if not isinstance(params, Network):
        network = load_pretrained(params, mask_ratio, window, progress)
    rows, columns = parse_regions(contact_map, region, region2)
    counts = region_counts(contact_map, rows, columns)
    if not counts.any():
        raise InputError(f"{contact_map.name} has no contacts in {rows}: give another region.")
    places = window_places(contact_map, rows, columns, network.window)
    task = dataclasses.replace(
        TASK, prepare=functools.partial(prepare, seed=seed), positions=lambda size, plan: places
    )
    plan = make_plan(task, contact_map, network, chromosomes=[rows.chrom])
    if total_count is not None:
        plan = dataclasses.replace(plan, total_count=_checked_count(total_count))
    found = scan(contact_map, network, plan, batch_size, progress)
    values = assemble_windows(found, rows, columns, contact_map.resolution)
    return ReconstructedRegion(
        rows,
        columns,
        contact_map.resolution,
        counts,
        hidden=values[..., 3] > 0,
        colors=WHITE - values[..., :3],
        decades=values[..., 4],
        window=network.window,
    )


def load_pretrained(
    path: str | os.PathLike,
    mask_ratio: float = MASK_RATIO,
    window: tuple[int, int] | None = None,
    progress: NullProgress | None = None,
) -> Network:
    """Loads a pretraining checkpoint, ours or the original's; arguments as of `reconstruct`.

    Raises:
      InputError: no such checkpoint, damaged, or of another task; values out of range.
    """
    if not 0 <= mask_ratio < 1:
        raise InputError(f"mask_ratio is {mask_ratio} but must be 0 or more, and less than 1.")
    path = os.fspath(path)
    weights = load_weights(path, "pretrain", progress=progress)
    config = weights.meta.get("config", {})
    size = tuple(window or weights.report.input_size)
    if mask_ratio:
        combine = config.get("model", {}).get("mask_combine", "sum")
        autoencoder = create_model(weights.report.model, size, mask_ratio=mask_ratio, mask_combine=combine)
        model = MaskedModel(autoencoder, size)
    else:
        model = create_model(weights.report.model, size, "reconstruction")
        weights = for_task(weights, "reconstruction", size)
    return Network(
        model=model,
        params=unflatten_dict(weights.complete(), sep="/"),
        scaling=target_scaling("none"),
        cutoff=config.get("data", {}).get("cutoff", 0.0),
        checkpoint=path,
        step=weights.step,
    )


def prepare(
    matrix: scipy.sparse.csr_array, positions: np.ndarray, network: Network, seed: int = SEED
) -> Iterator[ScanWindow]:
    """Windows of a chromosome, with the noise that hides patches and the place of the diagonal."""
    height, width = (side // PATCH for side in network.window)
    for window in cut_windows(matrix, positions, network):
        offset = window.row - window.col
        # Patches are mirror images only where the diagonal lies on their grid.
        diag = NO_DIAGONAL if offset % PATCH else offset // PATCH
        noise = np.random.default_rng([seed, window.row, window.col]).random((height, width), np.float32)
        yield window._replace(context={"diag": np.float32(diag), "noise": noise})


def apply(
    model: MaskedModel | TaskModel,
    params: Any,
    counts: Array,
    total_count: Array,
    *,
    cutoff: float = 0.0,
    context: Mapping[str, Array] | None = None,
) -> Array:
    """Runs the network on counts `[B, H, W]`.

    Returns:
      `[B, H, W, 5]`: what red, green and blue lack to white, in 0..255; 1 for the pixels of hidden patches;
      see `ReconstructedRegion.decades`. All 0 for a window without contacts.
    """
    batch, height, width = counts.shape
    images = normalize(counts, cutoff)
    hidden = jnp.zeros((batch, height, width))
    if isinstance(model, MaskedModel):
        diag = context["diag"].astype(jnp.int32)
        noise = context["noise"]
        output = model.autoencoder.apply({"params": params}, images, total_count, diag, noise=noise)
        colors = 255 * denormalize(unpatchify(output.patch_pred, height, width))
        colors = jnp.clip(colors, 0, 255)
        grid = output.token_mask.reshape(batch, height // PATCH, width // PATCH)
        hidden = grid.repeat(PATCH, axis=1).repeat(PATCH, axis=2)
    else:
        colors = model.apply({"params": params}, images, total_count).image
    decades = jnp.full((batch,), math.log10(1 + cutoff)) if cutoff else log_scale(counts)
    decades = jnp.broadcast_to(decades[:, None, None], hidden.shape)
    values = jnp.concatenate([WHITE - colors, hidden[..., None], decades[..., None]], axis=-1)
    return jnp.where(counts.any(axis=(1, 2))[:, None, None, None], values, 0.0)


def infer(
    uri: str,
    resolution: int | None,
    checkpoint: str | os.PathLike,
    path: pathlib.Path,
    suffix: str,
    input_size: tuple[int, int] | None,
    batch_size: int,
    progress: NullProgress,
    choices: Mapping[str, Any],
) -> str:
    """Reconstructs the region of the option `region` and writes a picture, or its arrays.

    Merge "original" is the original's example: nothing is hidden, and the depth is `ORIGINAL_COUNT`.

    Raises:
      InputError: no region, choices that this task does not have, or what does not fit.
    """
    chosen = {name: value for name, value in choices.items() if value is not None}
    original = chosen.pop("merge", "average") == "original"
    known = [option.name for option in TASK.options]
    if unknown := [name for name in chosen if name not in known]:
        raise InputError(f"Task reconstruction has no option {unknown[0]}: leave it out.")
    if "region" not in chosen:
        raise InputError("Task reconstruction shows one region: give it with --region=CHROM:START-END.")
    if original:
        if chosen.get("mask_ratio"):
            raise InputError("The original hides no patches: leave mask_ratio out, or merge=original.")
        chosen = {"total_count": ORIGINAL_COUNT, **chosen, "mask_ratio": 0.0}
    ratio = chosen.pop("mask_ratio", MASK_RATIO)
    contact_map = open_contacts(uri, resolution)
    network = load_pretrained(checkpoint, ratio, input_size, progress)
    found = reconstruct(contact_map, network, **chosen, batch_size=batch_size, progress=progress)
    if suffix == ".npz":
        with atomic_file(path) as file:
            np.savez_compressed(file, **arrays(found))
    else:
        write_atomically(path, picture(found))
    where = f"{found.rows}" if found.rows == found.columns else f"{found.rows} x {found.columns}"
    if not ratio:
        return f"Wrote {path}: {where}, nothing hidden."
    return (
        f"Wrote {path}: {where}, {found.hidden.mean():.0%} of it hidden; Pearson's r of log10(1 + contacts) "
        f"in hidden patches is {found.hidden_r:.3f}."
    )


def arrays(found: ReconstructedRegion) -> dict[str, np.ndarray]:
    """The arrays of an `.npz`; pictures are `[H, W, 3]`, as the original draws them."""
    logs = np.log10(1 + found.counts)
    top = logs.max()
    drawn = np.full((*logs.shape, 3), WHITE)
    drawn[..., 1:] = (WHITE * (1 - logs / top))[..., None]
    return {
        "counts": found.counts,
        "hidden": found.hidden,
        "contacts": found.contacts.astype(np.float32),
        "colors": found.colors,
        "picture": found.colors.astype(np.uint8),
        "input_picture": drawn.astype(np.uint8),
        "chromosome": np.array(found.rows.chrom),
        "rows": np.array(found.rows[1:3]),
        "columns": np.array(found.columns[1:3]),
        "resolution": np.array(found.resolution),
        "window": np.array(found.window),
    }


def picture(found: ReconstructedRegion) -> bytes:
    """The region, with hidden patches, and as the network reconstructs it, as a PNG file.

    Raises:
      InputError: matplotlib is not installed.
    """
    try:
        from hicfm_jax.evaluate.report.figures import png
        from hicfm_jax.evaluate.report.prediction_figures import Panel, draw_panels
    except ModuleNotFoundError as error:
        raise InputError(
            f"Drawing needs {error.name}, which is not installed: pip install 'hicfm_jax[evaluate]', or "
            "write .npz."
        ) from error
    shown = np.log10(1 + found.counts)
    panels = [Panel("input", shown)]
    title = "reconstruction"
    if found.hidden.any():
        panels.append(Panel(f"{found.hidden.mean():.0%} hidden", np.where(found.hidden, np.nan, shown)))
        title += f", r = {found.hidden_r:.3f} where hidden"
    panels.append(Panel(title, np.log10(1 + found.contacts)))
    return png(draw_panels(panels, found.rows, found.columns, found.resolution))


def _checked_count(total_count: float) -> float:
    if not (math.isfinite(total_count) and total_count > 0):
        raise InputError(f"total_count is {total_count} but must be a number of contacts above 0.")
    return float(total_count)


TASK = InferenceTask(
    name="reconstruction",
    text="what a pretrained network makes of hidden patches",
    head=("reconstruction", "pretrain"),
    default_window=(224, 224),
    default_stride=PATCH,
    prepare=prepare,
    postprocess=lambda values, scaling: values,
    merge=None,
    outputs=(".png", ".npz"),
    write=None,
    positions=lambda size, plan: np.zeros((1, 2), np.int64),
    apply=apply,
    infer=infer,
    options=(
        Option("region", str, "CHROM:START-END."),
        Option("region2", str, "CHROM:START-END of the columns, if they are others than the rows."),
        Option("mask_ratio", float, f"Fraction of patches to hide, {MASK_RATIO:g} if not given."),
        Option("seed", int, f"Of the hidden patches, {SEED} if not given."),
        Option("total_count", float, "Contacts of the experiment; those of the map if not given."),
    ),
)
