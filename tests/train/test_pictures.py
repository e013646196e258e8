"""Pictures of held-out windows say where in the genome these are."""

import numpy as np
import pytest

from hicfm_jax.tiles.stream.batches import WindowPlace
from hicfm_jax.tiles.stream.source import open_source
from hicfm_jax.train.logging.panels import caption, panel_picture, ticks
from tests.train import small_run


@pytest.mark.parametrize(
    ("place", "text"),
    [
        (WindowPlace("leaf", ("Chr4", "Chr4"), (100, 100), 30_000), "leaf, Chr4:3.0-9.7 Mb"),
        (WindowPlace("leaf", ("Chr4", "Chr4"), (100, 324), 30_000), "leaf, Chr4:3.0-9.7 x 9.7-16.4 Mb"),
        (WindowPlace("leaf", ("Chr1", "Chr4"), (0, 100), 30_000), "leaf, Chr1:0.0-6.7 x Chr4:3.0-9.7 Mb"),
        (WindowPlace("leaf", ("Chr4", "Chr4"), (100, 100), None), "leaf, Chr4:100-324 bins"),
        (WindowPlace("leaf", ("", ""), (0, 0), 30_000), "leaf"),
    ],
)
def test_captions(place, text):
    assert caption(place, 224, 224) == text


def test_ticks_are_round_numbers_at_their_bins():
    place = WindowPlace("leaf", ("Chr4", "Chr4"), (100, 324), 30_000)
    assert ticks(place, 0, 224) == [(pytest.approx(100 / 3), "4"), (100, "6"), (pytest.approx(500 / 3), "8")]
    assert [text for _, text in ticks(place, 1, 224)] == ["10", "12", "14", "16"]
    assert ticks(WindowPlace("leaf", ("", ""), (0, 0), 30_000), 0, 224) == []
    assert ticks(place._replace(resolution=1_000), 0, 16) == [
        (0, "0.100"), (5, "0.105"), (10, "0.110"), (15, "0.115"),
    ]  # fmt: skip


def test_axes_leave_the_windows_as_they_are():
    panels = np.random.default_rng(0).random((2, 32, 3, 48))
    places = [WindowPlace("leaf", ("Chr4", "Chr4"), (0, start), 10_000) for start in (0, 96)]
    bare, drawn = panel_picture(panels, ("a", "b", "c")), panel_picture(panels, ("a", "b", "c"), places)
    below = drawn.shape[0] - bare.shape[0], drawn.shape[1] - bare.shape[1]
    assert min(below) > 20
    window = bare[16 : 16 + 64, :96]
    found = np.lib.stride_tricks.sliding_window_view(drawn, window.shape)[:60, :60, 0]
    assert (found == window).all(axis=(2, 3, 4)).sum() == 1


DISK = pytest.param("disk", marks=[pytest.mark.needs("tensorflow"), pytest.mark.slow])  # imports it


@pytest.mark.parametrize("kind", ["memory", DISK])
def test_places_are_those_of_the_streams_windows(tmp_path, kind):
    """Tiles whose counts give away their bins."""
    tiles = small_run.make_tiles(6, 0)
    rows, columns = np.indices(tiles.tile_shape)
    tiles.counts[:] = 1 + rows * 100 + columns
    tiles.starts[:] = 1000 * np.arange(6)[:, None]
    tiles.chromosomes[:] = ["Chr1", "Chr4"]
    source, draw = open_source({"val": tiles}), dict(window=(16, 16), seed=3)
    if kind == "disk":
        from tests.tiles.stored_tiles import store

        source = open_source(store(tmp_path / "tiles", {"val": tiles}, {}))
    counts = next(source.evaluation_stream("val", batch_size=6, **draw)).counts
    places = source.evaluation_places("val", np.arange(6), **draw)
    for number, (place, window) in enumerate(zip(places, counts, strict=True)):
        corner = divmod(int(window[0, 0]) - 1, 100)
        assert place.starts == (1000 * number + corner[0], 1000 * number + corner[1])
        assert place.chromosomes == ("Chr1", "Chr4") and place.assay == "made_up"
        assert place.resolution == (1000 if kind == "disk" else None)
