"""Tiles of an earlier version open, and give the same batches.

`data/tiles_v2.zip` (a dataset) and `data/tiles_v2.npz` hold three training tiles of 32 bins and one
validation tile, written before the package was divided into rooms. Only the numbers below know what
they gave: do not make the files again.
"""

import pathlib
import zipfile

import numpy as np
import pytest

from hicfm_jax.tiles.stream.shallow_windows import Thinning
from hicfm_jax.tiles.stream.source import open_source

DATA = pathlib.Path(__file__).parent / "data"


@pytest.fixture(scope="module", params=["dataset", "npz"])
def old(request, tmp_path_factory):
    if request.param == "npz":
        return open_source(DATA / "tiles_v2.npz")
    folder = tmp_path_factory.mktemp("old")
    with zipfile.ZipFile(DATA / "tiles_v2.zip") as archive:
        archive.extractall(folder)
    return open_source(folder)


def test_the_tiles_and_where_they_are_from(old):
    assert (old.num_tiles("train"), old.num_tiles("val"), old.tile_shape) == (3, 1, (32, 32))
    assert old.chromosomes("train") == {"leaf": ["A"]}
    assert old.total_counts("val") == {"leaf": 10957}
    (batch,) = old.evaluation_stream("val", batch_size=1, window=(32, 32), seed=0)
    assert batch.counts.dtype == np.uint16 and batch.counts.sum() == 6999 and batch.diag == [0]
    assert batch.counts[0, 3, :8].tolist() == [10, 10, 19, 40, 15, 12, 10, 10]


def test_a_batch_depends_on_seed_and_step_as_it_did(old):
    stream = old.train_stream(batch_size=3, window=(16, 16), seed=888, start_step=2)
    batch = next(stream)
    assert batch.counts.sum((1, 2)).tolist() == [2659, 2583, 779]
    assert batch.counts[:, 3, 5].tolist() == [10, 16, 4]
    assert batch.diag.tolist() == [0, 0, -1]
    assert batch.matrix_count.tolist() == [6859, 6825, 4555]
    np.testing.assert_allclose(batch.context["row_bias"][:, 0], [1.00214, 0.98605, 1.01599], atol=1e-5)
    np.testing.assert_allclose(batch.context["decay"].sum(1), [227.391, 227.391, 122.190], atol=1e-3)


def test_the_same_contacts_are_dropped(old):
    stream = old.train_stream(batch_size=3, window=(32, 32), seed=888)
    batch = next(Thinning(1 / 16, 1 / 4, seed=888).train(stream))
    assert batch.counts.sum((1, 2)).tolist() == [641, 305, 1130]
    assert batch.targets["kept"].tolist() == [0.09375, 0.0625, 0.171875]
    assert batch.context["row_coverage"][:, 0].tolist() == [25, 8, 35]
