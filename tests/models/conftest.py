"""One compiled forward pass per model, shared by the tests of this folder."""

import functools

import jax
import numpy as np
import pytest

from hicfm_jax.models import create_model, preprocess
from tests.models.drawn import draw_params


@pytest.fixture(scope="session")
def forward():
    """`forward(task, **options)`: `model.apply` of the golden size, compiled once for its arguments."""

    @functools.cache
    def compiled(task="pretrain", **options):
        return jax.jit(create_model("vit_test", (64, 96), task, **options).apply)

    return compiled


@pytest.fixture(scope="session")
def predict(forward):
    """`predict(task, **options)`: output for three windows of random counts, with random parameters."""
    rng = np.random.default_rng(0)
    images = np.asarray(jax.jit(preprocess.normalize)(rng.poisson(5, (3, 64, 96)).astype(np.uint16)))
    count, noise = np.full(3, 1e9, np.float32), rng.random((3, 4, 6), np.float32)

    @functools.cache
    def params(task):
        return draw_params(create_model("vit_test", (64, 96), task), (64, 96))

    def run(task="pretrain", images=images, **options):
        apply = forward(task, **options)
        if task == "pretrain":
            return apply({"params": params(task)}, images, noise=noise)
        return apply({"params": params(task)}, images, count)

    return run
