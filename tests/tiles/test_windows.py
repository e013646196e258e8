"""Positions of tiles and their contents."""

import collections
import itertools

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st

from hicfm_jax.contacts import ContactMap
from hicfm_jax.errors import InputError
from hicfm_jax.tiles.build import cutting, windows
from hicfm_jax.tiles.build.plan import find_regions
from hicfm_jax.tiles.build.windows import read_loci
from hicfm_jax.types import NO_DIAGONAL
from tests.tiles.toy_maps import dense_to_map, random_matrix


@pytest.mark.parametrize(
    ("n_bins", "starts"),
    [
        (64, [0, 16]),  # the second hangs over by 16 bins
        (65, [0, 16, 32]),
        (32, []),  # half a tile: skipped, as by the original
        (33, [0]),
    ],
)
def test_starts_follow_the_original(n_bins, starts):
    assert windows.grid_starts(n_bins, 64, 16).tolist() == starts


def _tiles(contact_map, tiling):
    """All windows of a map, those without a contact as None, and their number by the plan."""
    regions = find_regions({"toy": contact_map}, tiling)
    found = [
        tile
        for region in regions
        for tile in cutting.cut_tiles(contact_map, "toy", region.chromosomes, tiling, np.int64, 1.0)
    ]
    assert len(found) == sum(region.windows for region in regions)
    return [tile for tile in found if tile is not None]


@st.composite
def maps_and_tilings(draw):
    """Up to three chromosomes of 1 to 80 bins, sparse or dense, and any tiling."""
    lengths = draw(st.lists(st.integers(1, 80), min_size=1, max_size=3))
    names = [f"c{index}" for index in range(len(lengths))]
    random = np.random.default_rng(draw(st.integers(0, 99)))
    density = draw(st.sampled_from([0.003, 0.1, 1.0]))
    matrices = {}
    for (i, name), (j, other) in itertools.combinations_with_replacement(enumerate(names), 2):
        counts = random.poisson(3, (lengths[i], lengths[j])) * (
            random.random((lengths[i], lengths[j])) < density
        )
        matrices[name, other] = scipy.sparse.csr_array(np.triu(counts) if i == j else counts)
    sizes = {name: 1000 * n for name, n in zip(names, lengths, strict=True)}
    mode = draw(st.sampled_from(windows.MODES))
    height, width = draw(st.integers(16, 40)), draw(st.integers(16, 40))
    width = height if mode == "diagonal" else width
    loci = None
    if mode == "locus" and draw(st.booleans()):
        loci = {"toy": {names[0]: draw(st.lists(st.integers(0, lengths[0] - 1), min_size=1))}}
    return ContactMap(sizes, 1000, matrices), windows.Tiling(
        tile_shape=(height, width),
        stride=draw(st.one_of(st.just(min(height, width)), st.integers(4, min(height, width)))),
        min_density=0.0,
        mode=mode,
        trans=mode == "grid" and draw(st.booleans()),
        loci=loci,
    )


def _whole(contact_map, pair):
    matrix = contact_map.matrix(*pair).toarray()
    return matrix + np.triu(matrix, 1).T if pair[0] == pair[1] else matrix


