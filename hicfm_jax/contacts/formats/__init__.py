"""One door to all Hi-C files: a URI and a resolution in, a ContactMap out.

One door to all files that maps are written to: the suffix picks the format.
"""

import os
import pathlib
from collections.abc import Mapping

from hicfm_jax.contacts.contact_map import ContactMap
from hicfm_jax.errors import InputError

# Suffix -> format.
FORMATS = {
    ".cool": "cool",
    ".mcool": "cool",
    ".hic": "hic",
    ".pairs": "pairs",
    ".pairs.gz": "pairs",
    ".txt": "text",
    ".txt.gz": "text",
    ".npy": "array",
    ".npz": "array",
    ".pkl": "pickle",
    ".pickle": "pickle",
}

# Format -> the options it has a use for.
OPTIONS = {
    "cool": {"weight", "weight_kind"},
    "hic": {"engine", "weight", "weight_kind"},
    "pairs": set(),
    "text": {"chromsizes"},
    "array": {"chromsizes"},
    "pickle": {"chromsizes"},
}


def open_contacts(
    uri: str | os.PathLike,
    resolution: int | None = None,
    engine: str | None = None,
    *,
    weight: str | None = None,
    weight_kind: str | None = None,
    chromsizes: Mapping[str, int] | str | os.PathLike | None = None,
) -> ContactMap:
    """Opens a file of contact counts; the counts themselves are read when asked for.

    Args:
      uri: a `.cool`, `.mcool` (both optionally `FILE::/group`), `.hic`, `.pairs`, `.pairs.gz`, `.txt`,
        `.txt.gz`, `.npy`, `.npz` or `.pkl` file.
      resolution: bin width in bp. A width that a `.cool`, `.mcool` or `.hic` file lacks is summed up from
        the largest one it holds that divides it. None takes the file's only one.
      engine: the library that reads a `.hic` file: `hictk` (None means it) or `straw`.
      weight: column of a cooler or normalization of a `.hic` file to balance the counts with; None gives
        raw counts.
      weight_kind: `multiplicative` or `divisive`, where the file does not say which its weights are.
      chromsizes: chromosome lengths in bp, or a text file of names and lengths, for the formats that do
        not hold them: `.txt`, `.npy`, `.npz`, `.pkl`.

    Returns:
      A ContactMap of raw counts, or of balanced float64 values if a weight is named.

    Raises:
      InputError: no such file or group, another or a damaged format, an option that the format has no use
        for, or a resolution or weight that can't be had.
    """
    path, _, group = os.fspath(uri).partition("::")
    suffix = _suffix(path)
    form = FORMATS[suffix]
    given = {"engine": engine, "weight": weight, "weight_kind": weight_kind, "chromsizes": chromsizes}
    for option, value in given.items():
        if value is not None and option not in OPTIONS[form]:
            raise InputError(f"{option}={value!r} is no choice for {suffix} files: leave {option} out.")
    if group and form != "cool":
        raise InputError(f"{path}::{group}: a {suffix} file has no groups: give {path} alone.")
    if resolution is not None and not (resolution > 0 and resolution == int(resolution)):
        raise InputError(f"resolution={resolution} is not a bin width: give whole bp above 0.")
    if not os.path.exists(path):
        raise InputError(f"{path} does not exist: give the path of a {suffix} file.")
    if not os.path.isfile(path):
        raise InputError(f"{path} is not a file but a directory or device: give the path of a {suffix} file.")
    if not os.access(path, os.R_OK):
        raise InputError(f"{path} may not be read: ask its owner for permission.")
    if os.path.getsize(path) == 0:
        raise InputError(f"{path} is empty (0 bytes): make or fetch it again.")
    resolution = None if resolution is None else int(resolution)

    if form == "cool":
        from hicfm_jax.contacts.formats.cool import open_cool

        return open_cool(path, group, resolution, weight, weight_kind)
    if form == "hic":
        from hicfm_jax.contacts.formats.hic import open_hic

        return open_hic(path, resolution, engine, weight, weight_kind)
    if form == "pairs":
        from hicfm_jax.contacts.formats.pairs import open_pairs

        return open_pairs(path, resolution)
    if form == "text":
        from hicfm_jax.contacts.formats.text import open_text

        return open_text(path, resolution, chromsizes)
    if form == "array":
        from hicfm_jax.contacts.formats.arrays import open_array

        return open_array(path, resolution, chromsizes)
    from hicfm_jax.contacts.formats.pickles import open_pickle

    return open_pickle(path, resolution, chromsizes)


def used_options(uri: str) -> set[str]:
    """Which of `open_contacts`' options the format of a file has a use for; InputError if it is unknown."""
    return OPTIONS[FORMATS[_suffix(uri.partition("::")[0])]]


def stem(uri: str) -> str:
    """Name of a file without folder, group and suffix: `leaf` for `maps/leaf.pairs.gz`."""
    name = os.path.basename(uri.partition("::")[0])
    suffix = _known_suffix(name)
    return name[: -len(suffix)] if suffix else os.path.splitext(name)[0]


def _known_suffix(name: str) -> str:
    # The longest one first: `.pairs.gz` also ends in what might become a format of its own.
    known = sorted(FORMATS, key=len, reverse=True)
    return next((suffix for suffix in known if name.lower().endswith(suffix)), "")


def _suffix(path: str) -> str:
    lower = os.path.basename(path).lower()
    if suffix := _known_suffix(lower):
        return suffix
    last = os.path.splitext(lower)[1]
    listed = ", ".join(FORMATS)
    raise InputError(f"{path}: cannot read {last or 'a file without a suffix'}, expected one of {listed}.")


SUFFIXES = (".cool", ".mcool", ".hic", ".pairs", ".pairs.gz", ".npz")


def check_output(path: str | os.PathLike) -> str:
    """The suffix of a file that can be written.

    Raises:
      InputError: another suffix, a file that exists already, a folder that is not there or not writable.
    """
    path = pathlib.Path(path)
    suffix = _output_suffix(path)
    if path.exists():
        raise InputError(f"{path} exists already: remove it or choose another name.")
    _check_folder(path)
    if not os.access(path.parent, os.W_OK):
        raise InputError(f"{path}: the folder {path.parent} may not be written to: choose another.")
    return suffix


def _output_suffix(path: pathlib.Path) -> str:
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
    suffix = _output_suffix(path)
    _check_folder(path)
    if path.is_dir():
        raise InputError(f"{path} is a directory: give a file name.")
    if suffix in (".cool", ".mcool"):
        from hicfm_jax.contacts.formats.cool import write_cool

        return write_cool(contact_map, path, balance, metadata)
    if balance:
        raise InputError(f"{path}: a {suffix} file keeps no weights: leave balancing out or write .mcool.")
    if suffix == ".hic":
        from hicfm_jax.contacts.formats.hic import write_hic

        return write_hic(contact_map, path)
    if suffix == ".npz":
        from hicfm_jax.contacts.formats.arrays import write_npz as write
    else:
        from hicfm_jax.contacts.formats.pairs import write_pairs as write
    write(contact_map, path)
    return [contact_map.resolution]
