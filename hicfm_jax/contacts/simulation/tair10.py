"""Arabidopsis thaliana genome (TAIR10): lengths, loci and measured contact statistics.

Lengths are those of TAIR10. Coordinates of pericentromeres, the knob and the KEE loci are from the
literature (Grob et al. 2014, Molecular Cell 55:678); decay, ratios and noise were measured on the
30 kb Col-0 map of Di Stefano et al. 2021 (Nucleic Acids Research, gkaa1275; 104.1 M contacts, DpnII).
"""

CHROMSIZES = {
    "Chr1": 30_427_671,
    "Chr2": 19_698_289,
    "Chr3": 23_459_830,
    "Chr4": 18_585_056,
    "Chr5": 26_975_502,
}
"""bp."""

PERICENTROMERES = {
    "Chr1": (13_700_000, 15_900_000),
    "Chr2": (2_450_000, 5_500_000),
    "Chr3": (11_300_000, 14_300_000),
    "Chr4": (1_800_000, 5_150_000),
    "Chr5": (11_000_000, 13_300_000),
}
"""bp, half open."""

KNOB = ("Chr4", 1_650_000, 2_300_000)
"""hk4S, heterochromatin on the short arm of Chr4 with contacts like a pericentromere's."""

KEE = (
    ("Chr1", 6_750_000, 7_150_000),
    ("Chr2", 0, 300_000),
    ("Chr3", 1_650_000, 2_100_000),
    ("Chr3", 2_800_000, 3_400_000),
    ("Chr3", 16_350_000, 16_700_000),
    ("Chr3", 22_300_000, 22_900_000),
    ("Chr4", 10_800_000, 11_250_000),
    ("Chr4", 15_300_000, 15_600_000),
    ("Chr5", 4_500_000, 4_950_000),
    ("Chr5", 10_150_000, 10_600_000),
)
"""KNOT engaged elements (IHI loci), enriched in contacts with each other, also between chromosomes."""

TELOMERES = {"Chr1": 1.0, "Chr2": 1.3, "Chr3": 3.3, "Chr4": 2.4, "Chr5": 2.4}
"""Observed/expected between the outer 1 Mb of both ends."""

DECAY = {
    1_000: 187.5,
    10_000: 41.81,
    30_000: 14.98,
    60_000: 5.778,
    150_000: 2.008,
    300_000: 1.0,
    1_000_000: 0.4476,
    3_000_000: 0.2363,
    5_000_000: 0.1367,
    7_000_000: 0.08586,
    10_000_000: 0.04645,
    15_000_000: 0.03776,
    20_000_000: 0.05085,
    25_000_000: 0.08101,
    30_000_000: 0.1067,
}
"""Contact density on chromosome arms by distance in bp, 1 at 300 kb; log-log straight in between.
Integrated over 30 kb bins it gives the balanced map's decay within 2 % (mean), diagonal included."""

NOISE_AT_DEPTH = 0.33 / 104.1e6
"""Overdispersion, (variance / mean - 1) of a count, per contact of the map: 0.33 at 104.1 M. Proportional to
depth, so that a shallow map has the noise of a downsampled deep one. Against the mean of neighboring pixels,
fine structure included, variance / mean is 1.4 to 1.5 at any mean from 1 to 40 counts."""
