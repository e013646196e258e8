"""One door to all Hi-C files: a URI and a resolution in, a ContactMap out."""

import os
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
        from hicfm_jax.contacts.cool_file import open_cool

        return open_cool(path, group, resolution, weight, weight_kind)
    if form == "hic":
        from hicfm_jax.contacts.hic_file import open_hic

        return open_hic(path, resolution, engine, weight, weight_kind)
    if form == "pairs":
        from hicfm_jax.contacts.pairs_file import open_pairs

        return open_pairs(path, resolution)
    if form == "text":
        from hicfm_jax.contacts.text_file import open_text

        return open_text(path, resolution, chromsizes)
    if form == "array":
        from hicfm_jax.contacts.array_file import open_array

        return open_array(path, resolution, chromsizes)
    from hicfm_jax.contacts.pickle_file import open_pickle

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
