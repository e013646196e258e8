"""Choice of chromosomes for training, validation and testing: each has one use."""

import pytest
import scipy.sparse

from hicfm_jax.contacts import ContactMap
from hicfm_jax.contacts.simulation.tair10 import CHROMSIZES
from hicfm_jax.errors import InputError
from hicfm_jax.experiment.stages import choose_chromosomes


def a_map(chromsizes, resolution=30_000):
    def load(one, two):
        return scipy.sparse.csr_array((-(-chromsizes[one] // resolution), -(-chromsizes[two] // resolution)))

    return ContactMap(chromsizes, resolution, load)


def test_arabidopsis_is_tested_on_chromosomes_2_and_4():
    chosen = choose_chromosomes(a_map(CHROMSIZES), 224)
    assert chosen == (["Chr1", "Chr3"], ["Chr5"], ["Chr2", "Chr4"])


@pytest.mark.parametrize("count", range(3, 13))
def test_every_chromosome_that_is_long_enough_has_one_use(count):
    sizes = {f"chr{i}": (30 + i) * 1_000_000 for i in range(count)} | {"Pt": 154_478}
    chosen = choose_chromosomes(a_map(sizes), 224)
    assert sorted(sum(chosen, [])) == sorted(name for name in sizes if name != "Pt")
    assert all(chosen)


def test_the_users_choice_is_respected_however_it_is_spelled():
    chosen = choose_chromosomes(a_map(CHROMSIZES), 224, val=["1"], test=["chr3"])
    assert chosen == (["Chr2", "Chr4", "Chr5"], ["Chr1"], ["Chr3"])
    assert choose_chromosomes(a_map(CHROMSIZES), 224, test=["Chr5"]).val != ["Chr5"]


@pytest.mark.parametrize(
    ("sizes", "choice", "words"),
    [
        (CHROMSIZES, dict(val=["Chr4"], test=["Chr4"]), "Chr4 is both"),
        (CHROMSIZES, dict(test=["Chr9"]), "no chromosome 'Chr9'"),
        (CHROMSIZES | {"ChrM": 367_808}, dict(test=["ChrM"]), "ChrM has 13 bins"),
        (CHROMSIZES, dict(val=["Chr1", "Chr2"], test=["Chr3", "Chr4", "Chr5"]), "one each for training"),
        ({"chr1": 30_000_000, "chr2": 20_000_000, "chr3": 90_000}, {}, "has 2 chromosomes of 224 bins"),
    ],
)
def test_an_impossible_choice_is_refused(sizes, choice, words):
    with pytest.raises(InputError, match=words):
        choose_chromosomes(a_map(sizes), 224, **choice)
