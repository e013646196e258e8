"""A training step computes the same with the fusions of `hicfm_jax.xla_flags` as without any."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hicfm_jax import config as config_lib
from hicfm_jax import xla_flags
from hicfm_jax.batch import Batch
from hicfm_jax.train.tasks import create_task
from hicfm_jax.types import PATCH
from tests.models.test_smoothing import chromosome, context_of

SIZE = (48, 48)
EXAMPLES = 2

# What each task takes of the targets that `_batch` makes.
TASKS = {
    "pretrain": (),
    "finetune": ("map", "track", "embedding"),
    "resolution": ("deep", "kept"),
    "epigenome": ("tracks",),
}
# What users get, and the plainest program. These options win over the flags of this process.
OURS = {xla_flags.FLAG: xla_flags.FUSIONS, "xla_backend_optimization_level": "3"}
PLAIN = {xla_flags.FLAG: "", "xla_backend_optimization_level": "0"}


def _batch(names) -> Batch:
    """Windows on and off the diagonal, thinned to a quarter, and targets."""
    rng = np.random.default_rng(0)
    _, counts = chromosome(4 * SIZE[0])
    columns = [0, 2 * SIZE[0]]
    deep = np.stack([counts[: SIZE[0], column : column + SIZE[1]] for column in columns])
    contexts = [context_of(counts, 0, column, SIZE)[1] for column in columns]

    targets = {
        "deep": deep,
        "kept": np.full(EXAMPLES, 0.25),
        "map": rng.random(deep.shape),
        "track": rng.random((EXAMPLES, SIZE[0])),
        "tracks": rng.random((EXAMPLES, 6, SIZE[0])),
        "embedding": rng.normal(size=(EXAMPLES, 16)),
    }
    counts = rng.binomial(deep, 0.25).astype(np.float32)
    return Batch(
        counts=counts,
        total_count=np.array([1e5, 1e8], np.float32),
        diag=np.array(columns, np.int32) // PATCH,
        matrix_count=counts.sum((1, 2)),
        mask=np.ones(EXAMPLES, np.float32),
        targets={name.replace("tracks", "track"): targets[name].astype(np.float32) for name in names},
        context={name: jnp.concatenate([context[name] for context in contexts]) for name in contexts[0]},
    )


def _draw(init):
    """Parameters that no layer ignores: the model's own start some heads at zero."""
    random = np.random.default_rng(0)

    def draw(path, leaf):
        scale = np.prod(leaf.shape[:-1]) ** -0.5 if path[-1].key == "kernel" else 0.1
        return random.normal(path[-1].key == "scale", scale, leaf.shape).astype(np.float32)

    return jax.tree_util.tree_map_with_path(draw, jax.eval_shape(init, jax.random.key(0)))


def _step(task: str, residual: str):
    """(loss function, parameters, batch) of a training step."""
    config = config_lib.base_config()
    config.task, config.model.name, config.model.input_size = task, "vit_test", SIZE
    config.model.update({"residual": residual, "pixel_width": 4, "pixel_depth": 1, "bin_heads": 2})
    config.model.transformer = residual == "none"  # the other cases have one
    config.targets.map_scaling = "none" if residual == "none" else "log10"
    batch = _batch(TASKS[task])
    made = create_task(config, {name: value.shape[1:] for name, value in batch.targets.items()})
    return lambda params, batch, keys: made.loss(params, batch, keys)[0], _draw(made.init), batch


# The other heads are parts of "finetune", or one more layer of the same kind.
@pytest.mark.slow  # each case compiles a step twice, with full effort
@pytest.mark.parametrize("case", ["pretrain", "finetune", "epigenome", "pixel path"])
def test_loss_and_gradients_are_those_without_fusions(case):
    loss, params, batch = _step(*("resolution", "coverage") if case == "pixel path" else (case, "none"))
    keys = jax.random.split(jax.random.key(1), EXAMPLES)
    lowered = jax.jit(jax.value_and_grad(loss)).lower(params, batch, keys)
    ours, plain = (lowered.compile(compiler_options=options) for options in (OURS, PLAIN))
    assert "__ynn_fusion" not in plain.as_text()
    (value, gradients), (expected, truth) = (compiled(params, batch, keys) for compiled in (ours, plain))
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    largest = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(truth))
    assert 0 < largest < np.inf
    for (path, leaf), found in zip(
        jax.tree_util.tree_leaves_with_path(truth), jax.tree.leaves(gradients), strict=True
    ):
        # The pixel path's averages over alike bins have gradients far below the others. There float32 misses
        # float64 by up to 1e-4 of a gradient, fusions or not, so they count as a part of the largest.
        size = max(float(jnp.abs(leaf).max()), 1e-4 * largest)
        np.testing.assert_allclose(found, leaf, rtol=0, atol=1e-5 * size, err_msg=jax.tree_util.keystr(path))
