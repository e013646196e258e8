"""Compares contact maps with a deeper one and writes a report.

python scripts/evaluate.py --reference=deep.mcool --resolution=10000 --chromosomes=Chr4 --output=evaluation \
    --maps=input=shallow.mcool,enhanced=enhanced.mcool --baselines_of=input --tune_chromosomes=Chr1,Chr3
"""

import sys

from absl import flags

from hicfm_jax import cli
from hicfm_jax.errors import InputError
from hicfm_jax.evaluate import compare, write_report
from hicfm_jax.evaluate.report import check_folder
from hicfm_jax.evaluate.report.tables import summary
from hicfm_jax.evaluate.scores import CRITERIA
from hicfm_jax.evaluate.scores.correlation import MAX_DIAGONAL

_REFERENCE = flags.DEFINE_string("reference", None, "Deep map of raw counts.", required=True)
_MAPS = flags.DEFINE_list("maps", None, "Maps to compare with it: NAME=URI,NAME=URI.", required=True)
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


def _named_maps() -> dict[str, str]:
    maps = {}
    for entry in _MAPS.value:
        name, equals, uri = (part.strip() for part in entry.partition("="))
        if not (name and equals and uri):
            raise InputError(f"--maps has the entry {entry!r}, expected NAME=URI: name each map.")
        if name in maps:
            raise InputError(f"--maps has {name!r} twice: give each map its own name.")
        maps[name] = uri
    return maps


def main() -> None:
    folder = check_folder(_OUTPUT.value)
    comparison = compare(
        _named_maps(),
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
