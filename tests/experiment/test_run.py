"""Running stages: finished ones are skipped, dependent ones run again."""

import dataclasses
import json
import os
import sys

import pytest

from hicfm_jax.errors import InputError
from hicfm_jax.experiment.run import RECORD, SMALL_BYTES, fingerprint, run_stages
from hicfm_jax.experiment.stages import Stage
from hicfm_jax.train import loop
from tests.train import faults, small_run


def a_stage(tmp_path, name, code, resumes=False):
    path = tmp_path / f"{name}.py"
    path.write_text(code)
    return Stage(name, (str(path),), str(tmp_path / name), resumes=resumes)


def test_finished_stages_are_skipped_and_training_always_starts(tmp_path, capfd):
    make = (
        "import pathlib, sys\n"
        "path = pathlib.Path(sys.argv[0])\n"
        "open(path.parent / 'log', 'a').write(path.stem + ' ')\n"
        "path.with_suffix('').mkdir(exist_ok=True)\n"
    )
    chain = [a_stage(tmp_path, "cut", make), a_stage(tmp_path, "train", make, resumes=True)]
    run_stages(chain, tmp_path, tmp_path)
    run_stages(chain, tmp_path, tmp_path)
    assert (tmp_path / "log").read_text() == "cut train train "
    shown = capfd.readouterr().out
    assert f"{os.path.basename(sys.executable)} scripts/cut.py" in shown and "cut is there" in shown


COPY = """
import pathlib, sys
script = pathlib.Path(sys.argv[0])
*sources, target = sys.argv[1:]
path = pathlib.Path(target)
path.parent.mkdir(exist_ok=True, parents=True)
assert path.suffix != ".map" or not path.exists(), "is refused, as scripts refuse it"
if path.suffix or not path.exists():  # training that is finished writes nothing
    path.write_text("".join(pathlib.Path(source).read_text() for source in sources))
open(script.parent / "log", "a").write(script.stem + " ")
"""


@pytest.fixture
def chain(tmp_path):
    """Tiles of a map, a network of the tiles, its enhanced map, and a report on that."""

    def stage(name, source, target, output, resumes=False):
        (tmp_path / f"{name}.py").write_text(COPY)
        command = (f"{tmp_path}/{name}.py", f"{tmp_path}/{source}", f"{tmp_path}/{target}")
        return Stage(name, command, f"{tmp_path}/{output}", (f"{tmp_path}/{source}",), resumes)

    (tmp_path / "deep").write_text("deep")
    train = stage("train", "tiles/shard", "network/checkpoints/1", "network/checkpoints", True)
    enhance = stage("enhance", "network/checkpoints/1", "enhanced.map", "enhanced.map")
    return [
        stage("cut", "deep", "tiles/shard", "tiles"),
        train,
        dataclasses.replace(enhance, inputs=(f"{tmp_path}/network",)),
        stage("compare", "enhanced.map", "report/report.png", "report/report.png"),
    ]


def _ran(tmp_path, chain):
    """Names of the stages that ran."""
    (tmp_path / "log").write_text("")
    run_stages(chain, tmp_path, tmp_path)
    return (tmp_path / "log").read_text().split()


def test_longer_training_runs_the_stages_that_depend_on_it_again(chain, tmp_path, capfd):
    assert _ran(tmp_path, chain) == ["cut", "train", "enhance", "compare"]
    assert _ran(tmp_path, chain) == ["train"]  # which checks itself whether it is finished
    (tmp_path / "network" / "checkpoints" / "1").write_text("longer")
    capfd.readouterr()
    assert _ran(tmp_path, chain) == ["train", "enhance", "compare"]
    shown = capfd.readouterr().out
    assert f"enhance: {tmp_path}/network changed" in shown
    assert f"compare: {tmp_path}/enhanced.map changed" in shown
    assert _ran(tmp_path, chain) == ["train"]


def test_changed_tiles_start_a_new_training_run_beside_the_old_one(chain, tmp_path):
    _ran(tmp_path, chain)
    (tmp_path / "deep").write_text("deeper")
    assert _ran(tmp_path, chain) == ["cut", "train", "enhance", "compare"]
    assert (tmp_path / "network" / "checkpoints" / "1").read_text().endswith("deeper")
    assert (tmp_path / "network.old-1" / "checkpoints" / "1").read_text().endswith("deep")


