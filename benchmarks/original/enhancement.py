"""Our enhancement of a map beside the original's loop in PyTorch, with the same weights."""

import pathlib
import tempfile
import time
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from benchmarks.original.turns import Side, answer, take_turns
from benchmarks.step import OURS, comparison_rows, spread, used_memory
from hicfm_jax.contacts import ContactMap, open_contacts
from hicfm_jax.errors import InputError
from hicfm_jax.infer import enhance, load_network
from hicfm_jax.infer.scan import on_devices
from hicfm_jax.infer.scan_plan import covering_positions, original_positions
from hicfm_jax.infer.tasks.resolution import TASK

EXPLICIT, FUSED = "as the original", "with fused attention"
LINE_BOUND = 200  # default of the original's command line
_FILE = "untrained.pth.tar"


def compare_enhancement(
    uri: str,
    resolution: int | None = None,
    model: str = "vit_large_patch16",
    *,
    bins: int = 344,
    rounds: int = 3,
    window: tuple[int, int] | None = None,
    batch_size: int = 8,
    genome: bool = False,
) -> dict[str, Any]:
    """Times both on the same windows of a part of a map, and counts the windows of the whole map.

    Both load one file of random weights and merge as the original, with its published stride and bound. No
    file is read or written while the clock runs.

    Args:
      uri, resolution: of a map of raw counts, see `contacts.open_contacts`.
      model: a key of `presets.PRESETS`.
      bins: of the part, the beginning of the longest chromosome.
      rounds: to time, after one that is not timed.
      window: (H, W) in bins; None: as published.
      batch_size: windows at once.
      genome: also enhance the whole map as `enhance` does by default.

    Returns:
      `model`, `window`, `stride`, `batch_size`, `bins`, `windows` of the part, `rounds`; in `seconds`, for
      `OURS`, `EXPLICIT` and `FUSED`, those of a window as `[median, least, most]`; in `ratios` the times of
      the last two over ours, round by round; `difference`, the largest between both maps as a fraction of
      their largest count; `peak_memory_bytes` of both processes; `genome`, see `genome_windows`, and
      `genome_seconds` if asked for.

    Raises:
      InputError: a part of less than half a window, or of more bins than the chromosome.
    """
    window = tuple(window or TASK.default_window)
    stride = min(TASK.default_stride, *window)
    if bins < window[0] // 2:
        raise InputError(f"bins is {bins} but the original leaves out less than half a window: give more.")
    contact_map, windows = open_contacts(uri, resolution), len(original_positions(bins, window, stride, 0))
    first_part(contact_map, bins)  # raises before the work
    from benchmarks.original.torch_enhancement import OriginalEnhancement

    source, choices = (uri, resolution, bins), dict(stride=stride, bound=0, batch_size=batch_size)
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / _FILE
        OriginalEnhancement(model, window).save(file)
        sides = {
            "PyTorch": Side(_run_torch, (model, window, source, choices), [EXPLICIT, FUSED]),
            "JAX": Side(_run_ours, (file, source, choices, genome), [OURS]),
        }
        seconds, figures = take_turns(sides, rounds)
    (ours, our_peak, whole), (theirs, their_peak) = figures["JAX"], figures["PyTorch"]
    result = {
        "model": model,
        "window": list(window),
        "stride": stride,
        "batch_size": batch_size,
        "bins": bins,
        "windows": windows,
        "rounds": rounds,
        "seconds": {name: spread(np.array(times) / windows) for name, times in seconds.items()},
        "ratios": {name: spread(np.divide(seconds[name], seconds[OURS])) for name in (EXPLICIT, FUSED)},
        "difference": float(np.abs(ours - theirs).max() / np.abs(theirs).max()),
        "peak_memory_bytes": {"JAX": our_peak, "PyTorch": their_peak},
        "genome": genome_windows(contact_map, window, stride),
    }
    return result | ({"genome_seconds": whole} if genome else {})


