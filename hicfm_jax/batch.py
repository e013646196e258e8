"""What a training step gets; not in `types`, so that processes that build tiles need not import Flax."""

from collections.abc import Mapping

import flax.struct

from hicfm_jax.types import Array


@flax.struct.dataclass
class Batch:
    """One batch of Hi-C windows on the host: raw counts, one channel, no images.

    Attributes:
      counts: raw contacts `[B, H, W]`, uint16 or float32.
      total_count: contacts of each window's whole experiment, `[B]` float32.
      diag: where the map's main diagonal enters the window, in patches, `[B]` int32: at (row 0, column d)
        if d >= 0, at (row -d, column 0) if d < 0; with |d| >= max(h, w) it does not cross the window.
        `NO_DIAGONAL` for trans windows.
      matrix_count: contacts in the whole stored tile of each window, `[B]` float32.
      mask: 1 for an example, 0 for padding of a last batch, `[B]` float32.
      targets: of fine-tuning, by name; empty in pretraining.
      context: chromosome-level covariates of each window, float32, by name: `row_bias` and `row_coverage`
        `[B, H]`, `column_bias` and `column_coverage` `[B, W]`, `decay` `[B, H + W - 1]` (see
        `contacts.expected.Expected.window`); empty where the tiles have none.
    """

    counts: Array
    total_count: Array
    diag: Array
    matrix_count: Array
    mask: Array
    targets: Mapping[str, Array] = flax.struct.field(default_factory=dict)
    context: Mapping[str, Array] = flax.struct.field(default_factory=dict)
