"""Task loop: chromatin loops of a contact map."""

import contextlib
import dataclasses
import os
import pathlib
from collections.abc import Iterable, Sequence

import jax
import numpy as np
import pandas as pd
import scipy  # imports .stats, which takes long, at its first use
import scipy.sparse

from hicfm_jax.contacts import ContactMap, write_contacts
from hicfm_jax.contacts.annotations.loop_list import loop_table, write_bedpe
from hicfm_jax.contacts.contact_map import counted
from hicfm_jax.contacts.expected import find_expected
from hicfm_jax.errors import InputError
from hicfm_jax.evaluate.neighborhoods import Neighborhoods
from hicfm_jax.evaluate.scores.foci import CORE, GAP, RING
from hicfm_jax.infer.enhanced_map import PredictedRows
from hicfm_jax.infer.mean_shift import Peaks, find_peaks
from hicfm_jax.infer.network import Network, as_network
from hicfm_jax.infer.scan import cut_windows, scan
from hicfm_jax.infer.scan_plan import InferenceTask, Option, ScanPlan, make_plan, map_positions
from hicfm_jax.infer.stitching import Rows, merge_windows
from hicfm_jax.infer.tasks.target_depth import as_deep_as_trained, original_depth, without_short
from hicfm_jax.models.heads import HeadOutput
from hicfm_jax.models.preprocess import TargetScaling
from hicfm_jax.progress import NullProgress
from hicfm_jax.storage import atomic_file, check_new_file
from hicfm_jax.types import Array

THRESHOLD = 0.5
"""Least score of a loop's pixels; for the original's deep maps, its authors used 0.9."""

LEAST_SCORE = 0.01
"""Lower scores are not stored, as in the original."""

MOST_PIXELS = 2_000_000
"""Above the threshold in one chromosome. More are no loops, and would take too much memory."""

SIGNIFICANT = 0.1
"""q of the loops that the last line counts as significant."""

_ORIGINAL_CUTOFF = 1000.0  # largest count of an image in the original's inference for loops


def find_loops(
    contact_map: ContactMap,
    network: Network | str | os.PathLike = "any_map_loops",
    *,
    chromosomes: Sequence[str] | None = None,
    threshold: float = THRESHOLD,
    merge: str = "average",
    stride: int | None = None,
    bound: int | None = None,
    max_distance: int | None = None,
    batch_size: int = 8,
    folder: str | os.PathLike | None = None,
    progress: NullProgress | None = None,
) -> pd.DataFrame:
    """Finds loops on whole chromosomes: the modes of the map of loop scores.

        loops = find_loops(open_contacts("leaf.mcool", 10_000), "runs/loops")
        strong = loops[loops.q < 0.1]

    Args:
      contact_map: raw counts.
      network: of `load_network`, or a checkpoint of task loop; that of the package if not given.
      chromosomes: to scan; all if not given.
      threshold: score from which on a pixel belongs to a loop, above 0 and up to 1.
      merge: "average", or "original" for the numbers of the original.
      stride, bound, max_distance, batch_size, folder, progress: see `enhance`. Published weights look no
        farther than one window from the diagonal if `max_distance` is not given.

    Returns:
      One row per loop, in the order of the chromosomes and bins (with merge "original": in its order), with
      `chrom1`, `start1`, `end1`, `chrom2`, `start2`, `end2` in bp, 0-based and half-open, and

      - `score`: the highest of the loop's pixels, 0 to 1;
      - `density`: sum of the scores around the loop, weighted by the kernel of the mean shift;
      - `q`: false discovery rate of its raw contacts, see `loop_p_values`.

    Raises:
      InputError: a map without contacts, an unknown chromosome, values out of range, a checkpoint that does
        not fit, predictions that are not finite or everywhere above the threshold.
      OSError: the disk of the temporary files is full.
    """
    network = as_network(network, None, TASK.head, progress, TASK.default_window)
    plan = make_plan(
        TASK,
        contact_map,
        network,
        chromosomes=chromosomes,
        merge=merge,
        stride=stride,
        bound=bound,
        max_distance=max_distance,
        threshold=threshold,
    )
    scores = PredictedRows(folder, plan.max_bins, LEAST_SCORE)
    return _collect(scan(contact_map, network, plan, batch_size, progress), contact_map, plan, scores)[0]


