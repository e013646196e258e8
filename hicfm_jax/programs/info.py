"""Describes a contact map, a folder of tiles, a checkpoint, or weights of the original.

    hicfm info leaf.mcool
    hicfm info leaf.mcool::/resolutions/10000
    hicfm info runs/enhance
    hicfm info any_map

A map: resolutions, contacts and species, in seconds. A checkpoint: what it was trained on.
"""

import pathlib

from absl import flags

from hicfm_jax.checkpoints import single_file
from hicfm_jax.contacts import ContactMap, open_contacts
from hicfm_jax.contacts.chromsizes import SeveralResolutions
from hicfm_jax.contacts.contact_map import ENHANCEMENT
from hicfm_jax.contacts.reading import reads_maps
from hicfm_jax.contacts.species import guess_species, longest_chromosomes
from hicfm_jax.errors import InputError
from hicfm_jax.progress import doing
from hicfm_jax.tiles.dataset import MANIFEST, read_manifest

_FILE = flags.DEFINE_string("file", None, "Map, folder of tiles, or checkpoint.", required=True)
_RESOLUTION = flags.DEFINE_integer(
    "resolution", None, "Bin width in bp; the file's widest if not given.", lower_bound=1
)
_LISTED = 12  # names in a list


@reads_maps
def main() -> None:
    path, packaged = pathlib.Path(_FILE.value), _FILE.value in single_file.packaged_names()
    if (path / MANIFEST).is_file():
        rows = _tiles(read_manifest(path))
    elif path.is_dir() or "@" in path.name or path.suffix in (".tar", ".pth", ".safetensors") or packaged:
        rows = _checkpoint(_FILE.value)
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
        ("chromosomes", f"{len(lengths):,}: {_names(lengths)}; {genome / 1e6:,.1f} Mb"),
        ("species", guess_species(longest_chromosomes(lengths)) or "not known by its chromosome lengths"),
        ("contacts", f"{total:,.0f}, {cis / total if total else 0:.0%} within chromosomes"),
        ("depth", f"{total / genome * 1000:,.1f} contacts per kb of the genome"),
    ]
    if balanced := _balanced(contact_map):
        rows.append(("counts", balanced))
    made = contact_map.metadata.get(ENHANCEMENT)
    if isinstance(made, dict):
        rows.append(("enhanced", f"by {made.get('checkpoint')}, step {made.get('step')}, a prediction"))
    if contact_map.metadata.get("simulated"):
        rows.append(("simulated", "yes, not an experiment"))
    return rows


def _balanced(contact_map: ContactMap) -> str:
    longest = max(contact_map.chromsizes, key=contact_map.chromsizes.get)
    if contact_map.matrix(longest).dtype.kind == "f":
        return "not whole numbers: balanced values or a prediction, and not raw counts"
    return ""


def _tiles(manifest: dict) -> list[tuple[str, str]]:
    height, width = manifest["tile_size"]
    rows = [("tiles", f"{height} x {width} bins at {_bp(manifest.get('resolution'))}")]
    for split, content in manifest["splits"].items():
        assays = ", ".join(f"{name} ({number:,})" for name, number in content["assays"].items())
        rows.append((split, f"{content['tiles']:,} tiles of {assays}; {_names(content['chromosomes'])}"))
    for assay, source in manifest.get("sources", {}).items():
        guess = guess_species(longest_chromosomes(source.get("chromsizes", {})))
        rows.append((assay, f"{source.get('total_count', 0):,.0f} contacts" + (guess and f", {guess}")))
    if manifest["targets"]:
        rows.append(("targets", ", ".join(manifest["targets"])))
    return rows


def _checkpoint(path: str) -> list[tuple[str, str]]:
    # Only here: JAX takes seconds to import.
    from hicfm_jax.checkpoints.folder import chosen_step, read_meta
    from hicfm_jax.convert.files import is_original_file

    if is_original_file(path):
        from hicfm_jax.convert import load_weights

        with doing(f"Reading {path}"):
            report = load_weights(path).report
        window = " x ".join(map(str, report.input_size))
        return [
            ("weights", f"{path}, a file of the original"),
            ("network", f"{report.model}, windows of {window} bins"),
            ("fits", " or ".join(report.fits)),
        ]
    step, reason = chosen_step(path)
    meta = read_meta(path)
    if "config" not in meta:
        raise InputError(f"{path} has no checkpoint with a config: give a workdir or one of its checkpoints.")
    config = meta["config"]
    window = " x ".join(map(str, config["model"]["input_size"]))
    rows = [
        ("checkpoint", f"{path}, step {step} ({reason})"),
        ("task", config["task"]),
        ("network", f"{config['model']['name']}, windows of {window} bins"),
    ]
    for split, verb in (("train", "trained on"), ("val", "validated on")):
        for assay, names in meta.get("seen", {}).get(split, {}).items():
            rows.append((verb, f"{assay}: {_names(names)}"))
    for assay, facts in meta.get("maps", {}).items():
        species = guess_species(facts["longest"]) or "species not known by its chromosome lengths"
        rows.append(("map", f"{assay}: {species}, {facts['resolution']:,} bp"))
    for assay, total in meta.get("total_counts", {}).items():
        rows.append(("depth", f"{assay}: {total:,.0f} contacts"))
    data = config.get("data", {})
    if thin := data.get("thin") or data.get("split"):
        rows.append(("inputs", f"{min(thin):.2%} to {max(thin):.2%} of these contacts"))
    if meta.get("unknown"):
        rows.append(("started from", f"{', '.join(meta['unknown'])}, whose training data are unknown"))
    if not meta.get("seen", {}).get("train") and not meta.get("unknown"):
        rows.append(("trained on", "simulated maps, or not known"))
    if meta.get("untrained"):
        rows.append(("untrained", f"{', '.join(meta['untrained'])}: random, fine-tune it first"))
    return rows


def _bp(resolution: int | None) -> str:
    return f"{resolution:,} bp" if resolution else "an unknown resolution"


def _names(names) -> str:
    names = list(names)
    more = f" and {len(names) - _LISTED:,} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more
