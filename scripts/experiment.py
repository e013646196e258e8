"""Pretrains, fine-tunes, enhances and compares, from one deep map, in one command.

    python scripts/experiment.py --map=leaf.mcool --resolution=30000 --workdir=runs/experiment

Shallow maps are drawn from the deep one; chromosomes that judge are never trained on. Rows of the report:
the input, baselines tuned on the training chromosomes, fine-tuned from scratch and from our pretraining, and
with --weights the original's resolution model. Without --map it simulates one. The same command goes on
after a stop.
"""

import os
import pathlib

from absl import flags

from hicfm_jax import cli
from hicfm_jax.contacts import open_contacts
from hicfm_jax.experiment import stages
from hicfm_jax.experiment.chromosomes import choose_chromosomes
from hicfm_jax.experiment.run import run_stages, table

_MAP = flags.DEFINE_string("map", "", "Deep contact map of raw counts; empty: a simulated one.")
_RESOLUTION = flags.DEFINE_integer("resolution", None, "Bin width in bp; the file's only one if not given.")
_WORKDIR = flags.DEFINE_string("workdir", "runs/experiment", "Folder for everything.")
_VARIANT = flags.DEFINE_enum(
    "variant", "demo", ["demo", "large"], "demo: two CPU cores; large: ViT-L, one GPU."
)
_FRACTIONS = flags.DEFINE_list(
    "fractions", ["16", "64", "256"], "Shallow maps keep 1/16, ... of the contacts."
)
_VAL = flags.DEFINE_list("val_chromosomes", [], "To validate on; one if not given.")
_TEST = flags.DEFINE_list("test_chromosomes", [], "To judge on; the shortest two if not given.")
_SEEDS = flags.DEFINE_integer("seeds", 1, "Fine-tuning runs of each kind.", lower_bound=1)
_WEIGHTS = flags.DEFINE_string("weights", "", "The original's resolution model, .pth.tar, to compare with.")
_TRAINING = flags.DEFINE_multi_string("train_flag", [], "Flag for every training run; may be given again.")


def main() -> None:
    root = pathlib.Path(__file__).resolve().parents[1]
    workdir, deep = os.path.abspath(_WORKDIR.value), os.path.abspath(_MAP.value)
    os.makedirs(workdir, exist_ok=True)
    if not _MAP.value:
        simulate, deep = stages.simulation(workdir)
        run_stages([simulate], root, workdir)
    variant = "demo" if _VARIANT.value == "demo" else ""
    contact_map = open_contacts(deep, _RESOLUTION.value)
    setting = stages.Setting(
        workdir=workdir,
        deep=deep,
        resolution=contact_map.resolution,
        contacts=contact_map.total_count,
        chromosomes=choose_chromosomes(contact_map, stages.SHORTEST, _VAL.value, _TEST.value),
        fractions=tuple(stages.parse_fraction(text) for text in _FRACTIONS.value),
        variant=variant,
        seeds=_SEEDS.value,
        weights=os.path.abspath(_WEIGHTS.value) if _WEIGHTS.value else "",
        options=tuple(_TRAINING.value),
    )
    train, val, test = (", ".join(names) for names in setting.chromosomes)
    print(f"{deep}: {train} train, {val} validates, {test} judge.", flush=True)
    about = {"map": deep, "resolution": setting.resolution, "contacts": setting.contacts}
    about |= {**setting.chromosomes._asdict(), "variant": _VARIANT.value}
    run_stages(stages.stages(setting), root, workdir, about)
    print(table(setting))


if __name__ == "__main__":
    cli.run(main)