def settle(plan: ScanPlan, contact_map: ContactMap, network: Network) -> ScanPlan:
    """The plan with the original's cutoff and depth for published weights, and their reach.

    With merge "original", chromosomes shorter than half a window are left out.

    Raises:
      InputError: a threshold out of range, or no chromosome left.
    """
    threshold = plan.options.get("threshold", THRESHOLD)
    if not 0 < threshold <= 1:
        raise InputError(f"threshold is {threshold} but scores lie between 0 and 1: give one of these.")
    plan = without_short(plan, contact_map)
    if not network.published:
        return as_deep_as_trained(plan, contact_map, network)
    reach = plan.max_bins
    if reach is None and plan.merge != "original":
        reach = max(network.window) - 1
    total, _ = original_depth(contact_map, network)
    return dataclasses.replace(plan, total_count=total, cutoff=_ORIGINAL_CUTOFF, max_bins=reach)


def loop_scores(output: HeadOutput, scaling: TargetScaling) -> Array:
    """Scores of the pixels, `[B, H, W]` in 0..1: the sigmoid that is outside the model."""
    return jax.nn.sigmoid(output.map)


def write(
    path: pathlib.Path,
    suffix: str,
    found: Iterable[tuple[str, Rows]],
    contact_map: ContactMap,
    network: Network,
    plan: ScanPlan,
    progress: NullProgress,
) -> str:
    """Writes the loops, a picture of them beside the file, and the score map if requested.

    Options: `threshold`; `score_map`, a .cool to write.

    Raises:
      InputError: an output that exists already or cannot be written.
      OSError: the disk is full or not writable.
    """
    picture, score_map = path.with_suffix(".png"), plan.options.get("score_map")
    check_new_file(picture)
    if score_map is not None:
        score_map = pathlib.Path(score_map)
        if score_map.suffix.lower() != ".cool":
            raise InputError(f"score_map is {score_map}, expected a .cool file: give such a name.")
        check_new_file(score_map)
    # Temporary files beside the output, where there must be space anyway; /tmp may be memory.
    scores = PredictedRows(path.parent, plan.max_bins, LEAST_SCORE)
    loops, highest = _collect(found, contact_map, plan, scores)
    written, threshold = [], plan.options.get("threshold", THRESHOLD)
    with contextlib.ExitStack() as files:
        write_bedpe(loops, files.enter_context(atomic_file(path)))
        if score_map is not None:
            about = {"checkpoint": network.checkpoint, "step": network.step, "input": plan.input}
            scored = _score_map(contact_map, plan, scores, {"loop_scores": about})
            write_contacts(scored, files.enter_context(atomic_file(score_map)))
            written.append(str(score_map))
        if len(loops) and (image := _picture(contact_map, loops, progress)):
            files.enter_context(atomic_file(picture)).write_bytes(image)
            written.append(str(picture))
    also = f" Also wrote {' and '.join(written)}." if written else ""
    if loops.empty:
        progress.say(
            f"WARNING: no loop was found: no pixel off the diagonal scores above {threshold:g}, the highest "
            f"score is {highest:.3g}. Lower --threshold, or check that the network fits the map."
        )
        return f"Wrote {path}: no loops, only a header.{also}"
    return (
        f"Wrote {path}: {counted(len(loops), 'loop')} on {counted(loops.chrom1.nunique(), 'chromosome')} "
        f"with scores above {threshold:g}, {(loops.q < SIGNIFICANT).sum():,} of them with q below "
        f"{SIGNIFICANT:g}.{also}"
    )


def _collect(
    found: Iterable[tuple[str, Rows]], contact_map: ContactMap, plan: ScanPlan, scores: PredictedRows
) -> tuple[pd.DataFrame, float]:
    """Loops as of `find_loops`, and the highest score. The scores themselves go to `scores`."""
    threshold = plan.options.get("threshold", THRESHOLD)
    tables, p_values, highest = [], [np.zeros(0)], 0.0
    for chrom, rows in found:
        counts = contact_map.matrix(chrom)  # which the map still holds
        scores.append(chrom, rows, counts)
        size = counts.shape[0]
        if rows.first + len(rows.mean) < size:
            continue
        scored = scores.read(chrom, (size, size))
        highest = max(highest, float(scored.data.max(initial=0)))
        above = int((scored.data > threshold).sum())
        if above > MOST_PIXELS:
            raise InputError(
                f"{above:,} pixels of {chrom} have a loop score above {threshold:g}, expected up to "
                f"{MOST_PIXELS:,}: raise the threshold, or give a checkpoint that was trained on loops."
            )
        peaks = _above_diagonal(find_peaks(scored, threshold, plan.merge))
        values = {"score": peaks.score, "density": peaks.density}
        tables.append(loop_table(contact_map, chrom, peaks.rows, peaks.cols, **values))
        p_values.append(loop_p_values(counts, peaks.rows, peaks.cols))
    loops = pd.concat(tables, ignore_index=True)
    loops["q"] = q_values(np.concatenate(p_values))
    return loops, highest


