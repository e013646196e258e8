"""How well scores tell two replicates of one map from maps of other origin, by depth.

    python -m benchmarks.reproducibility --maps=NAME=URI,NAME=URI --checkpoint=RUN

Each chromosome is downsampled twice to each fraction. Pairs of one chromosome of one map are replicates.
Pairs of different chromosomes are not, nor is a chromosome in two maps of one genome, such as simulated
assays. Of two chromosomes the part up to the shorter one's end is compared; --block=BINS compares blocks on
the diagonal instead. Chromosomes that the network was trained on are left out. Prints the area under the ROC
curve (AUC) of every score for all pairs and for those at the same place alone, and the time that each takes
for a whole map.
"""

import itertools
import sys
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from absl import flags

from hicfm_jax import cli
from hicfm_jax.contacts import ContactMap, open_contacts, simulate, thin
from hicfm_jax.errors import InputError
from hicfm_jax.evaluate import replicates
from hicfm_jax.infer import Network, load_network
from hicfm_jax.infer.embedding_table import Embeddings
from hicfm_jax.infer.replicate_scores import compare_patches, patch_embeddings
from hicfm_jax.infer.tasks.reproducibility import TASK

FRACTIONS = (1 / 4, 1 / 16, 1 / 64, 1 / 256)
FEWEST_BINS = 112  # of a chromosome


class Block(NamedTuple):
    """A square on the diagonal; `genome`, `chrom` and `first` are equal for one place in two assays."""

    source: str
    genome: str
    chrom: str
    first: int
    bins: int


class Pairs(NamedTuple):
    """Pairs of numbers of blocks, `[N, 2]`; the two of a replicate pair are equal."""

    replicates: np.ndarray
    others: np.ndarray
    same_place: np.ndarray


def find_blocks(maps: Mapping[str, ContactMap], genomes: Mapping[str, str], bins: int) -> list[Block]:
    """Blocks side by side, or whole chromosomes for 0 bins, with contacts in half of their bins."""
    found = []
    for name, each in maps.items():
        for chrom in each.chromsizes:
            size = bins or each.n_bins(chrom)
            for first in range(0, each.n_bins(chrom) - size + 1, size) if size >= FEWEST_BINS else ():
                block = each.matrix(chrom)[first : first + size, first : first + size]
                filled = np.zeros(size, bool)
                filled[np.concatenate(block.nonzero())] = True
                if filled.mean() >= 0.5:
                    found.append(Block(name, genomes[name], chrom, first, size))
    return found


def not_trained_on(blocks: Sequence[Block], network: Network, genomes: Mapping[str, str]) -> list[Block]:
    """The blocks on chromosomes that the network was not trained on, nor on the same ones of its genome."""
    seen = (network.seen or {}).get("train", {})
    used = {(genomes.get(assay, assay), chrom) for assay, names in seen.items() for chrom in names}
    return [block for block in blocks if (block.genome, block.chrom) not in used]


def cut(contact_map: ContactMap, block: Block) -> ContactMap:
    """The block as a map of one chromosome, with the depth of the whole map."""
    part = slice(block.first, block.first + block.bins)
    matrix = contact_map.matrix(block.chrom)[part, part]
    total = contact_map.total_count
    return ContactMap(
        {"block": block.bins * contact_map.resolution},
        contact_map.resolution,
        {("block", "block"): matrix},
        f"{block.source} {block.chrom}",
        total_count=lambda: total,
    )


def choose_pairs(blocks: Sequence[Block], most: int, seed: int = 0) -> Pairs:
    """All replicate pairs, all pairs at the same place, and other pairs, `most` of each drawn at random."""
    rng = np.random.default_rng(seed)
    pairs = list(itertools.combinations(range(len(blocks)), 2))
    same = [(i, j) for i, j in pairs if blocks[i][1:4] == blocks[j][1:4]]
    rest = [(i, j) for i, j in pairs if blocks[i][1:4] != blocks[j][1:4]]

    def some(chosen):
        chosen = np.array(chosen, int).reshape(-1, 2)
        return chosen[np.sort(rng.permutation(len(chosen))[:most])]

    return Pairs(np.stack([np.arange(len(blocks))] * 2, axis=1), some(rest), some(same))


def auc(positive: np.ndarray, negative: np.ndarray) -> float:
    """Probability that a replicate pair has the higher score; ties count half; NaN is lowest."""
    from scipy.stats import mannwhitneyu

    positive, negative = (np.where(np.isfinite(each), each, -np.inf) for each in (positive, negative))
    return float(mannwhitneyu(positive, negative).statistic / (len(positive) * len(negative)))


def score_pairs(
    maps: Mapping[str, ContactMap],
    blocks: Sequence[Block],
    pairs: Pairs,
    fraction: float,
    network: Network | None,
) -> dict[str, list[np.ndarray]]:
    """Scores of all pairs at one depth: method -> those of replicates, others and same place."""
    drawn = [{name: thin(each, fraction, seed) for name, each in maps.items()} for seed in (1, 2)]
    parts = [[cut(side[block.source], block) for block in blocks] for side in drawn]
    found = {}
    for method, score in replicates.PAIR_SCORES.items():
        found[method] = [
            np.array([_score(score, parts[0][i], parts[1][j]) for i, j in chosen]) for chosen in pairs
        ]
    if network is not None:
        embeddings = [[_embed(part, network) for part in side] for side in parts]
        found["network"] = [
            np.array([_network_score(embeddings[0][i], embeddings[1][j]) for i, j in chosen])
            for chosen in pairs
        ]
    return found


