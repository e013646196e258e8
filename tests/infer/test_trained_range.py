"""Maps outside the range of training are refused; a region alone is predicted."""

import dataclasses

import numpy as np
import pytest

from hicfm_jax.contacts import open_contacts, write_contacts
from hicfm_jax.contacts.species import longest_chromosomes
from hicfm_jax.errors import InputError
from hicfm_jax.infer import infer_file
from hicfm_jax.infer.network import ENHANCING
from hicfm_jax.infer.scan_plan import make_plan
from hicfm_jax.infer.tasks.resolution import TASK, enhance
from hicfm_jax.infer.tasks.target_depth import GAIN
from tests.infer.toy_networks import CHROMSIZES, RESOLUTION, echo, toy_map

KNOWN = {"resolution": RESOLUTION, "longest": longest_chromosomes(CHROMSIZES)}


def test_a_map_like_those_of_training_passes(network):
    known = dataclasses.replace(network, maps={"deep": KNOWN})
    assert make_plan(TASK, toy_map(), known).warnings == ()


def test_another_bin_width_is_refused(network):
    fine = dataclasses.replace(network, maps={"deep": KNOWN | {"resolution": 30_000}})
    with pytest.raises(InputError, match="trained on maps at 30,000 bp, but toy has bins of 1,000 bp"):
        make_plan(TASK, toy_map(), fine)
    (warning,) = make_plan(TASK, toy_map(), fine, anyway=True).warnings
    assert "30,000 bp" in warning
    pretrained = dataclasses.replace(TASK, head=(*ENHANCING, "pretrain"))  # features serve other widths too
    assert make_plan(pretrained, toy_map(), fine).warnings == (warning,)


def test_another_species_gives_a_warning(network):
    human = dataclasses.replace(network, maps={"human": KNOWN | {"longest": [3, 2, 1]}})
    (warning,) = make_plan(TASK, toy_map(), human).warnings
    assert "other chromosome lengths" in warning


def test_more_contacts_than_in_training_are_refused(network):
    shallow = toy_map()
    target = shallow.total_count / 0.7  # training went up to a half
    with pytest.raises(InputError, match="has 70.00% of the target .* worse than the input"):
        make_plan(TASK, shallow, network, target_contacts=target)
    (warning,) = make_plan(TASK, shallow, network, target_contacts=target, anyway=True).warnings
    assert "70.00%" in warning


def test_a_region_alone_is_predicted(tmp_path):
    shallow = toy_map()
    plan = make_plan(TASK, shallow, echo(), region="Chr1:20,000-70,000")
    assert plan.chromosomes == ("Chr1",) and 20 <= plan.places["Chr1"].min() <= 38
    assert plan.places["Chr1"].max() + 32 <= 100
    end = make_plan(TASK, shallow, echo(), region="Chr1:90,000-99,500").places["Chr1"]
    assert end.tolist() == [[68, 68]], "windows do not overhang the chromosome"
    with pytest.raises(InputError, match="region cannot be combined with chromosomes"):
        make_plan(TASK, shallow, echo(), region="Chr1:0-50000", chromosomes=["Chr1"])
    with pytest.raises(InputError, match="not of the form|has no chromosome"):
        make_plan(TASK, shallow, echo(), region="Chr9:1-2")


def test_the_region_of_a_file_has_the_values_of_the_whole(tmp_path, checkpoint):
    write_contacts(toy_map(), tmp_path / "shallow.cool")
    files = str(tmp_path / "shallow.cool"), None, checkpoint, tmp_path / "part.npz"
    infer_file("resolution", *files, region="Chr1:20000-70000")
    part = open_contacts(files[-1]).matrix("Chr1").toarray()
    whole = enhance(toy_map(), checkpoint, match_decay=False).matrix("Chr1").toarray()
    assert np.corrcoef(part[30:60, 30:60].ravel(), whole[30:60, 30:60].ravel())[0, 1] > 0.99
    assert part[:10].sum() == part[85:].sum() == 0


def test_a_region_by_a_network_that_says_how_sure_it_is(tmp_path, sure):
    """Rows before the region have neither means nor deviations."""
    write_contacts(toy_map(), tmp_path / "shallow.cool")
    files = str(tmp_path / "shallow.cool"), None, sure, tmp_path / "part.cool"
    infer_file("resolution", *files, region="Chr1:50000-90000", balance=False)
    deep = open_contacts(files[-1])
    assert deep.sd.matrix("Chr1").nnz == deep.matrix("Chr1").nnz > 0
    assert deep.matrix("Chr1")[:19].nnz == 0


def test_a_prediction_is_not_enhanced_again(network):
    enhanced = enhance(toy_map(), network)
    with pytest.raises(InputError, match="is a prediction already: give the map that it was made from"):
        make_plan(TASK, enhanced, network)
    warnings = make_plan(TASK, enhanced, network, anyway=True).warnings
    assert any("is a prediction already" in warning for warning in warnings)


def test_a_network_of_several_widths_and_any_depth_takes_what_lies_between(network):
    """As those of the package: the target is a multiple of the input, and warnings replace refusals."""
    widths = {
        "fine": KNOWN | {"resolution": 500, "bins": 100},
        "coarse": KNOWN | {"longest": [1], "bins": 10},
    }
    depths = {"fine": 500.0, "coarse": 10_000.0}  # 5 and 1000 contacts a bin
    general = dataclasses.replace(
        network, maps=widths, total_counts=depths, fractions=(0.01, 0.8), any_depth=True
    )
    shallow = toy_map()
    plan = make_plan(TASK, shallow, general)
    assert plan.warnings == () and plan.target_contacts == GAIN * shallow.total_count
    assert plan.depth_ratio == pytest.approx(GAIN)
    wide = dataclasses.replace(
        general, maps={name: known | {"bins": 100_000} for name, known in widths.items()}
    )
    (warning,) = make_plan(TASK, shallow, wide).warnings
    assert "contacts per bin, and the network was trained on" in warning
    narrow = {"fine": widths["fine"], "coarse": widths["coarse"] | {"resolution": 800}}
    (warning,) = make_plan(TASK, shallow, dataclasses.replace(general, maps=narrow)).warnings
    assert "trained on maps at 500 to 800 bp, and toy has bins of 1,000 bp" in warning


def test_a_task_without_a_network_in_the_package_needs_a_checkpoint(tmp_path):
    with pytest.raises(InputError, match="no network for task epigenome comes with the package"):
        infer_file("epigenome", "map.cool", None, None, tmp_path / "tracks")


@pytest.mark.slow  # compiles windows of 224 x 224
def test_without_a_checkpoint_the_network_of_the_package_enhances(tmp_path):
    write_contacts(toy_map(mean=200.0), tmp_path / "root.cool")
    infer_file("resolution", str(tmp_path / "root.cool"), None, None, tmp_path / "deep.cool", balance=False)
    deep = open_contacts(tmp_path / "deep.cool")
    assert deep.total_count == pytest.approx(GAIN * toy_map(mean=200.0).total_count, rel=0.1)
    ratio = deep.sd.matrix("Chr1").data / deep.matrix("Chr1").data
    assert 0.001 < np.median(ratio) < 0.5
