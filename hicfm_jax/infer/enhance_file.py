"""From a file of a shallow map and a checkpoint to a file of a deep map."""

import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from hicfm_jax.contacts import ContactMap, open_contacts, write_contacts
from hicfm_jax.contacts.writers import SUFFIXES
from hicfm_jax.errors import InputError
from hicfm_jax.infer.enhance import run_plan
from hicfm_jax.infer.network import Network, load_network
from hicfm_jax.infer.plan import Plan, make_plan
from hicfm_jax.infer.quiet import Quiet
from hicfm_jax.tiles.progress import Silence

METADATA = "enhancement"
"""Where the metadata of a `.cool` or `.mcool` tell how the map came about."""

MANY_PIXELS = 30_000_000
"""From here on the user is told that balancing takes long."""

_COOLERS = (".cool", ".mcool")
_WHOLE_ONLY = (".pairs", ".pairs.gz")


def enhance_file(
    uri: str,
    resolution: int | None,
    checkpoint: str | os.PathLike,
    output: str | os.PathLike,
    *,
    input_size: tuple[int, int] | None = None,
    integer: bool | None = None,
    balance: bool | None = None,
    batch_size: int = 8,
    progress: Silence | None = None,
    **choices,
) -> str:
    """Enhances a map and writes it.

    Args:
      uri, resolution: of the shallow map, see `contacts.open_contacts`.
      checkpoint, input_size: see `load_network`.
      output: `.mcool`, `.cool`, `.hic`, `.npz`, `.pairs` or `.pairs.gz`; the file appears when it is whole.
      integer: whole contacts; None: only where the format holds no others (`.pairs`).
      balance: store ICE weights; None: where the format holds any (`.cool`, `.mcool`).
      batch_size, progress, **choices: see `enhance`.

    Returns:
      A line that tells what was written.

    Raises:
      InputError: see `enhance`, `contacts.open_contacts` and `load_network`; an output that exists already or
        cannot be. All but what is wrong with single counts is told before the work begins.
      OSError: the disk is full or not writable.
    """
    suffix = check_output(output)
    if suffix in _WHOLE_ONLY:
        if integer is False:
            raise InputError(f"{output}: a {suffix} file holds whole contacts only: leave integer out.")
        integer = True
    if balance and suffix not in _COOLERS:
        raise InputError(f"{output}: a {suffix} file keeps no weights: leave balance out or write .mcool.")
    balance = suffix in _COOLERS if balance is None else balance
    shallow = open_contacts(uri, resolution)
    network = load_network(checkpoint, input_size)
    plan = make_plan(shallow, network, **choices)
    # Beside the output, where there has to be room anyway; /tmp may be memory.
    folder = pathlib.Path(output).absolute().parent
    deep = run_plan(shallow, network, plan, bool(integer), batch_size, folder, progress)
    if balance and _pixels(shallow, plan) > MANY_PIXELS:
        (progress or Quiet()).say(
            f"Balancing up to {_pixels(shallow, plan) / 1e6:,.0f} million pixels takes longer than "
            "predicting them; --nobalance leaves the weights out."
        )
    metadata = {METADATA: describe(uri, shallow, network, plan)} if suffix in _COOLERS else None
    written = write_contacts(deep, output, balance=balance, metadata=metadata)
    return _told(output, shallow, deep, plan, written)


def _pixels(shallow: ContactMap, plan: Plan) -> int:
    """Pixels of the deep map, at most."""
    sizes = [shallow.n_bins(chrom) for chrom in plan.chromosomes]
    return sum(
        size * min((size + 1) // 2, size if plan.max_bins is None else plan.max_bins) for size in sizes
    )


def check_output(output: str | os.PathLike) -> str:
    """The suffix of a file that can be written; InputError if it cannot, or exists already."""
    path = pathlib.Path(output)
    suffix = max((each for each in SUFFIXES if path.name.lower().endswith(each)), key=len, default=None)
    if suffix is None:
        raise InputError(
            f"{path}: cannot write {path.suffix or 'a file without a suffix'}, expected "
            f"{', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}."
        )
    if path.exists():
        raise InputError(f"{path} exists already: remove it or choose another name.")
    if not path.parent.is_dir():
        raise InputError(f"{path}: there is no folder {path.parent}: make it first.")
    if not os.access(path.parent, os.W_OK):
        raise InputError(f"{path}: the folder {path.parent} may not be written to: choose another.")
    return suffix


def describe(uri: str, shallow: ContactMap, network: Network, plan: Plan) -> Mapping[str, Any]:
    """How a map came about, for JSON; what is not known is None."""
    seen = network.seen or {}
    return {
        "checkpoint": network.checkpoint,
        "step": network.step,
        "task": network.model.task,
        "trained_on": seen.get("train"),
        "validated_on": seen.get("val"),
        "input": uri,
        "input_contacts": shallow.total_count,
        "target_contacts": plan.target_contacts,
        "merge": plan.merge,
        "window": list(plan.window),
        "stride": plan.stride,
        "bound": plan.bound if plan.merge == "original" else None,
        "max_distance": None if plan.max_bins is None else plan.max_bins * shallow.resolution,
    }


def _told(
    output: str | os.PathLike, shallow: ContactMap, deep: ContactMap, plan: Plan, resolutions: list[int]
) -> str:
    cis = sum(shallow.matrix(chrom).data.sum(dtype=np.float64) for chrom in shallow.chromsizes)
    line = (
        f"Wrote {os.fspath(output)}: {deep.total_count:,.0f} cis contacts of {len(plan.chromosomes)} "
        f"chromosomes at {', '.join(map(str, resolutions))} bp, from {cis:,.0f}"
    )
    trans = shallow.total_count - cis
    if trans > 0:
        line += f"; the input's {trans:,.0f} contacts between chromosomes are left out"
    return line + "."