def _score(score: replicates.PairScore, one: ContactMap, two: ContactMap) -> float:
    matrices = one.matrix("block"), two.matrix("block")
    size = min(matrix.shape[0] for matrix in matrices)
    return score(*(matrix[:size, :size] for matrix in matrices), one.resolution)


def _embed(part: ContactMap, network: Network) -> Embeddings | None:
    try:
        found = patch_embeddings(part, network)
    except InputError:  # no contacts at this depth
        return None
    # Maps of different bin widths match by bins.
    for name in ("row_start", "row_end", "col_start", "col_end"):
        found.tables["patches"][name] //= part.resolution
    return found


def _network_score(one: Embeddings | None, two: Embeddings | None) -> float:
    if one is None or two is None:
        return float("nan")
    return float(compare_patches([one, two], ["block"])[0][0, 0, 1])


def time_map(contact_map: ContactMap, network: Network | None) -> dict[str, float]:
    """Seconds that each method takes for two replicates of a whole map, without compiling."""
    pair = {"one": thin(contact_map, 0.5, 1), "two": thin(contact_map, 0.5, 2)}
    held = {
        name: ContactMap(
            each.chromsizes,
            each.resolution,
            {(chrom, chrom): each.matrix(chrom) for chrom in each.chromsizes},
            name,
        )
        for name, each in pair.items()
    }
    seconds = {}
    if network is not None:
        patch_embeddings(held["one"], network, [next(iter(held["one"].chromsizes))])
        start = time.monotonic()
        compare_patches(
            [patch_embeddings(each, network) for each in held.values()], list(contact_map.chromsizes)
        )
        seconds["network"] = time.monotonic() - start
    matched, _ = replicates.match_chromosomes(held)
    for method, score in replicates.PAIR_SCORES.items():
        start = time.monotonic()
        replicates.compare_pairs(held, matched, score)
        seconds[method] = time.monotonic() - start
    return seconds


_MAPS = flags.DEFINE_list("maps", [], "Maps of raw counts: NAME=URI,NAME=URI.")
_SIMULATED = flags.DEFINE_integer("simulated", 3, "Simulated assays of one genome, 30 kb.", lower_bound=0)
_SEED = flags.DEFINE_integer("first_seed", 100, "Seed of the first of them; training takes small ones.")
_RELATED = flags.DEFINE_list("related", [], "NAMEs of maps of the simulated genome at 30 kb.")
_CHECKPOINT = flags.DEFINE_string("checkpoint", None, "Checkpoint of task reproducibility.")
_BLOCK = flags.DEFINE_integer("block", 0, "Bins of a block; 0: whole chromosomes.", lower_bound=0)
_PAIRS = flags.DEFINE_integer("pairs", 1000, "Most pairs of other blocks, and of blocks at the same place.")
_FRACTIONS = flags.DEFINE_list("fractions", [str(each) for each in FRACTIONS], "Of the contacts to keep.")


def main() -> None:
    maps = {name: open_contacts(uri) for name, uri in (entry.split("=", 1) for entry in _MAPS.value)}
    genomes = {name: "simulated" if name in _RELATED.value else name for name in maps}
    for seed in range(_SEED.value, _SEED.value + _SIMULATED.value):
        maps[f"seed {seed}"], genomes[f"seed {seed}"] = simulate(contacts=50e6, seed=seed), "simulated"
    network = _CHECKPOINT.value and load_network(_CHECKPOINT.value, None, TASK.head, TASK.default_window)
    blocks = find_blocks(maps, genomes, _BLOCK.value)
    if network:
        blocks = not_trained_on(blocks, network, genomes)
    pairs = choose_pairs(blocks, _PAIRS.value)
    print(
        f"{len(blocks)} chromosomes or blocks: {len(pairs.replicates)} replicate pairs, "
        f"{len(pairs.others)} pairs of other blocks, {len(pairs.same_place)} pairs at the same place."
    )
    print("| fraction | score | AUC, all pairs | AUC, same place |\n| --- | --- | --- | --- |")
    for fraction in map(float, _FRACTIONS.value):
        scores = score_pairs(maps, blocks, pairs, fraction, network or None)
        for method, (same, other, place) in scores.items():
            both = np.concatenate([other, place])
            near = f"{auc(same, place):.4f}" if len(place) else ""
            print(f"| 1/{1 / fraction:.0f} | {method} | {auc(same, both):.4f} | {near} |", flush=True)
    for method, seconds in time_map(next(iter(maps.values())), network or None).items():
        print(f"{method}: {seconds:.1f} s for all chromosomes of {next(iter(maps))}", file=sys.stderr)


if __name__ == "__main__":
    cli.run(main)
