r"""Compares contact maps with a deeper one, or replicates with each other, and writes a report.

python scripts/evaluate.py --reference=deep.mcool --resolution=10000 --chromosomes=Chr4 --output=evaluation \
    --maps=input=shallow.mcool,enhanced=enhanced.mcool --baselines_of=input --tune_chromosomes=Chr1,Chr3
python scripts/evaluate.py --reproducibility=one.mcool,two.mcool --resolution=10000 --output=replicates \
    --checkpoint=runs/reproducibility
"""

import sys

from absl import flags

from hicfm_jax import cli
from hicfm_jax.errors import InputError
from hicfm_jax.evaluate import compare, write_report
from hicfm_jax.evaluate.opening import named_maps
from hicfm_jax.evaluate.report import check_folder, replicate_report
from hicfm_jax.evaluate.report.tables import summary
from hicfm_jax.evaluate.scores import CRITERIA
from hicfm_jax.evaluate.scores.correlation import MAX_DIAGONAL
from hicfm_jax.progress import Progress

_REFERENCE = flags.DEFINE_string("reference", None, "Deep map of raw counts.")
_MAPS = flags.DEFINE_list("maps", None, "Maps to compare with it: NAME=URI,NAME=URI.")
_REPRODUCIBILITY = flags.DEFINE_list(
    "reproducibility", None, "Maps to compare with each other: URI,URI or NAME=URI,NAME=URI."
)
_CHECKPOINT = flags.DEFINE_string(
    "checkpoint", None, "With --reproducibility: of task reproducibility; without, SCC and GenomeDISCO alone."
)
_CHROMOSOMES = flags.DEFINE_list("chromosomes", None, "To evaluate; default: all with contacts in every map.")
_OUTPUT = flags.DEFINE_string("output", None, "Folder of the report.", required=True)
_RESOLUTION = flags.DEFINE_integer("resolution", None, "Bin width in bp; default: the file's only one.")
_BASELINES_OF = flags.DEFINE_string(
    "baselines_of", None, "NAME of the shallow map to make baselines from, by rescaling and four filters."
)
_TUNE = flags.DEFINE_list(
    "tune_chromosomes", None, "Chromosomes to choose the filters' widths on; default: all not evaluated."
)
_TUNE_BY = flags.DEFINE_enum("tune_by", CRITERIA[0], CRITERIA, "Score to optimize there.")
_MAX_DIAGONAL = flags.DEFINE_integer(
    "max_diagonal", MAX_DIAGONAL, "Farthest diagonal of the scores by distance, in bins."
)
_MERGE = flags.DEFINE_enum(
    "merge",
    "average",
    ["average", "original"],
    "With --reproducibility: original takes the original's windows.",
)


def _compare_replicates() -> None:
    # Only here: networks take seconds to import.
    from hicfm_jax.infer.replicate_scores import compare_replicates

    folder = check_folder(_OUTPUT.value)
    found = compare_replicates(
        named_maps(_REPRODUCIBILITY.value, "reproducibility", unnamed=True),
        _CHECKPOINT.value,
        _CHROMOSOMES.value,
        resolution=_RESOLUTION.value,
        merge=_MERGE.value,
        progress=Progress(),
    )
    files = replicate_report.write_replicates(found, folder)
    print(replicate_report.summary(found), *found.notes, sep="\n")
    print("Wrote " + ", ".join(map(str, files)) + ".")


def main() -> None:
    if _REPRODUCIBILITY.value:
        return _compare_replicates()
    for flag in (_REFERENCE, _MAPS):
        if not flag.value:
            raise InputError(f"Flag --{flag.name} must have a value: give it, or --reproducibility.")
    folder = check_folder(_OUTPUT.value)
    comparison = compare(
        named_maps(_MAPS.value, "maps"),
        _REFERENCE.value,
        _CHROMOSOMES.value,
        resolution=_RESOLUTION.value,
        max_diagonal=_MAX_DIAGONAL.value,
        baselines_of=_BASELINES_OF.value,
        tune_chromosomes=_TUNE.value,
        tune_by=_TUNE_BY.value,
    )
    files = write_report(comparison, folder)
    print(summary(comparison))
    for note in comparison.notes:
        print(note)
    print("Wrote " + ", ".join(map(str, files)) + ".")
    for warning in comparison.warnings:
        print(f"WARNING: {warning}", file=sys.stderr)


if __name__ == "__main__":
    cli.run(main)