def first_part(contact_map: ContactMap, bins: int) -> ContactMap:
    """The beginning of the longest chromosome as a map.

    Raises:
      InputError: the chromosome has fewer bins.
    """
    chrom = max(contact_map.chromsizes, key=contact_map.chromsizes.get)
    matrix = contact_map.matrix(chrom)
    if matrix.shape[0] < bins:
        raise InputError(
            f"bins is {bins} but {chrom} of {contact_map.name} has {matrix.shape[0]}: take fewer."
        )
    sizes = {chrom: bins * contact_map.resolution}
    return ContactMap(sizes, contact_map.resolution, {(chrom, chrom): matrix[:bins, :bins]}, name="part")


def genome_windows(contact_map: ContactMap, window: tuple[int, int], stride: int) -> dict[str, int]:
    """Windows of a whole map, by what is scanned; `stride` is the original's, ours is half a window."""
    sizes = [contact_map.n_bins(chrom) for chrom in contact_map.chromsizes]
    long = [size for size in sizes if size >= window[0] // 2]

    def original(bound: int) -> int:
        return sum(len(original_positions(size, window, stride, bound)) for size in long)

    def ours(max_bins: int | None) -> int:
        return sum(len(covering_positions(size, window, min(window) // 2, max_bins)) for size in sizes)

    near = max(window)
    return {
        f"original, bound 0: to {near} bins from the diagonal": original(0),
        f"original, bound {LINE_BOUND}: to {near + LINE_BOUND} bins": original(LINE_BOUND),
        "original, every cis pixel": original(max(sizes)),
        f"ours, to {near} bins": ours(near),
        "ours, every cis pixel (default)": ours(None),
    }


def comparison_table(result: dict[str, Any]) -> str:
    """The figures of `compare_enhancement` as text."""
    size = " x ".join(map(str, result["window"]))
    lines = [
        f"{result['model']}, {result['windows']} windows of {size}, batches of {result['batch_size']}, "
        f"float32, median of {result['rounds']} rounds (least to most)",
        f"{'':22}{'s a window':>24}{'times ours':>24}",
        *comparison_rows(result, digits=4),
    ]
    peaks = ", ".join(f"{name} {peak / 1e9:.2f} GB" for name, peak in result["peak_memory_bytes"].items())
    lines.append(f"largest difference of both maps {result['difference']:.1e}; peak memory {peaks}")
    lines.append(f"{'the whole map':48}{'windows':>10}{'seconds, estimated':>22}")
    for what, windows in result["genome"].items():
        a_window = result["seconds"][OURS if what.startswith(OURS) else EXPLICIT][0]
        lines.append(f"{what:48}{windows:10,}{windows * a_window:22,.1f}")
    if "genome_seconds" in result:
        lines.append(f"ours by default, measured: {result['genome_seconds']:.1f} s")
    return "\n".join(lines)


def _run_ours(
    end: Connection,
    file: pathlib.Path,
    source: tuple[str, int | None, int],
    choices: dict[str, int],
    genome: bool,
) -> None:
    *place, bins = source
    contact_map, network = open_contacts(*place), on_devices(load_network(file))
    part, found = first_part(contact_map, bins), []

    def run(_: str) -> float:
        begun = time.perf_counter()
        found[:] = [enhance(part, network, merge="original", **choices)]
        return time.perf_counter() - begun

    def figures() -> tuple[np.ndarray, int, float]:
        begun = time.perf_counter()
        if genome:
            enhance(contact_map, network, batch_size=choices["batch_size"])
        seconds = time.perf_counter() - begun
        (chrom,) = part.chromsizes
        return found[0].matrix(chrom).toarray(), used_memory(None), seconds

    answer(end, run, figures)


def _run_torch(
    end: Connection,
    model: str,
    window: tuple[int, int],
    source: tuple[str, int | None, int],
    choices: dict[str, int],
) -> None:
    from benchmarks.original.torch_enhancement import OriginalEnhancement

    *place, bins = source
    original, part, found = OriginalEnhancement(model, window), first_part(open_contacts(*place), bins), {}

    def run(name: str) -> float:
        begun = time.perf_counter()
        found.update(original(part, **choices, fused=name == FUSED))
        return time.perf_counter() - begun

    def figures() -> tuple[np.ndarray, int]:
        (deep,) = found.values()
        return deep, used_memory(None)

    answer(end, run, figures)
