"""Fixtures of the contact map tests: small files of three chromosomes."""

import cooler
import numpy as np
import pandas as pd
import pytest

CHROMSIZES = {"Chr1": 10_500, "Chr2": 4_000, "ChrM": 700}  # 11, 4 and 1 bins of 1 kb


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def write_cool(uri, counts=None, resolution=1000, dtype="int32", mode="w", **kwargs):
    """Writes a cooler with the cooler library itself; `counts` is dense, upper triangular, genome-wide."""
    bins = cooler.binnify(pd.Series(CHROMSIZES), resolution)
    if counts is None:
        counts = np.triu(np.random.default_rng(1).poisson(1.5, (len(bins), len(bins))))
    bin1, bin2 = np.nonzero(counts)
    pixels = pd.DataFrame({"bin1_id": bin1, "bin2_id": bin2, "count": counts[bin1, bin2]})
    cooler.create_cooler(str(uri), bins, pixels, dtypes={"count": dtype}, ordered=True, mode=mode, **kwargs)
    return counts


@pytest.fixture
def cool(tmp_path):
    """Path of a small `.cool` of three chromosomes, cis and trans, and its dense upper triangle."""
    path = tmp_path / "small.cool"
    return path, write_cool(path)


@pytest.fixture(name="write_cool")
def write_cool_fixture():
    return write_cool


@pytest.fixture(params=["hictk", pytest.param("straw", marks=pytest.mark.needs("hicstraw"))])
def engine(request):
    """Each library that reads `.hic` files."""
    return request.param


@pytest.fixture
def hic(cool, tmp_path):
    """Path of the same map as `.hic` at 1, 2 and 5 kb, made by hictk, and its dense upper triangle."""
    import hictkpy

    path, dense = tmp_path / "small.hic", cool[1]
    writer = hictkpy.hic.FileWriter(str(path), CHROMSIZES, [1000, 2000, 5000], tmpdir=str(tmp_path))
    bin1, bin2 = np.nonzero(dense)
    writer.add_pixels(pd.DataFrame({"bin1_id": bin1, "bin2_id": bin2, "count": dense[bin1, bin2]}))
    writer.finalize()
    return path, dense
