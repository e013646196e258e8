"""Whole maps through a network."""

import dataclasses
import json
import math
import os
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest
import scipy.sparse
import scipy.stats

from hicfm_jax.contacts import ContactMap, open_contacts, thin, write_contacts
from hicfm_jax.contacts.contact_map import ENHANCEMENT
from hicfm_jax.errors import InputError
from hicfm_jax.evaluate.certificate import certify
from hicfm_jax.evaluate.opening import enhancement_notes
from hicfm_jax.infer import enhance, infer_file, load_network, scan
from hicfm_jax.infer.enhanced_map import decay_factors
from hicfm_jax.infer.scan_plan import make_plan
from hicfm_jax.infer.tasks.resolution import TASK
from hicfm_jax.models.preprocess import target_scaling
from hicfm_jax.progress import NullProgress
from tests.infer.toy_networks import CHROMSIZES, CUTOFF, RESOLUTION, SEEN, echo, toy_map

ROOT = pathlib.Path(__file__).resolve().parents[2]


def dense(contact_map, chrom):
    return contact_map.matrix(chrom).toarray()


def test_a_network_that_changes_nothing_gives_back_the_map():
    shallow = toy_map()
    same = enhance(shallow, echo(), integer=True)
    for chrom in CHROMSIZES:
        np.testing.assert_array_equal(dense(same, chrom), dense(shallow, chrom))
        assert same.matrix(chrom).dtype == np.int64
    assert same.chromsizes == CHROMSIZES and same.resolution == RESOLUTION
    assert same.total_count == shallow.total_count


@pytest.mark.parametrize("window", [(32, 48), (48, 32)])
def test_windows_need_not_be_squares(window):
    same = enhance(toy_map(), echo(window), integer=True, stride=13, batch_size=3)
    for chrom in CHROMSIZES:
        np.testing.assert_array_equal(dense(same, chrom), dense(toy_map(), chrom))


def test_every_pixel_of_every_chromosome_is_written(network):
    shallow = toy_map()
    deep = enhance(shallow, network)
    for chrom in CHROMSIZES:
        counts, n = dense(deep, chrom), shallow.n_bins(chrom)
        visible = dense(shallow, chrom).sum(0) + dense(shallow, chrom).sum(1) > 0
        assert visible.all()
        assert (counts[np.triu_indices(n)] > 0).all()
        assert not counts[np.tril_indices(n, -1)].any()
    assert deep.total_count == pytest.approx(80_000, rel=0.1)
    values = deep.matrix("Chr1").data
    np.testing.assert_array_equal(values * 1024, np.rint(values * 1024))
    np.testing.assert_array_equal(values, values.astype(np.float32))


def test_bfloat16_changes_the_map_by_its_rounding(network):
    exact, rounded = (enhance(toy_map(), network, dtype=dtype) for dtype in ("float32", "bfloat16"))
    exact_logs, rounded_logs = (np.log10(1 + dense(each, "Chr1")) for each in (exact, rounded))
    difference = np.abs(exact_logs - rounded_logs).max()
    assert 0 < difference < 2.0**-8 * exact_logs.max()  # bfloat16 has 8 bits
    assert rounded.metadata[ENHANCEMENT]["dtype"] == "bfloat16"


def test_a_network_that_says_how_sure_it_is_gives_standard_deviations(sure, tmp_path):
    """Relative ones do not depend on the depth, and quantiles are those of a gamma distribution."""
    shallow, network = toy_map(), load_network(sure)
    once, twice = (enhance(shallow, network, target_contacts=contacts) for contacts in (8e5, 16e5))
    mean, sd = once.matrix("Chr1"), once.sd.matrix("Chr1")
    np.testing.assert_array_equal(sd.indices, mean.indices)
    assert (sd.data > 0).all() and 0.8 < np.median(sd.data / mean.data) < 1.2  # parameters near 0: shape 1
    np.testing.assert_allclose(twice.sd.matrix("Chr1").data, 2 * sd.data, rtol=0.01, atol=5e-3)
    paths = tmp_path / "deep.mcool", tmp_path / "deep.q0.05.mcool", tmp_path / "deep.q0.9.mcool"
    write_contacts(shallow, tmp_path / "shallow.cool")
    choices = dict(target_contacts=8e5, quantiles="0.05,0.9")
    line = infer_file("resolution", str(tmp_path / "shallow.cool"), 1000, sure, paths[0], **choices)
    assert "quantiles in" in line and all(path.name in line for path in paths)
    written, low, high = (open_contacts(path, RESOLUTION) for path in paths)
    np.testing.assert_array_equal(written.sd.matrix("Chr1").data, sd.data)
    middle = mean.toarray() > 5
    shape = (mean.toarray() / np.maximum(sd.toarray(), 1e-9))[middle] ** 2
    for quantile, found in ((0.05, low), (0.9, high)):
        expected = scipy.stats.gamma.ppf(quantile, shape) / shape * mean.toarray()[middle]
        np.testing.assert_allclose(found.matrix("Chr1").toarray()[middle], expected, rtol=2e-3)
    assert low.sd is None