@pytest.mark.slow  # draws many tilings
@settings(max_examples=60, deadline=None)
@given(maps_and_tilings())
def test_tiles_cover_what_they_claim_and_nothing_twice(drawn):
    contact_map, tiling = drawn
    tiles, (height, width) = _tiles(contact_map, tiling), tiling.tile_shape
    places = [(*tile["chromosomes"], *tile["starts"].tolist()) for tile in tiles]
    assert len(set(places)) == len(places)
    order = {name: index for index, name in enumerate(contact_map.chromsizes)}
    assert places == sorted(places, key=lambda place: (order[place[0]], order[place[1]], *place[2:]))

    covered = {}
    for tile, (rows_of, cols_of, row, col) in zip(tiles, places, strict=True):
        whole = _whole(contact_map, (rows_of, cols_of))
        padded = np.pad(whole, 64)[row + 64 :, col + 64 :][:height, :width]
        np.testing.assert_array_equal(tile["counts"], padded)
        assert tile["matrix_count"] == padded.sum() > 0
        assert tile["diag"] == (row - col if rows_of == cols_of else NO_DIAGONAL)
        times = covered.setdefault((rows_of, cols_of), np.zeros(np.add(whole.shape, 128), int))
        times[row + 64 : row + 64 + height, col + 64 : col + 64 + width] += 1

    if tiling.mode != "grid":
        return
    pairs = {(name, name) for name in order}
    pairs |= set(itertools.combinations(order, 2)) if tiling.trans else set()
    assert set(covered) <= pairs
    for rows_of, cols_of in pairs:
        whole = _whole(contact_map, (rows_of, cols_of))
        rows, cols = (
            windows.grid_starts(n, size, tiling.stride)
            for n, size in zip(whole.shape, tiling.tile_shape, strict=True)
        )
        if not len(rows) or not len(cols):
            assert (rows_of, cols_of) not in covered
            continue
        times = covered.get((rows_of, cols_of), np.zeros(np.add(whole.shape, 128), int))[64:-64, 64:-64]
        within = whole[: rows[-1] + height, : cols[-1] + width] > 0
        times = times[: rows[-1] + height, : cols[-1] + width]
        if rows_of == cols_of:  # a contact of places i < j counts as seen at (i, j); (j, i) mirrors it
            within = np.triu(within)
        assert (times[within] > 0).all()
        if height == width == tiling.stride:
            assert (times[within] == 1).all()


def test_diagonal_windows_show_all_short_contacts():
    contact_map = dense_to_map({"A": random_matrix(200, seed=3)})
    tiles = _tiles(contact_map, windows.Tiling((64, 64), 32, 0.0, "diagonal"))
    assert [tile["starts"].tolist() for tile in tiles] == [[start, start] for start in range(0, 168, 32)]
    assert {int(tile["diag"]) for tile in tiles} == {0}


def test_epigenome_windows_are_centred_on_the_diagonal():
    contact_map = dense_to_map({"A": random_matrix(300, seed=3)})
    tiles = _tiles(contact_map, windows.Tiling((32, 128), 32, 0.0, "locus"))
    assert [tile["starts"].tolist() for tile in tiles] == [
        [start, start - 48] for start in range(0, 300 - 16, 32)
    ]
    # Row 16, column 64 is the centre: bin (start + 16, start + 16).
    for tile in tiles[:-1]:
        start = tile["starts"][0]
        assert tile["counts"][16, 64] == contact_map.matrix("A").toarray()[start + 16, start + 16]
    assert (tiles[0]["counts"][:, :48] == 0).all() and tiles[0]["counts"][:, 48:].any()


def test_loci_of_a_bed_file(tmp_path):
    maps = {"leaf": dense_to_map({"Chr1": random_matrix(100, 0), "Chr2": random_matrix(50, 0)})}
    maps["root"] = dense_to_map({"1": random_matrix(100, 1)})
    bed = tmp_path / "genes.bed"
    bed.write_text(
        "# genes\nchr1\t10000\t13000\tFLC\nchr1\t99500\t99900\n\nChr2\t0\t10\nchr1\t10500\t12000\n"
    )
    loci = read_loci(bed, maps)
    assert loci == {"leaf": {"Chr1": [11, 99, 11], "Chr2": [0]}, "root": {"1": [11, 99, 11]}}
    tiling = windows.Tiling((16, 64), 224, 0.0, "locus", loci=loci)  # which leaves no room for a stride
    positions = tiling.positions(maps["leaf"], "leaf", ("Chr1", "Chr1"))
    assert positions.between(0, len(positions)).tolist() == [[3, -21], [91, 67]]  # each locus once
    assert len(tiling.positions(maps["leaf"], "leaf", ("Chr2", "Chr2"))) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("chr9\t0\t10\n", "line 1, names chromosome 'chr9', which no map has"),
        (
            "A\t0\t10\nA\t200000\t200010\n",
            "line 2, is centered at 200,005 bp, but A of toy ends at 100,000",
        ),
        ("A\t0\n", r"line 1, is 'A\\t0', expected a chromosome, a start and an end"),
        ("A\tx\t9\n", "expected a chromosome, a start and an end"),
        ("# nothing\n", "has no locus"),
        (None, "is not a file"),
    ],
)
def test_a_bed_file_that_does_not_fit_is_refused(tmp_path, content, message):
    bed = tmp_path / "loci.bed"
    if content is not None:
        bed.write_text(content)
    with pytest.raises(InputError, match=message):
        read_loci(bed, {"toy": dense_to_map({"A": random_matrix(100, 0)})})


