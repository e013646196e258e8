"""Opens the compared maps, and warns of evaluation on training data."""

import os
from collections.abc import Collection, Iterable, Mapping, Sequence

import scipy.sparse

from hicfm_jax.contacts import ContactMap, open_contacts
from hicfm_jax.contacts.annotations.regions import parse_region
from hicfm_jax.contacts.contact_map import ENHANCEMENT, KEPT_READS, SIMULATED, bare_name
from hicfm_jax.contacts.formats import stem
from hicfm_jax.contacts.species import may_share_chromosomes
from hicfm_jax.errors import InputError
from hicfm_jax.evaluate.scores.diagonals import upper

MapSource = ContactMap | str | os.PathLike

FEWEST_BINS = 3


class ComparedMaps:
    """A reference and named maps to compare with it, at one resolution in bp (None: the reference's own).

    With a region (`Chr4:1M-3M`), only this part of its chromosome is compared.

    Raises:
      InputError: no map, one named `reference`, one that cannot be read at the resolution, or no such region.
    """

    def __init__(
        self,
        maps: Mapping[str, MapSource],
        reference: MapSource,
        resolution: int | None,
        region: str | None = None,
    ):
        if not maps:
            raise InputError("There is no map to compare with the reference: give at least one.")
        if "reference" in maps:
            raise InputError("A map is called 'reference', which is the name of the reference: rename it.")
        self.reference = _open(reference, resolution)
        self.maps = {name: _open(source, self.reference.resolution) for name, source in maps.items()}
        self.region = None if region is None else parse_region(region, self.reference)

    def span(self, chrom: str) -> tuple[int, int]:
        """The bins of a chromosome that are compared: the first, and the one after the last."""
        inside = self.region is not None and self.region.chrom == chrom
        return self.region.bins(self.reference.resolution) if inside else (0, self.reference.n_bins(chrom))

    def extent(self, chrom: str) -> tuple[int, int]:
        """Start and length in bp of what is compared of a chromosome, in whole bins."""
        first, last = (bins * self.reference.resolution for bins in self.span(chrom))
        return first, min(last, self.reference.chromsizes[chrom]) - first

    def choose(
        self, chromosomes: Sequence[str] | None, maps: Iterable[str] | None = None
    ) -> tuple[list[str], list[str]]:
        """The reference's names of the chromosomes to compare maps on, and notes on those left out.

        None takes all chromosomes that pass `check`. Of a user's choice one that is unknown, repeated or
        refused raises InputError.
        """
        given = self.reference.chromsizes if chromosomes is None else chromosomes
        names, notes, seen = [], [], set()
        for name in self.reference.find_chromosomes(given):
            if name in seen:
                raise InputError(f"Chromosome {name} is given twice: name each one once.")
            seen.add(name)
            try:
                self.check(name, maps)
                names.append(name)
            except InputError as error:
                if chromosomes is not None:
                    raise
                notes.append(f"{name} is left out. {error}")
        return names, notes

    def check(self, chrom: str, names: Iterable[str] | None = None) -> None:
        """Raises InputError unless the named maps (None: all) can be compared on a chromosome.

        It needs `FEWEST_BINS` bins, as many in every map, and contacts in every map.
        """
        bins, (first, last) = self.reference.n_bins(chrom), self.span(chrom)
        if last - first < FEWEST_BINS:
            raise InputError(
                f"{chrom} has {last - first} bins at {self.reference.resolution} bp, expected at least "
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
            if not each.matrix(own)[first:last, first:last].nnz:
                raise InputError(f"{name} has no contacts on {own}: choose other chromosomes.")

    def counts(self, name: str | None, chrom: str) -> scipy.sparse.csr_array:
        """Upper triangle `[n, n]` of a chromosome of the reference, float64; None is the reference itself."""
        chosen, (first, last) = self.reference if name is None else self.maps[name], self.span(chrom)
        return upper(chosen.matrix(chosen.find_chromosome(chrom))[first:last, first:last])


def named_uris(entries: Iterable[str], flag: str) -> dict[str, str]:
    """URIs by name, from the entries NAME=URI of a flag, or URI, which is named by its file.

    Raises:
      InputError: an entry without name or URI, or a name that is given twice.
    """
    found: dict[str, str] = {}
    for entry in entries:
        name, equals, uri = (part.strip() for part in entry.partition("="))
        if not equals:
            name, uri = stem(name.rstrip("/")), name
        if not (name and uri):
            raise InputError(f"{flag} has the entry {entry!r}, expected NAME=URI: name each one.")
        if name in found:
            raise InputError(f"{flag} has {name!r} twice: give each one its own name.")
        found[name] = uri
    return found


def _open(source: MapSource, resolution: int | None) -> ContactMap:
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


def enhancement_notes(name: str, metadata: Mapping) -> list[str]:
    """Sentences on how the map `name` was enhanced: the checkpoint's step, if known, and reads kept."""
    enhancement = metadata.get(ENHANCEMENT)
    if not isinstance(enhancement, Mapping):
        return []
    notes, step = [], enhancement.get("step")
    if isinstance(step, int) and step > 0:
        notes = [
            f"{name} was enhanced with the checkpoint of step {step} of {enhancement.get('checkpoint')}."
        ]
    if enhancement.get(KEPT_READS):
        notes.append(
            f"{name} keeps the reads of its input: a reference that has them too gives it higher scores than "
            "one that does not."
        )
    return notes


def leakage_warnings(
    name: str, metadata: Mapping, chromosomes: Sequence[str], lengths: Collection[int] = ()
) -> list[str]:
    """One sentence for each set of evaluated chromosomes that the model behind a map was trained on.

    Args:
      name: of the map.
      metadata: of the map; `{"enhancement": {"trained_on": {assay: [chromosome, …]}, "validated_on":
        {…}, "longest": {assay: [bp, …]}, "simulated": [assay, …], "unknown": [file, …]}}` if it was
        enhanced. `Chr1`, `chr1` and `1` are one chromosome. Simulated assays count for simulated maps only.
      chromosomes: the evaluated ones.
      lengths: of all chromosomes of the map; assays of genomes with others give no warning.
    """
    enhancement = metadata.get(ENHANCEMENT)
    if enhancement is None:
        return []
    model, doubt = f"{name} was enhanced by a model", "its scores may be on training data."
    if not isinstance(enhancement, Mapping) or not isinstance(enhancement.get("trained_on"), Mapping):
        return [f"{model}, but its file does not say on which data it was trained: {doubt}"]
    found = []
    if unknown := _listed(enhancement.get("unknown")):
        files = ", ".join(unknown)
        found.append(f"{model} that started from {files}, whose training data is unknown: {doubt}")
    harmless = [] if metadata.get(SIMULATED) is True else _listed(enhancement.get(SIMULATED))
    for key, verb in {"trained_on": "trained", "validated_on": "validated"}.items():
        used, assays = enhancement.get(key), {}
        for assay, names in used.items() if isinstance(used, Mapping) else ():
            if assay in harmless:
                continue
            longest = enhancement.get("longest")
            longest = longest.get(assay) if isinstance(longest, Mapping) else None
            if isinstance(longest, list) and not may_share_chromosomes(lengths, longest):
                continue
            bare = set(map(bare_name, _listed(names)))
            hit = ", ".join(chrom for chrom in chromosomes if bare_name(chrom) in bare)
            if hit:
                assays.setdefault(hit, []).append(assay)
        for hit, several in assays.items():
            found.append(
                f"{model} that was {verb} on {hit} (assay{'s' * (len(several) > 1)} {', '.join(several)}): "
                "its scores there do not hold for other chromosomes."
            )
    return found


def _listed(value: object) -> list[str]:
    """What a file may have under a key of its metadata, as names."""
    return [value] if isinstance(value, str) else [*map(str, value)] if isinstance(value, Sequence) else []
