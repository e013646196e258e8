"""Embeddings of windows, patches, chromosomes and loci."""

import json
import sys

import numpy as np
import PIL.Image
import pytest
import scipy.sparse

from hicfm_jax.contacts import ContactMap, write_contacts
from hicfm_jax.errors import InputError
from hicfm_jax.infer import embed, embed_map, infer_file, load_network
from hicfm_jax.infer.embedding_table import read_embeddings, write_embeddings
from hicfm_jax.infer.embedding_windows import around_loci, near_diagonal, original_centers, strip_window
from tests.convert import made_up
from tests.infer.toy_networks import CHROMSIZES, RESOLUTION, toy_map, write_checkpoint

HEAD = ("embedding", "pretrain")
CHECKPOINT = "upstream_tiny_embedding.pth.tar"


@pytest.fixture(scope="module")
def pretraining(tmp_path_factory):
    """Folder of an untrained pretraining checkpoint, windows of 32 x 32."""
    return write_checkpoint(tmp_path_factory.mktemp("run") / "run", "pretrain", "none")


@pytest.fixture(scope="module")
def pretrained(pretraining):
    return load_network(pretraining, (64, 64), HEAD)


def source_map(arrays, name: str, resolution: int) -> ContactMap:
    """A map of the fixtures, stored as upper triangles row by row."""
    matrices = {}
    for key in arrays:
        if key.startswith(f"source/{name}/"):
            size = int((2 * len(arrays[key])) ** 0.5)
            upper = np.zeros((size, size), np.int64)
            upper[np.triu_indices(size)] = arrays[key]
            matrices[key.split("/")[-1]] = scipy.sparse.csr_array(upper)
    sizes = {chrom: matrix.shape[0] * resolution for chrom, matrix in matrices.items()}
    return ContactMap(sizes, resolution, {(chrom, chrom): m for chrom, m in matrices.items()}, name)


@pytest.mark.needs("torch")
@pytest.mark.parametrize(
    ("run", "depths"),
    [("synthetic", (0, 1, 2)), pytest.param("synthetic_48x80", (2,), marks=pytest.mark.slow)],
)
def test_the_originals_embeddings_from_file_to_file(tmp_path, golden, fixtures_dir, run, depths):
    """Windows cut by the map's edges, chromosomes shorter than a window, patches of one place averaged."""
    arrays, manifest = golden("upstream_inference")
    about = manifest["runs"][f"embedding/{run}"]
    resolution, window = about["resolution"], tuple(about["window"])
    write_contacts(source_map(arrays, "synthetic", resolution), tmp_path / "map.cool")
    for depth in depths:
        path = tmp_path / f"{depth}.npz"
        choices = dict(merge="original", stride=about["stride"], bound=about["bound"], patches=True)
        infer_file(
            "embedding",
            str(tmp_path / "map.cool"),
            resolution,
            fixtures_dir / CHECKPOINT,
            path,
            input_size=window,
            depth=depth,
            **choices,
        )
        found, golden_at = read_embeddings(path), f"embedding/{run}/depth{depth}"
        assert found.about["total_count"] == about["total_count"]
        table = found.tables["windows"]
        np.testing.assert_allclose(
            found.values["windows"], arrays[f"{golden_at}/submat_embedding"], rtol=0, atol=1e-5
        )
        listed = [f"{row['chrom']}:" for row in table]
        assert [key.split(":")[0] + ":" for key in about["submat_embedding_keys"]] == listed
        middle = 8 * resolution  # of a patch, which the original's keys have
        patches = {
            f"{row['chrom']}:{row['row_start'] + middle},{row['col_start'] + middle}": vector
            for row, vector in zip(found.tables["patches"], found.values["patches"], strict=True)
        }
        expected = arrays[f"{golden_at}/patch_embedding"]
        keys = about["patch_embedding_keys"][: len(expected)]
        assert set(keys) <= set(patches)
        assert run != "synthetic" or len(keys) == len(patches)
        np.testing.assert_allclose(np.stack([patches[key] for key in keys]), expected, rtol=0, atol=1e-5)
        assert list(found.tables["chromosomes"]["chrom"]) == about["chromo_embedding_keys"]
        for level in ("chromosomes", "genome"):
            name = level.replace("chromosomes", "chromo")
            expected = arrays[f"{golden_at}/{name}_embedding"]
            np.testing.assert_allclose(found.values[level], expected, rtol=0, atol=1e-5)


