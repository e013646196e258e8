"""Task resolution: a deep contact map from a shallow one."""

import dataclasses
import functools
import math
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from scipy.sparse import csr_array

from hicfm_jax.contacts import ContactMap, write_contacts
from hicfm_jax.contacts.contact_map import ENHANCEMENT, Pair
from hicfm_jax.contacts.formats import output_format, suffixes
from hicfm_jax.errors import InputError
from hicfm_jax.infer.enhanced_map import ROW_BYTES, PredictedRows, enhanced_map, provenance
from hicfm_jax.infer.network import ENHANCING, Network, as_network
from hicfm_jax.infer.scan import ScanWindow, cut_windows, scan
from hicfm_jax.infer.scan_plan import (
    InferenceTask,
    Option,
    ScanPlan,
    make_plan,
    map_positions,
    refuse_unless,
    within_region,
)
from hicfm_jax.infer.stitching import MERGES, Rows, merge_windows
from hicfm_jax.infer.tasks.target_depth import settle_depth
from hicfm_jax.infer.tasks.trans_pairs import with_trans
from hicfm_jax.models.heads import HeadOutput
from hicfm_jax.models.preprocess import TargetScaling
from hicfm_jax.progress import NullProgress
from hicfm_jax.storage import check_memory, check_new_file, check_space
from hicfm_jax.types import Array

MANY_PIXELS = 30_000_000
"""From here on a message says that balancing takes long."""

MUCH_MEMORY = 8e9
"""Bytes; where writing takes more, a message says how to take less."""

_WRITING_BYTES = 23  # for each pixel of a chromosome, measured while 18 million were written


def enhance(
    contact_map: ContactMap,
    params: Network | Mapping[str, Any] | str | os.PathLike = "any_map",
    *,
    network: Network | None = None,
    chromosomes: Sequence[str] | None = None,
    target_contacts: float | None = None,
    merge: str = "average",
    stride: int | None = None,
    bound: int | None = None,
    max_distance: int | None = None,
    trans: bool = False,
    keep_reads: bool = False,
    match_decay: bool | None = None,
    dtype: str = "float32",
    anyway: bool = False,
    integer: bool = False,
    batch_size: int = 8,
    folder: str | os.PathLike | None = None,
    progress: NullProgress | None = None,
) -> ContactMap:
    """Predicts the map of a deeper experiment, for whole chromosomes.

        deep = enhance(open_contacts("shallow.mcool", 10_000))
        write_contacts(deep, "deep.mcool", balance=True)

    Chromosomes keep names and lengths. Windows overlap and are merged.

    Args:
      contact_map: raw counts.
      params: a checkpoint (path, or name of a network that comes with the package), a network of
        `load_network`, or parameters to replace those of `network`.
      network: the network that the parameters are for.
      chromosomes: to enhance; all if not given.
      target_contacts: of the whole deep map, cis and trans; if not given, those of the map that the
        checkpoint was trained on, or `target_depth.GAIN` times those of the input (`data.split`). Networks
        without `model.residual` give a fixed depth; their map is scaled if contacts are given.
      merge: "average" or "original", see `stitching.MERGES`.
      stride: bins from window to window; half a window if not given, 20 for merge original.
      bound: of merge original, how many bins a window's rows and columns may begin apart; 0 if not given,
        as published: windows on the diagonal only.
      max_distance: farthest cis pixel from the diagonal in bp; all if not given.
      trans: also every pixel between different chromosomes, for networks with `model.residual`.
      keep_reads: the input's own reads, and a prediction only of the others, for networks trained on parts of
        the reads (`data.split`): the expectation of a deeper experiment that contains this one.
      match_decay: scale the prediction at each distance to the input's contacts there, by chromosome;
        None: wherever it is possible, for networks with `model.residual` and merge "average".
      dtype: of the network's products, "float32" or "bfloat16".
      anyway: go on with a map of another bin width or depth than the network was trained for.
      integer: round to whole contacts, halves up. Sparse maps lose contacts: pixels below 0.5 are empty.
      batch_size: windows at once, over all devices.
      folder: of temporary files, 12 bytes a pixel at most; None: where `tempfile` puts them (TMPDIR).
      progress: shows the windows done, and warnings; None: warnings on stderr.

    Returns:
      The deep map. Real counts are multiples of 1/1024 of a contact, and so are its standard deviations `sd`,
      if the network predicts them (`model.dispersion`). It reads its chromosomes from the
      temporary files, which are removed with it.

    Raises:
      InputError: a map without contacts, an unknown chromosome, values out of range, a checkpoint that does
        not fit, predictions that are not finite.
      OSError: the disk of the temporary files is full.
    """
    network = as_network(params, network, progress=progress)
    plan = make_plan(
        TASK,
        contact_map,
        network,
        chromosomes=chromosomes,
        merge=merge,
        stride=stride,
        bound=bound,
        max_distance=max_distance,
        trans=trans,
        keep_reads=keep_reads,
        match_decay=match_decay,
        dtype=dtype,
        anyway=anyway,
        target_contacts=target_contacts,
        integer=integer,
    )
    found = scan(contact_map, network, plan, batch_size, progress)
    return _collect(found, contact_map, network, plan, folder)[0]()


