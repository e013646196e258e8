"""Enhancement of pairs of different chromosomes."""

import dataclasses
import itertools

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse

from hicfm_jax.contacts import ContactMap, open_contacts, write_contacts
from hicfm_jax.contacts.contact_map import ENHANCEMENT
from hicfm_jax.contacts.expected import TransSums, find_expected
from hicfm_jax.errors import InputError
from hicfm_jax.infer import Network, enhance, infer_file, load_network
from hicfm_jax.infer.scan_plan import covering_starts
from hicfm_jax.infer.stitching import merge_windows
from hicfm_jax.models import HeadOutput
from hicfm_jax.models.preprocess import target_scaling
from hicfm_jax.progress import NullProgress
from tests.infer.toy_networks import RESOLUTION, echo, toy_map

SIZES = {"Chr1": 100, "Chr2": 20, "Chr3": 45}


@pytest.fixture(scope="module")
def shallow():
    """Three chromosomes with contacts within and between them, and bins without any."""
    rng = np.random.default_rng(0)
    bias = {chrom: rng.gamma(8, 1 / 8, size) for chrom, size in SIZES.items()}
    bias["Chr1"][40:43] = 0
    matrices = {}
    for one, two in itertools.combinations_with_replacement(SIZES, 2):
        counts = rng.poisson((9 if one == two else 2) * np.outer(bias[one], bias[two]))
        matrices[one, two] = scipy.sparse.csr_array(np.triu(counts) if one == two else counts)
    return ContactMap({chrom: 1000 * size for chrom, size in SIZES.items()}, 1000, matrices, "shallow")


class Expects(nn.Module):
    """Predicts the expected contacts at the target depth, with their square as variance."""

    input_size: tuple[int, int] = (32, 32)
    task: str = "resolution"
    residual: str = "coverage"
    dispersion: bool = True
    transformer: bool = False

    def __call__(self, images, total_count=None, shallow=None):
        contacts = shallow.expected * shallow.depth_ratio[:, None, None]
        return HeadOutput(map=jnp.log10(1 + contacts), log_shape=jnp.zeros_like(contacts))


def expects(window=(32, 32)):
    return Network(Expects(window), {}, target_scaling("log10"))


@pytest.mark.parametrize("window", [(32, 32), (32, 48), (48, 32)])
@pytest.mark.parametrize("shape", [(117, 60), (20, 90), (10, 10)])
def test_windows_of_a_pair_merge_to_its_rectangle_exactly(window, shape):
    counts = np.random.default_rng(0).integers(0, 50_000, shape)
    padded = np.pad(counts, ((0, 48), (0, 48)))
    starts = [covering_starts(size, side, 11) for size, side in zip(shape, window, strict=True)]
    positions = np.array(list(itertools.product(*starts)))
    cut = [padded[row : row + window[0], col : col + window[1]] for row, col in positions]
    pixels = [np.stack([values, np.full(window, 4.0)]) for values in cut]
    found = list(merge_windows(pixels, positions, shape[0], window, symmetric=False))
    assert [rows.left for rows in found] == [0] * len(found)
    np.testing.assert_array_equal(np.concatenate([rows.mean for rows in found])[:, : shape[1]], counts)
    assert np.concatenate([rows.covered for rows in found])[:, : shape[1]].all()
    # Squares of these counts leave a float64 three digits of the variance.
    spread = np.concatenate([rows.sd for rows in found])[:, : shape[1]]
    np.testing.assert_allclose(spread, 2.0, rtol=0.1)


def test_every_pixel_of_every_pair_gets_what_is_expected_of_it(shallow):
    choices = dict(target_contacts=3 * shallow.total_count, match_decay=False)
    deep = enhance(shallow, expects(), **choices, trans=True)
    assert deep.pairs() == list(itertools.combinations_with_replacement(SIZES, 2))
    pairs = [pair for pair in deep.pairs() if pair[0] != pair[1]]
    for pair, fit in TransSums(shallow).expected(pairs).items():
        counts = deep.matrix(*pair).toarray()
        np.testing.assert_allclose(counts, 3 * fit.dense(), atol=2e-3)
        np.testing.assert_allclose(deep.sd.matrix(*pair).toarray(), counts, atol=2e-3)
        assert counts.sum() == pytest.approx(3 * shallow.matrix(*pair).sum(), rel=1e-3)
        assert ((counts > 0) == (fit.dense() > 0)).all()
    # As without trans.
    alone = enhance(shallow, expects(), **choices)
    for chrom in SIZES:
        assert (deep.matrix(chrom) != alone.matrix(chrom)).nnz == 0
        expected = np.triu(find_expected(shallow.matrix(chrom)).dense())
        np.testing.assert_allclose(alone.matrix(chrom).toarray(), 3 * expected, atol=2e-3)
    assert alone.pairs() == [(chrom, chrom) for chrom in SIZES]


