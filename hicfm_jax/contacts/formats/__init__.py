"""File formats of contact maps: their table, and functions that open and write maps."""

import dataclasses
import os
from collections.abc import Callable, Iterable, Mapping

from hicfm_jax.contacts.cached_map import cached_beside
from hicfm_jax.contacts.chromsizes import check_number
from hicfm_jax.contacts.contact_map import ENHANCEMENT, ContactMap
from hicfm_jax.contacts.formats.arrays import open_array, open_npz, write_npz
from hicfm_jax.contacts.formats.cool import check_cool, open_cool, write_cool
from hicfm_jax.contacts.formats.hic import check_hic, open_hic, write_hic
from hicfm_jax.contacts.formats.hicpro import open_matrix
from hicfm_jax.contacts.formats.pairs import check_pairs, open_pairs, open_text, write_pairs
from hicfm_jax.contacts.formats.pickles import open_pickle
from hicfm_jax.contacts.formats.scool import open_scool
from hicfm_jax.contacts.reading_flags import reading_options
from hicfm_jax.errors import InputError
from hicfm_jax.progress import doing
from hicfm_jax.storage import local_path


@dataclasses.dataclass(frozen=True)
class Format:
    """A file format.

    Attributes:
      suffixes: in lower case.
      open: `open(path, resolution, **options) -> ContactMap`; resolution None stands for the only one.
      write: `write(contact_map, path)`, or with weights `write(contact_map, path, balance, metadata)`.
        Returns the resolutions written if there may be several. None: the format is only read.
      options: the keyword arguments of `open_contacts` that `open` takes, and `group` if files have groups.
      check: `check(path, chromsizes)` raises InputError for chromosomes that the format cannot hold.
      holds_weights: whether files store weights and metadata.
      whole_counts_only: whether files store contacts one by one.
    """

    suffixes: tuple[str, ...]
    open: Callable[..., ContactMap]
    write: Callable[..., list[int] | None] | None = None
    options: frozenset[str] = frozenset()
    check: Callable[[str, Mapping[str, int]], None] = lambda path, chromsizes: None
    holds_weights: bool = False
    whole_counts_only: bool = False


_WEIGHTS, _SIZES = {"weight", "weight_kind"}, frozenset({"chromsizes"})

# Lists of contacts or pixels, whose layout is recognized by its columns (`text/text_layouts.py`).
_TEXT = (".txt", ".txt.gz", ".txt.bgz", ".bg2", ".bg2.gz", ".bedgraph", ".bedgraph.gz")

# One line per format. Libraries that a format needs are imported in its functions.
FORMATS: tuple[Format, ...] = (
    Format((".cool", ".mcool"), open_cool, write_cool, frozenset({"group", *_WEIGHTS}), check_cool, True),
    Format((".hic",), open_hic, write_hic, frozenset({"engine", *_WEIGHTS}), check_hic),
    Format((".pairs", ".pairs.gz"), open_pairs, write_pairs, _SIZES, check_pairs, whole_counts_only=True),
    Format((".pairs.bgz", ".allvalidpairs", ".allvalidpairs.gz"), open_pairs, options=_SIZES),
    Format(_TEXT, open_text, options=_SIZES),
    Format((".matrix",), open_matrix, options=frozenset({"group"})),
    Format((".npy",), open_array, options=_SIZES),
    Format((".npz",), open_npz, write_npz, _SIZES, check_number),
    Format((".pkl", ".pickle"), open_pickle, options=_SIZES),
    # Written by `scool.write_cells`, since one map is not a file.
    Format((".scool",), open_scool, options=frozenset({"group", *_WEIGHTS})),
)


def open_contacts(
    uri: str | os.PathLike,
    resolution: int | None = None,
    engine: str | None = None,
    *,
    weight: str | None = None,
    weight_kind: str | None = None,
    chromsizes: Mapping[str, int] | str | os.PathLike | None = None,
) -> ContactMap:
    """Opens a file of contact counts. The counts themselves are read when they are requested.

    Args:
      uri: a `.cool`, `.mcool` (both optionally `FILE::/group`), `.hic`, `.pairs`, `.pairs.gz`,
        `.allValidPairs`, `.txt`, `.bg2`, `.bedGraph` (2D: `chrom1 start1 end1 chrom2 start2 end2 count`),
        any of these three with `.gz`, `.matrix` (optionally `FILE.matrix::BINS.bed`), `.npy`, `.npz` or
        `.pkl` file, a cell of a `.scool` (`FILE::/cells/NAME`) or the sum of all (`FILE::/cells`).
      resolution: bin width in bp. A width that a file lacks is summed up from the largest stored one that
        divides it. None takes the file's only one.
      engine: the library that reads a `.hic` file: `hictk` (the default) or `straw`.
      weight: column of a cooler or normalization of a `.hic` file to balance the counts with; None gives
        raw counts.
      weight_kind: `multiplicative` or `divisive`, where the file does not say which its weights are.
      chromsizes: chromosome lengths in bp, or a text file of names and lengths, for formats that do not store
        them: `.pairs`, `.txt` and other lists of contacts, `.npy`, `.npz` and `.pkl`.

    Returns:
      A ContactMap of raw counts, or of balanced float64 values if a weight is named.

    Raises:
      InputError: no such file or group, another or a damaged format, an option that the format does not
        take, or a resolution or weight that the file does not have.
    """
    path, _, group = os.fspath(uri).partition("::")
    suffix, form = _find(path, "read")
    options = {"engine": engine, "weight": weight, "weight_kind": weight_kind, "chromsizes": chromsizes}
    options = {option: value for option, value in options.items() if value is not None}
    options = {name: value for name, value in reading_options().items() if name in form.options} | options
    for option in options.keys() - form.options:
        raise InputError(f"{option}={options[option]!r} is no option of {suffix} files: leave {option} out.")
    if weight_kind is not None and weight in (None, "NONE"):
        raise InputError(f"weight_kind={weight_kind!r} needs a weight: name one with weight=NAME.")
    if group:
        if "group" not in form.options:
            raise InputError(f"{path}::{group}: a {suffix} file has no groups: give {path} alone.")
        options["group"] = group
    if resolution is not None:
        if not (resolution > 0 and resolution == int(resolution)):
            raise InputError(f"resolution={resolution} is not a bin width: give whole bp above 0.")
        resolution = int(resolution)
    if not os.path.exists(path):
        raise InputError(f"{path} does not exist: give the path of a {suffix} file.")
    if not os.path.isfile(path):
        raise InputError(f"{path} is not a file but a directory or device: give the path of a {suffix} file.")
    if not os.access(path, os.R_OK):
        raise InputError(f"{path} cannot be read: ask its owner for permission.")
    if os.path.getsize(path) == 0:
        raise InputError(f"{path} is empty (0 bytes): make or fetch it again.")
    opened = form.open(path, resolution, **options)
    opened.expects_whole = weight in (None, "NONE") and ENHANCEMENT not in opened.metadata
    return opened


