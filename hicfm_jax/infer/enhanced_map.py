"""Predicted rows of chromosomes and pairs of them, on disk, as a contact map."""

import functools
import os
import tempfile
from collections.abc import Mapping, Sequence

import numpy as np
import scipy.sparse
import scipy.special

from hicfm_jax.contacts import ContactMap
from hicfm_jax.contacts.contact_map import ENHANCEMENT, KEPT_READS, SIMULATED, Pair
from hicfm_jax.infer.network import Network
from hicfm_jax.infer.scan_plan import ScanPlan
from hicfm_jax.infer.stitching import Rows

ROW_BYTES = 12
"""On disk for each pixel, at most."""

STEP = 1 / 1024
"""Real counts are multiples of this many contacts: far finer than any prediction, and they compress well."""

_AT_ONCE = 1 << 22  # pixels that are rounded at once

_PRIOR = 400.0
"""Contacts that the network's own decay counts for: `any_map` is off by about 1 / sqrt(400), or 5 %."""


class PredictedRows:
    """Pixels of merged rows in temporary files, `ROW_BYTES` each together at most.

    A region is a chromosome, or a pair of different ones. The files have no names, so that nothing is left
    after a kill. All regions share them, because an assembly may have more scaffolds than a process may open
    files.

    Args:
      folder: where the files are; None: where `tempfile` puts them (TMPDIR).
      max_bins: pixels of a chromosome farther from the diagonal are left out; None: none are.
      least: predictions up to this are left out.

    Attributes:
      contacts: predicted so far, before any scaling.
      shallow_contacts: of the input in the same pixels, those up to `least` included.
      input_contacts: of the input in all pixels of these regions.
      spread: whether the rows have standard deviations.
      decays: contacts of the input and predicted ones at each distance of a chromosome, in the same pixels.
    """

    def __init__(
        self, folder: str | os.PathLike | None = None, max_bins: int | None = None, least: float = 0.0
    ):
        self.contacts = self.shallow_contacts = self.input_contacts = 0.0
        self.spread = False
        self._max_bins, self._least = max_bins, least
        self._folder = os.fspath(folder or tempfile.gettempdir())
        dtypes = {"column": np.int32, "mean": np.float32, "sd": np.float32}
        self._files = {
            name: (np.dtype(dtype), tempfile.TemporaryFile(dir=self._folder))
            for name, dtype in dtypes.items()
        }
        self._pixels = 0
        self.decays: dict[str, tuple[np.ndarray, np.ndarray]] = {}  # input and predicted, by distance
        self._regions: dict[str | Pair, tuple[int, list[np.ndarray]]] = {}  # first pixel, pixels of each row

    def append(self, region: str | Pair, rows: Rows, shallow: scipy.sparse.csr_array) -> None:
        """Adds the next rows of a region; `shallow` is the input's, upper triangle `[n, n]` or `[n, m]`.

        Raises:
          OSError: the disk is full; named by the folder.
        """
        if not rows.first:
            self._regions[region] = self._pixels, [np.zeros(1, np.int64)]
            self.input_contacts += float(shallow.data.sum(dtype=np.float64))
            if isinstance(region, str):
                distances = shallow.shape[0]
                if self._max_bins is not None:
                    distances = min(distances, self._max_bins + 1)
                self.decays[region] = np.zeros(distances), np.zeros(distances)
        count, width = rows.mean.shape
        mask = rows.covered & (np.arange(width) < shallow.shape[1] - rows.left)
        if isinstance(region, str):
            distance = np.arange(width) - np.arange(count)[:, None]
            mask &= distance >= 0
            if self._max_bins is not None:
                mask &= distance <= self._max_bins
        counts = shallow[rows.first : rows.first + count].tocoo()
        near = counts.col - rows.left < width
        row, col = counts.row[near], counts.col[near] - rows.left
        inside = mask[row, col]
        row, col, reads = row[inside], col[inside], counts.data[near][inside]
        self.shallow_contacts += float(reads.sum(dtype=np.float64))
        mask &= rows.mean > self._least
        means = rows.mean[mask]
        self.contacts += float(means.sum())
        if isinstance(region, str):
            counted, predicted = self.decays[region]
            counted += np.bincount(col - row, reads, len(counted))
            predicted += np.bincount(distance[mask], means, len(predicted))
        self._regions[region][1].append(mask.sum(axis=1))
        self._pixels += int(mask.sum())
        parts = {"column": np.nonzero(mask)[1] + rows.left, "mean": means}
        if rows.sd is not None:
            self.spread, parts["sd"] = True, rows.sd[mask]
        try:
            for name, part in parts.items():
                dtype, file = self._files[name]
                file.write(part.astype(dtype).tobytes())
                file.flush()
        except OSError as error:
            raise OSError(error.errno, error.strerror, self._folder) from error

    def read(self, region: str | Pair, shape: tuple[int, int], what: str = "mean") -> scipy.sparse.csr_array:
        """Predicted contacts, or "sd", their standard deviations, `[n, n]` or `[n, m]` float32.

        A region that was never added has none.
        """
        start, lengths = self._regions.get(region, (0, [np.zeros(shape[0] + 1, np.int64)]))
        ends = np.cumsum(np.concatenate(lengths), dtype=np.int64)
        parts = []
        for dtype, file in (self._files["column"], self._files[what]):
            file.seek(start * dtype.itemsize)
            parts.append(np.fromfile(file, dtype, int(ends[-1])))
            file.seek(0, os.SEEK_END)
        columns, values = parts
        if ends[-1] > np.iinfo(np.int32).max:  # scipy needs one dtype for both
            columns = columns.astype(np.int64)
        return scipy.sparse.csr_array((values, columns, ends.astype(columns.dtype)), shape=shape)


