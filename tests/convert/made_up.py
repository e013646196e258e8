"""Files as the original writes them, with random weights of the smallest model."""

import argparse
import pathlib

import numpy as np

from hicfm_jax.checkpoints.parameters import parameter_shapes
from hicfm_jax.convert import names, optimizer
from hicfm_jax.models.vit import sincos_2d

SIZE = (64, 96)
GRID = (4, 6)


def state_dict(task: str = "pretrain", model: str = "vit_test", seed: int = 0, size=SIZE) -> dict:
    """A state_dict of the original's model for a task, as tensors."""
    import torch

    rng, grid = np.random.default_rng(seed), (size[0] // 16, size[1] // 16)
    state = {}
    for path, shape in parameter_shapes(model, size, task).items():
        value = rng.normal(0, 0.1, names.original_shape(path, shape)).astype(np.float32)
        state[names.original_name(path, task)] = value
    if task == "pretrain":
        state["pos_embed"] = sincos_2d(*grid, state["norm.weight"].size, class_token=True)[None]
        state["decoder_pos_embed"] = sincos_2d(*grid, state["decoder_norm.weight"].size)[None]
    else:
        if task == "epigenome":
            state["decoder_pos_embed_new"] = sincos_2d(*grid, state["decoder_norm.weight"].size)[None]
        width = state["vit_backbone.norm.weight"].size
        state["vit_backbone.head.weight"] = np.zeros((1000, width), np.float32)
        state["vit_backbone.head.bias"] = np.zeros(1000, np.float32)
        for leaf in ("weight", "bias"):
            state[f"patch_embed.proj.{leaf}"] = state[f"vit_backbone.patch_embed.proj.{leaf}"]
    return {name: torch.from_numpy(state[name]) for name in sorted(state, key=names.original_order)}


def tensor(values):
    """A tensor of floats with these values."""
    import torch

    return torch.tensor(values, dtype=torch.float32)


def trained(steps: int = 7, seed: int = 0) -> dict:
    """A whole pretraining checkpoint: model, optimizer with moments, epoch, scaler, args."""
    import torch

    model = state_dict(seed=seed)
    groups = optimizer.numbered(parameter_shapes("vit_test", SIZE, "pretrain"))
    named = [[names.original_name(path, "pretrain") for path in group] for group in groups]
    adam = torch.optim.AdamW(
        [
            {"params": [torch.nn.Parameter(model[name].clone()) for name in part], "weight_decay": decay}
            for part, decay in zip(named, (0.0, 0.05), strict=True)
        ],
        lr=1e-3,
        betas=(0.9, 0.95),
    )
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        for group in adam.param_groups:
            for parameter in group["params"]:
                parameter.grad = torch.randn(parameter.shape, generator=generator)
        adam.step()
    for part, group in zip(named, adam.param_groups, strict=True):
        model |= {name: p.detach() for name, p in zip(part, group["params"], strict=True)}
    return {
        "model": model,
        "optimizer": adam.state_dict(),
        "epoch": 3,
        "scaler": {"scale": 1024.0},
        "args": argparse.Namespace(input_row_size=64, input_col_size=96, betas=(0.9, 0.95)),
    }


def save(content: dict, folder: pathlib.Path, name: str = "weights.pth.tar", **options) -> pathlib.Path:
    """Writes a file as the original does."""
    import torch

    torch.save(content, folder / name, **options)
    return folder / name
