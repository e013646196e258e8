"""Mistakes and damage that users met: each run ends with one sentence and status 2."""

import collections
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse

from hicfm_jax import cli
from hicfm_jax.checkpoints import folder
from hicfm_jax.contacts import ContactMap, write_contacts
from hicfm_jax.convert import files
from hicfm_jax.errors import InputError
from hicfm_jax.train.logging.metric_writer import MetricsFile
from tests.commands import ROOT
from tests.run_script import import_readers, run_hicfm

CONFIG = {"task": "pretrain", "model": {"name": "vit_test", "input_size": [32, 32]}}


def small_map(path, chrom="Chr1"):
    counts = np.triu(np.random.default_rng(0).poisson(3, (60, 60)))
    write_contacts(ContactMap({chrom: 60_000}, 1000, {(chrom, chrom): scipy.sparse.csr_array(counts)}), path)
    return path


def is_one_sentence(done):
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    *notes, last = done.stderr.strip().splitlines()
    assert last.startswith("error: ") and last.endswith("."), done.stderr
    return last


@pytest.fixture(scope="module")
def good_map(tmp_path_factory):
    return small_map(tmp_path_factory.mktemp("maps") / "map.cool")


@pytest.mark.parametrize(
    "command",
    [
        ("thin", "{map}", "gs://bucket/map.cool"),
        ("thin", "{map}", "s3://bucket/map.cool"),
        ("simulate", "gs://bucket/map.cool", "--contacts=1000"),
        ("tiles", "{map}", "gs://bucket/tiles", "--resolution=1000"),
        ("evaluate", "a={map}", "--reference={map}", "--output=gs://bucket/report"),
        ("compartments", "{map}", "gs://bucket/tracks", "--genes={map}"),
        ("infer", "{map}", "gs://bucket/deep.cool", "--task=resolution", "--checkpoint={map}"),
    ],
)
def test_outputs_in_a_bucket_where_none_can_be(command, good_map, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = run_hicfm(*(word.replace("{map}", str(good_map)) for word in command))
    assert "bucket" in is_one_sentence(done)
    assert not list(tmp_path.iterdir())


def test_a_config_that_raises(tmp_path):
    (tmp_path / "raises.py").write_text("def get_config(variant=''):\n    return {}['absent']\n")
    is_one_sentence(run_hicfm("train", f"--config={tmp_path}/raises.py", f"--workdir={tmp_path}/run"))
    (tmp_path / "imports.py").write_text("import absent_library\n")
    is_one_sentence(run_hicfm("train", f"--config={tmp_path}/imports.py", f"--workdir={tmp_path}/run"))


def test_chromosomes_that_the_locale_cannot_spell(tmp_path):
    """A process of its own, because Python takes the locale when it starts."""
    path = small_map(tmp_path / "map.npz", "染色体")
    environment = os.environ | {
        "LC_ALL": "C",
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-m", "hicfm_jax.programs", "info", str(path)]
    done = subprocess.run(command, capture_output=True, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert b"\\u67d3" in done.stdout


@pytest.mark.parametrize("line", ["{", '{"loss": 1}', '{"step": "x"}', "[1]", "[" * 100_000])
def test_a_bad_line_of_metrics(line, tmp_path):
    (tmp_path / "metrics.jsonl").write_text(f'{{"step": 1}}\n{line}\n{{"step": 2}}\n')
    with pytest.raises(InputError, match="metrics.jsonl, line 2, is .*remove this line"):
        MetricsFile(tmp_path, 2)


METADATA = [
    ("step", "3"), ("config", []), ("config", {}), ("config", None), ("config", CONFIG | {"task": 1}),
    ("config", CONFIG | {"model": {"name": "vit_test", "input_size": "32"}}), ("seen", ["Chr1"]),
    ("seen", {"train": {"leaf": "Chr1"}}), ("unknown", 5), ("untrained", "head"),
    ("total_counts", {"leaf": "many"}),
    ("maps", {"leaf": {"resolution": 1000}}), ("seen_maps", {"leaf": {"longest": [1]}}),
    ("original", "file"), ("validation", [1]), ("digest", 7),
    ("config", CONFIG | {"data": {"thin": 0.5}}),
]  # fmt: skip


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoints") / "run"
    folder.write(path, 3, {"layer/kernel": np.ones(3, np.float32)}, None, {"config": CONFIG})
    return path


@pytest.mark.parametrize("name, value", METADATA)
def test_metadata_of_other_types(name, value, checkpoint):
    file = checkpoint / "checkpoints/3/meta/metadata"
    sound = file.read_text()
    meta = {key: each for key, each in json.loads(sound).items() if key != "digest"}
    try:
        file.write_text(json.dumps(meta | {name: value}))
        is_one_sentence(run_hicfm("info", checkpoint))
        with pytest.raises(InputError, match="cannot be read"):
            folder.read(checkpoint)
    finally:
        file.write_text(sound)
    assert folder.read(checkpoint).meta["step"] == 3


def test_a_full_disk_for_converted_weights(tmp_path, monkeypatch):
    usage = collections.namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage(10**9, 10**9, 1_000))
    weights = {"layer/kernel": np.ones(1000, np.float32)}
    for write in (
        lambda: folder.write(tmp_path / "run", 0, weights, None, {"config": CONFIG}),
        lambda: files.write(tmp_path / "a.safetensors", files.OriginalFile(weights)),
    ):
        with pytest.raises(OSError) as caught:
            write()
        assert "cannot be used" in cli.mistake(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.needs("tensorflow")
@pytest.mark.parametrize("name", ["dataset_info.json", "features.json"])
@pytest.mark.parametrize("content", ["{", "[]", '{"splits": 5}', '{"nope": []}', "[" * 100_000, "\0"])
def test_damaged_facts_of_tiles(tiles, name, content):
    file = tiles / name
    sound = file.read_bytes()
    try:
        file.write_text(content)
        done = run_hicfm("convert-tiles", tiles, tiles.parent / "out")
        assert "damaged" in is_one_sentence(done)
    finally:
        file.write_bytes(sound)


@pytest.fixture(scope="module")
def tiles(tmp_path_factory, good_map):
    import_readers()
    made = tmp_path_factory.mktemp("tiles") / "tiles"
    done = run_hicfm("tiles", good_map, made, "--resolution=1000", "--tile_size=32", "--stride=16")
    assert done.returncode == 0, done.stderr
    sound = run_hicfm("convert-tiles", made, made.with_name("sound"))
    assert sound.returncode == 0, sound.stderr
    return made
