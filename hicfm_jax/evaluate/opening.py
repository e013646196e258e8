"""Opens the maps of a comparison and warns of evaluation on training data."""

import os
from collections.abc import Iterable, Mapping, Sequence

import scipy.sparse

from hicfm_jax.contacts import ContactMap, open_contacts
from hicfm_jax.contacts.contact_map import ENHANCEMENT, bare_name
from hicfm_jax.errors import InputError
from hicfm_jax.evaluate.scores.diagonals import upper

MapSource = ContactMap | str | os.PathLike

FEWEST_BINS = 3


def open_map(source: MapSource, resolution: int | None) -> ContactMap:
    """A map at the resolution, in bp; None takes the file's only one.

    Raises:
      InputError: a file that cannot be read, or a map that is coarser than the resolution.
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


class ComparedMaps:
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

    def __init__(self, maps: Mapping[str, MapSource], reference: MapSource, resolution: int | None):
        if not maps:
            raise InputError("There is no map to compare with the reference: give at least one.")
        if "reference" in maps:
            raise InputError("A map is called 'reference', which is the name of the reference: rename it.")
        self.reference = open_map(reference, resolution)
        self.maps = {name: open_map(source, self.reference.resolution) for name, source in maps.items()}

    def choose(
        self, chromosomes: Sequence[str] | None, maps: Iterable[str] | None = None
    ) -> tuple[list[str], list[str]]:
        """The reference's names of the chromosomes to compare maps on, and notes on those left out.

        Args:
          chromosomes: the user's choice. None takes all that pass `check`.
          maps: names; None means all.

        Raises:
          InputError: an unknown or repeated chromosome, or one that `check` refuses.
        """
        if chromosomes is not None:
            names = [self.reference.find_chromosome(name) for name in chromosomes]
            for name in names:
                if names.count(name) > 1:
                    raise InputError(f"Chromosome {name} is given twice: name each one once.")
                self.check(name, maps)
            return names, []
        names, notes = [], []
        for name in self.reference.chromsizes:
            try:
                self.check(name, maps)
            except InputError as error:
                notes.append(f"{name} is left out. {error}")
            else:
                names.append(name)
        return names, notes

    def check(self, chrom: str, names: Iterable[str] | None = None) -> None:
        """Raises InputError unless the named maps (None: all) can be compared on a chromosome.

        It needs `FEWEST_BINS` bins, as many in every map, and contacts in every map.
        """
        bins = self.reference.n_bins(chrom)
        if bins < FEWEST_BINS:
            raise InputError(
                f"{chrom} has {bins} bins at {self.reference.resolution} bp, expected at least "
                f"{FEWEST_BINS}: choose narrower bins or another chromosome."
            )
        maps = [(name, self.maps[name]) for name in (self.maps if names is None else names)]
        for name, each in (*maps, ("The reference", self.reference)):
            own = each.find_chromosome(chrom)
            if each.n_bins(own) != bins:
                raise InputError(
                    f"{name} has {each.n_bins(own)} bins in {own}, the reference {bins}: "
                    "give maps of one genome assembly."
                )
            if not each.matrix(own).nnz:
                raise InputError(f"{name} has no contacts on {own}: choose other chromosomes.")

    def counts(self, name: str | None, chrom: str) -> scipy.sparse.csr_array:
        """Upper triangle `[n, n]` of a chromosome of the reference, float64; None is the reference itself."""
        chosen = self.reference if name is None else self.maps[name]
        return upper(chosen.matrix(chosen.find_chromosome(chrom)))


def checkpoint_notes(name: str, metadata: object) -> list[str]:
    """A sentence on the checkpoint that enhanced the map `name`, if its metadata names the step."""
    enhancement = _enhancement(metadata)
    step = enhancement.get("step") if isinstance(enhancement, Mapping) else None
    if not isinstance(step, int) or step <= 0:
        return []
    return [f"{name} was enhanced with the checkpoint of step {step} of {enhancement.get('checkpoint')}."]


def leakage_warnings(name: str, metadata: object, chromosomes: Sequence[str]) -> list[str]:
    """One sentence for each way in which a model was trained on an evaluated chromosome.

    Args:
      name: of the map.
      metadata: of the map; `{"enhancement": {"trained_on": {assay: [chromosome, …]}, "validated_on":
        {…}, "unknown": [file, …]}}` if it was enhanced. `Chr1`, `chr1` and `1` are one chromosome.
      chromosomes: the evaluated ones.
    """
    enhancement = _enhancement(metadata)
    if enhancement is None:
        return []
    doubt = "its scores may be on training data."
    if not isinstance(enhancement, Mapping) or not isinstance(enhancement.get("trained_on"), Mapping):
        return [
            f"{name} was enhanced by a model, but its file does not say on which data it was trained: {doubt}"
        ]
    evaluated = {bare_name(chrom): chrom for chrom in chromosomes}
    found = []
    unknown = enhancement.get("unknown")
    if isinstance(unknown, Sequence) and unknown:
        files = ", ".join(map(str, unknown))
        start = f"{name} was enhanced by a model that started from {files}"
        found.append(f"{start}, whose training data is unknown: {doubt}")
    for key, verb in {"trained_on": "trained", "validated_on": "validated"}.items():
        used = enhancement.get(key)
        for assay, names in used.items() if isinstance(used, Mapping) else ():
            names = [names] if isinstance(names, str) else names
            bare = {bare_name(str(chrom)) for chrom in names} if isinstance(names, Sequence) else set()
            hit = [chrom for name_, chrom in evaluated.items() if name_ in bare]
            if hit:
                found.append(
                    f"{name} was enhanced by a model that was {verb} on {', '.join(hit)} (assay {assay}): "
                    "its scores there do not hold for other chromosomes."
                )
    return found


def _enhancement(metadata: object) -> object:
    return metadata.get(ENHANCEMENT) if isinstance(metadata, Mapping) else None
