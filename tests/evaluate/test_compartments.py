"""Compartments: eigenvectors with the sign of gene density, as bigWig."""

import gzip

import numpy as np
import pytest
import scipy.stats

from hicfm_jax.contacts import open_contacts, simulate, write_contacts
from hicfm_jax.contacts.annotations.tracks import read_tracks
from hicfm_jax.errors import InputError
from hicfm_jax.evaluate.compartment_tracks import read_gene_density
from tests.run_script import run_hicfm

RESOLUTION = 200_000


@pytest.fixture(scope="module")
def leaf(tmp_path_factory):
    path = tmp_path_factory.mktemp("maps") / "leaf.cool"
    write_contacts(simulate(contacts=1e6, resolution=RESOLUTION, seed=2), path)
    return path


def genes(path, contact_map, on_arms=True):
    """A BED file with genes near the ends of each chromosome, or near its middle, but not on the last."""
    lines = []
    for chrom, length in list(contact_map.chromsizes.items())[:-1]:
        for start in range(0, length - 2_000, 20_000):
            if (abs(start - length / 2) > length / 4) == on_arms:
                lines.append(f"{chrom.lower()}\t{start}\t{start + 2_000}\n")
    path.write_text("".join(lines))
    return path


@pytest.mark.needs("pybigtools")
def test_eigenvectors_rise_with_gene_density(leaf, tmp_path):
    contact_map = open_contacts(leaf)
    last = list(contact_map.chromsizes)[-1]
    found = {}
    for name, on_arms in (("arms", True), ("middle", False)):
        bed = genes(tmp_path / f"{name}.bed", contact_map, on_arms)
        done = run_hicfm("compartments", leaf, tmp_path / name, f"--genes={bed}")
        assert done.returncode == 0, done.stderr
        assert f"{last} is left out" in done.stdout
        density = read_gene_density(bed, contact_map)
        for number in (1, 2, 3):
            track = read_tracks(tmp_path / name / f"E{number}.bw", contact_map)[f"E{number}"]
            found[name, number] = track["Chr1"]
            known = np.isfinite(track["Chr1"])
            assert known.mean() > 0.8
            assert scipy.stats.spearmanr(track["Chr1"][known], density["Chr1"][known])[0] >= 0
            assert np.isnan(track[last]).all()
    np.testing.assert_allclose(found["arms", 1], -found["middle", 1], atol=1e-6)


def test_genes_are_counted_in_the_bin_of_their_middle(leaf, tmp_path):
    contact_map = open_contacts(leaf)
    feature = "{}\tTAIR\t{}\t{}\t{}\t.\t+\t.\tID=x#1\n"
    lines = [
        ("1", "gene", 1, 1_000),
        ("1", "mRNA", 1, 1_000),
        ("1", "gene", 399_001, 403_000),
        ("Pt9", "gene", 1, 2),
    ]
    text = "##gff-version 3\n" + "".join(feature.format(*line) for line in lines) + "##FASTA\n>1\nACGT\n"
    (tmp_path / "genes.gff3.gz").write_bytes(gzip.compress(text.encode()))
    density = read_gene_density(tmp_path / "genes.gff3.gz", contact_map)
    assert density["Chr1"][:4].tolist() == [1, 0, 1, 0] and density["Chr1"].sum() == 2
    assert np.isnan(density["Chr2"]).all()


@pytest.mark.parametrize(
    "text, reason",
    [
        ("Chr1\t5\n", "line 1"),
        ("Chr1\tfive\t9\n", "line 1"),
        ("# none\n", "no genes"),
        ("Chr1\t1\t999999999\n", "assembly"),
        ("chrX\t1\t9\n", "assembly"),
    ],
)
def test_other_files_are_refused(leaf, tmp_path, text, reason):
    (tmp_path / "genes.bed").write_text(text)
    with pytest.raises(InputError, match=reason):
        read_gene_density(tmp_path / "genes.bed", open_contacts(leaf))
