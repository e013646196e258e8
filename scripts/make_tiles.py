"""Cuts contact maps into tiles for training and writes them as a TFDS dataset.

    python scripts/make_tiles.py --input=map.mcool --resolution=10000 --val_chromosomes=Chr4 \
        --output=tiles

Every --input is an assay, named by its file or as in --input=NAME=FILE (no / in NAME).
"""

import collections
import os
import pathlib
import sys

from absl import flags

from hicfm_jax import command_line
from hicfm_jax.contacts import open_contacts
from hicfm_jax.errors import InputError
from hicfm_jax.tiles.builder import HeldOut, build_tiles
from hicfm_jax.types import PATCH

_INPUT = flags.DEFINE_multi_string("input", [], "Contact map, URI or NAME=URI; may be given again.")
_RESOLUTION = flags.DEFINE_integer("resolution", None, "Bin width in bp.", lower_bound=1)
_TILE_SIZE = flags.DEFINE_integer("tile_size", 448, "Bins of a tile's side.")
_STRIDE = flags.DEFINE_integer("stride", 224, "Bins from one tile to the next.")
_OUTPUT = flags.DEFINE_string("output", None, "Folder to make.")
_MIN_DENSITY = flags.DEFINE_float("min_density", 0.01, "Fraction of non-zero pixels that a tile needs.")
flags.DEFINE_enum("mode", "grid", ["grid"], "Where tiles lie.")
_HELD_OUT = (
    flags.DEFINE_list("val_chromosomes", [], "Chromosomes of the split `val`."),
    flags.DEFINE_list("test_chromosomes", [], "Chromosomes of the split `test`."),
    flags.DEFINE_list("val_assays", [], "Inputs (by name) of the split `val`."),
    flags.DEFINE_list("test_assays", [], "Inputs (by name) of the split `test`."),
)


def _sources() -> dict[str, str]:
    sources = {}
    for value in _INPUT.value:
        name, named, uri = value.partition("=")
        if not named or "/" in name:  # no name, or the = is part of the path
            name, uri = pathlib.Path(value.partition("::")[0]).stem, value
        if name in sources:
            raise InputError(f"Two inputs are named {name!r}: name them apart with --input=NAME=FILE.")
        sources[name] = uri
    return sources


def _show(line: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{line}", end="", file=sys.stderr, flush=True)


def _table(manifest: dict) -> str:
    rows = collections.defaultdict(collections.Counter)
    for chromosomes in manifest["tiles"].values():
        for count in chromosomes.values():
            rows[count["split"]].update(
                kept=count["kept"], sparse=count["too_sparse"], short=count["too_short"]
            )
    lines = [f"{'split':8}{'tiles kept':>12}{'too sparse':>12}{'short chromosomes':>19}  chromosomes"]
    for split, row in rows.items():
        names = ", ".join(manifest["splits"].get(split, {"chromosomes": []})["chromosomes"])
        lines.append(f"{split:8}{row['kept']:12}{row['sparse']:12}{row['short']:19}  {names}")
    return "\n".join(lines)


def main() -> None:
    for flag in (_INPUT, _RESOLUTION, _OUTPUT):
        if not flag.value:
            raise InputError(f"--{flag.name} is missing: give it, see --help.")
    sources = _sources()
    contact_maps = {name: open_contacts(uri, resolution=_RESOLUTION.value) for name, uri in sources.items()}
    manifest, made = build_tiles(
        contact_maps,
        _OUTPUT.value,
        tile_size=_TILE_SIZE.value,
        stride=_STRIDE.value,
        min_density=_MIN_DENSITY.value,
        held_out=HeldOut(**{flag.name: flag.value for flag in _HELD_OUT}),
        sources=sources,
        progress=_show,
    )
    _show("")
    print(_table(manifest))
    print(f"{'Wrote' if made else 'Already there, made with the same arguments:'} {_OUTPUT.value}")
    if _STRIDE.value % PATCH:
        lost = "windows as large as a tile lose their diagonal, masks are not mirror-symmetric there"
        print(f"Note: with --stride={_STRIDE.value} {lost}; a multiple of {PATCH} is better.")
    side = min(_TILE_SIZE.value, 448) // PATCH * PATCH
    python = min(os.path.relpath(sys.executable), sys.executable, key=len)
    print(
        f"Next: {python} scripts/train.py --config=configs/pretrain_arabidopsis.py:small_batch "
        f"--config.data.tiles={_OUTPUT.value} --config.model.input_size={side},{side} --workdir=runs/pretrain"
    )


if __name__ == "__main__":
    command_line.run(main)