def test_trans_is_of_the_chosen_chromosomes_and_whole_at_any_distance(shallow):
    part = enhance(
        shallow,
        expects(),
        target_contacts=3 * shallow.total_count,
        trans=True,
        chromosomes=["3", "1"],
        max_distance=4 * RESOLUTION,
    )
    assert part.pairs() == [("Chr1", "Chr1"), ("Chr1", "Chr3"), ("Chr3", "Chr3")]
    # The bias of a bin is still by all chromosomes.
    (fit,) = TransSums(shallow).expected([("Chr1", "Chr3")]).values()
    np.testing.assert_allclose(part.matrix("Chr1", "Chr3").toarray(), 3 * fit.dense(), atol=2e-3)
    cis = part.matrix("Chr1").tocoo()
    assert (cis.col - cis.row).max() == 4


def test_files_have_the_pairs_with_their_standard_deviations(shallow, sure, tmp_path):
    write_contacts(shallow, tmp_path / "shallow.cool")
    path, low, choices = tmp_path / "deep.mcool", tmp_path / "deep.q0.1.mcool", {"target_contacts": 2e5}
    arguments = "resolution", str(tmp_path / "shallow.cool"), 1000, sure, path
    line = infer_file(*arguments, trans=True, quantiles="0.1", **choices)
    same = enhance(shallow, load_network(sure), trans=True, **choices)
    write_contacts(same, tmp_path / "deep.npz")
    found = open_contacts(path, 1000)
    assert f"{found.total_count:,.0f} cis and trans contacts of 3 chromosomes" in line
    assert f"from {shallow.total_count:,.0f};" in line and "left out" not in line
    assert found.metadata[ENHANCEMENT]["trans"] is True
    for pair in same.pairs():
        for one, other in ((found, same), (found.sd, same.sd)):
            counts = other.matrix(*pair).toarray()
            np.testing.assert_allclose(one.matrix(*pair).toarray(), counts, rtol=1e-6)
            assert counts.any()
        assert (open_contacts(low, 1000).matrix(*pair) > found.matrix(*pair)).nnz == 0
    pair, wide = ("Chr1", "Chr2"), open_contacts(path, 5000)
    counts, variances = (each.matrix(*pair).toarray() for each in (found, found.sd))
    for one, other in ((counts, wide.matrix(*pair)), (variances**2, wide.sd.matrix(*pair) ** 2)):
        summed = one.reshape(20, 5, 4, 5).sum(axis=(1, 3))
        np.testing.assert_allclose(other.toarray(), summed, rtol=1e-6)
    with np.load(tmp_path / "deep.npz") as arrays:
        assert any(name.startswith("sd_0_1") for name in arrays.files)


def _alone(shallow):
    return ContactMap({"Chr1": 100_000}, 1000, {("Chr1", "Chr1"): shallow.matrix("Chr1")}, "alone")


@pytest.mark.parametrize(
    ("choose", "network", "options", "message"),
    [
        (lambda shallow: toy_map(), expects(), {}, "toy has no contacts between these chromosomes"),
        (_alone, expects(), {}, "two chromosomes or more, found Chr1"),
        (lambda shallow: shallow, expects(), {"chromosomes": ["2"]}, "two chromosomes or more, found Chr2"),
        (lambda shallow: shallow, echo(), {}, "trained without model.residual"),
        (lambda shallow: shallow, expects(), {"merge": "original"}, "on the diagonal only"),
    ],
)
def test_what_has_no_pairs_is_one_sentence(shallow, choose, network, options, message):
    with pytest.raises(InputError, match=message) as error:
        enhance(choose(shallow), network, target_contacts=1e6, trans=True, **options)
    assert "\n" not in str(error.value)


def test_a_region_is_within_one_chromosome(shallow, sure, tmp_path):
    write_contacts(shallow, tmp_path / "shallow.cool")
    arguments = "resolution", str(tmp_path / "shallow.cool"), 1000, sure, tmp_path / "deep.cool"
    with pytest.raises(InputError, match="part of one chromosome: leave out region or trans"):
        infer_file(*arguments, trans=True, region="Chr1:0-30k", target_contacts=1e6)
    assert [path.name for path in tmp_path.iterdir()] == ["shallow.cool"]


def test_a_network_of_cis_contacts_gives_a_warning(shallow, tmp_path):
    class Said(NullProgress):
        def say(self, text):
            said.append(text)

    for trans in (False, True):
        said, facts = [], {"resolution": 1000, "longest": [100_000, 45_000, 20_000]}
        maps = {"deep": facts | ({"trans": True} if trans else {})}
        network = dataclasses.replace(expects(), maps=maps, checkpoint="runs/cis")
        enhance(shallow, network, target_contacts=1e6, trans=True, progress=Said())
        assert (
            any("runs/cis was trained on contacts within chromosomes only" in text for text in said) != trans
        )
