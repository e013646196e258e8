"""A contact map: raw counts of all chromosome pairs at one resolution."""

import fnmatch
import functools
import itertools
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

import numpy as np
import scipy.sparse

from hicfm_jax.contacts.blocks import MapBlock, Pair, assemble, find_blocks, one_pair, pixels_by_pair, starts
from hicfm_jax.errors import InputError, InputNote

LoadPair = Callable[[str, str], scipy.sparse.csr_array]
LoadBlock = Callable[[MapBlock], scipy.sparse.csr_array]

ENHANCEMENT = "enhancement"  # key of the metadata that describe how a map was enhanced
KEPT_READS = "kept_reads"  # key among them: the counts are those of the input and a prediction of the others
SIMULATED = "simulated"  # key of the metadata: True, or "loops" of a measured map with added loops
MAX_COUNT = 2**53  # up to which float64 is exact; larger counts come from damaged files


def bare_name(chrom: str) -> str:
    """`4` for `4`, `chr4` and `Chr4`, names of the same chromosome."""
    return chrom.lower().removeprefix("chr")


def whole_names(entries: Sequence[str], known: Collection[str]) -> list[str]:
    """Entries of a list that commas divide, with the `known` names that hold commas put together again.

    An entry that is none of them may be a pattern (`chr1*`), which stands for the names that it fits.
    """
    most, found, start = 1 + max((name.count(",") for name in known), default=0), [], 0
    while start < len(entries):
        for end in range(min(start + most, len(entries)), start, -1):
            name = ",".join(entries[start:end])
            if name in known:
                break
        patterned = name not in known and set(name) & set("*?[")
        found += patterned and fnmatch.filter(known, name) or [name]
        start = end
    return found


def listed(names: Iterable[str], most: int = 12) -> str:
    """Names for a message: the first ones, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def counted(number: int, noun: str) -> str:
    """`1 loop`, `1,234 loops`."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


def check_counts(counts: np.ndarray, where: str) -> None:
    """Raises InputError if a count is NaN, negative or above 2^53; `where` names file and chromosome."""
    bad = counts[~((counts >= 0) & (counts <= MAX_COUNT))]  # NaN is neither
    if bad.size:
        raise InputError(
            f"{where} holds the count {bad[0]}, expected counts from 0 to 2^53: give raw counts."
        )


def check_same(written: "ContactMap", original: "ContactMap", path: object) -> None:
    """Raises InputError unless a map that was just written reads back with its bins and its contacts."""
    found, expected = written.total_count, original.total_count
    bins = [(*each.chromsizes.items(), each.resolution) for each in (written, original)]
    if bins[0] != bins[1] or not abs(found - expected) <= 1e-6 * expected:
        raise InputError(
            f"{path} reads back with {found:.9g} contacts on {len(written.chromsizes)} chromosomes, expected "
            f"{expected:.9g} on {len(original.chromsizes)}, so it was not kept: write another format."
        )


