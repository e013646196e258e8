"""Invalid settings are refused with one sentence, before anything is written."""

import json

import pytest

from hicfm_jax import config as config_lib
from hicfm_jax.errors import InputError
from hicfm_jax.train.tasks import check_config
from tests.run_script import run_script
from tests.train import small_run


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("task", "classify"),
        ("train.global_batch_size", 0),
        ("train.global_batch_size", 6),
        ("train.accum_steps", 0),
        ("train.total_steps", 0),
        ("train.epochs", 10),
        ("train.seed", -1),
        ("train.seed", 2**31),
        ("model.input_size", (100, 100)),
        ("model.input_size", (448,)),
        ("model.mask_ratio", 1.0),
        ("model.mask_ratio", 0.9999),
        ("model.dtype", "float16"),
        ("model.name", "vit_giant"),
        ("model.remat", "block"),
        ("model.transformer", False),
        ("model.mask_combine", "product"),
        ("optim.learning_rate", float("nan")),
        ("optim.blr", 0.0),
        ("optim.b2", 1.0),
        ("data.min_density", 1.5),
        ("data.simulate.tile_size", 224),
        ("data.simulate.val_assays", 0),
        ("mesh.fsdp", 0),
        ("mesh.data", -2),
        ("loss.temperature", 0.0),
    ],
)
def test_a_bad_value_is_named(field, value):
    config = config_lib.base_config()
    section = config
    for name in field.split(".")[:-1]:
        section = section[name]
    section[field.split(".")[-1]] = value
    with pytest.raises(InputError) as error:
        check_config(config)
    named = "optim.warmup_epochs" if field == "train.epochs" else field  # 50 epochs of warm-up in 10
    assert f"config.{named}" in str(error.value)


def test_the_default_is_valid_and_becomes_json():
    config = config_lib.base_config()
    check_config(config)
    assert json.loads(config_lib.to_json(config))["model"]["input_size"] == [448, 448]


def test_every_field_is_explained_where_it_is_defined():
    source = (small_run.ROOT / "hicfm_jax" / "config" / "base.py").read_text()
    body = source[source.index("def base_config") : source.index("return config.lock()")]
    fields = [line for line in body.splitlines() if " = " in line and "config = ConfigDict" not in line]
    assert not [line for line in fields if "#" not in line and "= ConfigDict()" not in line]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--config.train.epoch=3"], ["epoch", "epochs"]),
        (["--config.optim.learning_rat=3"], ["learning_rat", "learning_rate"]),
        (["--config.train.epochs=many"], ["epochs", "many"]),
        (["--config.model.input_size=100,100"], ["input_size", "100"]),
        (["--config.train.global_batch_size=5"], ["global_batch_size", "5"]),
        (["--confg.train.epochs=3"], ["confg"]),
        (["--config=configs/pretrain_arabidopsis.py:big"], ["big", "demo"]),
        (["--config=configs/nothing.py"], ["nothing.py"]),
        (["--config.data.tiles=nowhere"], ["nowhere"]),
        (["--config.data.tiles=README.md"], ["README.md"]),
        (["--config.init_from=nowhere"], ["nowhere"]),
        (["--config.model.input_size=128,128"], ["128", "64"]),
        (["--config.model.name=vit_giant"], ["vit_giant"]),
        (["--config=README.md"], ["README.md"]),
        (["--workdir=README.md/x"], ["README.md"]),
        (["--workdir="], ["--workdir"]),
        (["surplus"], ["surplus"]),
    ],
)
def test_a_mistake_on_the_command_line(tmp_path, monkeypatch, arguments, words):
    """One sentence that names it, status 2, and no workdir."""
    monkeypatch.chdir(small_run.ROOT)
    workdir = tmp_path / "work"
    tiles = small_run.save_tiles(tmp_path)
    ended = run_script("train.py", *small_run.flags(tiles, workdir, *arguments))
    assert ended.returncode == 2, ended.stderr
    lines = [line for line in ended.stderr.splitlines() if not line.startswith(("WARNING", "I0", "W0"))]
    assert len(lines) == 1 and lines[0].startswith("error: "), ended.stderr
    assert all(word in lines[0] for word in words), ended.stderr
    assert not workdir.exists()


def test_what_is_missing_is_named(monkeypatch):
    monkeypatch.chdir(small_run.ROOT)
    ended = run_script("train.py")
    assert ended.returncode == 2 and "--config" in ended.stderr