def prepare(matrix: csr_array, positions: np.ndarray, network: Network) -> Iterator[ScanWindow]:
    """Windows of a chromosome, see `cut_windows`.

    For published weights, windows that begin on the main diagonal come without it, as in the original.
    """
    for window in cut_windows(matrix, positions, network):
        if network.published and window.row == window.col:
            np.fill_diagonal(window.counts, 0)
        yield window


def contacts(output: HeadOutput, scaling: TargetScaling) -> Array:
    """Contacts `[B, H, W]` at the depth of the deep map, or these and their variances `[B, 2, H, W]`."""
    found = jnp.maximum(scaling.unscale(output.map), 0.0)
    # The maximum of NaN and 0 is 0 on some devices.
    found = jnp.where(jnp.isnan(output.map), output.map, found)
    if output.log_shape is None:
        return found
    return jnp.stack([found, found**2 * jnp.exp(-output.log_shape)], axis=1)


def settle(plan: ScanPlan, contact_map: ContactMap, network: Network) -> ScanPlan:
    """The plan with the depths, see `settle_depth`, and the windows of the options `region` and `trans`.

    Raises:
      InputError: also for a map that is a prediction, and for the option `quantiles` with a network that has
        no dispersion, or other text than numbers between 0 and 1.
    """
    if "quantiles" in plan.options:
        if not getattr(network.model, "dispersion", False):
            raise InputError(
                f"{network.checkpoint or 'The network'} predicts no standard deviations, as quantiles need: "
                "train one with model.dispersion, or leave quantiles out."
            )
        _quantiles(plan)
    if ENHANCEMENT in contact_map.metadata:
        already = f"{contact_map.name} is a prediction already"
        warning = refuse_unless(plan.anyway, already, "give the map that it was made from")
        plan = dataclasses.replace(plan, warnings=(*plan.warnings, warning))
    plan = settle_depth(plan, contact_map, network)
    matched = _matches_decay(plan, network)
    plan = dataclasses.replace(plan, options={**plan.options, "match_decay": matched})
    if plan.options.get("trans"):
        return with_trans(plan, contact_map, network)
    region = plan.options.get("region")
    return within_region(plan, region, contact_map) if region else plan


def _matches_decay(plan: ScanPlan, network: Network) -> bool:
    """Whether the decay of the map is matched to that of the input: the option, or where it is possible."""
    possible = network.takes_depth and plan.merge == "average" and "region" not in plan.options
    wanted = plan.options.get("match_decay")
    if wanted and not possible:
        raise InputError(
            "match_decay needs whole chromosomes, a network with model.residual and merge=average: leave it "
            "out."
        )
    return possible if wanted is None else wanted


def _quantiles(plan: ScanPlan) -> dict[str, float]:
    """The requested quantiles by their text."""
    found = {}
    for text in filter(None, plan.options.get("quantiles", "").split(",")):
        try:
            found[text] = float(text)
        except ValueError:
            found[text] = math.nan
        if not 0 < found[text] < 1:
            raise InputError(f"quantiles has {text!r}, expected numbers between 0 and 1, such as 0.05,0.95.")
    return found


def write(
    path: pathlib.Path,
    suffix: str,
    found: Iterable[tuple[str, Rows]],
    contact_map: ContactMap,
    network: Network,
    plan: ScanPlan,
    progress: NullProgress,
) -> str:
    """Writes the deep map, and beside it a map of each quantile, `deep.q0.05.mcool` beside `deep.mcool`.

    Options: `quantiles`, `integer` (default: where the format has only whole counts) and `balance` (default:
    where the format stores weights).

    Raises:
      InputError: an option that the format does not have.
      OSError: the disk is full or not writable.
    """
    integer, balance = plan.options.get("integer"), plan.options.get("balance")
    form = output_format(path)
    form.check(str(path), contact_map.chromsizes)
    if form.whole_counts_only:
        if integer is False:
            raise InputError(f"{path}: a {suffix} file has whole contacts only: leave integer out.")
        plan = dataclasses.replace(plan, options={**plan.options, "integer": True})
    if balance and not form.holds_weights:
        raise InputError(f"{path}: a {suffix} file stores no weights: leave balance out or write .mcool.")
    balance = form.holds_weights if balance is None else balance
    pixels = _pixels(contact_map, plan)
    check_space(path, ROW_BYTES * sum(pixels))
    beside = {
        quantile: path.with_name(f"{path.name[: -len(suffix)]}.q{text}{suffix}")
        for text, quantile in _quantiles(plan).items()
    }
    for other in beside.values():
        check_new_file(other)
    needed = _WRITING_BYTES * max(pixels)
    far = "pixels far from the diagonal with max_distance"
    check_memory(needed, f"leave out {'trans' if plan.pairs else far}")
    if needed > MUCH_MEMORY:
        less = "those between chromosomes are left out without --trans"
        if not plan.pairs:
            less = "--max_distance leaves out those far from the diagonal"
        progress.say(
            f"Writing up to {max(pixels) / 1e6:,.0f} million pixels of one chromosome takes up to "
            f"{needed / 1e9:.0f} GB of memory; {less}."
        )
    # Temporary files beside the output, where there must be space anyway; /tmp may be memory.
    make, predicted = _collect(found, contact_map, network, plan, path.parent)
    deep, shallow = make(), predicted.input_contacts
    if balance and sum(pixels) > MANY_PIXELS:
        progress.say(
            f"Balancing up to {sum(pixels) / 1e6:,.0f} million pixels takes longer than "
            "predicting them; --nobalance leaves the weights out."
        )
    resolutions = write_contacts(deep, path, balance=balance)
    for quantile, other in beside.items():
        write_contacts(make(quantile=quantile), other, balance=balance)
    chromosomes = f"{len(plan.chromosomes)} chromosome{'s' * (len(plan.chromosomes) != 1)}"
    kind = "cis and trans contacts" if plan.pairs else "cis contacts"
    line = (
        f"Wrote {path}: {deep.total_count:,.0f} {kind} of {chromosomes} at "
        f"{', '.join(map(str, resolutions))} bp, from {shallow:,.0f}"
    )
    rest = contact_map.total_count - shallow
    if rest > 0:
        everything = len(plan.chromosomes) == len(contact_map.chromsizes)
        which = "contacts between chromosomes" if everything else "other contacts"
        line += f"; the input's {rest:,.0f} {which} are left out"
    if beside:
        line += f"; quantiles in {', '.join(map(str, beside.values()))}"
    return line + "."