class ContactMap:
    """Raw contact counts of a genome, cis and trans, at one resolution.

    Matrices are kept in memory, or loaded when they are requested.

    Args:
      chromsizes: length of each chromosome in bp, in file order.
      resolution: bin width in bp; the last bin of a chromosome may be shorter.
      matrices: `{(chrom1, chrom2): counts}`, or a function of a pair (in the order of `chromsizes`) that
        returns its counts. Cis matrices are upper triangular.
      name: used in messages and manifests.
      total_count: computes the contacts of the whole map, if that is faster than loading it.
      pairs: computes which pairs may have contacts, if not all do.
      load_block: in place of `matrices`, a function of a `MapBlock` that returns its counts.
      blocks: returns the blocks of a map with the same pairs, which need not be found again.
      metadata: stored in its file; often empty.
      sd: standard deviations of the counts of an enhanced map, as a map with the same pixels.

    Attributes:
      expects_whole: whether counts that are not whole are said, once; set for raw maps of files.

    Raises:
      InputError: a matrix of the wrong shape, below the diagonal, or with bad counts.
    """

    def __init__(
        self,
        chromsizes: Mapping[str, int],
        resolution: int,
        matrices: Mapping[Pair, scipy.sparse.sparray] | LoadPair | None,
        name: str = "contact map",
        total_count: Callable[[], float] | None = None,
        pairs: Callable[[], Iterable[Pair]] | None = None,
        metadata: Mapping[str, object] | None = None,
        sd: "ContactMap | None" = None,
        load_block: LoadBlock | None = None,
        blocks: Callable[[], list[MapBlock]] | None = None,
    ):
        self.chromsizes = {str(chrom): int(size) for chrom, size in chromsizes.items()}
        self.resolution = int(resolution)
        self.name = name
        self.metadata = dict(metadata or {})
        self.sd = sd
        if not self.chromsizes or min(self.chromsizes.values()) <= 0 or self.resolution <= 0:
            raise InputError(
                f"{name}: expected chromosome lengths and a resolution above 0 bp, found resolution "
                f"{resolution} and lengths {list(self.chromsizes.values())[:5]}."
            )
        self._order = {chrom: index for index, chrom in enumerate(self.chromsizes)}
        self._count_total = total_count
        self._find_pairs = pairs
        self._load_block, self._find_blocks = load_block, blocks
        self.expects_whole = False
        self._last: tuple[Pair, scipy.sparse.csr_array] | None = None
        self._sums: dict[Pair, float] = {}  # contacts of the pairs that were loaded
        if matrices is None:
            self._load, self._held = lambda *pair: load_block(one_pair(*pair)), None
        elif callable(matrices):
            self._load, self._held = matrices, None
        else:
            self._load, self._held = None, {}
            for pair, matrix in matrices.items():
                pair, swapped = self._ordered(*pair)
                self._held[pair] = self._checked(matrix.T if swapped else matrix, one_pair(*pair))

    @functools.cached_property
    def bins(self) -> dict[str, int]:
        """Number of bins of each chromosome."""
        return {chrom: -(-size // self.resolution) for chrom, size in self.chromsizes.items()}

    @property
    def in_memory(self) -> bool:
        """Whether the counts are held, so that none are loaded."""
        return self._held is not None

    def n_bins(self, chrom: str) -> int:
        """Number of bins of a chromosome, the short last one included."""
        return self.bins[self._known(chrom)]

    def matrix(self, chrom1: str, chrom2: str | None = None) -> scipy.sparse.csr_array:
        """Raw counts of a chromosome pair; shared with the map, so not to be modified.

        Args:
          chrom1: chromosome of the rows.
          chrom2: chromosome of the columns; None means `chrom1`.

        Returns:
          `[n_bins(chrom1), n_bins(chrom2)]`, integers where all counts are whole, else float64. Cis:
          the upper triangle with the diagonal. Trans: the full rectangle.

        Raises:
          InputError: an unknown chromosome, or counts in the file that are NaN or negative.
        """
        pair, swapped = self._ordered(chrom1, chrom1 if chrom2 is None else chrom2)
        matrix = self._matrix(pair)
        return matrix.T.tocsr() if swapped else matrix

    def hold(self, pair: Pair, matrix: scipy.sparse.csr_array) -> None:
        """Takes back `matrix(*pair)` of this map, in its order, so that the next request does not load it."""
        self._last = pair, matrix

    def pairs(self) -> list[Pair]:
        """The chromosome pairs that may have contacts, each once, in the order of `chromsizes`."""
        if self._held is not None:
            found = self._held
        elif self._find_pairs is not None:
            found = self._find_pairs()
        else:
            found = itertools.combinations_with_replacement(self.chromsizes, 2)
        return sorted(found, key=lambda pair: (self._order[pair[0]], self._order[pair[1]]))

    def blocks(self) -> list[MapBlock]:
        """All pairs that may have contacts, those of short chromosomes together."""
        return self._blocks

    @functools.cached_property
    def _blocks(self) -> list[MapBlock]:
        return self._find_blocks() if self._find_blocks else find_blocks(self.chromsizes, self.pairs())

    def block(self, block: MapBlock) -> scipy.sparse.csr_array:
        """Raw counts of a block as those of `matrix`, `[bins of its rows, bins of its columns]`."""
        if block.is_pair:
            return self.matrix(block.rows[0], block.cols[0])
        if self._load_block is not None:
            return self._checked(self._load_block(block), block)
        matrices = (self._matrix(pair) for pair in block.pairs)
        return assemble(zip(block.pairs, matrices, strict=True), block, self.bins)

    def pixels(self) -> Iterator[tuple[Pair, np.ndarray, np.ndarray, np.ndarray]]:
        """The pairs that have contacts, in order, each with its pixels sorted by row and column.

        Yields (pair, rows, columns, counts), bins from the first ones of the two chromosomes. Each block is
        loaded once; those with the same rows are held together where the rows are of several chromosomes.
        """
        for chromosomes, strip in itertools.groupby(self.blocks(), key=lambda block: block.rows):
            row0, held = dict(zip(chromosomes, starts(chromosomes, self.bins), strict=False)), {}
            for block in strip:
                matrix = self.block(block).sorted_indices()
                row = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
                col0 = dict(zip(block.cols, starts(block.cols, self.bins), strict=False))
                for pair, places in pixels_by_pair(matrix, block, self.bins):
                    bins = row[places] - row0[pair[0]], matrix.indices[places] - col0[pair[1]]
                    held[pair] = *bins, matrix.data[places]
                if len(chromosomes) == 1:
                    yield from ((pair, *pixels) for pair, pixels in held.items())
                    held = {}
            for pair in sorted(held, key=lambda pair: (self._order[pair[0]], self._order[pair[1]])):
                yield pair, *held[pair]

    @functools.cached_property
    def total_count(self) -> float:
        """All contacts of the map, cis and trans, each pair once."""
        if self._count_total is not None:
            return float(self._count_total())
        total = 0.0
        for pair in self.pairs():
            loaded = self._sums.get(pair)
            total += self._matrix(pair).data.sum(dtype=np.float64) if loaded is None else loaded
        return float(total)

    def know_total(self, total: float) -> None:
        """Sets `total_count`, and frees the last pair, after all of the map was loaded."""
        self._last, self.__dict__["total_count"] = None, total

    def derived(self, load_block: LoadBlock, name: str | None = None, **options) -> "ContactMap":
        """A map of the same chromosomes and pairs with other counts; `options` as of `ContactMap`."""
        same = {"resolution": self.resolution, "pairs": self.pairs, "blocks": self.blocks}
        options = {**same, "metadata": self.metadata, **options}
        name = name or self.name
        return ContactMap(self.chromsizes, matrices=None, name=name, load_block=load_block, **options)

    def coarsen(self, factor: int) -> "ContactMap":
        """The same contacts in bins `factor` times as wide; each pair is loaded when it is requested.

        Variances add up as counts do, as if pixels were independent.
        """
        if factor != int(factor) or factor < 1:
            raise InputError(
                f"{self.name}: cannot coarsen by {factor}, expected a whole factor of 1 or more."
            )
        factor = int(factor)

        @functools.lru_cache(maxsize=2)  # of the rows and the columns of a block
        def places(chromosomes: tuple[str, ...]) -> tuple[np.ndarray, int]:
            first = starts(chromosomes, coarse.bins)
            within = [np.arange(self.bins[chrom]) // factor for chrom in chromosomes]
            return np.concatenate(within) + np.repeat(first[:-1], list(map(len, within))), first[-1]

        def summed(fine: scipy.sparse.sparray, block: MapBlock) -> scipy.sparse.csr_array:
            fine, ((rows, height), (cols, width)) = fine.tocoo(), map(places, (block.rows, block.cols))
            # The sums may exceed the 32 bits in which files store counts.
            counts = fine.data.astype(np.result_type(fine.dtype, np.int64))
            return scipy.sparse.coo_array((counts, (rows[fine.row], cols[fine.col])), (height, width)).tocsr()

        wider = {"resolution": self.resolution * factor}
        if self.sd is not None:
            wider["sd"] = self.sd.derived(
                lambda block: summed(self.sd.block(block) ** 2, block).sqrt(), **wider
            )
        total = {"total_count": lambda: self.total_count}
        coarse = self.derived(lambda block: summed(self.block(block), block), **wider, **total)
        return coarse

    def find_chromosome(self, name: str) -> str:
        """The map's name of a chromosome that a user called `1`, `chr1` or `Chr1`.

        Raises:
          InputError: no chromosome, or more than one, has the name; lists the names of the map.
        """
        if name in self._order:
            return name
        found = [chrom for chrom in self._order if bare_name(chrom) == bare_name(name)]
        if len(found) != 1:
            raise InputError(self._no_chromosome(name))
        return found[0]

    def find_chromosomes(self, names: Iterable[str]) -> list[str]:
        """The map's names of the entries of a list: names as of `find_chromosome`, or patterns (`chr1*`).

        A name with commas comes in pieces, since commas divide lists of flags.
        """
        return [self.find_chromosome(name) for name in whole_names(list(names), self._order)]

    def _known(self, chrom: str) -> str:
        if chrom not in self._order:
            raise InputError(self._no_chromosome(chrom))
        return chrom

    def _no_chromosome(self, name: str) -> str:
        return f"{self.name} has no chromosome {name!r}: choose from {listed(self._order, 30)}."

    def _ordered(self, chrom1: str, chrom2: str) -> tuple[Pair, bool]:
        swapped = self._order[self._known(chrom1)] > self._order[self._known(chrom2)]
        return ((chrom2, chrom1) if swapped else (chrom1, chrom2)), swapped

    def _matrix(self, pair: Pair) -> scipy.sparse.csr_array:
        if self._held is not None:
            if pair in self._held:
                return self._held[pair]
            return scipy.sparse.csr_array((self.n_bins(pair[0]), self.n_bins(pair[1])), dtype=np.int64)
        if self._last is None or self._last[0] != pair:
            self._last = None  # frees the old matrix before the new one is loaded
            self._last = pair, self._checked(self._load(*pair), one_pair(*pair))
            self._sums[pair] = self._last[1].data.sum(dtype=np.float64)
        return self._last[1]

    def _checked(self, matrix: scipy.sparse.sparray, block: MapBlock) -> scipy.sparse.csr_array:
        where = f"{self.name}, {block}"
        shape = tuple(int(starts(chromosomes, self.bins)[-1]) for chromosomes in (block.rows, block.cols))
        if matrix.shape != shape:
            raise InputError(
                f"{where} is a matrix of shape {matrix.shape}, expected {shape} bins at {self.resolution} bp."
            )
        matrix = scipy.sparse.csr_array(matrix)
        matrix.sum_duplicates()
        check_counts(matrix.data, where)
        if block.rows == block.cols and scipy.sparse.tril(matrix, -1).nnz:
            raise InputError(f"{where} has counts below the diagonal: give the upper triangle only.")
        if matrix.dtype.kind not in "iu":
            whole = bool((matrix.data == np.floor(matrix.data)).all())
            matrix = matrix.astype(np.int64 if whole else np.float64)
            if self.expects_whole and not whole:
                self.expects_whole = False
                note = f"{where} has counts that are not whole, as balanced or averaged maps do: raw counts"
                warnings.warn(InputNote(f"{note} are expected."), stacklevel=2)
        if not matrix.data.all():
            matrix = matrix.copy()
            matrix.eliminate_zeros()
        return matrix
