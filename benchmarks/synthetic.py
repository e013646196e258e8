"""Random maps and tiles of a given density, for benchmarks: `synthetic:0.12`."""

import contextlib
import pathlib
import tempfile
from collections.abc import Iterator

import numpy as np
import scipy.sparse

from hicfm_jax.contacts import ContactMap
from hicfm_jax.errors import InputError
from hicfm_jax.tiles.build import builder

_DEEP = 200.0  # contacts in a pixel of a synthetic map of density 1


def parse_density(text: str) -> float | None:
    """The density of `synthetic:DENSITY`; None for other text, such as a file.

    Raises:
      InputError: DENSITY is not a number in (0, 1].
    """
    kind, found, number = text.partition(":")
    if not found or kind != "synthetic":
        return None
    try:
        density = float(number)
    except ValueError:
        raise InputError(f"{text} has no density: write synthetic:0.12 for 12 %.") from None
    if not 0 < density <= 1:
        raise InputError(f"density is {density}, expected a fraction of pixels above 0, up to 1.")
    return density


@contextlib.contextmanager
def tiles_folder(text: str, tile_shape: tuple[int, int]) -> Iterator[str | pathlib.Path]:
    """The folder `text`; for `synthetic:DENSITY` a temporary one of random tiles.

    Args:
      text: a folder of tiles, or `synthetic:DENSITY`.
      tile_shape: (H, W) in bins of random tiles.

    Raises:
      InputError: as `parse_density`.
    """
    density = parse_density(text)
    if density is None:
        yield text
        return
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "tiles"
        builder.build_tiles(
            {"synthetic": synthetic_map(density, 5 * max(tile_shape))},
            path,
            tile_size=tile_shape,
            stride=max(1, min(tile_shape) // 4),
            min_density=0.0,
        )
        yield path


def synthetic_map(density: float, n_bins: int) -> ContactMap:
    """Poisson counts that fall off with distance, on one chromosome of `n_bins` bins of 1 kb.

    Args:
      density: fraction of non-zero pixels, above 0; at 1, there are 200 contacts in a pixel.
      n_bins: several matrices of `[n_bins, n_bins]` have to fit in memory.
    """
    distance = np.abs(np.subtract.outer(np.arange(n_bins), np.arange(n_bins)))
    decay = (1.0 + distance) ** -0.9
    low, high = 0.0, _DEEP / decay.mean()
    if density < 1:
        while high - low > 1e-3 * high:  # the density grows with the depth
            middle = (low + high) / 2
            low, high = (middle, high) if (-np.expm1(-middle * decay)).mean() < density else (low, middle)
    counts = np.random.default_rng(0).poisson(np.triu(high * decay))
    return ContactMap(
        {"1": 1000 * n_bins}, 1000, {("1", "1"): scipy.sparse.csr_array(counts)}, name="synthetic"
    )
