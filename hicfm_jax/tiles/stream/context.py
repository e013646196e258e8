"""Chromosome-level covariates of windows: decay, bias and coverage.

They are stored once per map and chromosome, or pair of chromosomes: with every tile, they would take a third
of the disk that sparse counts do.
"""

import os
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from etils import epath

from hicfm_jax.contacts.expected import Expected, TransExpected
from hicfm_jax.storage import check_inflated
from hicfm_jax.tiles.dataset import damaged

FILE = "context.npz"
"""In the folder of a dataset."""

_VECTORS = ("decay", "bias", "coverage")

ByRegion = Mapping[tuple[str, ...], Expected | TransExpected]
"""By `region_key`."""


def region_key(assay: str, chromosomes: Sequence[str]) -> tuple[str, ...]:
    """(assay, chromosome) of a cis map, (assay, rows, columns) of a pair of different chromosomes."""
    return (assay, *dict.fromkeys(chromosomes))


def no_context(count: int, window: tuple[int, int]) -> dict[str, np.ndarray]:
    """Uninitialized `Batch.context` of `count` windows `(H, W)`, for `place_context`."""
    height, width = window
    sizes = {"row_bias": height, "column_bias": width, "row_coverage": height, "column_coverage": width}
    sizes["decay"] = height + width - 1
    return {name: np.empty((count, size), np.float32) for name, size in sizes.items()}


def place_context(
    out: Mapping[str, np.ndarray],
    index: int,
    expected: Expected | TransExpected,
    start: tuple[int, int],
    window: tuple[int, int],
    flips: np.ndarray,
) -> None:
    """Fills in the context of window number `index` in `out`, the result of `no_context`.

    `start` is its first bin of rows and of columns before the flips, which are (reverse, transpose) as
    in `sampling.Crops`.
    """
    reverse, transpose = flips
    for name, values in expected.window(*start, window).items():
        if name == "decay":
            # Each flip reverses the distance c - r of a pixel, so two leave it unchanged.
            out[name][index] = values[::-1] if reverse != transpose else values
            continue
        axis, _, kind = name.partition("_")
        if transpose:
            axis = "column" if axis == "row" else "row"
        out[f"{axis}_{kind}"][index] = values[::-1] if reverse else values


def pack(expected: ByRegion) -> dict[str, np.ndarray]:
    """The same values as arrays by name, one of each kind for all chromosomes."""
    cis = {key: each for key, each in expected.items() if isinstance(each, Expected)}
    trans = {key: each for key, each in expected.items() if isinstance(each, TransExpected)}
    arrays = {
        "assays": np.array([assay for assay, _ in cis], np.str_),
        "chromosomes": np.array([chromosome for _, chromosome in cis], np.str_),
        "bins": np.array([len(each.bias) for each in cis.values()], np.int64),
    }
    for name in _VECTORS:
        arrays[name] = np.concatenate([np.zeros(0), *(getattr(each, name) for each in cis.values())])
    if trans:
        coverage = {}  # which the pairs of a chromosome share
        for (assay, rows, columns), each in trans.items():
            coverage |= {(assay, rows): each.row_coverage, (assay, columns): each.column_coverage}
        arrays |= {
            "pairs": np.array(list(trans), np.str_),
            "pair_means": np.array([each.mean for each in trans.values()]),
            "trans_chromosomes": np.array(list(coverage), np.str_),
            "trans_bins": np.array([len(each) for each in coverage.values()], np.int64),
            "trans_coverage": np.concatenate(list(coverage.values())),
        }
    return arrays


def unpack(arrays: Mapping[str, np.ndarray]) -> dict[tuple[str, ...], Expected | TransExpected]:
    """Inverse of `pack`; raises KeyError or ValueError for other arrays."""
    keys = list(zip(arrays["assays"].tolist(), arrays["chromosomes"].tolist(), strict=True))
    vectors = [_by_chromosome(keys, arrays["bins"], arrays[name]) for name in _VECTORS]
    expected = {key: Expected(*(vector[key] for vector in vectors)) for key in keys}
    if "pairs" in arrays:
        keys = list(map(tuple, arrays["trans_chromosomes"].tolist()))
        coverage = _by_chromosome(keys, arrays["trans_bins"], arrays["trans_coverage"])
        for pair, mean in zip(arrays["pairs"].tolist(), arrays["pair_means"].tolist(), strict=True):
            assay, rows, columns = pair
            both = coverage[assay, rows], coverage[assay, columns]
            expected[assay, rows, columns] = TransExpected(float(mean), *both)
    return expected


def _by_chromosome(
    keys: Sequence[tuple[str, str]], bins: np.ndarray, values: np.ndarray
) -> dict[tuple[str, str], np.ndarray]:
    """Divides the values of all chromosomes; raises ValueError for another number of them."""
    size = int(bins.sum())
    if values.dtype != np.float64 or values.shape != (size,) or (bins < 1).any():
        raise ValueError(f"a vector has {values.shape} {values.dtype}, not ({size},) float64")
    parts = np.split(values, np.cumsum(bins)[:-1]) if len(bins) else []
    return dict(zip(keys, parts, strict=True))


def read_context(
    folder: str | os.PathLike, needed: Iterable[tuple[str, ...]]
) -> dict[tuple[str, ...], Expected | TransExpected]:
    """Reads the file of a dataset; raises InputError if it is damaged or lacks a `needed` region."""
    path = epath.Path(folder) / FILE
    try:
        check_inflated(path)
        with path.open("rb") as content, np.load(content, allow_pickle=False) as file:
            expected = unpack({name: file[name] for name in file.files})
        missing = [key for key in needed if key not in expected]
        if missing:
            raise ValueError(f"no {' '.join(missing[0])} in it")
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise damaged(path, error) from error
    return expected