def test_reads_that_are_kept_add_to_the_prediction_of_the_others(sure, tmp_path):
    shallow, network = toy_map(), dataclasses.replace(load_network(sure), any_depth=True)
    target = 5 * shallow.total_count
    others = enhance(shallow, network, target_contacts=target - shallow.total_count)
    kept = enhance(shallow, network, target_contacts=target, keep_reads=True)
    for chrom in CHROMSIZES:
        np.testing.assert_array_equal(dense(kept, chrom), dense(others, chrom) + dense(shallow, chrom))
        np.testing.assert_array_equal(dense(kept.sd, chrom), dense(others.sd, chrom))
    choices = dict(target_contacts=target, keep_reads=True, match_decay=False)
    all_pixels = enhance(shallow, network, **choices)
    near = enhance(shallow, network, **choices, max_distance=8 * RESOLUTION)
    np.testing.assert_array_equal(dense(near, "Chr1"), np.triu(np.tril(dense(all_pixels, "Chr1"), 8)))
    whole = enhance(shallow, network, target_contacts=target, keep_reads=True, integer=True)
    assert whole.matrix("Chr1").dtype == np.int64
    assert (dense(whole, "Chr1") >= np.triu(dense(shallow, "Chr1"))).all()
    assert dense(whole.sd, "Chr1").astype(bool).sum() == whole.matrix("Chr1").nnz

    path, held_out = tmp_path / "kept.mcool", thin(shallow, 0.1, seed=1)
    write_contacts(kept, path)
    again = open_contacts(path, RESOLUTION)
    with pytest.raises(InputError, match="keep_reads"):
        certify(again, shallow, held_out)
    assert "keeps the reads" in " ".join(enhancement_notes("kept", again.metadata))


def test_the_decay_is_that_of_the_input(sure):
    """At all distances, scaled to the target; pixels at one distance keep their ratios."""
    shallow, network = toy_map(mean=2000.0), load_network(sure)
    network.params["pixel_path"]["out"]["bias"][-1] += 0.2  # of the logarithm of all contacts
    target = 4 * shallow.total_count
    plain = enhance(shallow, network, target_contacts=target, match_decay=False)
    matched = enhance(shallow, network, target_contacts=target)
    assert matched.metadata[ENHANCEMENT]["match_decay"] and not plain.metadata[ENHANCEMENT]["match_decay"]
    for deep, error in ((plain, 0.2), (matched, 0.0)):
        decays = (
            [np.trace(dense(each, "Chr1"), distance) for distance in range(100)] for each in (deep, shallow)
        )
        ratio = np.divide(*(np.add.reduceat(decay, [0, 1, 8, 32]) for decay in decays))
        np.testing.assert_allclose(np.log(ratio / 4), error, atol=0.02)
    for distance in (0, 10, 50):
        before, after = (np.diagonal(dense(each, "Chr1"), distance) for each in (plain, matched))
        np.testing.assert_allclose(after / after.sum(), before / before.sum(), rtol=1e-4)
        deviations = np.diagonal(dense(matched.sd, "Chr1"), distance)
        unscaled = np.diagonal(dense(plain.sd, "Chr1"), distance)
        np.testing.assert_allclose(deviations / after, unscaled / before, rtol=1e-3)


def test_few_contacts_hardly_change_the_decay():
    predicted = np.full(1000, 2.0)
    assert np.ptp(decay_factors(np.zeros(1000), predicted)[:3]) < 0.02
    many = decay_factors(np.full(1000, 3000.0), np.full(1000, 2000.0))
    np.testing.assert_allclose(many, 1.5, rtol=0.1)
    np.testing.assert_allclose(many[200:], 1.5, rtol=0.001)
    np.testing.assert_array_equal(decay_factors(predicted[:1], predicted[:1]), [1.0])


