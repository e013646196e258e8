"""One door to all files that maps are written to: the suffix picks the format."""

import os
import pathlib
from collections.abc import Mapping

from hicfm_jax.contacts.contact_map import ContactMap
from hicfm_jax.errors import InputError

SUFFIXES = (".cool", ".mcool", ".hic", ".pairs", ".pairs.gz", ".npz")


def check_output(path: str | os.PathLike) -> str:
    """The suffix of a file that can be written.

    Raises:
      InputError: another suffix, a file that exists already, a folder that is not there or not writable.
    """
    path = pathlib.Path(path)
    suffix = _suffix(path)
    if path.exists():
        raise InputError(f"{path} exists already: remove it or choose another name.")
    _check_folder(path)
    if not os.access(path.parent, os.W_OK):
        raise InputError(f"{path}: the folder {path.parent} may not be written to: choose another.")
    return suffix


def _suffix(path: pathlib.Path) -> str:
    suffix = next((suffix for suffix in SUFFIXES if path.name.lower().endswith(suffix)), None)
    if suffix is None:
        raise InputError(
            f"{path}: cannot write {path.suffix or 'a file without a suffix'}, expected "
            f"{', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}."
        )
    return suffix


def _check_folder(path: pathlib.Path) -> None:
    if not path.parent.is_dir():
        raise InputError(f"{path}: there is no folder {path.parent}: make it first.")


def write_contacts(
    contact_map: ContactMap,
    path: str | os.PathLike,
    balance: bool = False,
    metadata: Mapping[str, object] | None = None,
) -> list[int]:
    """Writes a map as `.cool`, `.mcool`, `.hic`, `.pairs`, `.pairs.gz` or `.npz`.

    The file appears under its name only when it is complete.

    Args:
      contact_map: what to write.
      path: where; an existing file is replaced.
      balance: also store ICE weights (column `weight`, multiplicative); `.cool` and `.mcool` only.
      metadata: kept in a `.cool` or `.mcool` beside the map's own; the other formats have no place for it.

    Returns:
      The resolutions written, in bp.

    Raises:
      InputError: another suffix, a folder that is not there, or counts that the format cannot hold.
      OSError: the disk is full or not writable.
    """
    path = pathlib.Path(path)
    suffix = _suffix(path)
    _check_folder(path)
    if path.is_dir():
        raise InputError(f"{path} is a directory: give a file name.")
    if suffix in (".cool", ".mcool"):
        from hicfm_jax.contacts.write_cool import write_cool

        return write_cool(contact_map, path, balance, metadata)
    if balance:
        raise InputError(f"{path}: a {suffix} file keeps no weights: leave balancing out or write .mcool.")
    if suffix == ".hic":
        from hicfm_jax.contacts.write_hic import write_hic

        return write_hic(contact_map, path)
    if suffix == ".npz":
        from hicfm_jax.contacts.write_npz import write_npz as write
    else:
        from hicfm_jax.contacts.write_pairs import write_pairs as write
    write(contact_map, path)
    return [contact_map.resolution]
