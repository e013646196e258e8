"""Checkpoints in one file: the same network, no paths of the machine, and the package's by name."""

import json
import struct

import numpy as np
import pytest

from hicfm_jax.checkpoints import folder, single_file
from hicfm_jax.convert import is_original_file, load_weights
from hicfm_jax.errors import InputError
from tests.infer.toy_networks import SEEN, write_checkpoint


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """A workdir and one file of the same checkpoint."""
    root = tmp_path_factory.mktemp("single")
    write_checkpoint(root / "run", **SEEN)
    folder.write_file(root / "run", root / "one.safetensors")
    return root / "run", root / "one.safetensors"


def test_it_is_the_same_checkpoint(both):
    run, file = map(load_weights, both)
    assert file.params.keys() == run.params.keys()
    for name, value in run.params.items():
        np.testing.assert_array_equal(file.params[name], value)
    assert (file.step, file.head, file.provenance) == (run.step, run.head, run.provenance)
    assert not is_original_file(both[1])


def test_it_names_no_path_of_the_machine_that_made_it(both, tmp_path):
    stored = folder.read(both[0])
    config = json.loads(json.dumps(stored.meta["config"]))
    config["data"]["tiles"], config["init_from"] = str(tmp_path / "tiles"), str(tmp_path / "run")
    folder.write(tmp_path / "run", 7, stored.params, None, {"config": config})
    folder.write_file(tmp_path / "run", tmp_path / "one.safetensors")
    assert str(tmp_path).encode() not in (tmp_path / "one.safetensors").read_bytes()


def test_damage_is_noticed(both, tmp_path):
    content = bytearray(both[1].read_bytes())
    (header,) = struct.unpack("<Q", content[:8])
    content[8 + header + 100] ^= 1  # of a parameter
    (tmp_path / "flipped.safetensors").write_bytes(content)
    with pytest.raises(InputError, match="params changed after they were written"):
        load_weights(tmp_path / "flipped.safetensors")
    (tmp_path / "short.safetensors").write_bytes(content[:-100])
    with pytest.raises(InputError, match="cut short"):
        load_weights(tmp_path / "short.safetensors")


def test_an_existing_file_is_kept(both):
    with pytest.raises(InputError, match="exists already"):
        folder.write_file(*both)


@pytest.mark.parametrize("name", single_file.packaged_names())
def test_every_packaged_network_has_a_card_and_loads_by_name(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    weights = load_weights(name)
    assert weights.head["dispersion"] == (not name.endswith("loops")) and weights.provenance["maps"]
    assert (single_file.PACKAGED / f"{name}.md").read_text().startswith(f"# {name}\n")


def test_they_are_small():
    assert sum(path.stat().st_size for path in single_file.PACKAGED.iterdir()) < 20e6
