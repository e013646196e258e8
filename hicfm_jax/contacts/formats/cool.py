"""Cooler files, `.cool` and `.mcool`, read and written with the cooler library."""

import contextlib
import functools
import itertools
import pathlib
import tempfile
from collections.abc import Iterator, Mapping

import numpy as np

from hicfm_jax.contacts.balancing import balance, weight_kind_of
from hicfm_jax.contacts.blocks import starts
from hicfm_jax.contacts.cached_map import cached_beside
from hicfm_jax.contacts.chromsizes import choose_resolution, zoom_levels
from hicfm_jax.contacts.contact_map import MAX_COUNT, ContactMap, Pair, check_counts, check_same
from hicfm_jax.contacts.formats.reading_process import ReadingProcess, lazy_map
from hicfm_jax.errors import InputError
from hicfm_jax.progress import doing
from hicfm_jax.storage import atomic_file, check_space

PIXELS_READ = 5_000_000  # at once
PIXELS_WRITTEN = 2_000_000  # passed to cooler at once, which needs some 100 bytes for each

COUNT, SD = "count", "sd"  # columns of the pixels; the latter, of enhanced maps, is this project's own
_COLUMNS = ("bin1_id", "bin2_id", COUNT)
_TABLES = {"chroms", "bins", "pixels", "indexes"}


def open_cool(
    path: str,
    resolution: int | None = None,
    group: str = "",
    weight: str | None = None,
    weight_kind: str | None = None,
) -> ContactMap:
    """Opens a `.cool` or `.mcool` file; see `open_contacts` for the arguments and errors."""
    reader = ReadingProcess(CoolReader, path)
    widths = reader.ask("groups")
    if not widths:
        raise InputError(
            f"{path} is an HDF5 file without a cooler in it (tables {', '.join(sorted(_TABLES))}): give a "
            ".cool or .mcool file."
        )
    return open_group(reader, widths, resolution, group, weight, weight_kind)


