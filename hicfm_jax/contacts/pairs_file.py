"""Reading 4DN `.pairs` files, plain or gzipped."""

import functools

from hicfm_jax.contacts.chromsizes import check_bins, need_resolution
from hicfm_jax.contacts.contact_lines import Header, read_header, spool_contacts
from hicfm_jax.contacts.contact_map import ContactMap
from hicfm_jax.contacts.spool import Spool
from hicfm_jax.errors import InputError


def open_pairs(path: str, resolution: int | None) -> ContactMap:
    """Opens a list of contacts; they are binned, in one pass, when the first counts are asked for.

    Positions count from 1, so base 1 lies in bin 0, as `cooler cload pairs` has it. Both orders of the two
    sides are taken; lines of sides that pairtools could not map (`!`, `.`) are left out. Binned contacts
    wait in a temporary file of at most 12 bytes a contact.

    Args:
      path: a `.pairs` or `.pairs.gz` file with `#chromsize:` lines.
      resolution: bin width in bp.

    Raises:
      InputError: no resolution, no chromosome lengths, or a damaged header; when counts are asked for, a
        malformed line or a position outside its chromosome.

    Source: the 4DN pairs format specification, draft 1.0.
    """
    width = need_resolution(resolution, path)
    header = read_header(path)
    if not header.chromsizes:
        raise InputError(
            f"{path} has no chromosome lengths: put a line '#chromsize: NAME LENGTH' for each chromosome "
            "at its top."
        )
    check_bins(header.chromsizes, width, path)
    contacts = _Contacts(path, header, width)
    return ContactMap(
        header.chromsizes,
        width,
        lambda chrom1, chrom2: contacts.spool.load(chrom1, chrom2),
        path,
        total_count=lambda: contacts.spool.total,
        pairs=lambda: contacts.spool.pairs(),
    )


class _Contacts:
    def __init__(self, path: str, header: Header, resolution: int):
        self._told = path, header, resolution

    @functools.cached_property
    def spool(self) -> Spool:
        path, header, resolution = self._told
        return spool_contacts(path, header, header.chromsizes, resolution, first=1)