def test_the_decay_is_matched_up_to_the_largest_distance(sure):
    shallow, network = toy_map(mean=2000.0), load_network(sure)
    network.params["pixel_path"]["out"]["bias"][-1] += 0.2
    near = dense(
        enhance(shallow, network, target_contacts=4 * shallow.total_count, max_distance=40_000), "Chr1"
    )
    last = [
        sum(np.trace(each, distance) for distance in range(32, 41)) for each in (near, dense(shallow, "Chr1"))
    ]
    assert last[0] / last[1] == pytest.approx(4, rel=0.02)


def test_the_decay_is_matched_where_that_is_possible(sure, network, tmp_path):
    shallow = toy_map()
    assert enhance(shallow, network).metadata[ENHANCEMENT]["match_decay"]
    assert not enhance(shallow, echo()).metadata[ENHANCEMENT]["match_decay"]
    assert not make_plan(TASK, shallow, network, merge="original").options["match_decay"]
    with pytest.raises(InputError, match="match_decay needs whole chromosomes"):
        enhance(shallow, echo(), match_decay=True)
    write_contacts(shallow, tmp_path / "shallow.cool")
    files = str(tmp_path / "shallow.cool"), 1000, sure, tmp_path / "deep.cool"
    with pytest.raises(InputError, match="match_decay needs whole chromosomes"):
        infer_file("resolution", *files, region="Chr1:20000-70000", match_decay=True)


def test_reads_are_kept_only_beside_a_prediction_of_others(sure, network):
    shallow, any_depth = toy_map(), dataclasses.replace(load_network(sure), any_depth=True)
    with pytest.raises(InputError, match=r"keep_reads needs: leave it out, or take any_map"):
        enhance(shallow, network, keep_reads=True)
    with pytest.raises(InputError, match="keep_reads needs a deeper target"):
        enhance(shallow, any_depth, keep_reads=True, target_contacts=shallow.total_count)
    with pytest.raises(InputError, match="leave out merge=original"):
        enhance(shallow, any_depth, keep_reads=True, merge="original")


@pytest.mark.parametrize("quantiles", ["0.05,1", "half"])
def test_quantiles_are_between_0_and_1_and_need_standard_deviations(sure, network, quantiles, tmp_path):
    write_contacts(toy_map(), tmp_path / "shallow.cool")
    for checkpoint, given, message in (
        (sure, quantiles, f"quantiles has '{quantiles.split(',')[-1]}', expected numbers between 0 and 1"),
        (network.checkpoint, "0.5", "predicts no standard deviations"),
    ):
        with pytest.raises(InputError, match=message):
            arguments = (
                "resolution",
                str(tmp_path / "shallow.cool"),
                1000,
                checkpoint,
                tmp_path / "deep.cool",
            )
            infer_file(*arguments, quantiles=given)


def test_the_depth_follows_the_contacts_that_are_wanted(network):
    twice = enhance(toy_map(), network, target_contacts=160_000)
    assert twice.total_count == pytest.approx(160_000, rel=0.1)
    # A network that is not told: its map is scaled, trans contacts have their share.
    shallow = toy_map(trans=500)
    target = 3 * shallow.total_count
    scaled = enhance(shallow, echo(), target_contacts=target)
    assert scaled.total_count == pytest.approx(3 * (shallow.total_count - 500), rel=1e-3)
    np.testing.assert_allclose(dense(scaled, "Chr1"), 3 * dense(shallow, "Chr1"), atol=2e-3)
    assert ("Chr1", "Chr2") not in scaled.pairs()


def test_scaling_a_part_of_a_map_keeps_its_share():
    shallow = toy_map()
    part = enhance(
        shallow,
        echo(),
        target_contacts=3 * shallow.total_count,
        chromosomes=["2"],
        max_distance=4 * RESOLUTION,
    )
    assert list(part.chromsizes) == ["Chr2"]
    near = np.triu(np.tril(dense(shallow, "Chr2"), 4))
    np.testing.assert_allclose(dense(part, "Chr2"), 3 * near, atol=2e-3)