def test_diag_says_where_the_main_diagonal_enters():
    tiles = _tiles(dense_to_map({"A": np.eye(200, dtype=int)}), windows.Tiling((64, 64), 24, 0.0))
    for tile in tiles:
        rows, cols = np.nonzero(tile["counts"])
        assert rows.size and (cols - rows == tile["diag"]).all()
    assert len(tiles) > 10


def test_density_counts_the_padding():
    counts = np.triu(np.ones((32, 32), int))
    contact_map = dense_to_map({"A": counts + np.triu(counts, 1).T})  # fills half of 32 x 64

    def kept(min_density):
        return len(_tiles(contact_map, windows.Tiling((32, 62), 32, min_density)))

    assert (kept(32 / 62), kept(32 / 62 + 0.001)) == (1, 0)
    empty = dense_to_map({"A": np.zeros((64, 64), int)})
    assert not _tiles(empty, windows.Tiling((64, 64), 64, 0.0))  # nothing to learn from, whatever is asked


@pytest.mark.parametrize(("value", "fits"), [(65535, True), (65536, False), (0.5, False), (0, True)])
def test_uint16_is_chosen_by_the_data(value, fits):
    deep = random_matrix(80, seed=0).astype(float)
    deep[3, 5] = value
    assert cutting.fits_uint16(dense_to_map({"A": deep}).matrix("A")) == fits


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (dict(tile_shape=(8, 8)), "tile_size"),
        (dict(tile_shape=(64, 8)), "tile_size"),
        (dict(tile_shape=(64, 64), stride=65), "stride"),
        (dict(tile_shape=(64, 32), stride=33), "stride"),
        (dict(tile_shape=(64, 4000), stride=65, mode="locus"), "stride"),
        (dict(stride=0), "stride"),
        (dict(min_density=1.5), "min_density"),
        (dict(mode="spiral"), "mode is 'spiral'"),
        (dict(mode="diagonal", tile_shape=(448, 300)), "mode diagonal cuts squares"),
        (dict(mode="locus", trans=True), "Trans tiles"),
        (dict(loci={}), "loci are given, but mode is grid"),
    ],
)
def test_impossible_tilings_are_refused(arguments, named):
    with pytest.raises(InputError, match=named):
        windows.Tiling(**arguments)


def test_positions_are_the_same_whole_and_in_parts():
    contact_map = dense_to_map({"A": random_matrix(300, 0)})
    for tiling in (windows.Tiling((64, 64), 16), windows.Tiling((32, 128), 32), windows.Tiling((64, 16), 16)):
        positions = tiling.positions(contact_map, "toy", ("A", "A"))
        whole = positions.between(0, len(positions)).tolist()
        parts = [positions.between(i, min(i + 7, len(whole))).tolist() for i in range(0, len(whole), 7)]
        assert whole == list(itertools.chain(*parts))
        assert collections.Counter(map(tuple, whole)).most_common(1)[0][1] == 1
