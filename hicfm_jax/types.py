"""Types and constants shared by all parts of the package.

Dimension letters in shapes: B examples in a batch, H and W bins (pixels) of a window, h and w
patches of a window (h = H / 16), L = h * w patches, D channels of a token.
"""

from typing import Any

Array = Any  # numpy on the host, jax.Array on a device

PATCH = 16
"""Side of a patch in bins; fixed by the published weights."""

NO_DIAGONAL = 1 << 20
"""Diagonal offset of trans windows, which have no main diagonal."""

DEFAULT_TOTAL_COUNT = 1e9
"""Reads of an experiment whose depth is unknown (original: `convert_count_to_pos_embed_cuda`)."""
