"""Parity of ViT-L with the PyTorch reference: python -m tests.models.full_size (2 minutes, 6 GB).

Prints the largest absolute difference of each output of ViT-L on a 224 x 224 window, float32, with
random weights; exits with status 1 if one is above 1e-4.
"""

import sys

import jax
import numpy as np
import torch

from hicfm_jax.models import PRESETS, create_model
from tests import reference_torch
from tests.models.original_names import head_to_ours

NAME, SIZE = "vit_large_patch16", (224, 224)


def main() -> int:
    reference = reference_torch.randomize(
        reference_torch.Head("finetune", (SIZE[0] // 16, SIZE[1] // 16), **PRESETS[NAME]), seed=0
    )
    images = np.random.default_rng(0).normal(size=(1, *SIZE, 3)).astype(np.float32)
    count = np.array([2e8], np.float32)
    with torch.no_grad():
        stated = reference(torch.tensor(images.transpose(0, 3, 1, 2)), torch.tensor(count))
    params = head_to_ours({name: value.numpy() for name, value in reference.state_dict().items()})
    model = create_model(NAME, SIZE, "finetune")
    output = jax.jit(model.apply)({"params": params}, images, count)
    differences = {}
    for field, value in stated.items():
        differences[field] = float(np.abs(np.asarray(getattr(output, field)) - value.numpy()).max())
        print(f"{field}: {differences[field]:.1e} of {float(value.abs().max()):.2f}")
    return int(not max(differences.values()) < 1e-4)


if __name__ == "__main__":
    sys.exit(main())