@pytest.mark.needs("torch")
def test_the_originals_embedding_of_real_chr4(tmp_path, golden, fixtures_dir, data_dir):
    arrays, manifest = golden("upstream_inference")
    about = manifest["runs"]["embedding/chr4"]
    for depth in (0, 2):
        path = tmp_path / f"{depth}.npz"
        infer_file(
            "embedding",
            str(data_dir / "arabidopsis_col0_30kb.cool"),
            None,
            fixtures_dir / CHECKPOINT,
            path,
            chromosomes=["Chr4"],
            merge="original",
            stride=about["stride"],
            bound=about["bound"],
            depth=depth,
        )
        found = read_embeddings(path)
        for level, name in (("windows", "submat"), ("chromosomes", "chromo"), ("genome", "genome")):
            expected = arrays[f"embedding/chr4/depth{depth}/{name}_embedding"]
            np.testing.assert_allclose(found.values[level], expected, rtol=0, atol=1e-5)


@pytest.mark.slow  # compiles every depth
@pytest.mark.needs("torch")
def test_single_windows_give_the_originals_features(golden, fixtures_dir):
    """Every depth; from a checkpoint, a network and parameters alone."""
    pretrained = load_network(fixtures_dir / CHECKPOINT, None, HEAD)
    arrays, manifest = golden("upstream_inference")
    about = manifest["runs"]["embedding/synthetic"]
    matrix = source_map(arrays, "synthetic", 10_000).matrix("chr1").toarray()
    whole = matrix + np.triu(matrix, 1).T
    corner = np.zeros((1, 64, 64))
    corner[0, :32, :32] = whole[:32, :32]  # the first window is cut by the chromosome's start
    for depth in range(3):
        expected = arrays[f"embedding/synthetic/network_depth{depth}"][:1]
        for params in (fixtures_dir / CHECKPOINT, pretrained, pretrained.params):
            found = embed(corner, about["total_count"], params, depth)
            assert found.dtype == np.float32
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_windows_cover_the_chromosome_once():
    """On the grid of patches, to the end, none below the diagonal, none twice."""
    places = near_diagonal(150, (64, 64), 32, 64)
    assert not (places % 16).any() and len(np.unique(places, axis=0)) == len(places)
    assert (places[:, 1] >= places[:, 0]).all() and (places[:, 1] - places[:, 0]).max() <= 64
    assert places.max() + 64 == 160
    covered = np.zeros((160, 160), bool)
    for row, col in places:
        covered[row : row + 64, col : col + 64] = True
    assert covered[np.triu_indices(150, 0)][np.abs(np.subtract(*np.triu_indices(150))) < 64].all()
    assert near_diagonal(20, (64, 64), 64, 200).tolist() == [[0, 0]]
    strips = near_diagonal(1000, (16, 256), 16, 0)
    middle = strips[len(strips) // 2]
    assert abs((middle[1] + 128) - (middle[0] + 8)) <= 16
    with pytest.raises(InputError, match="stride is 20 but must be a multiple of 16"):
        near_diagonal(150, (64, 64), 20, 0)


def test_a_region_has_the_windows_that_cover_it():
    places = near_diagonal(600, (64, 64), 32, 0, (100, 250))
    assert places[0].tolist() == [96, 96] and places[-1, 0] + 64 >= 250
    assert near_diagonal(600, (64, 64), 32, 0, (300, 310)).tolist() == [[272, 272]]
    assert near_diagonal(600, (64, 64), 32, 0, (595, 600)).tolist() == [[528, 528]]
    assert original_centers(50, (64, 64), 32, 0).tolist() == [[-32, -32], [0, 0]]


def test_patches_of_overlapping_windows_are_averaged(pretrained):
    """Computed from the windows one by one."""
    shallow = toy_map()
    found = embed_map(shallow, pretrained, chromosomes=["Chr1"], stride=16, bound=16, patches=True)
    matrix = shallow.matrix("Chr1").toarray()
    whole = np.zeros((128, 128))
    whole[:100, :100] = matrix + np.triu(matrix, 1).T
    sums = {}
    for row, col in near_diagonal(100, (64, 64), 16, 16):
        features = embed(whole[None, row : row + 64, col : col + 64], shallow.total_count, pretrained)[0]
        for i in range(4):
            for j in range(4):
                sums.setdefault((row + 16 * i, col + 16 * j), []).append(features[i, j])
    inside = {place: vectors for place, vectors in sums.items() if max(place) < 100}
    table = found.tables["patches"]
    assert len(table) == len(inside)
    for record, vector in zip(table, found.values["patches"], strict=True):
        vectors = inside[record["row_start"] // RESOLUTION, record["col_start"] // RESOLUTION]
        np.testing.assert_allclose(vector, np.mean(vectors, axis=0), rtol=0, atol=1e-5)
    assert table["row_end"].max() == CHROMSIZES["Chr1"]


def test_every_chromosome_has_an_embedding(tmp_path, pretrained):
    """Also one of 6 bins, whose padding does not count."""
    found = embed_map(toy_map(), pretrained)
    assert list(found.tables["chromosomes"]["chrom"]) == list(CHROMSIZES)
    np.testing.assert_allclose(found.values["genome"], found.values["chromosomes"].mean(axis=0), atol=1e-6)
    small = toy_map().matrix("ChrM").toarray()
    window = np.zeros((1, 64, 64))
    window[0, :6, :6] = small + np.triu(small, 1).T
    alone = embed(window, toy_map().total_count, pretrained)[0, 0, 0]
    np.testing.assert_allclose(found.values["chromosomes"][2], alone, rtol=0, atol=1e-5)


@pytest.mark.slow  # compiles another window
def test_loci_have_one_embedding_each(tmp_path, pretraining):
    """From strips of 16 rows that are centered on the diagonal at the locus, zeros beyond the chromosome."""
    bed = tmp_path / "loci.bed"
    bed.write_text("1\t8000\t12000\tearly\nChr2\t0\t20000\tlong\nchr1\t90000\t99000\tlate\n")
    write_contacts(toy_map(), tmp_path / "map.cool")
    output = tmp_path / "loci.npz"
    line = infer_file("embedding", str(tmp_path / "map.cool"), None, pretraining, output, loci=str(bed))
    found = read_embeddings(output)
    assert "embeddings of 3 loci" in line and set(found.values) == {"loci"}
    assert found.tables["loci"].tolist() == [
        ("Chr1", 8000, 12_000, "early"),
        ("Chr2", 0, 20_000, "long"),
        ("Chr1", 90_000, 99_000, "late"),
    ]
    assert found.about["window"] == [16, 112] == list(strip_window(100))
    network = load_network(pretraining, (16, 112), HEAD)
    matrix = toy_map().matrix("Chr1").toarray()
    padded = np.zeros((300, 300))
    padded[100:200, 100:200] = matrix + np.triu(matrix, 1).T
    row, col = around_loci([], 1000, (16, 112)) or (10 - 8, 10 - 56)
    strip = padded[None, 100 + row : 116 + row, 100 + col : 212 + col]
    features = embed(strip, toy_map().total_count, network)[0, 0]
    inside = [k for k in range(7) if col + 16 * k + 16 > 0 and col + 16 * k < 100]
    np.testing.assert_allclose(found.values["loci"][0], features[inside].mean(axis=0), rtol=0, atol=1e-5)


@pytest.mark.needs("torch")
def test_a_head_without_layers_of_its_own_serves(fixtures_dir):
    network = load_network(fixtures_dir / "upstream_tiny_reproducibility.pth.tar", None, HEAD)
    assert embed_map(toy_map(), network, depth=2).values["windows"].shape[1] == 16


@pytest.mark.needs("torch")
def test_mistakes_are_one_sentence(tmp_path, fixtures_dir, pretrained):
    shallow = toy_map()
    bed = tmp_path / "loci.bed"
    bed.write_text("Chr1\t0\t200000\n")
    for choices, message in [
        (dict(depth=3), "depth is 3 but must lie between 0, the encoder, and 2"),
        (dict(region="Chr1:1-2", loci="x"), "region and loci cannot be combined"),
        (dict(region="Chr9:1-2"), "no chromosome 'Chr9'"),
        (dict(region="Chr1:1-200000"), "is 99,500 bp long"),
        (dict(loci=str(bed)), "ends at 200,000"),
        (dict(loci="x", patches=True), "loci cannot be combined with patches"),
        (dict(region="Chr1", merge="original"), "region needs merge=average"),
        (dict(merge="original", chromosomes=["ChrM"]), "no chromosome of at least 32 bins"),
        (dict(stride=20), "must be a multiple of 16"),
    ]:
        with pytest.raises(InputError, match=message):
            embed_map(shallow, pretrained, **choices)
    with pytest.raises(InputError, match="holds a head for loop or"):
        embed_map(shallow, write_checkpoint(tmp_path / "run", "loop", "none"))
    for counts, params, message in [
        (np.ones((64, 64)), pretrained, "expected windows"),
        (np.ones((1, 64, 60)), pretrained, "expected windows"),
        (np.ones((1, 64, 64)), {"encoder": {}}, "which is none of vit_large"),
        (np.ones((1, 32, 64)), pretrained.params, "do not fit vit_test on windows of 32 x 64"),
    ]:
        with pytest.raises(InputError, match=message):
            embed(counts, None, params)


def test_what_the_file_holds(tmp_path, pretrained, monkeypatch):
    write_contacts(toy_map(trans=500), tmp_path / "map.cool")
    monkeypatch.setattr("hicfm_jax.infer.tasks.load_network", lambda *_: pretrained)
    line = infer_file("embedding", str(tmp_path / "map.cool"), None, "x", tmp_path / "e.npz", patches=True)
    assert line.endswith("of 3 chromosomes, 32 numbers each.")
    with np.load(tmp_path / "e.npz") as file:
        names = {"windows", "patches", "chromosomes"}
        assert set(file.files) == names | {f"{name}_table" for name in names} | {"genome", "about"}
        assert json.loads(str(file["about"]))["total_count"] == toy_map(trans=500).total_count
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".npz"] == ["e.npz"]


def test_an_h5ad_file_has_the_windows(tmp_path, pretrained):
    anndata = pytest.importorskip("anndata")
    found = embed_map(toy_map(), pretrained)
    write_embeddings(found, tmp_path / "e.h5ad")
    held = anndata.read_h5ad(tmp_path / "e.h5ad")
    np.testing.assert_array_equal(held.X, found.values["windows"])
    assert held.obs["chrom"].tolist() == found.tables["windows"]["chrom"].tolist()
    assert held.uns["chromosomes"].shape == found.values["chromosomes"].shape


def test_h5ad_without_anndata_is_one_sentence(tmp_path, pretraining, monkeypatch):
    monkeypatch.setitem(sys.modules, "anndata", None)
    write_contacts(toy_map(), tmp_path / "map.cool")
    with pytest.raises(InputError, match="needs the package anndata: pip install anndata, or write .npz"):
        infer_file("embedding", str(tmp_path / "map.cool"), None, pretraining, tmp_path / "e.h5ad")
    assert [path.name for path in tmp_path.iterdir()] == ["map.cool"]


@pytest.mark.slow  # draws
@pytest.mark.needs("matplotlib")
def test_a_picture_of_the_windows(tmp_path, pretrained, monkeypatch):
    """Colored by chromosome, coverage or a track; checked before the work."""
    write_contacts(toy_map(), tmp_path / "map.cool")
    track = tmp_path / "genes.bedGraph"
    track.write_text("Chr1\t0\t500\t1.5\nChr1\t500\t50000\t2\n")
    monkeypatch.setattr("hicfm_jax.infer.tasks.load_network", lambda *_: pretrained)

    def picture(number, **choices):
        files = tmp_path / f"{number}.npz", tmp_path / f"{number}.png"
        line = infer_file(
            "embedding", str(tmp_path / "map.cool"), None, "x", files[0], picture=str(files[1]), **choices
        )
        assert PIL.Image.open(files[1]).width > 300 and f"{number}.npz and " in line

    for number, color in enumerate(("chromosome", "coverage", str(track))):
        picture(number, color_by=color, stride=16)
    for choices, message in [
        (dict(color_by="coverage"), "color_by needs a picture"),
        (dict(picture=str(tmp_path / "0.png")), "exists already"),
        (dict(picture="p.pdf"), "a picture is a .png file"),
        (dict(picture="p.png", color_by="missing.bw"), "missing.bw is not a file"),
    ]:
        with pytest.raises(InputError, match=message):
            embed_map(toy_map(), pretrained, **choices)


@pytest.mark.needs("matplotlib")
def test_principal_components_by_hand():
    from hicfm_jax.evaluate.report.prediction_figures import principal_components

    values = np.array([[3.0, 4.0, 7.0], [0, 0, 7], [-3, -4, 7]])
    points, names = principal_components(values)
    np.testing.assert_allclose(np.abs(points), [[5, 0], [0, 0], [5, 0]], atol=1e-12)
    assert names[0] == "PC1 (100%)"


@pytest.mark.slow  # converts and compiles anew
@pytest.mark.needs("torch")
def test_a_bare_state_dict_is_read(tmp_path):
    """The original takes files of this task only with the weights under `model`."""
    network = load_network(made_up.save(made_up.state_dict(), tmp_path), made_up.SIZE, HEAD)
    assert network.model.task == "embedding"
