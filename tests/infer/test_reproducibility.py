"""Embeddings that compare replicates, and the scores made of them."""

import csv

import numpy as np
import pytest
import scipy.sparse

from hicfm_jax.contacts import ContactMap, thin, write_contacts
from hicfm_jax.errors import InputError
from hicfm_jax.evaluate.replicates import equal_depth, in_overall, match_chromosomes, score_scc
from hicfm_jax.infer import infer_file, load_network, reproducibility
from hicfm_jax.infer.embedding_table import read_embeddings
from hicfm_jax.infer.replicate_scores import (
    adjusted_cosine,
    compare_patches,
    compare_replicates,
    compare_windows,
    cosines,
    patch_embeddings,
)
from hicfm_jax.infer.tasks.reproducibility import smooth
from tests.infer.test_embedding import source_map
from tests.infer.toy_networks import toy_map, write_checkpoint
from tests.run_script import run_script

CHECKPOINT = "upstream_tiny_reproducibility.pth.tar"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Folder of a small network for this task, of this project: its maps are not smoothed."""
    return write_checkpoint(tmp_path_factory.mktemp("run") / "run", "reproducibility", "none")


def naive_smoothing(upper: np.ndarray) -> np.ndarray:
    """The definition, pixel by pixel."""
    size = len(upper)
    distance = np.arange(size) - np.arange(size)[:, None]
    kept = np.where((distance >= 1) & (distance <= 199), np.minimum(upper, 1000), 0)
    both = kept + kept.T
    result = np.zeros((size, size))
    for i in range(size):
        for j in range(i, size):
            result[i, j] = both[max(i - 11, 0) : i + 12, max(j - 11, 0) : j + 12].mean()
    return result


@pytest.mark.parametrize("size", [5, 40, 250])
def test_smoothing_by_its_definition(size):
    rng = np.random.default_rng(0)
    upper = np.triu(rng.poisson(0.3, (size, size)) * rng.integers(1, 900, (size, size)))
    found = smooth(scipy.sparse.csr_array(upper))
    np.testing.assert_allclose(found.toarray(), naive_smoothing(upper), rtol=1e-9, atol=1e-9)


@pytest.mark.needs("torch")
def test_the_originals_smoothed_map(golden):
    arrays, manifest = golden("upstream_inference")
    source = source_map(arrays, "pair_a", 25_000)
    corners = (
        (slice(0, 48),) * 2,
        (slice(100, 148),) * 2,
        (slice(0, 48), slice(170, 218)),
        (slice(-48, None),) * 2,
    )
    for chrom, about in manifest["runs"]["reproducibility/synthetic/a"]["smoothed"].items():
        found = smooth(source.matrix(chrom))
        assert found.nnz == about["stored"]
        np.testing.assert_allclose(found.sum(), about["sum"], rtol=1e-9)
        expected = arrays[f"reproducibility/synthetic/a/smoothed/{chrom}"]
        for corner, values in zip(corners, expected, strict=True):
            np.testing.assert_allclose(found.toarray()[corner], values, rtol=1e-6)


def pair_of(run: str, arrays, data_dir, resolution: int) -> list[ContactMap]:
    if run == "synthetic":
        return [source_map(arrays, f"pair_{side}", resolution) for side in "ab"]
    from hicfm_jax.contacts import open_contacts

    deep = open_contacts(data_dir / "arabidopsis_col0_30kb.cool")
    matrix = {("Chr4", "Chr4"): deep.matrix("Chr4")}
    chr4 = ContactMap({"Chr4": deep.chromsizes["Chr4"]}, resolution, matrix, "chr4")
    size = deep.n_bins("Chr4")
    upper = np.zeros((size, size), np.int64)
    upper[np.triu_indices(size)] = arrays["source/chr4_thin/Chr4"]
    matrix = {("Chr4", "Chr4"): scipy.sparse.csr_array(upper)}
    return [chr4, ContactMap(chr4.chromsizes, resolution, matrix, "thin")]


@pytest.mark.needs("torch")
@pytest.mark.parametrize("run", ["synthetic", "chr4"])
def test_the_originals_embeddings_and_score(tmp_path, golden, fixtures_dir, data_dir, run, capfd):
    """From files through the written embeddings; chrY does not count, a chromosome of 224 bins is dropped."""
    arrays, manifest = golden("upstream_inference")
    about = manifest["runs"][f"reproducibility/{run}"]
    found = []
    for side, contact_map in zip("ab", pair_of(run, arrays, data_dir, about["resolution"]), strict=True):
        write_contacts(contact_map, tmp_path / f"{side}.cool")
        choices = dict(merge="original", stride=about["stride"], bound=about["bound"])
        output = tmp_path / f"{side}.npz"
        infer_file(
            "reproducibility",
            str(tmp_path / f"{side}.cool"),
            about["resolution"],
            fixtures_dir / CHECKPOINT,
            output,
            **choices,
        )
        found.append(read_embeddings(output))
        of = manifest["runs"][f"reproducibility/{run}/{side}"]
        assert found[-1].about["total_count"] == pytest.approx(of["total_count"], rel=1e-9)
        by_key = by_window(found[-1])
        assert set(by_key) == set(of["keys"])
        expected = arrays[f"reproducibility/{run}/{side}/embedding"]
        np.testing.assert_allclose(np.stack([by_key[key] for key in of["keys"]]), expected, rtol=0, atol=1e-5)
    assert ("leaves out chromosomes of fewer than 225 bins: chr3" in capfd.readouterr().err) == (
        run == "synthetic"
    )
    one, two = map(by_window, found)
    pairs = [np.stack([side[key] for key in about["cosine_keys"]]) for side in (one, two)]
    np.testing.assert_allclose(cosines(*pairs), arrays[f"reproducibility/{run}/cosines"], rtol=0, atol=1e-6)
    scores, notes = compare_windows(found, about["chromosomes_in_score"])
    assert scores[:, 0, 1].mean() == pytest.approx(about["score"], abs=1e-6)
    assert scores[:, 0, 0].mean() == pytest.approx(about["score_with_itself"], abs=1e-6)
    assert "0 windows without a match" in notes


def by_window(embeddings) -> dict[str, np.ndarray]:
    table = embeddings.tables["windows"]
    return {
        f"{row['chrom']}:{row['row_start']},{row['col_start']}": vector
        for row, vector in zip(table, embeddings.values["windows"], strict=True)
    }


@pytest.mark.needs("torch")
def test_the_originals_score_of_two_maps(golden, fixtures_dir):
    """The same through the comparison of maps; the overall score leaves out chrY."""
    arrays, manifest = golden("upstream_inference")
    about = manifest["runs"]["reproducibility/synthetic"]
    maps = dict(zip("ab", pair_of("synthetic", arrays, None, about["resolution"]), strict=True))
    network = load_network(fixtures_dir / CHECKPOINT, None, ("reproducibility",))
    found = compare_replicates(maps, network, merge="original", methods=())
    assert found.chromosomes == ["chr1", "chr2", "chrY", "chr3"]
    assert found.overall("network")[0, 1] == pytest.approx(about["score"], abs=1e-6)


def test_small_genomes_are_compared(fixtures_dir, trained):
    """The original drops all chromosomes up to 224 bins, and divides by zero where none is left."""
    network = load_network(trained, None, ("reproducibility",))
    small = toy_map()
    assert set(reproducibility(small, network).tables["windows"]["chrom"]) == {"Chr1", "Chr2", "ChrM"}
    with pytest.raises(InputError, match="no chromosome of at least 225 bins, and merge=original"):
        reproducibility(small, network, merge="original")


@pytest.mark.slow  # whole programs
def test_many_maps_are_compared_from_the_command_line(tmp_path, trained, coarse_pictures):
    """Names that differ are matched and told; organelles do not count; every score is symmetric."""
    deep = toy_map(mean=60)
    for name, other in {"one": thin(deep, 0.5, 1), "two": thin(deep, 0.4, 2), "third": toy_map(7)}.items():
        if name == "two":
            sizes = {chrom.lower(): size for chrom, size in other.chromsizes.items()}
            matrices = {(chrom.lower(),) * 2: other.matrix(chrom) for chrom in other.chromsizes}
            other = ContactMap(sizes, other.resolution, matrices)
        write_contacts(other, tmp_path / f"{name}.cool")
    uris = ",".join(str(tmp_path / f"{name}.cool") for name in ("one", "two"))
    folder = tmp_path / "report"
    done = run_script(
        "evaluate.py",
        f"--reproducibility={uris},other={tmp_path / 'third.cool'}",
        f"--checkpoint={trained}",
        f"--output={folder}",
    )
    assert done.returncode == 0, done.stderr
    assert "two has other names: chr1 for Chr1, chr2 for Chr2, chrm for ChrM." in done.stdout
    assert "patches without a match" in done.stdout
    with open(folder / "metrics.csv") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["map1", "map2", "chromosome", "network", "SCC", "GenomeDISCO"]
    assert len(rows) == 3 * 4
    scores = {(row["map1"], row["map2"], row["chromosome"]): row for row in rows}
    of_pair = [float(scores["one", "two", chrom]["network"]) for chrom in ("Chr1", "Chr2")]
    assert float(scores["one", "two", "overall"]["network"]) == pytest.approx(np.mean(of_pair), abs=1e-5)
    assert {path.name for path in folder.iterdir()} == {"metrics.csv", "report.html", "report.png"}
    assert "Not counted in the overall score: ChrM." in (folder / "report.html").read_text()


def test_a_chromosome_of_another_length_is_told_once():
    """Not again among those that only one map has."""
    pairs = {(chrom, chrom): scipy.sparse.csr_array(np.triu(np.ones((50, 50)))) for chrom in ("1", "2")}
    longer = {
        **pairs,
        ("2", "2"): scipy.sparse.csr_array(np.triu(np.ones((60, 60)))),
        ("3", "3"): pairs["1", "1"],
    }
    sizes = {"1": 50_000, "2": 60_000, "3": 50_000}
    maps = {
        "a": ContactMap({"1": 50_000, "2": 50_000}, 1000, pairs),
        "b": ContactMap(sizes, 1000, longer),
    }
    matched, notes = match_chromosomes(maps)
    assert matched == {"1": ["1", "1"]}
    assert len(notes) == 2 and notes[0].startswith("2 is left out. b has 60 bins in 2")
    assert notes[1] == "b has 1 more chromosome, not compared: 3."


def test_windows_and_patches_without_a_match_are_counted(trained):
    network = load_network(trained, None, ("reproducibility",))
    whole = toy_map()
    matrix = whole.matrix("Chr1").toarray()
    matrix[:, 60:] = 0
    cut = ContactMap(
        {"1": whole.chromsizes["Chr1"]}, whole.resolution, {("1", "1"): scipy.sparse.csr_array(matrix)}
    )
    for level, compare, embedded in [
        ("windows", compare_windows, [reproducibility(each, network) for each in (whole, cut)]),
        ("patches", compare_patches, [patch_embeddings(each, network) for each in (whole, cut)]),
    ]:
        ours = embedded[0].tables[level]["chrom"] == "Chr1"
        left = len(embedded[1].tables[level])
        scores, note = compare(embedded, ["Chr1"])
        assert 0 < left < ours.sum()
        assert f"{left:,} pairs of {level} compared, {ours.sum() - left:,} {level} without a match" in note
        np.testing.assert_allclose(np.diagonal(scores[0]), 1, atol=1e-6)
        assert scores[0, 0, 1] == scores[0, 1, 0] < 1


def test_the_mean_of_each_distance_does_not_count():
    """Maps that share nothing but their decay have a cosine near 0, replicates one near 1."""
    rng = np.random.default_rng(0)
    strata, decay = np.repeat([0, 1, 2], 200), np.repeat([5.0, 2.0, 1.0], 200)[:, None]
    one, two = (decay + rng.normal(size=(600, 4)) for _ in range(2))
    assert cosines(one, two).mean() > 0.5 and abs(adjusted_cosine(one, two, strata)) < 0.1
    assert adjusted_cosine(one, 3 * one + decay, strata) == pytest.approx(1)
    assert np.isnan(adjusted_cosine(decay, decay, strata))


def test_mistakes_are_one_sentence(tmp_path, trained):
    write_contacts(toy_map(), tmp_path / "one.cool")
    write_contacts(toy_map().coarsen(2), tmp_path / "coarse.cool")
    one = toy_map()
    other = ContactMap({"Chr1": 50_000}, 1000, {("Chr1", "Chr1"): scipy.sparse.eye_array(50).tocsr()}, "b")
    for maps, message in [
        ({"a": one}, "give two or more"),
        ({"a": one, "b": one.coarsen(2)}, "b has bins of 2000 bp and the first map of 1000 bp"),
        ({"a": one, "b": other}, "no chromosome in common to compare. b has 50 bins in Chr1"),
    ]:
        with pytest.raises(InputError, match=message):
            compare_replicates(maps)
    loop = write_checkpoint(tmp_path / "loop", "loop", "none")
    with pytest.raises(InputError, match="holds a head for loop"):
        compare_replicates({"a": one, "b": one}, loop)
    for flags, message in [
        ((f"--reproducibility={tmp_path / 'one.cool'}",), "give two or more"),
        (("--reproducibility=a=x.cool,a=y.cool",), "--reproducibility has 'a' twice"),
        ((), "--reference is not given"),
    ]:
        done = run_script("evaluate.py", *flags, f"--output={tmp_path / 'report'}")
        assert done.returncode == 2 and message in done.stderr and not (tmp_path / "report").exists()


def test_accessions_are_not_mistaken_for_organelles():
    """The original leaves out every name with a Y, M, Un or Alt in it: here all of a GenBank assembly."""
    assert all(map(in_overall, ["CM000663.2", "NC_003070.9", "Chr1", "2L", "scaffold_12", "chrX", "IV"]))
    assert not any(map(in_overall, ["chrY", "ChrM", "Mt", "ChrC", "chrUn_KI270302v1", "chr6_GL000250v2_alt"]))


def test_equal_depth_by_downsampling():
    deep, shallow = toy_map(mean=60).matrix("Chr1"), toy_map(1, mean=6).matrix("Chr1")
    one, two = equal_depth(deep, shallow)
    assert two is shallow and one.sum() == pytest.approx(shallow.sum(), rel=0.1)
    assert score_scc(deep, shallow, 1000) == score_scc(deep, shallow, 1000)


def test_any_number_of_steps_of_the_random_walk():
    maps = {"one": thin(toy_map(), 0.5, 1), "two": thin(toy_map(), 0.5, 2)}
    scores = [
        compare_replicates(maps, methods=["GenomeDISCO"], steps=steps).overall("GenomeDISCO")[0, 1]
        for steps in (1, 3)
    ]
    assert scores[0] < scores[1] < 1