def open_group(
    reader: ReadingProcess,
    widths: Mapping[str, int | None],
    resolution: int | None = None,
    group: str = "",
    weight: str | None = None,
    weight_kind: str | None = None,
) -> ContactMap:
    """The map of one of the coolers of a file.

    Args:
      reader: the process of a `CoolReader`.
      widths: the coolers to choose from, as from `CoolReader.groups`.
      resolution, group, weight, weight_kind: see `open_contacts`.
    """
    path = reader.path
    inside = "/" + group.strip("/")
    chosen = {
        name: width for name, width in widths.items() if f"{name}/".startswith(inside.rstrip("/") + "/")
    }
    if not chosen:
        raise InputError(f"{path} has no cooler at ::{inside}, expected one of {', '.join(widths)}.")
    fixed = {name: width for name, width in chosen.items() if width}
    if not fixed:
        raise InputError(f"{path} has bins of varying width, expected one width: bin it again.")

    source = choose_resolution(path, fixed.values(), resolution)
    groups = [name for name, width in fixed.items() if width == source]
    if len(groups) > 1:
        listed = ", ".join(f"{path}::{name}" for name in groups[:10])
        raise InputError(f"{path} holds {len(groups)} maps at {source} bp: choose one of {listed}.")
    if weight is None:
        raw = _raw_map(reader, groups[0], source)
        return raw if resolution in (None, source) else raw.coarsen(resolution // source)

    columns = {width: reader.ask("weight_names", name) for name, width in fixed.items()}
    balanced = sorted(width for width, names in columns.items() if weight in names)
    if not balanced:
        listed = ", ".join(columns[source]) or "none"
        raise InputError(f"{path} has no weights {weight!r}, its columns of weights: {listed}.")
    if (resolution or source) not in balanced:
        raise InputError(
            f"{path} has weights {weight!r} at {', '.join(map(str, balanced))} bp, not at "
            f"{resolution or source} bp, and weights apply to one resolution only: choose one of these."
        )
    raw = _raw_map(reader, groups[0], source)
    weights, stated = reader.ask("weights", groups[0], weight)
    if stated is None and weight == "weight":
        stated = "multiplicative"  # https://cooler.readthedocs.io/en/latest/schema.html
    kind = weight_kind_of(raw.name, weight, stated, weight_kind)
    return balance(raw, weights.__getitem__, kind, weight)


def _raw_map(reader: ReadingProcess, group: str, resolution: int) -> ContactMap:
    name = reader.path if group == "/" else f"{reader.path}::{group}"
    chromsizes, metadata = reader.ask("layout", group)

    @functools.cache
    def summary() -> tuple[float, set[Pair]]:
        total, pairs = 0.0, set()
        for contacts, of_pairs in reader.stream("summary", group):
            total += contacts
            pairs |= of_pairs
        return total, pairs

    options = {"total_count": lambda: summary()[0], "pairs": lambda: summary()[1], "metadata": metadata}
    if reader.ask("has_deviations", group):
        options["sd"] = lazy_map(
            reader, chromsizes, resolution, name, group, SD, by_block=True, pairs=options["pairs"]
        )
    return lazy_map(reader, chromsizes, resolution, name, group, COUNT, by_block=True, **options)


class CoolReader:
    """The coolers of one file. Its generator methods are called in a `ReadingProcess`.

    They raise InputError for a file that is not HDF5, irregular bins, a storage mode other than
    `symmetric-upper` and bad counts, and exceptions of cooler and h5py for other damage.
    """

    PRELOADED = "cooler"

    def __init__(self, path: str):
        import h5py

        self.path = path
        if not h5py.is_hdf5(path):
            with open(path, "rb") as file:
                start = file.read(4)
            remedy = "it may be of another format"
            if start.startswith(b"HIC"):
                remedy = "it is a .hic file, whose name must end so"
            elif start.startswith(b"\x1f\x8b"):
                remedy = "it is compressed, unpack it with gunzip"
            raise InputError(f"{path} is not an HDF5 file, as coolers are: {remedy}.")
        self._file = h5py.File(path, "r")

    def groups(self) -> Iterator[dict[str, int | None]]:
        """The coolers in the file: group -> bin width in bp, None where the width varies."""
        import cooler

        yield {name: _width(cooler.Cooler(self._file[name])) for name in self._coolers(self._file, set())}

    def _coolers(self, group, seen: set[int]) -> Iterator[str]:
        """The groups with the tables of a cooler; old files do not name their format.

        Raises InputError where a part of the file is a link to another file.
        """
        import h5py

        seen.add(h5py.h5o.get_info(group.id).addr)
        if _TABLES <= set(group):
            yield group.name
        for name in group:
            link = group.get(name, getlink=True)
            if isinstance(link, h5py.ExternalLink):
                raise InputError(self._elsewhere(f"{group.name.rstrip('/')}/{name}"))
            if isinstance(link, h5py.HardLink):
                inner = group[name]
                if isinstance(inner, h5py.Group) and h5py.h5o.get_info(inner.id).addr not in seen:
                    yield from self._coolers(inner, seen)

    def _elsewhere(self, name: str) -> str:
        return (
            f"{self.path} takes {name} from another file, which is not read for safety: copy the map into "
            "one file with cooler cp."
        )

    def layout(self, group: str) -> Iterator[tuple[dict[str, int], dict[str, object]]]:
        """Chromosome lengths in bp, and the metadata that the writer stored, if they are a JSON object."""
        clr, _, _ = self._open(group)
        metadata = clr.info.get("metadata")
        yield _lengths(clr), metadata if isinstance(metadata, dict) else {}

    def has_deviations(self, group: str) -> Iterator[bool]:
        """Whether the pixels have standard deviations beside their counts."""
        yield SD in self._file[group]["pixels"]

    def pixels(
        self, group: str, column: str, rows: tuple[str, str], cols: tuple[str, str]
    ) -> Iterator[tuple[np.ndarray, ...]]:
        """Rows, columns (int32) and values of a block, in parts.

        `rows` and `cols` are its first and last chromosomes, from whose first bins rows and columns count.
        """
        _, offset, _ = self._open(group)
        numbers = self._numbers(group)
        (row0, row1), (col0, col1) = (
            (offset[numbers[first]], offset[numbers[last] + 1]) for first, last in (rows, cols)
        )
        for bin1, bin2, values in self._parts(group, row0, row1, column):
            inside = (bin2 >= col0) & (bin2 < col1)
            bin1, bin2 = bin1[inside] - row0, bin2[inside] - col0
            yield bin1.astype(np.int32), bin2.astype(np.int32), values[inside]

    def summary(self, group: str) -> Iterator[tuple[float, set[Pair]]]:
        """Sum of counts and chromosome pairs, for some millions of pixels at a time."""
        clr, offset, index = self._open(group)
        names, total = list(_lengths(clr)), 0.0
        for bin1, bin2, count in self._parts(group, 0, offset[-1]):
            chrom1, chrom2 = (np.searchsorted(offset, bins, side="right") - 1 for bins in (bin1, bin2))
            bad = ~((count >= 0) & (count <= MAX_COUNT))
            if bad.any():
                check_counts(count[bad], f"{self.path}, chromosome {names[chrom1[bad][0]]}")
            contacts = count.sum(dtype=np.float64).item()
            total += contacts
            codes = np.unique(chrom1 * len(names) + chrom2).tolist()
            yield contacts, {(names[code // len(names)], names[code % len(names)]) for code in codes}
        if index[-1] and total == 0:
            raise ValueError("all its pixels are 0")

    def weight_names(self, group: str) -> Iterator[list[str]]:
        """The columns of the bin table that may be weights."""
        yield [name for name, column in self._file[group]["bins"].items() if column.dtype.kind == "f"]

    def weights(self, group: str, name: str) -> Iterator[tuple[dict[str, np.ndarray], str | None]]:
        """Weights of all bins (float64) by chromosome, and their kind if the file states it."""
        clr, offset, _ = self._open(group)
        divisive = self._file[group]["bins"][name].attrs.get("divisive_weights")
        stated = None if divisive is None else ("divisive" if bool(divisive) else "multiplicative")
        values = clr.bins()[name][:].to_numpy(np.float64)
        if len(values) != offset[-1]:
            raise ValueError(f"{len(values)} weights for {offset[-1]} bins")
        yield dict(zip(_lengths(clr), np.split(values, offset[1:-1]), strict=True)), stated

    @functools.lru_cache(maxsize=1)  # noqa: B019  a reader lives as long as its process
    def _open(self, group: str):
        """The cooler, the first bin of each chromosome, and the first pixel of each bin.

        Cooler trusts its tables, so those that would change counts without an error are checked here.
        """
        import cooler

        for table in _TABLES:
            for column in self._file[group][table].values():
                if column.is_virtual or column.external:
                    raise InputError(self._elsewhere(column.name))
        clr = cooler.Cooler(self._file[group])
        if clr.storage_mode != "symmetric-upper":
            raise InputError(
                f"{self.path} has storage mode {clr.storage_mode!r}, expected 'symmetric-upper': "
                "write it again with the upper triangle of a symmetric map."
            )
        width, lengths = _width(clr), np.array(list(_lengths(clr).values()), np.int64)
        if not lengths.size or clr.chromsizes.index.has_duplicates or lengths.min() <= 0:
            raise ValueError("invalid chromosome names or lengths")
        bins = -(-lengths // width)
        offset = np.concatenate([[0], np.cumsum(bins)])
        table = clr.bins()[["start", "end"]][:]
        starts = (np.arange(offset[-1]) - np.repeat(offset[:-1], bins)) * width
        ends = np.minimum(starts + width, np.repeat(lengths, bins))
        if not (np.array_equal(table["start"], starts) and np.array_equal(table["end"], ends)):
            raise InputError(
                f"{self.path} states bins of {width} bp but its bin table has others: bin it again."
            )
        index = self._file[group]["indexes/bin1_offset"][:].astype(np.int64)
        if len(index) != offset[-1] + 1 or index[0] != 0 or (np.diff(index) < 0).any():
            raise ValueError("invalid bin1_offset index")
        columns = self._file[group]["pixels"]
        if {len(clr.pixels()), *(len(columns[name]) for name in _COLUMNS)} != {index[-1]}:
            raise ValueError("the number of pixels differs from that in its index")
        for name in _COLUMNS:
            column = columns[name]
            # HDF5 returns zeros for chunks that are missing.
            if column.chunks and column.id.get_num_chunks() < -(-len(column) // column.chunks[0]):
                raise ValueError(f"parts of {column.name} are missing")
            if column.dtype.kind not in "iuf":
                raise ValueError(f"{column.name} is of type {column.dtype}")
        return clr, offset, index

    @functools.lru_cache(maxsize=1)  # noqa: B019
    def _numbers(self, group: str) -> dict[str, int]:
        """The number of each chromosome."""
        return {name: number for number, name in enumerate(_lengths(self._open(group)[0]))}

    def _parts(
        self, group: str, row0: int, row1: int, column: str = COUNT
    ) -> Iterator[tuple[np.ndarray, ...]]:
        """Yields (bin1, bin2, values of the column) of the rows, some millions of pixels at a time."""
        _, offset, index = self._open(group)
        last = int(index[row1])
        for start in range(int(index[row0]), last, PIXELS_READ):
            bin1, bin2, values = self._part(group, start, min(start + PIXELS_READ, last), column)
            if bin1.min() < row0 or bin1.max() >= row1 or bin2.max() >= offset[-1]:
                raise ValueError("pixels outside the bins that its index states")
            if (bin1 > bin2).any():
                raise ValueError("pixels below the diagonal of a symmetric-upper map")
            yield bin1, bin2, values

    # The rows of a chromosome have the pixels of all its pairs, which are loaded one after the other.
    @functools.lru_cache(maxsize=1)  # noqa: B019
    def _part(self, group: str, start: int, end: int, column: str) -> tuple[np.ndarray, ...]:
        clr, _, _ = self._open(group)
        names = (*_COLUMNS[:2], column)
        pixels = clr.pixels()[list(names)][start:end]
        bin1, bin2, values = (pixels[name].to_numpy() for name in names)
        return bin1.astype(np.int64), bin2.astype(np.int64), values


def _lengths(clr) -> dict[str, int]:
    names = [name.decode() if isinstance(name, bytes) else name for name in clr.chromnames]
    return dict(zip(names, clr.chromsizes.tolist(), strict=True))


def _width(clr) -> int | None:
    if clr.info.get("bin-type", "fixed") != "fixed" or clr.binsize is None:
        return None
    width = int(clr.binsize)
    if width <= 0:
        raise ValueError(f"bins of {width} bp")
    return width


def write_cool(
    contact_map: ContactMap,
    path: pathlib.Path,
    balance: bool = False,
    metadata: Mapping[str, object] | None = None,
) -> list[int]:
    """Writes `.cool`, or by its suffix `.mcool` with zoom levels in steps of 1, 2, 5, 10.

    Whole counts are stored as integers, others as float64. With `balance`, ICE weights (column `weight`,
    multiplicative) are stored at each resolution. Standard deviations are the column `sd`; at zoom levels
    variances add up, as if pixels were independent. The metadata are stored together with the map's own and
    its name. Returns the resolutions written, in bp.

    Raises:
      InputError: bad counts in the map.
      OSError: the disk is full or not writable.
    """
    import cooler
    import h5py

    zoomed = path.suffix.lower() == ".mcool"
    dtypes, size = pixel_layout(contact_map)
    # Beforehand, because HDF5 may crash the process after a write that found the disk full. Zoom levels need
    # a second copy.
    check_space(path, size * (3 if zoomed else 1))
    cis_only = all(chrom1 == chrom2 for chrom1, chrom2 in contact_map.pairs())
    metadata = {**contact_map.metadata, "name": contact_map.name, **(metadata or {})}

    def create(uri: str, level: ContactMap) -> None:
        cooler.create_cooler(
            uri,
            bin_table(level),
            sorted_pixels(level),
            columns=list(dtypes),
            dtypes=dtypes,
            ordered=True,
            metadata=metadata,
            mode="a",
        )
        file_path, _, group = uri.partition("::")
        with h5py.File(file_path, "r+") as file:
            # Cooler guesses the width from the bins, wrongly where all chromosomes are shorter than one.
            file[group or "/"].attrs.update({"bin-type": "fixed", "bin-size": level.resolution})

    resolutions, groups = [contact_map.resolution], ["/"]
    if zoomed:
        resolutions = zoom_levels(contact_map.resolution, contact_map.chromsizes)
        groups = [f"/resolutions/{resolution}" for resolution in resolutions]
    with atomic_file(path) as result:
        levels: dict[int, ContactMap] = {}
        for resolution, group in zip(resolutions, groups, strict=True):
            finer = max((width for width in levels if resolution % width == 0), default=None)
            level = levels[finer].coarsen(resolution // finer) if finer else contact_map
            levels[resolution] = cached_beside(level, result) if finer else level
            create(f"{result}::{group}", levels[resolution])
        if zoomed:
            with h5py.File(result, "r+") as file:
                file.attrs.update({"format": "HDF5::MCOOL", "format-version": 2})
        check_same(open_cool(str(result), contact_map.resolution), contact_map, path)
        with doing(f"Balancing {path}"):
            for group in groups if balance else []:
                # Genome-wide iterations do not converge for chromosomes without contacts between them.
                cooler.balance_cooler(cooler.Cooler(f"{result}::{group}"), cis_only=cis_only, store=True)
    return resolutions


def check_cool(path: str, chromsizes: Mapping[str, int]) -> None:
    """Raises InputError for chromosomes that a cooler cannot hold."""
    longest = max(chromsizes, key=chromsizes.get)
    if chromsizes[longest] > np.iinfo(np.int32).max:
        raise InputError(
            f"{path}: coolers store lengths up to {np.iinfo(np.int32).max} bp, and {longest[:40]!r} has "
            f"{chromsizes[longest]}: write .hic, .pairs or .npz."
        )
    if foreign := [chrom for chrom in chromsizes if not chrom.isascii()]:
        raise InputError(
            f"{path}: coolers store names in ASCII, which {foreign[0][:40]!r} is not: rename it, or write "
            ".pairs or .npz."
        )


def pixel_layout(contact_map: ContactMap) -> tuple[dict[str, type], int]:
    """The dtypes of a cooler's pixels by column, and its size in bytes, about twice what it will be."""
    integers, pixels = True, 0
    for block in contact_map.blocks():
        matrix = contact_map.block(block)
        integers &= np.issubdtype(matrix.dtype, np.integer)
        pixels += matrix.nnz
    bins = sum(contact_map.n_bins(chrom) for chrom in contact_map.chromsizes)
    # Compressed pixels take 1.3 to 1.5 bytes each in real maps.
    size = 24 * bins + pixels * ((3 if integers else 8) + (0 if contact_map.sd is None else 8))
    # No pixel of any zoom level exceeds the total.
    small = contact_map.total_count <= np.iinfo(np.int32).max
    dtypes = {COUNT: (np.int32 if small else np.int64) if integers else np.float64}
    return (dtypes if contact_map.sd is None else {**dtypes, SD: np.float64}), size


def bin_table(contact_map: ContactMap):
    """The table of bins as of `cooler.binnify`, which takes seconds for thousands of chromosomes."""
    import pandas as pd

    names, bins = list(contact_map.bins), list(contact_map.bins.values())
    first = np.concatenate([np.arange(number) for number in bins]) * contact_map.resolution
    last = np.minimum(first + contact_map.resolution, np.repeat(list(contact_map.chromsizes.values()), bins))
    chroms = pd.Categorical.from_codes(np.repeat(np.arange(len(names)), bins), names, ordered=True)
    return pd.DataFrame({"chrom": chroms, "start": first, "end": last})


def sorted_pixels(contact_map: ContactMap) -> Iterator[dict[str, np.ndarray]]:
    """Yields the pixels sorted by row and column, some rows of a block at a time."""
    maps = {COUNT: contact_map} if contact_map.sd is None else {COUNT: contact_map, SD: contact_map.sd}
    offset = dict(zip(contact_map.bins, starts(contact_map.bins, contact_map.bins).tolist(), strict=False))
    if not (all_blocks := contact_map.blocks()):
        # Cooler writes a pixel of its own to a file without any.
        yield dict.fromkeys((*_COLUMNS[:2], *maps), np.empty(0, int))
    for names, of_rows in itertools.groupby(all_blocks, lambda block: block.rows):
        blocks = [(offset[block.cols[0]], [each.block(block) for each in maps.values()]) for block in of_rows]
        before = sum(matrices[0].indptr.astype(np.int64) for _, matrices in blocks)
        edges = np.flatnonzero(np.diff(before[:-1] // PIXELS_WRITTEN, prepend=-1)).tolist()
        for first, last in itertools.pairwise([*edges, len(before) - 1]):
            parts = []
            for start, matrices in blocks:
                part, *others = (matrix[first:last].tocoo() for matrix in matrices)
                parts.append(
                    (part.row, part.col + np.int64(start), part.data, *(other.data for other in others))
                )
            rows, cols, *values = (np.concatenate(column) for column in zip(*parts, strict=True))
            order = np.lexsort((cols, rows)) if len(parts) > 1 else slice(None)
            bin1 = rows[order] + np.int64(offset[names[0]] + first)
            columns = {name: each[order] for name, each in zip(maps, values, strict=True)}
            yield {"bin1_id": bin1, "bin2_id": cols[order], **columns}


@contextlib.contextmanager
def balanced_cooler(contact_map: ContactMap) -> Iterator[object]:
    """Yields cooler's own `Cooler` of a map, with ICE weights, for libraries that need one.

    It is in a temporary file, which is removed afterwards.
    """
    import cooler

    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "map.cool"
        write_cool(cached_beside(contact_map, path), path, balance=True)
        yield cooler.Cooler(str(path))
