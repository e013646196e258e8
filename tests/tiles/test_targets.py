"""Tracks and loops that are stored with tiles."""

import json

import numpy as np
import pytest

from hicfm_jax.errors import InputError
from hicfm_jax.tiles.build import builder
from hicfm_jax.tiles.build.splits import HeldOut
from hicfm_jax.tiles.build.targets import TargetFiles, TrackFile, loop_map, parse_loops, parse_tracks
from hicfm_jax.tiles.stream.source import open_source
from tests.tiles.toy_maps import dense_to_map, random_matrix

BINS = {"A": 100, "B": 70}
SETTINGS = dict(tile_size=32, stride=16, min_density=0.2, mode="diagonal")


@pytest.fixture
def toy_map():
    return dense_to_map({name: random_matrix(size, seed=0) for name, size in BINS.items()})


@pytest.fixture
def files(tmp_path):
    """A table of `place`, the number of each bin, and `missing`, without values in bins 10 to 19; loops."""
    lines = ["chrom\tstart\tend\tplace\tmissing"]
    for name, size in BINS.items():
        for place in range(size):
            missing = "nan" if 10 <= place < 20 else str(place % 7)
            lines.append(f"{name}\t{1000 * place}\t{1000 * (place + 1)}\t{place}\t{missing}")
    (tmp_path / "tracks.tsv").write_text("\n".join(lines) + "\n")
    loops = ["A\t5000\t6000\tA\t25000\t26000", "B\t40000\t41000\tB\t50000\t51000", "A\t0\t1000\tB\t0\t1000"]
    (tmp_path / "loops.bedpe").write_text("\n".join(loops) + "\n")
    return TargetFiles(
        [TrackFile(str(tmp_path / "tracks.tsv"), unit="bins")], {"": str(tmp_path / "loops.bedpe")}, 2
    )


def build(toy_map, output, files, **settings):
    return builder.build_tiles(
        {"x": toy_map},
        output,
        target_files=files,
        held_out=HeldOut(val_chromosomes=["B"]),
        **(SETTINGS | settings),
    )


def test_tiles_have_the_targets_of_their_bins(toy_map, files, tmp_path):
    manifest, _ = build(toy_map, tmp_path / "tiles", files)
    assert manifest["targets"] == {"track": [2, 32], "map": [32, 32]}
    place, missing = manifest["tracks"]
    assert (place["name"], place["unit"], missing["name"]) == ("place", "bins", "missing")
    assert place["mean"] == pytest.approx(49.5)  # of A, which is trained on
    source = open_source(tmp_path / "tiles")
    assert [track.name for track in source.tracks] == ["place", "missing"]
    (batch,) = source.evaluation_stream("train", batch_size=6, window=(32, 32), seed=0)
    for i, start in enumerate(range(0, 96, 16)):
        bins = np.arange(start, start + 32)
        place = np.where(bins < 100, bins, np.nan)  # beyond the chromosome
        np.testing.assert_array_equal(batch.targets["track"][i, 0], place)
        known = np.where((bins < 10) | (bins >= 20), place % 7, np.nan)
        np.testing.assert_array_equal(batch.targets["track"][i, 1], known)
        loops = np.argwhere(batch.targets["map"][i] > 0) + start
        assert set(map(tuple, loops)) == {
            (row, col)
            for row in bins
            for col in bins
            if min((row - 5) ** 2 + (col - 25) ** 2, (row - 25) ** 2 + (col - 5) ** 2) <= 4
        }


def test_crops_and_reversals_take_the_tracks_along(toy_map, files, tmp_path):
    build(toy_map, tmp_path / "tiles", files)
    stream = open_source(tmp_path / "tiles").train_stream(
        batch_size=6, window=(16, 16), seed=0, flips=True, min_density=0
    )
    reversed_ones = 0
    for _ in range(8):
        batch = next(stream)
        steps = np.diff(batch.targets["track"][:, 0], axis=1)
        reversed_ones += (np.nanmin(steps, axis=1) < 0).sum()
        assert np.nanmax(abs(steps)) == 1
        # Not transposed: a row of counts belongs to the same bin as its value.
        same = batch.targets["map"] == batch.targets["map"].transpose(0, 2, 1)
        assert same[batch.diag == 0].all()
    assert 10 < reversed_ones < 38


def test_a_changed_file_is_another_dataset(toy_map, files, tmp_path):
    build(toy_map, tmp_path / "tiles", files)
    assert not build(toy_map, tmp_path / "tiles", files)[1]
    with open(files.loops[""], "a") as file:
        file.write("A\t7000\t8000\tA\t30000\t31000\n")
    with pytest.raises(InputError, match="made with another loop_files"):
        build(toy_map, tmp_path / "tiles", files)
    with pytest.raises(InputError, match="made with another targets"):
        build(toy_map, tmp_path / "tiles", None)


