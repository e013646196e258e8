"""Warns of maps that were enhanced by a model that had seen what it is evaluated on."""

from collections.abc import Mapping, Sequence

from hicfm_jax.contacts.contact_map import ENHANCEMENT, bare_name

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
