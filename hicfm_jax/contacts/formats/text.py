"""Reading the original's text input: `readID chr1 pos1 chr2 pos2` on each line."""

import os
from collections.abc import Mapping

from hicfm_jax.contacts.chromsizes import check_bins, need_resolution, read_chromsizes
from hicfm_jax.contacts.contact_map import ContactMap
from hicfm_jax.contacts.formats.contact_list import largest_positions, read_header, spool_contacts
from hicfm_jax.errors import InputError


def open_text(
    path: str, resolution: int | None, chromsizes: Mapping[str, int] | str | os.PathLike | None = None
) -> ContactMap:
    """Opens a list of contacts between positions that count from 0; reads it whole before it returns.

    The original (`read_text` of its inference) bins `pos // resolution` and takes any white space between
    columns; so does this. Where the original differs without a reason, this does not follow: it left
    contacts below the diagonal there, dropped those between chromosomes, and went past unreadable lines.

    Args:
      path: the file; lines that start with `#` at its top are a header.
      resolution: bin width in bp.
      chromsizes: mapping or two-column file of lengths in bp. Without it, `#chromsize:` lines of the header
        count; without these, each chromosome ends with the last bin that has a contact.

    Raises:
      InputError: no resolution, a malformed line, or a position outside its chromosome.
    """
    width = need_resolution(resolution, path)
    header = read_header(path)
    sizes = read_chromsizes(chromsizes) or header.chromsizes
    if not sizes:
        largest = largest_positions(path, header, first=0)
        sizes = {chrom: (position // width + 1) * width for chrom, position in largest.items()}
    if not sizes:
        raise InputError(f"{path} holds no contacts and no chromosome lengths: give chromsizes.")
    check_bins(sizes, width, path)
    spool = spool_contacts(path, header, sizes, width, first=0)
    return ContactMap(sizes, width, spool.load, path, total_count=lambda: spool.total, pairs=spool.pairs)
