"""Which checkpoints enhance maps."""

import numpy as np
import pytest

from hicfm_jax.contacts.simulation.tair10 import CHROMSIZES
from hicfm_jax.convert import convert_to_folder, export, load_weights
from hicfm_jax.errors import InputError
from hicfm_jax.evaluate.opening import leakage_warnings
from hicfm_jax.infer import load_network
from hicfm_jax.infer.enhanced_map import provenance
from hicfm_jax.infer.scan_plan import make_plan
from hicfm_jax.infer.tasks.resolution import TASK
from tests.convert import made_up
from tests.infer.toy_networks import SEEN, toy_map, write_checkpoint


def test_a_run_of_ours_says_what_it_was_trained_on(checkpoint):
    network = load_network(checkpoint)
    assert network.window == (32, 32) and network.takes_depth and not network.published
    assert network.cutoff == 100 and network.step == 7
    assert network.seen == SEEN["seen"] and network.total_counts == SEEN["total_counts"]
    assert float(network.scaling.unscale(1.0)) == pytest.approx(9.0)


def test_the_same_design_as_the_original_but_trained_here(tmp_path):
    network = load_network(write_checkpoint(tmp_path / "run", residual="none"))
    assert not network.takes_depth and not network.published and network.seen is None


@pytest.mark.needs("torch")
@pytest.mark.parametrize("converted", [False, True])
def test_published_weights_are_shown_maps_as_the_original_does(tmp_path, converted):
    path = made_up.save({"model": made_up.state_dict("resolution")}, tmp_path)
    if converted:
        convert_to_folder(path, tmp_path / "folder", "resolution", made_up.SIZE)
        path = tmp_path / "folder"
    network = load_network(path, made_up.SIZE)
    assert network.published and network.window == made_up.SIZE and network.model.task == "resolution"
    assert float(network.scaling.unscale(1.0)) == pytest.approx(1000, rel=1e-5)


@pytest.mark.needs("torch")
def test_a_head_of_the_first_task_is_taken_as_it_is(tmp_path):
    network = load_network(made_up.save({"model": made_up.state_dict("finetune")}, tmp_path), made_up.SIZE)
    assert not network.published and network.model.task == "finetune"
    assert network.scaling.offset is None


@pytest.mark.needs("torch")
def test_a_file_that_says_it_calls_loops_is_refused(tmp_path):
    loops = write_checkpoint(tmp_path / "loops", task="loop", residual="none")
    export(loops, tmp_path / "loops.pth.tar")
    for path in (loops, tmp_path / "loops.pth.tar"):
        with pytest.raises(InputError, match=r"a head for loop \(map\): give .* task resolution or finetune"):
            load_network(path)


@pytest.mark.needs("torch")
@pytest.mark.parametrize("task", ["epigenome", "reproducibility"])
def test_other_heads_are_refused(tmp_path, task):
    path = made_up.save({"model": made_up.state_dict(task)}, tmp_path)
    with pytest.raises(InputError, match=f"a head for {task}"):
        load_network(path, made_up.SIZE)


@pytest.mark.needs("torch")
def test_pretraining_is_refused(tmp_path):
    with pytest.raises(InputError, match="no trained head for resolution, its map_head.* are random"):
        load_network(made_up.save({"model": made_up.state_dict()}, tmp_path))


def test_what_is_no_checkpoint_is_refused(tmp_path):
    with pytest.raises(InputError, match="holds no checkpoint"):
        load_network(tmp_path)
    with pytest.raises(InputError, match="is not a file"):
        load_network(tmp_path / "missing.pth.tar")
    with pytest.raises(InputError, match="32 x 32 bins, not 64 x 64"):
        load_network(write_checkpoint(tmp_path / "run"), (64, 64))


@pytest.mark.slow  # converts a file of the original
def test_a_head_that_was_never_trained_is_refused(tmp_path):
    """Conversion drew it and stored that; a copy says so too, a folder of an older version cannot."""
    drawn = {"residual": "none", "untrained": ["map_head/bias", "map_head/kernel"]}
    convert_to_folder(write_checkpoint(tmp_path / "head", **drawn), tmp_path / "copy")
    for path in ("head", "copy"):
        with pytest.raises(InputError, match=f"{path} has no trained head for resolution, its map_head"):
            load_network(tmp_path / path)
        with pytest.raises(InputError, match="fine-tune it first"):
            export(tmp_path / path, tmp_path / "back.pth.tar")
    assert load_network(write_checkpoint(tmp_path / "old", residual="none")).model.task == "resolution"


@pytest.mark.needs("torch")
def test_pretraining_serves_a_task_without_layers_of_its_own(tmp_path):
    path = made_up.save({"model": made_up.state_dict()}, tmp_path)
    for size, window in [(None, (32, 48)), ((48, 32), (48, 32))]:
        network = load_network(path, size, head=("embedding", "pretrain"), default_window=(32, 48))
        assert network.model.task == "embedding" and network.window == window
        # Resized from pretraining's grid, not computed for the new one.
        expected = load_weights(path, "embedding", window).params["encoder/pos_embed"]
        np.testing.assert_array_equal(network.params["encoder"]["pos_embed"], expected)


@pytest.mark.parametrize("name", ["any_map", "arabidopsis_30kb"])
def test_packaged_networks_have_seen_measured_chromosomes_only(name):
    """Chr2 and Chr4 of Arabidopsis were in training on a simulated map only, Chr1 on a measured one."""
    network = load_network(name)
    plan = make_plan(TASK, toy_map(), network, anyway=True)
    metadata = provenance(toy_map(), network, plan)
    tair10, chromosomes = list(CHROMSIZES.values()), ["Chr1", "Chr2", "Chr4", "21"]
    warnings = leakage_warnings(name, metadata, chromosomes, tair10)
    assert warnings and all("trained on Chr1 (assay" in each and "sim10" not in each for each in warnings)