def enhanced_map(
    shallow: ContactMap,
    chromosomes: Sequence[str],
    rows: PredictedRows,
    target_contacts: float | None = None,
    integer: bool = False,
    exact: bool = False,
    metadata: Mapping[str, object] | None = None,
    quantile: float | None = None,
    pairs: Sequence[Pair] = (),
    keep_reads: bool = False,
    depth_ratio: float | None = None,
) -> ContactMap:
    """The predictions as a map of these chromosomes, with standard deviations if there are any.

    Args:
      shallow: the input.
      chromosomes: in the order of the input.
      rows: the predictions.
      target_contacts: of the whole deep map, cis and trans. The predictions are scaled to the same fraction
        of them that these pixels have of the input's contacts; None: not scaled.
      integer: round to whole contacts, halves up.
      exact: keep real counts as predicted, not in multiples of `STEP`.
      metadata: of the map.
      quantile: such a quantile of each pixel in place of the mean, if rows have standard deviations: of the
        gamma distribution with that mean and standard deviation.
      pairs: of different chromosomes that were predicted, too.
      keep_reads: the predictions are of the reads that the input lacks; add its own.
      depth_ratio: predicted contacts for each of the input: match the decay of each chromosome to the
        input's, see `decay_factors`; None: leave it as predicted.
    """
    scale = 1.0
    if target_contacts is not None and rows.contacts:
        scale = target_contacts * (rows.shallow_contacts / shallow.total_count) / rows.contacts

    def load(chrom: str, other: str, deviations: bool = False) -> scipy.sparse.csr_array:
        shape, whole = (shallow.n_bins(chrom), shallow.n_bins(other)), integer and not deviations
        region = chrom if chrom == other else (chrom, other)
        matrix = rows.read(region, shape)
        spread = rows.read(region, shape, "sd").data if deviations or quantile is not None else matrix.data
        own = shallow.matrix(chrom, other) if keep_reads else scipy.sparse.csr_array(shape)
        places, reads = _common_pixels(matrix, own)
        factors = None
        if depth_ratio is not None and region in rows.decays:
            counted, predicted = rows.decays[region]
            factors = decay_factors(counted, predicted / depth_ratio)
        values = np.empty(matrix.nnz, np.int64 if whole else np.float64)
        for first in range(0, matrix.nnz, _AT_ONCE):
            part = slice(first, min(first + _AT_ONCE, matrix.nnz))
            by = scale
            if factors is not None:
                row = np.searchsorted(matrix.indptr, np.arange(part.start, part.stop), side="right") - 1
                by = scale * factors[matrix.indices[part] - row]
            contacts, sd = (each[part].astype(np.float64) * by for each in (matrix.data, spread))
            if quantile is not None:
                contacts = gamma_quantile(contacts, sd, quantile)
            here = slice(*np.searchsorted(places, (first, first + len(contacts))))
            contacts[places[here] - first] += reads[here]
            if integer:
                contacts = np.floor(contacts + 0.5)
            elif not exact:
                contacts = np.rint(contacts / STEP) * STEP
            if deviations:  # of the same pixels as the counts, none rounded to 0
                contacts = np.where(contacts > 0, np.maximum(np.rint(sd / STEP), 1) * STEP, 0)
            # .hic stores single precision.
            values[part] = contacts if whole else contacts.astype(np.float32)
        matrix.data = values
        matrix.eliminate_zeros()
        return matrix

    predicted = [*((chrom, chrom) for chrom in chromosomes), *pairs]
    sizes = {chrom: shallow.chromsizes[chrom] for chrom in chromosomes}
    about = {"name": f"{shallow.name}, enhanced", "pairs": lambda: predicted}
    sd = None
    if rows.spread and quantile is None:
        sd = ContactMap(sizes, shallow.resolution, functools.partial(load, deviations=True), **about)
    return ContactMap(sizes, shallow.resolution, load, **about, metadata=metadata, sd=sd)


