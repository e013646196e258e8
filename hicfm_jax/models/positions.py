"""Fixed position tables and the token that tells the network how deep the experiment is."""

import jax.numpy as jnp
import numpy as np

from hicfm_jax.types import DEFAULT_TOTAL_COUNT, Array


def sincos_1d(positions: np.ndarray, dim: int) -> np.ndarray:
    """Sine-cosine code of scalar positions: `[N]` -> `[N, dim]`, float32, [sin, cos] halves."""
    omega = 1.0 / 10000 ** (np.arange(dim // 2, dtype=np.float32) / np.float32(dim / 2))
    angle = np.asarray(positions, np.float32)[:, None] * omega.astype(np.float32)[None, :]
    return np.concatenate([np.sin(angle), np.cos(angle)], axis=1)


def sincos_2d(height: int, width: int, dim: int, class_token: bool = False) -> np.ndarray:
    """Position table of a grid of patches in the order of the original.

    Args:
      height, width: grid size in patches.
      dim: channels D, a multiple of 4.
      class_token: put a zero row for the class token first.

    Returns:
      `[h * w (+ 1), D]` float32, patches row-major. The first half of the channels codes the
      column, the second half the row (He et al. 2022; original: `get_2d_sincos_pos_embed_rectangle`).
    """
    rows, columns = np.divmod(np.arange(height * width), width)
    table = np.concatenate([sincos_1d(columns, dim // 2), sincos_1d(rows, dim // 2)], axis=1)
    return np.concatenate([np.zeros((1, dim), np.float32), table]) if class_token else table


def table_init(key: Array, height: int, width: int, dim: int, class_token: bool = False) -> Array:
    """`sincos_2d` as what a parameter `[1, h * w (+ 1), D]` starts from; draws nothing from `key`."""
    return jnp.asarray(sincos_2d(height, width, dim, class_token))[None]


def count_token(total_count: Array | None, batch: int, dim: int) -> Array:
    """Token for the depth of each experiment (original: `convert_count_to_pos_embed_cuda`).

    Args:
      total_count: contacts of the whole experiment `[B]`, or None where unknown (1e9 is taken).
      batch: B.
      dim: channels D.

    Returns:
      `[B, D]` float32. The exponent of the frequencies is i / (2 D), not i / (D / 2): published
      weights depend on it.
    """
    if total_count is None:
        total_count = jnp.full((batch,), DEFAULT_TOTAL_COUNT)
    omega = 1.0 / 10000 ** (np.arange(dim // 2, dtype=np.float32) / np.float32(2 * dim))
    angle = jnp.log10(jnp.asarray(total_count, jnp.float32))[:, None] * omega.astype(np.float32)
    return jnp.concatenate([jnp.sin(angle), jnp.cos(angle)], axis=1) + 1.0