def test_whole_contacts_are_rounded_halves_up():
    shallow = toy_map()
    half = enhance(shallow, echo(), target_contacts=shallow.total_count / 2, integer=True)
    counts = dense(shallow, "Chr1").astype(np.int64)
    even = counts % 2 == 0
    np.testing.assert_array_equal(dense(half, "Chr1")[even], counts[even] // 2)
    assert half.matrix("Chr1").dtype == np.int64


@pytest.mark.slow  # writes all formats
def test_a_map_tells_how_it_came_about_wherever_it_goes(network, tmp_path):
    """Written, thinned and written again, it still warns of chromosomes that its network has seen."""
    deep = enhance(toy_map(), network)
    about = deep.metadata[ENHANCEMENT]
    assert about["trained_on"] == SEEN["seen"]["train"] and about["input"] == "toy"
    write_contacts(deep, tmp_path / "deep.cool")
    write_contacts(thin(enhance(toy_map(), network, integer=True), 0.5, seed=0), tmp_path / "thin.mcool")
    for path in (tmp_path / "deep.cool", tmp_path / "thin.mcool"):
        assert open_contacts(path, RESOLUTION).metadata[ENHANCEMENT] == about


@pytest.mark.slow  # compiles for several batch sizes
def test_the_order_of_the_work_does_not_matter(network):
    shallow = toy_map()
    together = enhance(shallow, network)
    few = enhance(shallow, network, batch_size=3, chromosomes=["Chr1"])
    np.testing.assert_allclose(dense(few, "Chr1"), dense(together, "Chr1"), rtol=1e-4, atol=2e-3)
    params = enhance(shallow, network.params, network=network)
    np.testing.assert_array_equal(dense(params, "Chr1"), dense(together, "Chr1"))


def test_scaffolds_share_their_temporary_files(tmp_path):
    """A draft assembly has more of them than a process may open files."""
    one = toy_map().matrix("Chr2")
    names = [f"scaffold_{index}" for index in range(40)]
    shallow = ContactMap(dict.fromkeys(names, 20_000), RESOLUTION, {(name, name): one for name in names})
    before = len(os.listdir("/proc/self/fd"))
    same = enhance(shallow, echo(), integer=True, folder=tmp_path)
    assert len(os.listdir("/proc/self/fd")) - before < 10
    for name in (names[0], names[17], names[39]):
        np.testing.assert_array_equal(dense(same, name), one.toarray())


def test_a_chromosome_without_contacts_stays_empty(network):
    shallow = toy_map()
    only = ContactMap(CHROMSIZES, RESOLUTION, {("Chr1", "Chr1"): shallow.matrix("Chr1")})
    deep = enhance(only, network)
    assert deep.matrix("Chr2").nnz == 0
    assert deep.matrix("ChrM").shape == (6, 6)


def test_original_inference_written_out(tmp_path):
    """Published weights on the diagonal, against the rules of the original done the long way."""
    window, stride, bound = 32, 20, 20
    network = echo(published=True)
    network = dataclasses.replace(network, scaling=target_scaling("log1000"))
    shallow = toy_map()
    found = enhance(shallow, network, merge="original", bound=bound)
    for chrom in CHROMSIZES:
        upper = dense(shallow, chrom).astype(float)
        whole = np.pad(upper + np.triu(upper, 1).T, (0, max(window - len(upper), 0)))
        last = len(whole) - window
        starts = [*range(0, last, stride), last, last - stride]
        total, count = np.zeros((2, *whole.shape))
        for i in starts:
            for j in starts:
                if abs(i - j) > bound:
                    continue
                i, k = max(i, 0), max(j, 0)
                shown = whole[i : i + window, k : k + window].copy()
                if i == k:
                    np.fill_diagonal(shown, 0)
                output = np.log10(np.minimum(shown, 100) + 1) / math.log10(101) * math.log10(1 + CUTOFF)
                contacts = np.maximum(10 ** (output * math.log10(1001)) - 1, 0)
                contacts[shown == 0] = 0  # where rounding would leave a crumb
                for place, values in (((i, k), contacts), ((k, i), contacts.T)):
                    part = slice(place[0], place[0] + window), slice(place[1], place[1] + window)
                    total[part] += values
                    count[part] += values != 0
        mean = np.divide(total, count, out=np.zeros_like(total), where=count > 0)
        expected = np.triu(np.where(mean > 0.01, mean, 0))[: len(upper), : len(upper)]
        np.testing.assert_allclose(dense(found, chrom), expected, rtol=2e-3)


def test_dense_maps_are_shown_without_a_cutoff_to_published_weights():
    # More than one contact per bin and bp: intensity 1 is each window's maximum.
    network = echo(published=True)
    deep = toy_map(mean=20_000)
    assert deep.total_count / 126 / RESOLUTION > 1
    found = enhance(deep, network, merge="original")
    off = dense(found, "Chr1") * (1 - np.eye(100))
    # Every window's largest count comes back as CUTOFF, whatever it was.
    assert off.max() == pytest.approx(CUTOFF, rel=1e-3)


class Told(NullProgress):
    def __init__(self):
        self.total, self.done, self.lines = 0, 0, []

    def start(self, total):
        self.total = total

    def advance(self, windows, where=""):
        self.done += windows

    def say(self, line):
        self.lines.append(line)


def test_progress_counts_all_windows_and_odd_things_are_said(network):
    told = Told()
    balanced = toy_map(dtype=np.float64)
    matrices = {(chrom, chrom): balanced.matrix(chrom) * 0.37 for chrom in CHROMSIZES}
    enhance(ContactMap(CHROMSIZES, RESOLUTION, matrices), network, progress=told, target_contacts=10)
    assert told.done == told.total > 10
    assert len(told.lines) == 3
    for line, part in zip(
        told.lines,
        ("smoother map, not a deeper", "trained on inputs with 0.31% to 50.00%", "not whole"),
        strict=True,
    ):
        assert part in line


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"merge": "mean"}, "no merge 'mean'"),
        ({"dtype": "float16"}, "must be float32 or bfloat16"),
        ({"stride": 33}, "between 1 and the window's shorter side, 32"),
        ({"stride": 0}, "between 1 and"),
        ({"bound": 3}, "needs merge=original"),
        ({"bound": -1, "merge": "original"}, "0 or more"),
        ({"max_distance": 999}, "at least one bin, 1000 bp"),
        ({"target_contacts": 0}, "above 0"),
        ({"target_contacts": math.nan}, "above 0"),
        ({"chromosomes": ["Chr9"]}, "no chromosome 'Chr9'"),
        ({"batch_size": 0}, "1 or more"),
    ],
)
def test_values_out_of_range_are_refused(choices, message):
    with pytest.raises(InputError, match=message):
        enhance(toy_map(), echo(), **choices)


