"""The measured parts of docs/reference/performance.md."""

import os
import pathlib
import platform
import re
from collections.abc import Callable, Sequence

import jax

from benchmarks import growth, inference, step, stream, synthetic, tiling
from hicfm_jax.errors import InputError
from hicfm_jax.storage import atomic_file


def machine(toy: bool) -> str:
    """What the numbers were measured on."""
    try:
        facts = pathlib.Path("/proc/cpuinfo").read_text()
    except OSError:
        facts = ""
    name = re.search(r"model name\s*: (.*)", facts)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    device = jax.devices()[0].device_kind
    return (
        f"{name[1] if name else platform.processor()}, {cores} cores, {memory:.0f} GB of memory; device "
        f"{device}; Python {platform.python_version()}, JAX {jax.__version__}."
    )


def growth_table(toy: bool, picture: str | os.PathLike) -> str:
    """Time and memory against work; writes the picture too."""
    found = growth.measure_growth((1, 2), 32) if toy else growth.measure_growth()
    with atomic_file(picture) as path:
        growth.draw(found, path)
    name = pathlib.Path(picture).name
    return f"![Time and memory against the work](../pictures/{name})\n\n{growth.table(found)}"


def training_steps(toy: bool) -> str:
    """Our step beside the original's network in PyTorch."""
    model, side = ("vit_test", 32) if toy else ("vit_base_patch16", 224)
    config = step.step_config(model, "pretrain", (side, side), 1, "float32", "all")
    return _block(f"{model}\n" + step.comparison_table(step.compare_steps(config, rounds=1 if toy else 5)))


def tile_stream(toy: bool) -> str:
    """Stages of the stream of tiles from disk."""
    window = (32, 32) if toy else (448, 448)
    with synthetic.tiles_folder("synthetic:0.12", window) as tiles:
        seconds, thin = (0.05 if toy else 2), (1 / 16, 1 / 4)
        return _block(stream.table(stream.measure_stream(tiles, window=window, thin=thin, seconds=seconds)))


def cutting(toy: bool) -> str:
    """Builds of a dataset in one and in several processes."""
    side = 32 if toy else 448
    with tiling.map_sources("synthetic:0.12", None, (side, side)) as sources:
        processes = (0, 2) if toy else (0, 1, 2)
        result = tiling.measure_tiling(sources, processes, tile_size=side, stride=side // 2)
    return _block(tiling.table(result))


def tasks_of_inference(toy: bool) -> str:
    """Every task of inference with a small network."""
    if toy:
        result = inference.measure_inference(["resolution"], ["vit_test"], bins=70, rounds=1, window=(32, 32))
    else:
        result = inference.measure_inference(bins=500, rounds=3)
    return _block(inference.table(result))


SECTIONS: dict[str, Callable[..., str]] = {
    "machine": machine,
    "growth": growth_table,
    "training steps": training_steps,
    "tile stream": tile_stream,
    "cutting tiles": cutting,
    "tasks of inference": tasks_of_inference,
}
"""By the name in the page's comments `<!-- NAME -->`, up to `<!-- end -->`."""


def measure_page(
    page: str | os.PathLike, picture: str | os.PathLike, names: Sequence[str] = (), toy: bool = False
) -> None:
    """Measures the sections and writes each into the page when it is done.

    Args:
      page: a Markdown file with the comments of `SECTIONS`.
      picture: PNG of the section "growth".
      names: keys of `SECTIONS`; none: all.
      toy: sizes that say nothing, but take less than a minute.

    Raises:
      InputError: no such section or page, or a page without the comments of a section.
    """
    path = pathlib.Path(page)
    if not path.is_file():
        raise InputError(f"{path} does not exist: give the page whose tables are to be written.")
    for name in names or SECTIONS:
        if name not in SECTIONS:
            raise InputError(f"There is no section {name!r}: take one of {', '.join(SECTIONS)}.")
        _fill(path.read_text(), name, "", path)  # raises before the work
    for name in names or SECTIONS:
        more = [picture] if name == "growth" else []
        text = _fill(path.read_text(), name, SECTIONS[name](toy, *more), path)
        with atomic_file(path) as partial:
            partial.write_text(text)
        print(f"{path}: {name}", flush=True)


def _fill(text: str, name: str, found: str, path: pathlib.Path) -> str:
    begin, end = f"<!-- {name} -->\n", "<!-- end -->"
    before, begun, rest = text.partition(begin)
    _, ended, after = rest.partition(end)
    if not begun or not ended:
        raise InputError(f"{path} has no {begin.strip()} with an {end} after it: add them.")
    return f"{before}{begin}\n{found}\n\n{end}{after}"


def _block(text: str) -> str:
    return f"```text\n{text}\n```"
