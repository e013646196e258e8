"""Pretrains, fine-tunes, enhances and compares, from one deep map, in one command.

    hicfm experiment leaf.mcool runs/experiment --resolution=30000
    hicfm experiment root.mcool runs/enhance --resolution=30000 --own_reads --tune=1
    hicfm experiment leaf.mcool runs/tracks --resolution=10000 --tracks=table.tsv

Shallow maps are downsampled from the deep one. Test chromosomes are never used for training. Rows of the
report: the input, baselines tuned on the training chromosomes, networks fine-tuned from scratch and from our
pretraining, and with --weights the original's resolution model. Without a map it simulates one. The same
command continues after an interruption. It takes about 60 minutes on two CPU cores, and 2.5 GB of memory.

With --tracks=TABLE.tsv it predicts tracks instead, from the map and from shallow ones. With --own_reads it
enhances the map itself, and judges it by reads set aside: enhanced.mcool, certificate.json and report.html.
"""

import os

from absl import flags

from hicfm_jax.base_pairs import BASE_PAIRS
from hicfm_jax.cli import checkout
from hicfm_jax.contacts import open_contacts
from hicfm_jax.experiment import own_reads, stages, track_stages
from hicfm_jax.experiment.run import check_flags, run_stages, table
from hicfm_jax.train.initialize import check_exists

_MAP = flags.DEFINE_string("map", "", "Deep contact map of raw counts; default: simulate one.")
_RESOLUTION = flags.DEFINE(BASE_PAIRS, "resolution", None, "Bin width in bp; default: the file's only one.")
_WORKDIR = flags.DEFINE_string("workdir", "runs/experiment", "Folder of all results.")
_VARIANT = flags.DEFINE_enum(
    "variant", "demo", ["demo", "large"], "demo: for two CPU cores; large: ViT-L, for one GPU."
)
_FRACTIONS = flags.DEFINE_list(
    "fractions", ["16", "64", "256"], "Shallow maps keep 1/16, 1/64, ... of the contacts."
)
_VAL = flags.DEFINE_list("val_chromosomes", [], "For validation; default: one.")
_TEST = flags.DEFINE_list("test_chromosomes", [], "For testing; default: the shortest two.")
_SEEDS = flags.DEFINE_integer("seeds", 1, "Number of fine-tuning runs of each kind.", lower_bound=1)
_WEIGHTS = flags.DEFINE_string("weights", "", "Resolution model of the original, .pth.tar, to compare with.")
_TRACKS = flags.DEFINE_string(
    "tracks", "", "Predict these tracks instead: TABLE.tsv or TABLE.tsv:COLUMN,COLUMN of the map's assembly."
)
_CHROMSIZES = flags.DEFINE_string(
    "chromsizes", None, "Names and lengths of the chromosomes, if the map is a list of contacts without them."
)
_OWN = flags.DEFINE_bool("own_reads", False, "Enhance the map itself, and judge it by reads set aside.")
_TUNE = flags.DEFINE_enum(
    "tune",
    "",
    own_reads.TUNES,
    "With --own_reads: 1 adapts the network of the package to the map's reads first, scratch trains one from "
    "random parameters on nothing else; default: no training.",
)
_TARGET = flags.DEFINE_float("target_contacts", None, "With --own_reads: contacts of the enhanced map.")
_HOLDOUT = flags.DEFINE_float("holdout", 0.1, "With --own_reads: fraction of the reads for the certificate.")
_TRAINING = flags.DEFINE_multi_string("train_flag", [], "Flag for every training run; repeatable.")


def main() -> None:
    root = checkout() or os.getcwd()
    workdir, deep = os.path.abspath(_WORKDIR.value), os.path.abspath(_MAP.value)
    check_exists(_WEIGHTS.value)
    if not _MAP.value:
        simulation = stages.simulation(workdir)
        run_stages([simulation], root, workdir)
        deep = simulation.output
    elif _CHROMSIZES.value:
        binning = stages.binning(workdir, deep, _RESOLUTION.value, os.path.abspath(_CHROMSIZES.value))
        run_stages([binning], root, workdir)
        deep = binning.output
    variant = "demo" if _VARIANT.value == "demo" else ""
    contact_map = open_contacts(deep, _RESOLUTION.value)
    fractions = tuple(stages.parse_fraction(text) for text in _FRACTIONS.value)
    if _OWN.value:
        own_reads.check_input(contact_map, _HOLDOUT.value, _TUNE.value)
    shortest = stages.SHORTEST
    if _TRACKS.value:
        fractions = (1.0, *fractions) if _FRACTIONS.present else track_stages.DEPTHS
        shortest = track_stages.SHORTEST
    setting = stages.Setting(
        workdir=workdir,
        deep=deep,
        resolution=contact_map.resolution,
        contacts=contact_map.total_count,
        chromosomes=stages.Chromosomes(list(contact_map.chromsizes), [], [])
        if _OWN.value
        else stages.choose_chromosomes(contact_map, shortest, _VAL.value, _TEST.value),
        fractions=fractions,
        variant=variant,
        seeds=_SEEDS.value,
        weights=os.path.abspath(_WEIGHTS.value) if _WEIGHTS.value else "",
        options=tuple(_TRAINING.value),
    )
    train, val, test = (", ".join(names) or "none" for names in setting.chromosomes)
    if not _OWN.value:
        print(f"{deep}: training on {train}, validation on {val}, testing on {test}.", flush=True)
    about = {"map": deep, "resolution": setting.resolution, "contacts": setting.contacts}
    about |= {**setting.chromosomes._asdict(), "variant": _VARIANT.value}
    if _OWN.value:
        chosen = own_reads.own_stages(setting, _TARGET.value, _HOLDOUT.value, _TUNE.value)
        about |= {"own_reads": True, "tune": _TUNE.value or "none", "holdout": _HOLDOUT.value}
    elif _TRACKS.value:
        tracks = os.path.abspath(_TRACKS.value)
        chosen, about = track_stages.track_stages(setting, tracks), about | {"tracks": tracks}
    else:
        chosen = stages.stages(setting)
    if _TRAINING.value:
        check_flags([stage for stage in chosen if stage.resumes], root)
    run_stages(chosen, root, workdir, about)
    if not _OWN.value:
        print(track_stages.track_table(setting) if _TRACKS.value else table(setting))
