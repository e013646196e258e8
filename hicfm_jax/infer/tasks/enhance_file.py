"""From a file of a shallow map and a checkpoint to a file of a deep map."""

import os
import pathlib

import numpy as np

from hicfm_jax.contacts import ContactMap, open_contacts, write_contacts
from hicfm_jax.contacts.contact_map import ENHANCEMENT
from hicfm_jax.contacts.formats import check_output
from hicfm_jax.errors import InputError
from hicfm_jax.infer.network import load_network
from hicfm_jax.infer.scan_plan import Plan, make_plan
from hicfm_jax.infer.stitching import ROW_BYTES
from hicfm_jax.infer.tasks.resolution import run_plan
from hicfm_jax.progress import NullProgress
from hicfm_jax.storage import check_space

MANY_PIXELS = 30_000_000
"""From here on the user is told that balancing takes long."""

MUCH_MEMORY = 8e9
"""Bytes; where writing takes more, the user is told how to take less."""

_WRITING_BYTES = 23
"""For each pixel of a chromosome, measured while 18 million were written."""

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
    progress: NullProgress | None = None,
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
    output = pathlib.Path(output).absolute()
    pixels = _pixels(shallow, plan)
    check_space(output, ROW_BYTES * sum(pixels))
    needed = _WRITING_BYTES * max(pixels)
    if needed > MUCH_MEMORY:
        (progress or NullProgress()).say(
            f"Writing up to {max(pixels) / 1e6:,.0f} million pixels of one chromosome takes up to "
            f"{needed / 1e9:.0f} GB of memory; --max_distance leaves out those far from the diagonal."
        )
    # Beside the output, where there has to be room anyway; /tmp may be memory.
    folder = output.parent
    deep = run_plan(shallow, network, plan, bool(integer), batch_size, folder, progress)
    if balance and sum(pixels) > MANY_PIXELS:
        (progress or NullProgress()).say(
            f"Balancing up to {sum(pixels) / 1e6:,.0f} million pixels takes longer than "
            "predicting them; --nobalance leaves the weights out."
        )
    metadata = {ENHANCEMENT: {**deep.metadata[ENHANCEMENT], "input": uri}}
    written = write_contacts(deep, output, balance=balance, metadata=metadata)
    return _told(output, shallow, deep, plan, written)


def _pixels(shallow: ContactMap, plan: Plan) -> list[int]:
    """Pixels of each chromosome of the deep map, at most."""
    sizes = [shallow.n_bins(chrom) for chrom in plan.chromosomes]
    reach = [size if plan.max_bins is None else min(size, plan.max_bins + 1) for size in sizes]
    if plan.merge == "original":
        reach = [min(bins, max(plan.window) + plan.bound) for bins in reach]
    return [bins * size - bins * (bins - 1) // 2 for size, bins in zip(sizes, reach, strict=True)]


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
