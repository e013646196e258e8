import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from hicfm_jax.contacts import open_contacts
from hicfm_jax.tiles.arrays import ArrayTiles
from hicfm_jax.tiles.source import open_source

ROOT = pathlib.Path(__file__).resolve().parents[2]


def make_tiles(*arguments):
    command = [sys.executable, "scripts/make_tiles.py", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={"PYTHONPATH": str(ROOT)})


def test_a_real_map_becomes_tiles(data_dir, tmp_path):
    map_path, output = data_dir / "arabidopsis_col0_30kb.cool", tmp_path / "tiles"
    flags = ["--resolution=30000", "--tile_size=224", "--stride=48", "--val_chromosomes=Chr4"]
    done = make_tiles(f"--input={map_path}", *flags, f"--output={output}")
    assert done.returncode == 0, done.stderr
    assert f"--config.data.tiles={output}" in done.stdout
    manifest = json.loads((output / "manifest.json").read_text())
    assert manifest["splits"]["val"]["chromosomes"] == ["Chr4"]
    assert manifest["sources"]["arabidopsis_col0_30kb"]["total_count"] == pytest.approx(104.1e6, rel=1e-3)

    tiles = ArrayTiles.from_contact_maps({"x": open_contacts(map_path)}, 224, 48, chromosomes=["Chr4"])
    (batch,) = open_source(output).evaluation_stream(batch_size=len(tiles), window=(224, 224), seed=0)
    np.testing.assert_array_equal(batch.counts, tiles.counts)
    assert (batch.counts != 0).mean() > 0.8  # the map is dense; the overhang is not


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--resolution=1000", "--output=x"], "--input is missing"),
        (["--input=nowhere.cool", "--resolution=1000", "--output=x"], "nowhere.cool does not exist"),
        (
            ["--input=a/m.cool", "--input=b/m.cool", "--resolution=1000", "--output=x"],
            "Two inputs are named 'm'",
        ),
        (["--input=a.cool", "--resolution=1000", "--output=x", "--mode=locus"], "only 'grid'"),
        (["--input=a.cool", "--resolution=many"], "--resolution=many"),
    ],
)
def test_mistakes_end_in_one_sentence(flags, message):
    done = make_tiles(*flags)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1 and message in done.stderr
    assert not (ROOT / "x").exists()