def _pixels(contact_map: ContactMap, plan: ScanPlan) -> list[int]:
    """Pixels of each chromosome of the deep map, at most; those of a pair are of its first."""
    sizes = [contact_map.n_bins(chrom) for chrom in plan.chromosomes]
    reach = [size if plan.max_bins is None else min(size, plan.max_bins + 1) for size in sizes]
    if plan.merge == "original":
        reach = [min(bins, max(plan.window) + plan.bound) for bins in reach]
    pixels = [bins * size - bins * (bins - 1) // 2 for size, bins in zip(sizes, reach, strict=True)]
    for rows, columns in plan.pairs:
        pixels[plan.chromosomes.index(rows)] += contact_map.n_bins(rows) * contact_map.n_bins(columns)
    return pixels


def _collect(
    found: Iterable[tuple[str | Pair, Rows]],
    contact_map: ContactMap,
    network: Network,
    plan: ScanPlan,
    folder: str | os.PathLike | None,
) -> tuple[Callable[..., ContactMap], PredictedRows]:
    """The function that makes the deep map, or with `quantile` that of one, and its rows."""
    predicted = PredictedRows(folder, plan.max_bins, MERGES[plan.merge])
    for region, rows in found:
        pair = (region, region) if isinstance(region, str) else region
        predicted.append(region, rows, contact_map.matrix(*pair))  # which the map still holds
    make = functools.partial(
        enhanced_map,
        contact_map,
        plan.chromosomes,
        predicted,
        target_contacts=None if network.takes_depth else plan.target_contacts,
        integer=bool(plan.options.get("integer")),
        exact=plan.merge == "original",
        metadata=provenance(contact_map, network, plan),
        pairs=plan.pairs,
        keep_reads=bool(plan.options.get("keep_reads")),
        depth_ratio=plan.depth_ratio if plan.options["match_decay"] else None,
    )
    return make, predicted


TASK = InferenceTask(
    name="resolution",
    text="a deep map of a shallow one",
    head=ENHANCING,
    default_window=(224, 224),
    default_stride=20,
    prepare=prepare,
    postprocess=contacts,
    merge=merge_windows,
    outputs=tuple(suffixes(lambda form: form.write)),
    write=write,
    positions=map_positions,
    settle=settle,
    packaged="any_map",
    options=(
        Option(
            "target_contacts",
            float,
            "Contacts of the whole deep map, cis and trans; if not given, those of the map trained on, or 16 "
            "times those of the input for a network that takes any number.",
        ),
        Option("integer", bool, "Round to whole contacts; always on for .pairs. Pixels below 0.5 are empty."),
        Option("region", str, "CHROM:START-END: only the windows that cover it."),
        Option("trans", bool, "Also contacts between chromosomes, for networks with model.residual."),
        Option(
            "keep_reads",
            bool,
            "Keep the input's own reads and predict only the others: the expectation of a deeper experiment "
            "that contains this one. Without it, the map is the network's estimate throughout.",
        ),
        Option(
            "match_decay",
            bool,
            "Scale the prediction at each distance to the input's contacts there, so that P(s) is the "
            "input's; on for networks with model.residual, but for a region, merge=original and pixels "
            "between chromosomes.",
        ),
        Option(
            "quantiles",
            str,
            "0.05,0.95: also write these quantiles, for networks that say how sure they are.",
        ),
        Option("balance", bool, "Store ICE weights; on for .mcool and .cool."),
    ),
)