def test_two_datasets_join_if_their_tracks_agree(toy_map, files, tmp_path):
    build(toy_map, tmp_path / "one", files)
    build(toy_map, tmp_path / "two", TargetFiles([files.tracks[0]._replace(unit="kb")], files.loops, 2))
    with pytest.raises(InputError, match="their tracks differ"):
        open_source(f"{tmp_path}/one,{tmp_path}/two")


def test_a_damaged_description_of_tracks_is_refused(toy_map, files, tmp_path):
    build(toy_map, tmp_path / "tiles", files)
    manifest = json.loads((tmp_path / "tiles" / "manifest.json").read_text())
    manifest["tracks"][0]["sd"] = 0
    (tmp_path / "tiles" / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match="its tracks is"):
        open_source(tmp_path / "tiles")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A\t5000\t6000\tA\t125000\t126000\n", "ends at 126,000 bp, but A of .* is 100,000 bp"),
        ("Z\t5000\t6000\tZ\t25000\t26000\n", "no loop within a chromosome of x"),
    ],
)
def test_loops_of_another_genome_are_refused(text, message, toy_map, files, tmp_path):
    (tmp_path / "loops.bedpe").write_text(text)
    with pytest.raises(InputError, match=message):
        build(toy_map, tmp_path / "tiles", files)
    assert not (tmp_path / "tiles").exists()


@pytest.mark.parametrize(
    ("tracks", "loops", "message"),
    [
        ([TrackFile("tracks.tsv"), TrackFile("tracks.tsv", ("place",))], {}, "Two tracks are named place"),
        ([TrackFile("tracks.tsv", ("height",))], {}, "no track 'height'"),
        ([TrackFile("constant.bedGraph")], {}, "'constant' has one value only"),
        ([], {"y": "loops.bedpe"}, "no file for x: give --loops=x=FILE"),
    ],
)
def test_mistakes_are_named(tracks, loops, message, toy_map, files, tmp_path):
    (tmp_path / "constant.bedGraph").write_text("A\t0\t50001\t1\nB\t0\t50000\t2\n")
    files = TargetFiles(
        [track._replace(path=str(tmp_path / track.path)) for track in tracks],
        {assay: str(tmp_path / path) for assay, path in loops.items()},
    )
    with pytest.raises(InputError, match=message):
        build(toy_map, tmp_path / "tiles", files)


def test_flags_name_files_columns_and_units():
    assert parse_tracks(
        [
            "a/x.bw",
            "RNA[CPM]=x.bw",
            "t.tsv",
            "t.tsv:A,B",
            "genes=t.tsv.gz:gene_fraction",
            "A=t.tsv",
            "a=1/x.bw",
        ]
    ) == [
        TrackFile("a/x.bw"),
        TrackFile("x.bw", None, "RNA", "CPM"),
        TrackFile("t.tsv"),
        TrackFile("t.tsv", ("A", "B")),
        TrackFile("t.tsv.gz", ("gene_fraction",), "genes"),
        TrackFile("t.tsv", ("A",), "A"),
        TrackFile("1/x.bw", None, "a"),
    ]
    assert parse_loops(["leaf=a.bedpe", "root=b.bedpe"]) == {"leaf": "a.bedpe", "root": "b.bedpe"}
    assert parse_loops(["a.bedpe"]) == {"": "a.bedpe"}
    for values, message in ((["x.bw:A"], "only a table"), (["N=t.tsv:A,B"], "one name for 2 columns")):
        with pytest.raises(InputError, match=message):
            parse_tracks(values)
    with pytest.raises(InputError, match="two files for all inputs"):
        parse_loops(["a.bedpe", "b.bedpe"])


def test_a_loop_is_a_disc_and_its_mirror_image():
    anchors = np.array([[2, 6], [50, 60]])
    assert loop_map(anchors, (8, 8), 0).sum() == 1
    disc = loop_map(anchors, (8, 8), 1)
    assert disc.sum() == 5 and disc[2, 6] == disc[1, 6] == disc[2, 7] == 1
    np.testing.assert_array_equal(loop_map(anchors, (8, 8), 1, mirror=0), np.maximum(disc, disc.T))
    # The diagonal enters 4 columns to the right, so bin (2, 6) is its own mirror image.
    np.testing.assert_array_equal(loop_map(anchors, (8, 8), 1, mirror=4), disc)