def test_what_cannot_be_enhanced_is_refused(network):
    with pytest.raises(InputError, match="has no contacts"):
        enhance(ContactMap(CHROMSIZES, RESOLUTION, {}), network)
    with pytest.raises(InputError, match="network=load_network"):
        enhance(toy_map(), {"encoder": {}})
    several = dataclasses.replace(network, total_counts={"leaf": 5e6, "root": 1e6})
    with pytest.raises(
        InputError, match=r"leaf \(5,000,000\), root \(1,000,000\): choose with target_contacts"
    ):
        enhance(toy_map(), several)
    with pytest.raises(InputError, match="not finite"):
        enhance(toy_map(), jax.tree.map(lambda leaf: leaf * np.nan, network.params), network=network)


PROGRAM = """
import json, sys
import jax
from hicfm_jax.infer import enhance
from tests.infer.toy_networks import toy_map

deep = enhance(toy_map(), sys.argv[1], batch_size=3)
print(json.dumps([jax.device_count(), deep.matrix("Chr1").toarray().ravel().tolist()]))
"""


@pytest.mark.slow  # a process with eight devices, which compiles for them
def test_eight_devices_give_the_same_map_as_one(checkpoint, network):
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "XLA_FLAGS": os.environ["XLA_FLAGS"] + " --xla_force_host_platform_device_count=8",
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(checkpoint)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    devices, values = json.loads(done.stdout.splitlines()[-1])
    assert devices == 8
    expected = dense(enhance(toy_map(), network), "Chr1")
    np.testing.assert_allclose(np.reshape(values, (100, 100)), expected, rtol=1e-4, atol=2e-3)


def test_chromosomes_share_batches_and_a_program(monkeypatch):
    """Of all windows of a draft assembly, only the last batch is filled up with empty ones."""
    sizes = {f"scaffold_{index}": 1000 * (20 + 7 * (index % 5)) for index in range(21)}
    rng, batches = np.random.default_rng(0), []
    counts = {name: np.triu(rng.integers(1, 9, 2 * (-(-size // 1000),))) for name, size in sizes.items()}
    shallow = ContactMap(
        sizes, RESOLUTION, {(name, name): scipy.sparse.csr_array(each) for name, each in counts.items()}
    )
    scan._program.cache_clear()
    build = scan._program

    def counted(*arguments):
        program = build(*arguments)

        def apply(params, depth, windows, context):
            batches.append(windows.shape)
            values = program(params, depth, windows, context)
            assert program._cache_size() == 1
            return values

        return apply

    monkeypatch.setattr(scan, "_program", counted)
    told = Told()
    same = enhance(shallow, echo(), integer=True, progress=told)
    assert told.done == told.total > 2 * len(sizes)
    assert batches == [(8, 32, 32)] * -(-told.total // 8)
    for name, expected in counts.items():
        np.testing.assert_array_equal(dense(same, name), expected)
