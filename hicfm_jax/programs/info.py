"""Describes a contact map, a folder of tiles, a checkpoint, or weights of the original.

    hicfm info leaf.mcool
    hicfm info leaf.mcool::/resolutions/10000
    hicfm info runs/enhance
    hicfm info any_map

A map: resolutions, contacts and species, in seconds. A checkpoint: what it was trained on.
"""

import pathlib

from absl import flags

from hicfm_jax.base_pairs import BASE_PAIRS
from hicfm_jax.checkpoints import single_file
from hicfm_jax.contacts import open_contacts
from hicfm_jax.contacts.chromsizes import SeveralResolutions
from hicfm_jax.contacts.contact_map import ENHANCEMENT, SIMULATED, listed
from hicfm_jax.contacts.reading_flags import reads_maps
from hicfm_jax.contacts.species import guess_species, longest_chromosomes
from hicfm_jax.progress import doing
from hicfm_jax.tiles.dataset import MANIFEST, read_manifest

_FILE = flags.DEFINE_string("file", None, "Map, folder of tiles, or checkpoint.", required=True)
_RESOLUTION = flags.DEFINE(BASE_PAIRS, "resolution", None, "Bin width in bp; the file's widest if not given.")


@reads_maps
def main() -> None:
    path, packaged = pathlib.Path(_FILE.value), _FILE.value in single_file.packaged_names()
    if not packaged:
        single_file.check_spelling(path)
    if (path / MANIFEST).is_file():
        rows = _tiles(read_manifest(path))
    elif path.is_dir() or "@" in path.name or path.suffix in (".tar", ".pth", ".safetensors") or packaged:
        # Only here: JAX takes seconds to import.
        from hicfm_jax.convert.description import describe_checkpoint

        rows = describe_checkpoint(_FILE.value)
    else:
        rows = _map(_FILE.value)
    width = max(len(name) for name, _ in rows) + 2
    print("\n".join(f"{name:{width}}{value}" for name, value in rows))


def _map(uri: str) -> list[tuple[str, str]]:
    with doing(f"Reading {uri}"):
        try:
            contact_map = open_contacts(uri, _RESOLUTION.value)
            widths = [contact_map.resolution]
        except SeveralResolutions as several:
            widths = several.stored
            contact_map = open_contacts(uri, widths[-1])
        total, lengths = contact_map.total_count, contact_map.chromsizes
        cis = sum(float(contact_map.matrix(chrom).data.sum()) for chrom in lengths)
    genome = sum(lengths.values())
    rows = [
        ("map", uri),
        ("resolutions", ", ".join(f"{width:,}" for width in widths) + " bp"),
        ("chromosomes", f"{len(lengths):,}: {listed(lengths)}; {genome / 1e6:,.1f} Mb"),
        ("species", guess_species(longest_chromosomes(lengths)) or "not known by its chromosome lengths"),
        ("contacts", f"{total:,.0f}, {cis / total if total else 0:.0%} within chromosomes"),
        ("depth", f"{total / genome * 1000:,.1f} contacts per kb of the genome"),
    ]
    if contact_map.matrix(max(lengths, key=lengths.get)).dtype.kind == "f":
        rows.append(("counts", "not whole numbers: balanced values or a prediction, and not raw counts"))
    made = contact_map.metadata.get(ENHANCEMENT)
    if isinstance(made, dict):
        rows.append(("enhanced", f"by {made.get('checkpoint')}, step {made.get('step')}, a prediction"))
    if simulated := contact_map.metadata.get(SIMULATED):
        rows.append((SIMULATED, "its loops" if simulated == "loops" else "yes, not an experiment"))
    return rows


def _tiles(manifest: dict) -> list[tuple[str, str]]:
    height, width = manifest["tile_size"]
    resolution = manifest.get("resolution")
    bins = f"{resolution:,} bp" if resolution else "an unknown resolution"
    rows = [("tiles", f"{height} x {width} bins at {bins}")]
    for split, content in manifest["splits"].items():
        assays = ", ".join(f"{name} ({number:,})" for name, number in content["assays"].items())
        rows.append((split, f"{content['tiles']:,} tiles of {assays}; {listed(content['chromosomes'])}"))
    for assay, source in manifest.get("sources", {}).items():
        guess = guess_species(longest_chromosomes(source.get("chromsizes", {})))
        rows.append((assay, f"{source.get('total_count', 0):,.0f} contacts" + (guess and f", {guess}")))
    if manifest["targets"]:
        rows.append(("targets", ", ".join(manifest["targets"])))
    return rows
