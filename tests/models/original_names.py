"""Parameters of the original's pretraining model under this project's names."""

import numpy as np


def _put(tree, path, value):
    *folders, leaf = path.split("/")
    for folder in folders:
        tree = tree.setdefault(folder, {})
    tree[leaf] = value


def _leaf(name: str, value: np.ndarray) -> tuple[str, np.ndarray]:
    if name == "weight":
        return ("kernel", value.T) if value.ndim == 2 else ("scale", value)
    return name, value


def to_ours(state: dict[str, np.ndarray]) -> dict:
    """Converts a state_dict of arrays (or gradients) of the pretraining model; fixed tables are left out."""
    tree: dict = {}
    for name, value in state.items():
        if name.endswith("pos_embed"):
            continue
        parts = name.split(".")
        side = "decoder" if parts[0].startswith(("decoder", "mask_token")) else "encoder"
        if name in ("cls_token", "mask_token"):
            _put(tree, f"{side}/{name}", value)
        elif parts[0] == "patch_embed":
            if parts[-1] == "weight":
                value = value.transpose(2, 3, 1, 0).reshape(-1, value.shape[0])
            _put(tree, f"encoder/patch_embed/{'kernel' if parts[-1] == 'weight' else 'bias'}", value)
        elif parts[0] in ("blocks", "decoder_blocks"):
            leaf, value = _leaf(parts[-1], value)
            _put(tree, "/".join([side, "blocks", f"block_{parts[1]}", *parts[2:-1], leaf]), value)
        else:
            leaf, value = _leaf(parts[-1], value)
            place = {
                "norm": "encoder/norm",
                "decoder_embed": "decoder/embed",
                "decoder_norm": "decoder/norm",
                "decoder_pred": "pixel_head",
                "decoder_count": "count_head",
            }[parts[0]]
            _put(tree, f"{place}/{leaf}", value)
    return tree
