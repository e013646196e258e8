"""What a checkpoint is, and what it was trained on, in a few lines."""

import math
from collections.abc import Iterable

from hicfm_jax.checkpoints import single_file
from hicfm_jax.checkpoints.folder import chosen_step, read_meta
from hicfm_jax.checkpoints.parameters import parameter_shapes
from hicfm_jax.contacts.contact_map import SIMULATED, listed
from hicfm_jax.contacts.species import guess_species
from hicfm_jax.convert.files import is_original_file
from hicfm_jax.convert.load import load_weights
from hicfm_jax.errors import InputError
from hicfm_jax.models.presets import head_options
from hicfm_jax.progress import doing


def describe_checkpoint(path: str) -> list[tuple[str, str]]:
    """Titles and facts of a checkpoint of this project or of a file of the original.

    Raises:
      InputError: there is none, or it does not say what it is.
    """
    if is_original_file(path):
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
    name, size = config["model"]["name"], tuple(config["model"]["input_size"])
    shapes = parameter_shapes(name, size, config["task"], **head_options(config["model"]))
    number = sum(map(math.prod, shapes.values()))
    rows = [
        ("checkpoint", f"{path}, step {step} ({reason})"),
        ("task", config["task"]),
        ("network", f"{name}, windows of {' x '.join(map(str, size))} bins, {number:,} parameters"),
    ]
    if path in single_file.packaged_names():
        rows.append(("card", f"{single_file.PACKAGED / path}.md, with the licenses of its training data"))
    for split, verb in (("train", "trained on"), ("val", "validated on")):
        alike: dict[tuple[str, str], list[str]] = {}  # species and chromosomes -> assays
        for assay, names in meta.get("seen", {}).get(split, {}).items():
            facts = (meta.get("seen_maps") or meta.get("maps", {})).get(assay, {})
            species = guess_species(facts.get("longest", []))
            species += ", simulated" * bool(facts.get(SIMULATED))
            alike.setdefault((species, listed(names)), []).append(assay)
        for (species, names), assays in alike.items():
            rows.append((verb, f"{listed(assays)}: {names}" + (species and f"; {species}")))
    if maps := meta.get("maps"):
        rows.append(("bins", f"{_range(facts['resolution'] for facts in maps.values())} bp"))
    if totals := meta.get("total_counts"):
        rows.append(("depth", f"{_range(totals.values())} contacts"))
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


def _range(numbers: Iterable[float]) -> str:
    numbers = list(numbers)
    low, high = min(numbers), max(numbers)
    return f"{low:,.0f}" if low == high else f"{low:,.0f} to {high:,.0f}"
