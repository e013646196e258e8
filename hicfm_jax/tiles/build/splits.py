"""Splits by held-out chromosomes or assays."""

import contextlib
import dataclasses
from collections.abc import Mapping, Sequence

from hicfm_jax.contacts import ContactMap
from hicfm_jax.contacts.contact_map import whole_names
from hicfm_jax.errors import InputError

SPLITS = ("train", "val", "test")


@dataclasses.dataclass(frozen=True)
class HeldOut:
    """What is held out from training: whole chromosomes or whole assays.

    Attributes:
      val_chromosomes, test_chromosomes: names in all maps that have them, where `chr4` and `4` also
        match a map's `Chr4`; patterns (`chr1*`); or `ASSAY:NAME` for the chromosome of one map.
      val_assays, test_assays: names of maps.
    """

    val_chromosomes: Sequence[str] = ()
    test_chromosomes: Sequence[str] = ()
    val_assays: Sequence[str] = ()
    test_assays: Sequence[str] = ()

    def resolve(self, contact_maps: Mapping[str, ContactMap]) -> "HeldOut":
        """The same with the maps' own names of the chromosomes.

        Raises InputError for a name that no map has, or that is held out twice.
        """
        val = find_chromosomes(contact_maps, self.val_chromosomes, "val_chromosomes")
        test = find_chromosomes(contact_maps, self.test_chromosomes, "test_chromosomes")
        assays = [*self.val_assays, *self.test_assays]
        if (val or test) and assays:
            raise InputError(
                f"Both chromosomes ({', '.join([*val, *test])}) and assays ({', '.join(assays)}) are held "
                "out: split by one of the two."
            )
        for name in assays:
            if name not in contact_maps:
                raise InputError(
                    f"Assay {name!r} is held out but the inputs are named {', '.join(contact_maps)}: "
                    "use one of these, or name an input with --input=NAME=FILE."
                )
        places = [place for name in (*val, *test) for place in _places(contact_maps, name)]
        twice = {chromosome for assay, chromosome in places if places.count((assay, chromosome)) > 1}
        twice |= {name for name in assays if assays.count(name) > 1}
        if twice:
            raise InputError(
                f"{', '.join(sorted(twice))} is held out twice: name it in val or in test, once."
            )
        return dataclasses.replace(self, val_chromosomes=val, test_chromosomes=test)

    def split(self, assay: str, chromosomes: tuple[str, str]) -> str | None:
        """The split of the tiles of a chromosome pair; None if its chromosomes are in different ones."""
        splits = {self._split_of(assay, name) for name in chromosomes}
        return splits.pop() if len(splits) == 1 else None

    def _split_of(self, assay: str, chromosome: str) -> str:
        if is_among(self.test_chromosomes, assay, chromosome) or assay in self.test_assays:
            return "test"
        if is_among(self.val_chromosomes, assay, chromosome) or assay in self.val_assays:
            return "val"
        return "train"

    def requested(self) -> list[str]:
        """The splits that must not be empty."""
        val, test = self.val_chromosomes or self.val_assays, self.test_chromosomes or self.test_assays
        return [name for name, asked in zip(SPLITS, (True, val, test), strict=True) if asked]


def find_chromosomes(contact_maps: Mapping[str, ContactMap], names: Sequence[str], what: str) -> list[str]:
    """The maps' own names of chromosomes, see `ContactMap.find_chromosome`.

    A name may be a pattern, as `chr1*` for the homoeologs of wheat; and `ASSAY:NAME` for the chromosome of
    one map, which keeps its prefix: `rice:chr4` -> `rice:Chr4`. Raises InputError for a name in `what` that
    no map has, with the existing ones.
    """
    found = []
    known = dict.fromkeys(name for each in contact_maps.values() for name in each.chromsizes)
    for name in whole_names(names, known):
        assay, colon, inner = name.partition(":")
        if colon and assay in contact_maps:
            found += [f"{assay}:{each}" for each in contact_maps[assay].find_chromosomes([inner])]
            continue
        own = {}
        for contact_map in contact_maps.values():
            with contextlib.suppress(InputError):  # another map may have it
                own[contact_map.find_chromosome(name)] = True
        if not own:
            raise InputError(
                f"{what} names {name!r} but the maps have {', '.join(list(known)[:30])}: use one of these."
            )
        found += own
    return found


def is_among(names: Sequence[str], assay: str, chromosome: str) -> bool:
    """Whether a map's chromosome is one of the `names` that `find_chromosomes` returned."""
    return chromosome in names or f"{assay}:{chromosome}" in names


def _places(contact_maps: Mapping[str, ContactMap], name: str) -> list[tuple[str, str]]:
    """(assay, chromosome) of all chromosomes that a resolved name stands for."""
    assay, colon, inner = name.partition(":")
    if colon and assay in contact_maps:
        return [(assay, inner)]
    return [(assay, name) for assay, each in contact_maps.items() if name in each.chromsizes]
