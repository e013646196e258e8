"""Small maps, and networks whose answer is known beforehand or that are small and untrained."""

import json
import math

import flax.linen as nn
import numpy as np
import scipy.sparse

from configs import enhance_arabidopsis
from hicfm_jax.checkpoints import folder
from hicfm_jax.checkpoints.parameters import parameter_shapes
from hicfm_jax.contacts import ContactMap
from hicfm_jax.infer import Network
from hicfm_jax.models import HeadOutput
from hicfm_jax.models.preprocess import denormalize, target_scaling
from hicfm_jax.models.presets import head_options

CHROMSIZES = {"Chr1": 99_500, "Chr2": 20_000, "ChrM": 5_300}  # 100, 20 and 6 bins of 1 kb
RESOLUTION = 1000
CUTOFF = 1000.0


def toy_map(seed: int = 0, mean: float = 20.0, trans: int = 0, dtype=np.int64) -> ContactMap:
    """Counts that fall with distance, dense near the diagonal; `trans` contacts between Chr1 and Chr2."""
    rng, matrices = np.random.default_rng(seed), {}
    for chrom, length in CHROMSIZES.items():
        n = -(-length // RESOLUTION)
        distance = np.abs(np.subtract.outer(np.arange(n), np.arange(n)))
        counts = np.triu(rng.poisson(mean / (1 + distance) ** 0.5))
        matrices[chrom, chrom] = scipy.sparse.csr_array(counts.astype(dtype))
    if trans:
        matrices["Chr1", "Chr2"] = scipy.sparse.coo_array(([trans], ([3], [5])), (100, 20)).tocsr()
    return ContactMap(CHROMSIZES, RESOLUTION, matrices, "toy")


class Echo(nn.Module):
    """Gives back, as log10(1 + x), the counts that the image was made of, and so enhances nothing."""

    input_size: tuple[int, int] = (32, 32)
    task: str = "resolution"
    residual: str = "none"

    def __call__(self, images, total_count=None):
        shown = 1.0 - denormalize(images)[..., 1]
        return HeadOutput(map=shown * math.log10(1 + CUTOFF))


def echo(window: tuple[int, int] = (32, 32), **fields) -> Network:
    """A network that gives back its input."""
    return Network(Echo(window), {}, target_scaling("log10"), cutoff=CUTOFF, **fields)


def write_checkpoint(
    path,
    task: str = "resolution",
    residual: str = "coverage",
    tracks=(),
    dispersion=False,
    window=(32, 32),
    **meta,
):
    """Writes an untrained checkpoint of the smallest model, as training does."""
    config = enhance_arabidopsis.get_config("demo")
    config.data.thin = (1 / 320, 1 / 2)
    config.task, config.model.residual, config.model.tracks = task, residual, tracks
    config.model.dispersion = dispersion
    config.model.name, config.model.input_size = "vit_test", window
    config = json.loads(json.dumps(config.to_dict()))
    arguments = "vit_test", window, task
    options = head_options(config["model"])
    # Drawn by numpy, which spares compiling a program that draws them.
    rng = np.random.default_rng(0)
    params = {
        path: rng.normal(0, 0.02, shape).astype(np.float32)
        for path, shape in parameter_shapes(*arguments, **options).items()
    }
    folder.write(path, 7, params, None, {"config": config, **meta})
    return path


SEEN = {"seen": {"train": {"deep": ["Chr1"]}, "val": {"deep": ["Chr2"]}}, "total_counts": {"deep": 80_000.0}}
"""What a run says of the data it was trained on."""
