"""Enhances thinned maps of several species, and compares with filters tuned on the same maps.

    python scripts/benchmark_species.py --checkpoint=any_map --map=fly=fly.mcool@100000 \
        --map=yeast=yeast.cool@2000 --fractions=16,64,256

Scores are r / log r / MSE on the longest chromosomes of each map; the filters are tuned on its others. With
--halves the reference is the other half of the reads, which shares none with the input.
"""

import pathlib
import sys

from absl import flags

from hicfm_jax import cli

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))  # benchmarks/ is not installed

_CHECKPOINT = flags.DEFINE_string("checkpoint", "any_map", "Network of task resolution.")
_MAPS = flags.DEFINE_multi_string("map", [], "NAME=URI@BP; repeatable.")
_FRACTIONS = flags.DEFINE_list("fractions", ["16"], "Inputs keep 1/16, ... of the contacts.")
_JUDGED = flags.DEFINE_integer("judged", 2, "Number of chromosomes that are scored.", lower_bound=1)
_KEEP = flags.DEFINE_bool("keep_reads", False, "As hicfm enhance --keep_reads.")
_CHROMOSOMES = flags.DEFINE_list("chromosomes", None, "Scored ones of each map, in place of the longest.")
_HALVES = flags.DEFINE_bool("halves", False, "Inputs are of one half of the contacts, the other judges.")


def main() -> None:
    from benchmarks import species
    from hicfm_jax.infer import load_network

    network, rows = load_network(_CHECKPOINT.value), []
    for text in _MAPS.value:
        name, deep = species.open_map(text)
        fractions = [1 / float(each) for each in _FRACTIONS.value]
        judged = _CHROMOSOMES.value or species.longest(deep, _JUDGED.value)
        rows += species.measure(name, deep, network, fractions, judged, _HALVES.value, _KEEP.value)
        print(species.table(rows[-len(fractions) :]), flush=True)
    print("\n" + species.table(rows))


if __name__ == "__main__":
    cli.run(main)
