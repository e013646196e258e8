"""Validation metrics of fine-tuned heads: extremes, padding and sums over batches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hicfm_jax.batch import Batch
from hicfm_jax.tiles.stream.shallow_windows import Thinning
from hicfm_jax.train.metrics import finetune_metrics
from hicfm_jax.train.metrics.references import map_baselines
from hicfm_jax.train.tasks.finetune_task import coverage_track, distance_profile, target_panels
from tests.train import small_run

COUNTS = small_run.make_tiles(6, 0).counts[:, :48, :48].astype(np.uint16)
DIAG = jnp.zeros(6, jnp.int32)
LOGS = np.log10(1.0 + COUNTS).astype(np.float32)
SUMS = jax.jit(finetune_metrics.map_sums)
BASELINES = jax.jit(map_baselines)


def _finish(sums):
    return finetune_metrics.finish({name: float(value) for name, value in sums.items()})


def _scores(predicted, inside=None):
    inside = np.ones_like(LOGS) if inside is None else inside
    return _finish(SUMS({"map": predicted}, LOGS, inside, DIAG))


def test_a_perfect_map():
    scores = _scores(LOGS)
    assert scores["map_mse"] == 0 and scores["map_r"] == pytest.approx(1)
    assert scores["map_r_distance"] == pytest.approx(1)


def test_a_map_of_distance_decay_alone_has_no_correlation_beyond_distance():
    distance = np.abs(np.subtract.outer(np.arange(48), np.arange(48)))
    scores = _scores(np.broadcast_to(-np.log10(1.0 + distance), LOGS.shape).astype(np.float32))
    assert scores["map_r"] > 0.5 and abs(scores["map_r_distance"]) < 0.01


def test_batches_add_up_and_padding_does_not_count():
    rng = np.random.default_rng(0)
    predicted = LOGS + rng.normal(0, 0.3, LOGS.shape).astype(np.float32)
    whole = _scores(predicted)
    padded, rest = np.ones_like(LOGS), np.ones_like(LOGS)
    padded[4:], rest[:4] = 0, 0
    halves = [SUMS({"map": predicted}, LOGS, inside, DIAG) for inside in (padded, rest)]
    added = _finish({name: halves[0][name] + halves[1][name] for name in halves[0]})
    assert added == pytest.approx(whole, rel=1e-5)
    nonsense = predicted.copy()
    nonsense[4:] = 1e3
    assert _scores(nonsense, padded) == pytest.approx(_scores(predicted, padded))


def test_a_deeper_input_is_better_and_smoothing_helps_a_shallow_one():
    batch = Batch(COUNTS, np.ones(6), np.zeros(6, np.int32), np.ones(6), np.ones(6))
    scores = {}
    for share in (1 / 16, 1 / 2):
        shallow = next(Thinning(share, share, seed=0).train(iter([batch])))
        maps = BASELINES(shallow.counts, shallow.targets["kept"])
        maps = {name: np.log10(1.0 + counts) for name, counts in maps.items()}
        scores[share] = _finish(SUMS(maps, LOGS, np.ones_like(LOGS), DIAG))
    assert scores[1 / 2]["input_r"] > scores[1 / 16]["input_r"] + 0.1
    assert scores[1 / 2]["input_mse"] < scores[1 / 16]["input_mse"]
    assert scores[1 / 16]["smoothed_r"] > scores[1 / 16]["input_r"]


def test_smoothing_keeps_a_flat_map_flat_to_its_edges():
    flat = map_baselines(jnp.full((1, 32, 48), 3), jnp.array([0.5]))["smoothed"]
    np.testing.assert_allclose(flat, 6, rtol=1e-6)


def test_calls_are_scored_by_f1():
    true, called = np.zeros((1, 4, 4)), np.zeros((1, 4, 4))
    true[0, 0], called[0, :2, :2] = 1.0, 0.9
    sums = jax.jit(finetune_metrics.call_sums)(called, true, np.ones_like(true))
    assert _finish(sums)["call_f1"] == pytest.approx(0.5)  # 2 of 4 called, 2 of 4 found


def test_six_tracks_are_scored_one_by_one():
    rng = np.random.default_rng(0)
    true = rng.normal(size=(2, 2, 48)).astype(np.float32)
    predicted = np.stack([true[:, 0], -true[:, 1]], axis=1)
    sums = jax.jit(finetune_metrics.track_sums, static_argnums=3)
    scores = _finish(sums(predicted, true, np.ones(2, np.float32), ("CTCF", "ATAC-seq")))
    assert scores["track_CTCF_r"] == pytest.approx(1) and scores["track_ATAC-seq_r"] == pytest.approx(-1)


def test_targets_derived_from_the_map():
    track = coverage_track(COUNTS)
    np.testing.assert_allclose(track, np.log10(1 + COUNTS.mean(axis=2)), rtol=1e-5)
    profile = jax.jit(distance_profile, static_argnums=2)(COUNTS, DIAG, 16)
    assert profile.shape == (6, 16) and (profile[:, 0] > profile[:, 4]).all()
    # Distances of a window on the diagonal fill half of the classes.
    assert (profile[:, 7] > 0).all() and not profile[:, 8:].any()


def test_panels_share_the_range_of_the_target():
    panels = jax.jit(target_panels, static_argnums=2)
    predicted, true = panels(2 * LOGS, LOGS, (48, 48))
    assert float(true.max()) == pytest.approx(1) and float(predicted.max()) > 1.5
    bars = panels(np.ones((1, 48), np.float32), np.full((1, 48), 2, np.float32), (48, 64))
    assert [int((bar > 0).sum(axis=2)[0, 0]) for bar in bars] == [32, 64]
