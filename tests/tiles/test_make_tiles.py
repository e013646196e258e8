"""scripts/make_tiles.py: output, dry run, mistakes."""

import functools
import json
import pathlib
import sys

import numpy as np
import pytest

from hicfm_jax.contacts import open_contacts, write_contacts
from hicfm_jax.tiles.stream.memory import ArrayTiles
from hicfm_jax.tiles.stream.source import open_source
from tests.commands import ROOT
from tests.run_script import run_script
from tests.tiles.toy_maps import dense_to_map, random_matrix

make_tiles = functools.partial(run_script, "make_tiles.py")


@pytest.mark.slow  # tiles a real map
def test_a_real_map_becomes_tiles(data_dir, tmp_path):
    map_path, output = data_dir / "arabidopsis_col0_30kb.cool", tmp_path / "tiles"
    flags = ["--resolution=30000", "--tile_size=224", "--stride=224", "--val_chromosomes=chr4"]
    done = make_tiles(f"--input={map_path}", *flags, f"--output={output}")
    assert done.returncode == 0, done.stderr
    assert f"--config.data.tiles={output}" in done.stdout
    assert "Note:" not in done.stdout  # 224 is a multiple of 16
    manifest = json.loads((output / "manifest.json").read_text())
    assert manifest["splits"]["val"]["chromosomes"] == ["Chr4"]
    assert manifest["sources"]["arabidopsis_col0_30kb"]["total_count"] == pytest.approx(104.1e6, rel=1e-3)

    tiles = ArrayTiles.from_contact_maps({"x": open_contacts(map_path)}, 224, 224, chromosomes=["Chr4"])
    (batch,) = open_source(output).evaluation_stream(batch_size=len(tiles), window=(224, 224), seed=0)
    np.testing.assert_array_equal(batch.counts, tiles.counts)
    assert (batch.counts != 0).mean() > 0.8  # the map is dense; the overhang is not


def test_the_last_line_can_be_run_and_a_stride_off_the_patches_is_noted(tmp_path):
    folder = tmp_path / "run=3"
    folder.mkdir()
    matrix = random_matrix(100, seed=0)
    write_contacts(dense_to_map({"A": matrix, "B": matrix}), folder / "leaf.cool")
    flags = ["--resolution=1000", "--tile_size=64", "--stride=40", "--val_chromosomes=B"]
    done = make_tiles(f"--input={folder}/leaf.cool", *flags, f"--output={tmp_path}/tiles")
    assert done.returncode == 0, done.stderr
    *_, note, following = done.stdout.splitlines()
    assert note.startswith("Note: windows of more than 48 x 48 bins lose their diagonal")
    assert "--config.model.input_size=48,48" in following
    python = pathlib.Path(following.split()[1])
    assert (ROOT / python).samefile(sys.executable)
    manifest = json.loads((tmp_path / "tiles" / "manifest.json").read_text())
    assert list(manifest["sources"]) == ["leaf"]  # the folder's = makes no name


def test_a_dry_run_writes_nothing(tmp_path):
    matrix = random_matrix(100, seed=0)
    write_contacts(dense_to_map({"A": matrix, "B": matrix}), tmp_path / "leaf.cool")
    flags = [
        "--resolution=1000",
        "--tile_size=32,64",
        "--stride=32",
        "--mode=locus",
        "--val_chromosomes=leaf:B",
    ]
    done = make_tiles(f"--input={tmp_path}/leaf.cool", *flags, "--dry_run")
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()]
    assert ["train", "leaf", "3", "0", "0"] in rows and ["val", "leaf", "3", "0", "0"] in rows
    assert "nothing was written" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["leaf.cool"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--resolution=1000", "--output=x"], "--input is missing"),
        (["--input=nowhere.cool", "--resolution=1000", "--output=x"], "nowhere.cool does not exist"),
        (
            ["--input=a/m.cool", "--input=b/m.cool", "--resolution=1000", "--output=x"],
            "Two inputs are named 'm'",
        ),
        (["--input=a.cool", "--resolution=1000", "--output=x", "--mode=spiral"], "--mode=spiral"),
        (["--input=a.cool", "--resolution=1000", "--output=x", "--tile_size=1,2,3"], "tile_size is '1,2,3'"),
        (["--input=a.cool", "--resolution=1000", "--output=x", "--mix=rice"], "mix has 'rice'"),
        (["--input=a.cool", "--resolution=many"], "--resolution=many"),
        (
            ["--input=a.cool", "--resolution=1000", "--output=x", "--processes=2", "--runner=beam"],
            "--processes cannot be combined with --runner=beam",
        ),
        (
            ["--input=a.cool", "--resolution=1000", "--output=x", "--beam_options=--parallelism=8"],
            "--beam_options needs --runner=beam",
        ),
    ],
)
def test_mistakes_end_in_one_sentence(flags, message):
    done = make_tiles(*flags)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1 and message in done.stderr
    assert not (ROOT / "x").exists()
