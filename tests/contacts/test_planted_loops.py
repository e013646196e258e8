"""Loops at known places and of known strength."""

import numpy as np
import pytest
import scipy.sparse

from hicfm_jax.contacts import ContactMap, open_contacts, write_contacts
from hicfm_jax.contacts.simulation.planted_loops import APART, NEAREST, plant_loops
from hicfm_jax.errors import InputError
from tests.run_script import run_script


@pytest.fixture(scope="module")
def background():
    """Two chromosomes of 10 kb bins whose contacts fall with distance; bins 100 to 109 are empty."""
    matrices, rng = {}, np.random.default_rng(0)
    for chrom, size in (("Chr1", 400), ("Chr2", 5)):
        distance = np.abs(np.subtract.outer(np.arange(size), np.arange(size)))
        counts = np.triu(rng.poisson(400 / (1 + distance)))
        counts[100:110] = counts[:, 100:110] = 0
        matrices[chrom, chrom] = scipy.sparse.csr_array(counts)
    return ContactMap({"Chr1": 3_995_000, "Chr2": 50_000}, 10_000, matrices, "toy")


def test_contacts_are_added_around_the_loops_only(background):
    planted, loops = plant_loops(background, 4.0, seed=1)
    assert len(loops) > 8 and {loop.chrom for loop in loops} == {"Chr1"}
    added = (planted.matrix("Chr1") - background.matrix("Chr1")).tocoo()
    assert added.data.min() >= 0 and (added.row < added.col).all()
    places = np.array([(loop.row, loop.column) for loop in loops])
    where = np.stack([added.row, added.col], axis=1)[added.data > 0]
    assert np.abs(where[:, None] - places[None]).max(axis=2).min(axis=1).max() <= 4
    gaps = np.abs(places[:, None] - places[None]).max(axis=2) + 99 * np.eye(len(places))
    assert gaps.min() >= APART and (places[:, 1] - places[:, 0]).min() >= NEAREST
    assert not np.isin(places, np.arange(100, 110)).any()
    np.testing.assert_array_equal(planted.matrix("Chr2").toarray(), background.matrix("Chr2").toarray())


def test_strengths_are_those_told(background):
    """Over many draws, the center has the enrichment times the expected contacts."""
    ratios = []
    for seed in range(30):
        planted, loops = plant_loops(background, 3.0, enrichment=(5.0, 5.0), seed=seed)
        matrix = planted.matrix("Chr1")
        for loop in loops:
            near = matrix[[loop.row], [loop.column]] / (400 / (1 + loop.column - loop.row))
            ratios.append(near.item())
    # The center of a loop lies up to half a bin beside that of its bin, where the Gaussian is lower.
    assert 3.8 < np.mean(ratios) < 5.0


def test_the_same_seed_gives_the_same_loops(background):
    one, two, other = (plant_loops(background, 2.0, seed=seed) for seed in (3, 3, 4))
    assert one[1] == two[1] != other[1]
    assert not (one[0].matrix("Chr1") != two[0].matrix("Chr1")).nnz


@pytest.mark.parametrize(
    "choices", [{"per_megabase": 0}, {"enrichment": (1.0, 2.0)}, {"distance": (5e6, 1e6)}, {"seed": -1}]
)
def test_values_out_of_range(background, choices):
    with pytest.raises(InputError, match="do not describe loops"):
        plant_loops(background, **choices)


def test_the_script_lists_the_loops_that_it_adds(background, tmp_path):
    write_contacts(background, tmp_path / "a.cool")
    flags = [f"--output={tmp_path / 'b.cool'}", "--resolution=10000", "--seed=1"]
    done = run_script("simulate_map.py", f"--input={tmp_path / 'a.cool'}", "--loops=4", *flags)
    assert done.returncode == 0 and "SIMULATED LOOPS in a map" in done.stdout, done.stderr
    planted, loops = plant_loops(background, 4.0, seed=1)
    assert open_contacts(tmp_path / "b.cool").total_count == planted.total_count
    header, *lines = (tmp_path / "b.cool.bedpe").read_text().splitlines()
    assert header.split("\t")[:6] == ["chrom1", "start1", "end1", "chrom2", "start2", "end2"]
    first = loops[0]
    assert lines[0].split("\t")[1:5] == [
        f"{first.row}0000",
        f"{first.row + 1}0000",
        "Chr1",
        f"{first.column}0000",
    ]
    assert len(lines) == len(loops)
    done = run_script("simulate_map.py", f"--input={tmp_path / 'a.cool'}", *flags)
    assert done.returncode == 2 and "--input needs --loops" in done.stderr
