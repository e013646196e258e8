r"""Compares contact maps with a deeper one, or replicates with each other, and writes a report.

    hicfm evaluate deep.mcool --reference=leaf.mcool --output=evaluation
    hicfm evaluate input=shallow.mcool enhanced=enhanced.mcool --reference=deep.mcool --resolution=10000 \
        --chromosomes=Chr4 --baselines_of=input --tune_chromosomes=Chr1,Chr3 --output=evaluation

Or predicted tracks with measured ones and with baselines from the map; lists of loops; maps with each other:

    hicfm evaluate --tracks=mine=FOLDER --reference=measured.tsv --input=leaf.mcool --resolution=10000 \
        --chromosomes=Chr2,Chr4 --output=evaluation
    hicfm evaluate --loops=model=loops.bedpe --reference=deep_loops.bedpe input=shallow.mcool \
        --resolution=10000 --output=evaluation
    hicfm evaluate --reproducibility=one.mcool,two.mcool --resolution=10000 --output=replicates \
        --checkpoint=runs/reproducibility

A chromosome of 600 bins takes about half a minute with baselines.
"""

import importlib.util
import sys

from absl import flags

from hicfm_jax.base_pairs import BASE_PAIRS
from hicfm_jax.contacts.reading_flags import reads_maps
from hicfm_jax.errors import InputError
from hicfm_jax.evaluate import compare, evaluate_loops, write_report
from hicfm_jax.evaluate.compare_tracks import evaluate_track_files
from hicfm_jax.evaluate.opening import named_uris
from hicfm_jax.evaluate.report import check_folder, replicate_report
from hicfm_jax.evaluate.report.tables import summary
from hicfm_jax.evaluate.scores import CRITERIA
from hicfm_jax.evaluate.scores.correlation import MAX_DIAGONAL
from hicfm_jax.progress import Progress

_REFERENCE = flags.DEFINE_string("reference", None, "Deep map of raw counts, or measured tracks or loops.")
_MAPS = flags.DEFINE_list("maps", None, "Maps to compare, or with --loops to call loops on: [NAME=]URI,...")
_LOOPS = flags.DEFINE_list("loops", None, "Lists of loops instead of maps: NAME=FILE.bedpe,...")
_TRACKS = flags.DEFINE_list("tracks", None, "Predicted tracks instead of maps: NAME=FOLDER_OR_FILE,...")
_INPUT = flags.DEFINE_string("input", None, "With --tracks: the map from which they were predicted.")
_GENES = flags.DEFINE_string("gene_track", None, "With --tracks: orients eigenvectors; default: first gene*.")
_REPRODUCIBILITY = flags.DEFINE_list("reproducibility", None, "Maps to compare with each other: URI,URI.")
_CHECKPOINT = flags.DEFINE_string("checkpoint", None, "With --reproducibility; without, no embeddings.")
_CHROMOSOMES = flags.DEFINE_list("chromosomes", None, "To evaluate; default: all with contacts in every map.")
_REGION = flags.DEFINE_string("region", None, "Part of a chromosome to evaluate maps on: Chr4:1M-3M.")
_OUTPUT = flags.DEFINE_string("output", None, "Folder of the report.", required=True)
_RESOLUTION = flags.DEFINE(BASE_PAIRS, "resolution", None, "Bin width in bp; default: the file's only one.")
_BASELINES_OF = flags.DEFINE_string("baselines_of", None, "NAME of the shallow map to make baselines from.")
_TUNE = flags.DEFINE_list("tune_chromosomes", None, "To fit the baselines on; default: all not evaluated.")
_TUNE_BY = flags.DEFINE_enum("tune_by", CRITERIA[0], CRITERIA, "Score to optimize there.")
_MAX_DIAGONAL = flags.DEFINE_integer("max_diagonal", MAX_DIAGONAL, "Farthest diagonal of scores, in bins.")
_TRANS = flags.DEFINE_bool("trans", False, "Also score contacts between the evaluated chromosomes.")
_MERGE = flags.DEFINE_enum("merge", "average", ["average", "original"], "With --reproducibility: windows.")

GROUPS = {
    "Input and output": ("maps", "reference", "resolution", "output", "chromosomes", "region"),
    "Baselines and scores": ("baselines_of", "tune_chromosomes", "tune_by", "max_diagonal", "trans"),
    "Tracks": ("tracks", "input", "gene_track"),
    "Loops": ("loops",),
    "Replicates": ("reproducibility", "checkpoint", "merge"),
}


def _replicates() -> str:
    # Only here: networks take seconds to import.
    from hicfm_jax.infer.replicate_scores import compare_replicates

    maps, folder = named_uris(_REPRODUCIBILITY.value, "--reproducibility"), check_folder(_OUTPUT.value)
    choices = {"resolution": _RESOLUTION.value, "merge": _MERGE.value, "progress": Progress()}
    found = compare_replicates(maps, _CHECKPOINT.value, _CHROMOSOMES.value, **choices)
    return replicate_report.write_replicates(found, folder, maps)


def _tracks() -> str:
    if not _INPUT.value:
        raise InputError("--tracks needs --input, the map from which they were predicted: give it.")
    files = named_uris(_TRACKS.value, "--tracks"), _REFERENCE.value, _INPUT.value
    choices = {"fit_on": _TUNE.value, "gene_track": _GENES.value}
    return evaluate_track_files(*files, _RESOLUTION.value, _OUTPUT.value, _CHROMOSOMES.value, **choices)


def _maps(maps: dict[str, str]) -> str:
    folder, choices = check_folder(_OUTPUT.value), {"resolution": _RESOLUTION.value}
    tuning = {
        flag.name: flag.value for flag in (_BASELINES_OF, _TUNE, _TUNE_BY, _MAX_DIAGONAL, _TRANS, _REGION)
    }
    comparison = compare(maps, _REFERENCE.value, _CHROMOSOMES.value, **choices, **tuning)
    files = write_report(comparison, folder)
    for warning in comparison.warnings:
        print(f"WARNING: {warning}", file=sys.stderr)
    return "\n".join([summary(comparison), *comparison.notes, f"Wrote {', '.join(map(str, files))}."])


@reads_maps
def main() -> None:
    for library in ("cooltools", "matplotlib", "skimage"):  # not first after minutes of scoring
        if importlib.util.find_spec(library) is None:
            raise InputError(f"Reports need {library}: install it with pip install 'hicfm_jax[evaluate]'.")
    if not (_REFERENCE.value or _REPRODUCIBILITY.value):
        raise InputError("--reference is not given: give it, or --reproducibility.")
    maps = named_uris(_MAPS.value or [], "--maps")
    if _REGION.value and (_REPRODUCIBILITY.value or _TRACKS.value or _LOOPS.value):
        raise InputError("--region is for the comparison of --maps: leave it out, or choose --chromosomes.")
    if _REPRODUCIBILITY.value:
        print(_replicates())
    elif bool(_TRACKS.value) == bool(maps or _LOOPS.value):
        raise InputError("Give --maps, --tracks or --loops, to be compared with the reference.")
    elif _TRACKS.value:
        print(_tracks())
    elif _LOOPS.value:
        loops, folder = named_uris(_LOOPS.value, "--loops"), check_folder(_OUTPUT.value)
        choices = {"chromosomes": _CHROMOSOMES.value, "resolution": _RESOLUTION.value}
        print(evaluate_loops(loops, _REFERENCE.value, folder, maps=maps, **choices))
    else:
        print(_maps(maps))