def used_options(uri: str) -> set[str]:
    """The options of `open_contacts` that the format of a file takes; InputError if it is unknown."""
    return set(_find(uri.partition("::")[0], "read")[1].options - {"group"})


def stem(uri: str) -> str:
    """Name of a file without folder, group and suffix: `leaf` for `maps/leaf.pairs.gz`."""
    name = os.path.basename(uri.partition("::")[0])
    suffix, _ = _match(name, FORMATS)
    return name[: -len(suffix)] if suffix else os.path.splitext(name)[0]


def suffixes(which: Callable[[Format], object] = lambda form: True) -> list[str]:
    """Suffixes of the formats that `which` is true for, such as `lambda form: form.write`."""
    return [suffix for form in FORMATS if which(form) for suffix in form.suffixes]


def output_format(path: str | os.PathLike) -> Format:
    """The format that a file is written in; InputError if its suffix is that of none."""
    return _find(os.fspath(path), "write")[1]


def check_output(path: str | os.PathLike, contact_map: ContactMap) -> None:
    """Raises InputError if the format of `path` cannot hold the chromosomes of a map; before long work."""
    output_format(path).check(os.fspath(path), contact_map.chromsizes)


def write_contacts(
    contact_map: ContactMap,
    path: str | os.PathLike,
    balance: bool = False,
    metadata: Mapping[str, object] | None = None,
) -> list[int]:
    """Writes a map as `.cool`, `.mcool`, `.hic`, `.pairs`, `.pairs.gz` or `.npz`.

    The file appears under its name when it is complete. Each pair of the map is computed once. Returns the
    resolutions written, in bp.

    Args:
      contact_map: the map.
      path: the file; an existing one is replaced.
      balance: also store ICE weights (column `weight`, multiplicative); `.cool` and `.mcool` only.
      metadata: stored in a `.cool` or `.mcool` together with the map's own; other formats do not store it.

    Raises:
      InputError: another suffix, a folder that does not exist, counts or chromosomes that the format cannot
        hold, or a file that reads back otherwise than it was written.
      OSError: the disk is full or not writable.
    """
    path = local_path(path)
    suffix, form = _find(str(path), "write")
    if not path.parent.is_dir():
        raise InputError(f"{path}: there is no folder {path.parent}: make it first.")
    if path.is_dir():
        raise InputError(f"{path} is a directory: give a file name.")
    if balance and not form.holds_weights:
        raise InputError(f"{path}: a {suffix} file stores no weights: leave balancing out or write .mcool.")
    form.check(str(path), contact_map.chromsizes)
    extra = (balance, metadata) if form.holds_weights else ()
    with doing(f"Computing {contact_map.name}"):
        cached = cached_beside(contact_map, path)
    with doing(f"Writing {path}"):
        return form.write(cached, path, *extra) or [contact_map.resolution]


def _match(name: str, formats: Iterable[Format]) -> tuple[str, Format | None]:
    found = [(suffix, form) for form in formats for suffix in form.suffixes if name.lower().endswith(suffix)]
    return max(found, key=lambda match: len(match[0]), default=("", None))


def _find(path: str, verb: str) -> tuple[str, Format]:
    formats = [form for form in FORMATS if verb == "read" or form.write is not None]
    suffix, form = _match(os.path.basename(path), formats)
    if form is None:
        name, last = os.path.splitext(path)
        last = last.lower() or "a file without a suffix"
        if verb == "read" and (inner := _match(name, formats)[0]):
            last += f" of {inner} files (unpack it first)"
        known = ", ".join(suffix for form in formats for suffix in form.suffixes)
        raise InputError(f"{path}: cannot {verb} {last}, expected one of {known}.")
    return suffix, form
