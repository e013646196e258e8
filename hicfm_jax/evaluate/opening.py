"""The maps of a comparison: opened, at one resolution, with the chromosomes they share.

Warns of maps that were enhanced by a model that had seen what it is evaluated on.
"""

import os
from collections.abc import Iterable, Mapping, Sequence

import scipy.sparse

from hicfm_jax.contacts import ContactMap, open_contacts
from hicfm_jax.contacts.contact_map import ENHANCEMENT, bare_name
from hicfm_jax.errors import InputError

Source = ContactMap | str | os.PathLike

FEWEST_BINS = 3


def open_map(source: Source, resolution: int | None) -> ContactMap:
    """A map at the resolution, in bp; None takes the file's only one.

    Raises:
      InputError: a file that cannot be read, or a map that cannot be had at the resolution.
    """
    if not isinstance(source, ContactMap):
        return open_contacts(source, resolution)
    if resolution is None or source.resolution == resolution:
        return source
    if resolution % source.resolution:
        raise InputError(
            f"{source.name} has bins of {source.resolution} bp, expected {resolution} bp or a divisor of it: "
            "give maps of one resolution."
        )
    return source.coarsen(resolution // source.resolution)


class Maps:
    """A reference and the maps to compare with it.

    Attributes:
      reference: the reference.
      maps: name -> map, at the reference's resolution.

    Args:
      maps: name -> map or URI.
      reference: map or URI.
      resolution: bp; None takes the reference's own.

    Raises:
      InputError: no map, one named `reference`, or what `open_map` raises.
    """

    def __init__(self, maps: Mapping[str, Source], reference: Source, resolution: int | None):
        if not maps:
            raise InputError("There is no map to compare with the reference: give at least one.")
        if "reference" in maps:
            raise InputError("A map is called 'reference', which is the name of the reference: rename it.")
        self.reference = open_map(reference, resolution)
        self.maps = {name: open_map(source, self.reference.resolution) for name, source in maps.items()}

    def choose(self, chromosomes: Sequence[str] | None) -> tuple[list[str], list[str]]:
        """The reference's names of the chromosomes to evaluate, and notes on those left out.

        Without a choice these are all that hold contacts in every map.

        Raises:
          InputError: an unknown or repeated chromosome, one that is shorter than `FEWEST_BINS` bins, of
            another length in a map, or without contacts.
        """
        if chromosomes is not None:
            names = [self.reference.find_chromosome(name) for name in chromosomes]
            for name in names:
                if names.count(name) > 1:
                    raise InputError(f"Chromosome {name} is given twice: name each one once.")
                self.check(name)
            if not names:
                raise InputError("No chromosome is given: name one, or leave the choice to the maps.")
            return names, []
        names, notes = [], []
        for name in self.reference.chromsizes:
            try:
                self.check(name)
            except InputError as error:
                notes.append(f"{name} is left out. {error}")
            else:
                names.append(name)
        if not names:
            raise InputError(f"The maps have no chromosome in common with contacts in all. {notes[0]}")
        return names, notes

    def check(self, chrom: str, names: Iterable[str] | None = None) -> None:
        """Raises InputError unless maps, by name, can be compared on a chromosome of the reference.

        None means all maps.
        """
        bins = self.reference.n_bins(chrom)
        if bins < FEWEST_BINS:
            raise InputError(
                f"{chrom} has {bins} bins at {self.reference.resolution} bp, expected at least "
                f"{FEWEST_BINS}: choose narrower bins or another chromosome."
            )
        maps = [(name, self.maps[name]) for name in (self.maps if names is None else names)]
        for name, held in (*maps, ("The reference", self.reference)):
            own = held.find_chromosome(chrom)
            if held.n_bins(own) != bins:
                raise InputError(
                    f"{name} has {held.n_bins(own)} bins in {own}, the reference {bins}: "
                    "give maps of one genome assembly."
                )
            if not held.matrix(own).nnz:
                raise InputError(f"{name} holds no contacts on {own}: choose other chromosomes.")

    def matrix(self, name: str | None, chrom: str) -> scipy.sparse.csr_array:
        """Counts `[n, n]` of a chromosome of the reference, upper triangle; None is the reference itself."""
        held = self.reference if name is None else self.maps[name]
        return held.matrix(held.find_chromosome(chrom))


_SEEN = {
    "trained_on": "was trained on",
    "validated_on": "was validated on",
}


def leakage_warnings(name: str, metadata: object, chromosomes: Sequence[str]) -> list[str]:
    """One sentence for each way in which the checkpoint had seen an evaluated chromosome.

    Args:
      name: of the map.
      metadata: of the map; `{"enhancement": {"trained_on": {assay: [chromosome, …]}, "validated_on":
        {…}, "unknown": [file, …]}}` if it was enhanced. `Chr1`, `chr1` and `1` are one chromosome.
      chromosomes: the evaluated ones.
    """
    enhancement = metadata.get(ENHANCEMENT) if isinstance(metadata, Mapping) else None
    if enhancement is None:
        return []
    if not isinstance(enhancement, Mapping) or not isinstance(enhancement.get("trained_on"), Mapping):
        return [
            f"{name} was enhanced by a model, but its file does not say what the model was trained on: "
            "its scores may be those of a map it had seen."
        ]
    evaluated = {bare_name(chrom): chrom for chrom in chromosomes}
    found = []
    unknown = enhancement.get("unknown")
    if isinstance(unknown, Sequence) and unknown:
        found.append(
            f"{name} was enhanced by a model that started from {', '.join(map(str, unknown))}, which does "
            "not say what it was trained on: its scores may be those of a map it had seen."
        )
    for key, verb in _SEEN.items():
        seen = enhancement.get(key)
        for assay, names in seen.items() if isinstance(seen, Mapping) else ():
            names = [names] if isinstance(names, str) else names
            if not isinstance(names, Sequence):
                continue
            bare = {bare_name(str(chrom)) for chrom in names}
            hit = [evaluated[chrom] for chrom in evaluated if chrom in bare]
            if hit:
                found.append(
                    f"{name} was enhanced by a model that {verb} {', '.join(hit)} (assay {assay}), which "
                    f"{'is' if len(hit) == 1 else 'are'} evaluated here: its scores there say nothing about "
                    "chromosomes it had not seen."
                )
    return found
