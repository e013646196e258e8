"""Which chromosomes train, validate and judge."""

from collections.abc import Sequence
from typing import NamedTuple

from hicfm_jax.contacts import ContactMap
from hicfm_jax.errors import InputError


class Chromosomes(NamedTuple):
    """Names by use; no chromosome has two."""

    train: list[str]
    val: list[str]
    test: list[str]


def choose_chromosomes(
    contact_map: ContactMap, bins: int, val: Sequence[str] = (), test: Sequence[str] = ()
) -> Chromosomes:
    """Splits a genome for an experiment.

    Left to itself it judges on the two shortest chromosomes (one of three or four) and validates on the
    second longest, so that most of the genome trains: Chr2 and Chr4, and Chr5, for *Arabidopsis thaliana*.

    Args:
      contact_map: the deep map.
      bins: what a chromosome needs to be of use.
      val, test: the user's choice.

    Raises:
      InputError: too few chromosomes of that length, one that there is not, or one with two uses.
    """
    val = [contact_map.find_chromosome(name) for name in val]
    test = [contact_map.find_chromosome(name) for name in test]
    for name in val + test:
        if contact_map.n_bins(name) < bins:
            raise InputError(
                f"{name} has {contact_map.n_bins(name)} bins at {contact_map.resolution} bp, expected {bins} "
                "or more: name longer chromosomes or give a finer resolution."
            )
    long_enough = [name for name in contact_map.chromsizes if contact_map.n_bins(name) >= bins]
    by_length = sorted(long_enough, key=contact_map.chromsizes.get)
    if not test:
        test = [name for name in by_length if name not in val][: 2 if len(by_length) > 4 else 1]
    if not val:
        val = [name for name in by_length if name not in test][-2:][:1]
    train = [name for name in long_enough if name not in val + test]
    twice = sorted(set(val) & set(test))
    if twice:
        raise InputError(f"{twice[0]} is both to validate and to judge: name different chromosomes.")
    if not (train and val and test):
        raise InputError(
            f"{contact_map.name} has {len(long_enough)} chromosomes of {bins} bins or more at "
            f"{contact_map.resolution} bp, and an experiment needs one to train, one to validate and one to "
            "judge: give a finer resolution or another map."
        )
    in_order = list(contact_map.chromsizes)
    return Chromosomes(*(sorted(names, key=in_order.index) for names in (train, val, test)))