def _above_diagonal(peaks: Peaks) -> Peaks:
    kept = peaks.rows < peaks.cols
    return Peaks(*(getattr(peaks, field.name)[kept] for field in dataclasses.fields(Peaks)))


def _score_map(
    contact_map: ContactMap, plan: ScanPlan, scores: PredictedRows, metadata: dict[str, object]
) -> ContactMap:
    def load(chrom: str, other: str):
        return scores.read(chrom, (contact_map.n_bins(chrom),) * 2)

    pairs = [(chrom, chrom) for chrom in plan.chromosomes]
    name = f"{contact_map.name}, loop scores"
    return ContactMap(
        contact_map.chromsizes,
        contact_map.resolution,
        load,
        name,
        pairs=lambda: pairs,
        metadata={**contact_map.metadata, **metadata},
    )


def _picture(contact_map: ContactMap, loops: pd.DataFrame, progress: NullProgress) -> bytes | None:
    """The strongest loops and their mean as a PNG; None without matplotlib."""
    try:
        from hicfm_jax.evaluate.report import loop_figure
    except ModuleNotFoundError:
        progress.say("No picture was drawn: install hicfm_jax[evaluate] for matplotlib.")
        return None
    return loop_figure.draw(contact_map, loops)


TASK = InferenceTask(
    name="loop",
    text="chromatin loops",
    head=("loop",),
    default_window=(224, 224),
    default_stride=20,
    prepare=cut_windows,
    postprocess=loop_scores,
    merge=merge_windows,
    outputs=(".bedpe",),
    write=write,
    positions=map_positions,
    settle=settle,
    packaged="any_map_loops",
    options=(
        Option("threshold", float, f"Least score of a loop, 0 to 1; {THRESHOLD} if not given."),
        Option("score_map", str, "Also write the scores of all pixels to this .cool file."),
    ),
)


NEAREST = 2  # bins; pixels nearer to the diagonal are left out of all sums


def loop_p_values(counts: scipy.sparse.csr_array, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
    """Probability of as many contacts as in the 3 x 3 bins around each loop, or more, without a loop.

    Contacts are taken as Poisson. Their mean is that of the distance decay and the biases of the bins
    (`contacts.expected`), times observed / expected of the ring around them where that is above 1. The ring
    is that of `evaluate.scores.foci`.

    Args:
      counts: raw contacts of a chromosome, upper triangle `[n, n]`.
      rows, cols: bins of the loops, `[K]`.

    Returns:
      `[K]` float64.
    """
    if not len(rows):
        return np.zeros(0)
    expected, side = find_expected(counts), 2 * RING + 1
    offsets = np.arange(side) - RING
    ring = np.maximum(np.abs(offsets)[:, None], np.abs(offsets))
    observed = Neighborhoods(counts, side).cut(rows - RING, cols - RING)
    at = [np.asarray(bins)[:, None] + offsets for bins in (rows, cols)]
    # Bins beyond the chromosome have a bias of 0.
    bias = np.pad(expected.bias, side)
    row_bias, col_bias = (bias[np.clip(bins + side, 0, len(bias) - 1)] for bins in at)
    distance = at[1][:, None, :] - at[0][:, :, None]
    model = expected.decay[np.clip(distance, 0, len(expected.decay) - 1)]
    model = model * row_bias[:, :, None] * col_bias[:, None, :]
    far_enough = distance >= NEAREST
    core, around = (
        [np.where(far_enough & inside, values, 0).sum(axis=(1, 2)) for values in (observed, model)]
        for inside in (ring <= CORE, ring > GAP)
    )
    enriched = np.divide(*around, out=np.ones(len(core[0])), where=around[1] > 0)
    return scipy.stats.poisson.sf(core[0] - 1, core[1] * np.maximum(enriched, 1))


def q_values(p_values: np.ndarray) -> np.ndarray:
    """False discovery rates of Benjamini and Hochberg (1995), over all loops of a list, `[K]`."""
    return scipy.stats.false_discovery_control(p_values) if len(p_values) else np.zeros(0)
