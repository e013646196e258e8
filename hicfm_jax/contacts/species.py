"""Which species a map is of, guessed from the lengths of its chromosomes."""

from collections.abc import Collection, Mapping, Sequence

# Lengths in bp of the three longest chromosomes of an assembly.
_LONGEST = {
    "Arabidopsis thaliana (TAIR10)": (30_427_671, 26_975_502, 23_459_830),
    "Oryza sativa (IRGSP-1.0)": (43_270_923, 36_413_819, 35_937_250),
    "Zea mays (B73 v4)": (307_041_717, 246_994_605, 244_442_276),
    "Zea mays (B73 v5)": (308_452_471, 250_330_460, 243_675_191),
    "Saccharomyces cerevisiae (sacCer3)": (1_531_933, 1_091_291, 1_090_940),
    "Drosophila melanogaster (dm6)": (32_079_331, 28_110_227, 25_286_936),
    "Mus musculus (mm10)": (195_471_971, 182_113_224, 171_031_299),
    "Homo sapiens (hg19)": (249_250_621, 243_199_373, 198_022_430),
    "Homo sapiens (hg38)": (248_956_422, 242_193_529, 198_295_559),
}
_NEAR = 0.02  # relative; other assemblies of a species, or lengths in whole bins


def longest_chromosomes(chromsizes: Mapping[str, int]) -> list[int]:
    """Lengths of the three longest chromosomes in bp, the longest first."""
    return sorted(chromsizes.values(), reverse=True)[:3]


def guess_species(longest: Sequence[int]) -> str:
    """`Arabidopsis thaliana (TAIR10)`, `perhaps ...` where lengths are near, or "".

    Takes the result of `longest_chromosomes`.
    """
    off = {name: _difference(longest, lengths) for name, lengths in _LONGEST.items()}
    nearest = min(off, key=off.get)
    if off[nearest] > _NEAR:
        return ""
    return f"perhaps {nearest}" if off[nearest] else nearest


def same_species(longest: Sequence[int], other: Sequence[int]) -> bool:
    """Whether the longest chromosomes of two maps are about as long."""
    return _difference(longest, other) <= _NEAR


def may_share_chromosomes(lengths: Collection[int], longest: Sequence[int]) -> bool:
    """Whether chromosomes of these `longest` may be of the genome with these lengths, or of a part of it."""
    near = (any(abs(one / other - 1) <= _NEAR for other in lengths) for one in longest)
    return len(lengths) < 3 or all(near)


def _difference(longest: Sequence[int], other: Sequence[int]) -> float:
    """The largest relative difference of lengths; 1 for genomes of fewer chromosomes."""
    if len(longest) != len(other):
        return 1.0
    return max((abs(one / two - 1) for one, two in zip(longest, other, strict=True)), default=1.0)
