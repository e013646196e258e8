r"""Compares contact maps with a deeper one and writes a report.

python scripts/evaluate.py --reference=deep.mcool --resolution=10000 --chromosomes=Chr4 --output=evaluation \
    --maps=input=shallow.mcool,enhanced=enhanced.mcool --baselines_of=input --tune_chromosomes=Chr1,Chr3

With --loops, it compares lists of loops:

python scripts/evaluate.py --reference=deep_loops.bedpe --loops=model=loops.bedpe --maps=input=shallow.mcool \
    --resolution=10000 --output=evaluation
"""

import sys

from absl import flags

from hicfm_jax import cli
from hicfm_jax.errors import InputError
from hicfm_jax.evaluate import compare, evaluate_loops, write_report
from hicfm_jax.evaluate.report import check_folder
from hicfm_jax.evaluate.report.tables import summary
from hicfm_jax.evaluate.scores import CRITERIA
from hicfm_jax.evaluate.scores.correlation import MAX_DIAGONAL

_REFERENCE = flags.DEFINE_string("reference", None, "Deep map of raw counts.", required=True)
_MAPS = flags.DEFINE_list(
    "maps", [], "Maps to compare with it, or with --loops to call loops on: NAME=URI,..."
)
_LOOPS = flags.DEFINE_list(
    "loops", None, "Lists of loops to compare: NAME=FILE.bedpe,... The reference is a list or a deep map."
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


def _named(flag: flags.FlagHolder) -> dict[str, str]:
    named = {}
    for entry in flag.value:
        name, equals, uri = (part.strip() for part in entry.partition("="))
        if not (name and equals and uri):
            raise InputError(f"--{flag.name} has the entry {entry!r}, expected NAME=URI: name each one.")
        if name in named:
            raise InputError(f"--{flag.name} has {name!r} twice: give each one its own name.")
        named[name] = uri
    return named


def main() -> None:
    folder = check_folder(_OUTPUT.value)
    if _LOOPS.value:
        choices = {"chromosomes": _CHROMOSOMES.value, "resolution": _RESOLUTION.value}
        print(evaluate_loops(_named(_LOOPS), _REFERENCE.value, folder, maps=_named(_MAPS), **choices))
        return
    comparison = compare(
        _named(_MAPS),
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