def decay_factors(reads: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Factors by distance in bins `[n]` that give a prediction the input's contacts at each distance.

    Contacts are compared within octaves of distance, between which the factor is interpolated. Where the
    input has few, the factor is near 1: it is the posterior mean for Poisson counts and a gamma prior of
    `_PRIOR` contacts.

    Args:
      reads: contacts of the input at each distance, `[n]`.
      predicted: those of the prediction at the depth of the input, `[n]`.
    """
    octaves = 2 ** np.arange(len(reads).bit_length()) - 1  # 0, 1 to 2, 3 to 6, ...
    middles = octaves + np.diff(octaves, append=len(reads)) / 2 - 0.5
    reads_in, predicted_in = (np.add.reduceat(each, octaves) for each in (reads, predicted))
    factors = (reads_in + _PRIOR) / (predicted_in + _PRIOR)
    return np.interp(np.log1p(np.arange(len(reads))), np.log1p(middles), factors)


def _common_pixels(
    pattern: scipy.sparse.csr_array, matrix: scipy.sparse.csr_array
) -> tuple[np.ndarray, np.ndarray]:
    """Pixels that both store, `[n]` each: their places in `pattern.data`, ascending, and values in `matrix`.

    Columns of `pattern` are sorted within each row.
    """
    matrix = matrix if matrix.has_sorted_indices else matrix.sorted_indices()
    places, values = [np.zeros(0, np.int64)], [np.zeros(0)]
    for row in np.flatnonzero(np.diff(matrix.indptr)):
        theirs = slice(*matrix.indptr[row : row + 2])
        start, end = pattern.indptr[row : row + 2]
        _, at, own = np.intersect1d(
            pattern.indices[start:end], matrix.indices[theirs], assume_unique=True, return_indices=True
        )
        places.append(start + at)
        values.append(matrix.data[theirs][own])
    return np.concatenate(places), np.concatenate(values)


def gamma_quantile(mean: np.ndarray, sd: np.ndarray, quantile: float) -> np.ndarray:
    """Quantile of gamma distributions with these means and standard deviations, 0 where the mean is."""
    shape = np.divide(mean, sd, out=np.zeros_like(mean), where=sd > 0) ** 2
    relative = scipy.special.gammaincinv(np.maximum(shape, 1e-6), quantile) / np.maximum(shape, 1e-6)
    return mean * np.where(shape > 0, relative, 1.0)


def provenance(contact_map: ContactMap, network: Network, plan: ScanPlan) -> dict[str, object]:
    """Metadata of a predicted map: those of its input, and how it was made."""
    seen = network.seen or {}
    about = {
        "checkpoint": network.checkpoint,
        "step": network.step,
        "task": network.model.task,
        "trained_on": seen.get("train"),
        "validated_on": seen.get("val"),
        "longest": {assay: facts["longest"] for assay, facts in network.seen_maps.items()},
        SIMULATED: [assay for assay, facts in network.seen_maps.items() if facts.get(SIMULATED)],
        "unknown": list(network.unknown),
        "depths": dict(network.total_counts),
        "input": plan.input,
        "input_contacts": contact_map.total_count,
        "target_contacts": plan.target_contacts,
        "dtype": plan.dtype,
        "merge": plan.merge,
        "window": list(plan.window),
        "stride": plan.stride,
        "bound": plan.bound if plan.merge == "original" else None,
        "trans": bool(plan.pairs),
        "match_decay": bool(plan.options.get("match_decay")),
        KEPT_READS: bool(plan.options.get("keep_reads")),
        "max_distance": None if plan.max_bins is None else plan.max_bins * contact_map.resolution,
    }
    return {**contact_map.metadata, ENHANCEMENT: about}
