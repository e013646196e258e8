"""PyTorch reference of the published architecture, for parity tests.

Modules carry the parameter names of the original's files, so a `state_dict` of either loads into the
other. Written for reading: formulas about one patch are loops. What a step spends its time on is as fast as
in the original, so that `benchmarks/` can compare with it. Images are `[B, 3, H, W]`, tokens `[B, N, D]`:
class, count, patches (row-major).
"""

import math

import torch
from torch import nn

PATCH = 16
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def position_table(grid: tuple[int, int], dim: int) -> torch.Tensor:
    """`[h * w, D]`: [sin, cos] of the column, then [sin, cos] of the row, D / 4 frequencies each."""
    omega = 10000 ** (-torch.arange(dim // 4, dtype=torch.float64) / (dim // 4))

    def code(place: int) -> torch.Tensor:
        return torch.cat([torch.sin(place * omega), torch.cos(place * omega)])

    rows = [torch.cat([code(column), code(row)]) for row in range(grid[0]) for column in range(grid[1])]
    return torch.stack(rows).float()


def depth_token(total_count: torch.Tensor, dim: int) -> torch.Tensor:
    """`[B]` contacts -> `[B, D]`; the exponent's denominator is 2 D, and 1 is added."""
    omega = 10000 ** (-torch.arange(dim // 2, dtype=torch.float64) / (2 * dim))
    angle = torch.log10(total_count.double())[:, None] * omega
    return (torch.cat([torch.sin(angle), torch.cos(angle)], dim=1) + 1).float()


def mirrored_noise(noise: torch.Tensor, diag: int) -> torch.Tensor:
    """One window's `[h, w]`: a patch whose mirror lies inside gets the sum of both draws."""
    height, width = noise.shape
    summed = noise.clone()
    for row in range(height):
        for column in range(width):
            mirror = (column - diag, row + diag)
            if 0 <= mirror[0] < height and 0 <= mirror[1] < width:
                summed[row, column] = noise[row, column] + noise[mirror]
    return summed


def tile(patches: torch.Tensor, grid: tuple[int, int], channels: int) -> torch.Tensor:
    """`[B, L, 16 * 16 * C]` (row, column, channel inside a patch) -> `[B, C, H, W]`."""
    cells = patches.unflatten(1, grid).unflatten(-1, (PATCH, PATCH, channels))
    return cells.permute(0, 5, 1, 3, 2, 4).flatten(4, 5).flatten(2, 3)


class Attention(nn.Module):
    fused = False  # by PyTorch's own kernel, without the matrix of weights

    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x):
        query, key, value = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in self.qkv(x).chunk(3, dim=-1)
        )
        if self.fused:
            attended = nn.functional.scaled_dot_product_attention(query, key, value)
            return self.proj(attended.transpose(1, 2).flatten(2))
        weights = torch.softmax(query / math.sqrt(query.shape[-1]) @ key.transpose(-1, -2), dim=-1)
        return self.proj((weights @ value).transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    def __init__(self, dim: int):
        super().__init__()
        self.fc1 = nn.Linear(dim, 4 * dim)
        self.fc2 = nn.Linear(4 * dim, dim)

    def forward(self, x):
        return self.fc2(nn.functional.gelu(self.fc1(x)))


class Block(nn.Module):
    def __init__(self, dim: int, heads: int, eps: float):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps)
        self.attn = Attention(dim, heads)
        self.norm2 = nn.LayerNorm(dim, eps)
        self.mlp = Mlp(dim)

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class PatchEmbedding(nn.Module):
    def __init__(self, dim: int):
        super().__init__()
        self.proj = nn.Conv2d(3, dim, PATCH, stride=PATCH)

    def forward(self, images):
        return self.proj(images).flatten(2).transpose(1, 2)


class Encoder(nn.Module):
    """Class, count and (kept) patch tokens through the encoder and its final norm."""

    def __init__(self, grid: tuple[int, int], dim: int, depth: int, heads: int):
        super().__init__()
        table = torch.cat([torch.zeros(1, dim), position_table(grid, dim)])
        self.dim, self.grid = dim, grid
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(table[None])
        self.patch_embed = PatchEmbedding(dim)
        self.blocks = nn.ModuleList(Block(dim, heads, 1e-6) for _ in range(depth))
        self.norm = nn.LayerNorm(dim, 1e-6)

    def encode(self, images, total_count, keep=None):
        batch = len(images)
        if total_count is None:
            total_count = torch.full((batch,), 1e9)
        # Neither class nor count token gets a row of the position table.
        patches = self.patch_embed(images) + self.pos_embed[:, 1:]
        if keep is not None:
            patches = patches.take_along_dim(keep[:, :, None], dim=1)
        count = depth_token(total_count, self.dim)[:, None]
        x = torch.cat([self.cls_token.expand(batch, -1, -1), count, patches], dim=1)
        for block in self.blocks:
            x = block(x)
        return self.norm(x)


def place(tokens: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
    """Input of the decoder's blocks: + 1 on the count token, a position on every patch."""
    return torch.cat([tokens[:, :1], tokens[:, 1:2] + 1, tokens[:, 2:] + table], dim=1)


class Pretraining(Encoder):
    """The masked autoencoder; its encoder's names stand at the top level."""

    def __init__(self, grid, dim, depth, heads, decoder_dim, decoder_depth, decoder_heads):
        super().__init__(grid, dim, depth, heads)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, decoder_dim))
        self.decoder_pos_embed = nn.Parameter(position_table(grid, decoder_dim)[None], requires_grad=False)
        self.pos_embed.requires_grad = False
        self.decoder_embed = nn.Linear(dim, decoder_dim)
        self.decoder_blocks = nn.ModuleList(
            Block(decoder_dim, decoder_heads, 1e-6) for _ in range(decoder_depth)
        )
        self.decoder_norm = nn.LayerNorm(decoder_dim, 1e-6)
        self.decoder_pred = nn.Linear(decoder_dim, PATCH * PATCH * 3)
        self.decoder_count = nn.Linear(decoder_dim, 1)

    def forward(self, images, total_count, diag, noise, mask_ratio=0.75):
        """`diag` and `noise` `[B, h, w]` as of the Flax model; gives patch_pred, count_pred, token_mask."""
        return self.reconstruct(images, total_count, self.visible(noise, diag, mask_ratio))

    def visible(self, noise, diag, mask_ratio=0.75):
        """Indices of the patches that are not hidden, `[B, K]`."""
        summed = torch.stack([mirrored_noise(noise[b], int(diag[b])) for b in range(len(noise))])
        order = torch.argsort(summed.flatten(1), dim=1, stable=True)
        return order[:, : int(order.shape[1] * (1 - mask_ratio))]

    def reconstruct(self, images, total_count, keep):
        """As `forward`, of the visible patches `keep`."""
        batch, length = len(images), self.grid[0] * self.grid[1]
        latent = self.decoder_embed(self.encode(images, total_count, keep))
        places = keep[:, :, None].expand(-1, -1, latent.shape[2])
        patches = self.mask_token.repeat(batch, length, 1).scatter(1, places, latent[:, 2:])
        token_mask = torch.ones(batch, length, device=keep.device).scatter(1, keep, 0.0)
        x = place(torch.cat([latent[:, :2], patches], dim=1), self.decoder_pos_embed)
        for block in self.decoder_blocks:
            x = block(x)
        x = self.decoder_norm(x)
        return self.decoder_pred(x[:, 2:]), self.decoder_count(x[:, 1])[:, 0], token_mask


class Head(nn.Module):
    """Encoder, decoder and the head of a task, on whole windows."""

    def __init__(self, task, grid, dim, depth, heads, decoder_dim, decoder_depth, decoder_heads):
        super().__init__()
        self.task, self.grid = task, grid
        self.table = "decoder_pos_embed_new" if task == "epigenome" else "decoder_pos_embed"
        table = nn.Parameter(position_table(grid, decoder_dim)[None], requires_grad=False)
        self.register_parameter(self.table, table)
        self.vit_backbone = Encoder(grid, dim, depth, heads)
        self.vit_backbone.head = nn.Linear(dim, 1000)  # in the files, but never used
        self.patch_embed = self.vit_backbone.patch_embed  # in the files under both names
        self.decoder_embed = nn.Linear(dim, decoder_dim)
        self.decoder_blocks = nn.ModuleList(
            Block(decoder_dim, decoder_heads, 1e-5) for _ in range(decoder_depth)
        )
        self.decoder_norm = nn.LayerNorm(decoder_dim, 1e-5)
        if task in ("finetune", "loop", "resolution", "single_cell"):
            self.decoder_map = nn.Linear(decoder_dim, PATCH * PATCH)
        if task == "finetune":
            self.map_block = nn.Linear(decoder_dim, PATCH)
        if task == "epigenome":
            self.map_blocks = nn.ModuleList(nn.Linear(decoder_dim, PATCH) for _ in range(6))
        if task == "reconstruction":
            self.decoder_pred = nn.Linear(decoder_dim, PATCH * PATCH * 3)

    def forward(self, images, total_count=None) -> dict[str, torch.Tensor | list[torch.Tensor]]:
        """The fields of `HeadOutput` that the task has (images channels first)."""
        layers = [self.vit_backbone.encode(images, total_count)]
        x = place(self.decoder_embed(layers[0]), getattr(self, self.table))
        for block in self.decoder_blocks:
            x = block(x)
            layers.append(x)
        x = self.decoder_norm(x)
        row_means = x[:, 2:].unflatten(1, self.grid).mean(dim=2)
        if self.task == "embedding":
            return {"features": [layer[:, 2:].unflatten(1, self.grid) for layer in layers]}
        if self.task == "epigenome":
            tracks = [block(row_means).flatten(1) for block in self.map_blocks]
            return {"tracks": torch.stack(tracks, dim=1)}
        if self.task == "reconstruction":
            colors = tile(self.decoder_pred(x[:, 2:]), self.grid, 3)
            mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
            return {"image": (255 * (colors * std + mean)).clamp(0, 255)}
        outputs = {}
        if self.task in ("finetune", "reproducibility"):
            outputs["embedding"] = x[:, 0]
        if self.task != "reproducibility":
            outputs["map"] = tile(self.decoder_map(x[:, 2:]), self.grid, 1)[:, 0]
        if self.task == "finetune":
            outputs["track"] = self.map_block(row_means).flatten(1)
        return outputs


def randomize(model: nn.Module, seed: int) -> nn.Module:
    """Redraws every parameter, position tables too, so that each has an effect.

    Additions to the residual stream are small, so that the eps of LayerNorm has an effect.
    """
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        spread = parameter[0].numel() ** -0.5 if parameter.ndim > 1 and "pos_embed" not in name else 0.3
        if any(part in name for part in ("embed", "token", "proj", "fc2")):
            spread *= 0.1
        noise = spread * torch.randn(parameter.shape, generator=generator)
        parameter.data = noise + (1 if "norm" in name and name.endswith("weight") else 0)
    return model.eval()