def test_a_record_without_inputs_runs_the_stages_again(chain, tmp_path, capfd):
    """A record of an older version has no fingerprints."""
    _ran(tmp_path, chain)
    record = json.loads((tmp_path / RECORD).read_text())
    (tmp_path / RECORD).write_text(json.dumps({"commands": record["commands"]}))
    capfd.readouterr()
    assert _ran(tmp_path, chain) == ["cut", "train", "enhance", "compare"]
    assert capfd.readouterr().out.count("an older version did not record its inputs") == 4
    assert not (tmp_path / "network.old-1").exists()  # it may be of these tiles
    assert _ran(tmp_path, chain) == ["train"]


def test_a_file_of_the_user_is_not_replaced(chain, tmp_path):
    (tmp_path / "enhanced.map").write_text("mine")
    with pytest.raises(InputError, match="Stage 3, enhance, ended with status 1"):
        _ran(tmp_path, chain)
    assert (tmp_path / "enhanced.map").read_text() == "mine"


def test_a_stage_that_fails_ends_the_experiment(tmp_path):
    chain = [a_stage(tmp_path, "bad", "import sys; sys.exit(2)"), a_stage(tmp_path, "next", "1/0")]
    with pytest.raises(InputError, match="Stage 1, bad, ended with status 2"):
        run_stages(chain, tmp_path, tmp_path)


def test_a_changed_command_runs_until_it_succeeds(tmp_path):
    """New maps to compare, or a comparison that was interrupted after it had made its folder."""
    code = (
        "import pathlib, sys\n"
        "path = pathlib.Path(sys.argv[0])\n"
        "path.with_suffix('').touch()\n"
        "open(path.parent / 'log', 'a').write(sys.argv[1] + ' ')\n"
        "sys.exit((path.parent / 'broken').exists())\n"
    )
    stage = a_stage(tmp_path, "compare", code)

    def run(word):
        run_stages([dataclasses.replace(stage, command=(*stage.command, word))], tmp_path, tmp_path)

    run("two")
    (tmp_path / "broken").touch()
    for _ in range(2):
        with pytest.raises(InputError):
            run("three")
    (tmp_path / "broken").unlink()
    run("three")
    run("three")
    assert (tmp_path / "log").read_text() == "two three three three "


def test_a_workdir_is_for_one_experiment(tmp_path):
    chain = [a_stage(tmp_path, "any", "")]
    run_stages(chain, tmp_path, tmp_path, {"map": "leaf.cool", "test": ["Chr2"]})
    for other in ({"map": "root.cool", "test": ["Chr2"]}, {"map": "leaf.cool", "test": ["Chr4"]}):
        with pytest.raises(InputError, match="holds an experiment with .* choose another --workdir"):
            run_stages(chain, tmp_path, tmp_path, other)
    (tmp_path / RECORD).write_text("{")
    with pytest.raises(InputError, match="is damaged"):
        run_stages(chain, tmp_path, tmp_path)


def test_a_fingerprint_follows_the_content(tmp_path):
    file, big, run = tmp_path / "file", tmp_path / "big", tmp_path / "run"
    assert fingerprint(file) == "missing"
    file.write_text("one")
    before = fingerprint(file)
    os.utime(file, (0, 0))
    assert fingerprint(file) == before
    file.write_text("two")
    assert fingerprint(file) != before
    big.write_bytes(bytes(SMALL_BYTES + 1))
    before = fingerprint(big)
    os.utime(big, (0, 0))
    assert fingerprint(big) != before
    (run / "checkpoints" / "5").mkdir(parents=True)
    (run / "checkpoints" / "5" / "meta").write_text("{}")
    before = fingerprint(run)
    (run / "metrics.jsonl").write_text("grows with each start")
    assert fingerprint(run) == before
    (run / "checkpoints" / "5").rename(run / "checkpoints" / "6")
    assert fingerprint(run) != before


def test_starting_a_finished_run_again_does_not_change_its_fingerprint(tmp_path, monkeypatch):
    faults.with_a_matrix(monkeypatch)
    config = small_run.config(small_run.save_tiles(tmp_path), "--config.train.total_steps=2")
    found = []
    for _ in range(2):
        assert loop.train_and_evaluate(config, tmp_path / "run").finished
        found.append(fingerprint(tmp_path / "run"))
    assert found[0] == found[1] != "missing"
