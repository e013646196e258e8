"""Ways to compute a step that may be faster on a GPU, and kinds of its kernels."""

import collections
import glob
import re
import tempfile
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp

from hicfm_jax.models import attention, vit
from hicfm_jax.train.losses import pretraining_losses
from hicfm_jax.types import Array


def bfloat16_stream() -> None:
    """The residual stream is bfloat16: half the bytes of LayerNorms and sums."""
    for part in (vit.Encoder, vit.Decoder):

        def tokens(self, *arguments, before=part.tokens):
            return before(self, *arguments).astype(jnp.bfloat16)

        part.tokens = tokens


def bfloat16_ssim() -> None:
    """SSIM is computed in bfloat16: half the bytes of its moments."""
    before = pretraining_losses.ssim_per_channel

    def ssim(*images: Array) -> Array:
        return before(*(image.astype(jnp.bfloat16) for image in images)).astype(jnp.float32)

    pretraining_losses.ssim_per_channel = ssim


def contrastive_in_thirds() -> None:
    """The contrastive product is three of TF32 on tensor cores in place of one of float32."""
    pretraining_losses.PRECISION = "TF32_TF32_F32_X3"


def wide_heads() -> None:
    """Attention heads of fewer than 64 numbers are filled up with zeros for cuDNN."""
    attention._flash = filled_up(attention._flash)


def filled_up(attend: Callable[..., Array], width: int = 64) -> Callable[..., Array]:
    """`attend(query, key, value)` with heads `[B, N, heads, S]` filled up to `width` numbers."""

    def filled(query: Array, key: Array, value: Array) -> Array:
        size = query.shape[-1]
        if size >= width:
            return attend(query, key, value)
        query = query * (width / size) ** 0.5  # since `attend` divides by sqrt(width)
        rows = (jnp.pad(x, ((0, 0), (0, 0), (0, 0), (0, width - size))) for x in (query, key, value))
        return attend(*rows)[..., :size]

    return filled


def plain_attention() -> None:
    """Attention by XLA, with an array of N x N weights, in place of cuDNN's."""
    attention._has_flash = lambda: False


LEVERS: dict[str, Callable[[], None]] = {
    "bfloat16 stream": bfloat16_stream,
    "bfloat16 SSIM": bfloat16_ssim,
    "contrastive product in TF32 x 3": contrastive_in_thirds,
    "heads filled up to 64": wide_heads,
    "attention by XLA": plain_attention,
}
"""Changes of this process, before anything is compiled; they cannot be undone."""

# The first match counts; the text is JAX's name of the operation at the root of a kernel.
_KINDS = (
    ("AdamW", r"/cond/branch|opt_state"),
    ("SSIM", r"ssim_loss"),
    ("contrastive loss", r"contrastive_loss"),
    ("other losses", r"_loss"),
    ("dense products", r"(qkv|proj|fc1|fc2|embed|head\w*)/dot_general"),
    ("attention", r"/attn/(?!qkv|proj)"),
    ("GELU and biases", r"/(mlp|attn)/"),
    ("LayerNorm", r"/norm\d?/"),
    ("stacking of parameters", r"/blocks/(un)?stack|dynamic_(update_)?slice"),
    ("residual sums", r"/Block/|/block_\d+/"),
    ("pixel path", r"pixel_path|bin_path|PixelPath|BinPath"),
)


def kernel_kinds(
    compiled: jax.stages.Compiled, run: Callable[[], object], times: int = 2
) -> dict[str, float]:
    """Milliseconds of each kind of kernel in a call of a compiled program, the largest first.

    Args:
      compiled: the program.
      run: calls it once and waits.
      times: calls to take the mean of.
    """
    names = dict(re.findall(r'^\s*(?:ROOT )?%?(\S+) = .*op_name="([^"]*)"', compiled.as_text(), re.MULTILINE))
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            for _ in range(times):
                run()
        (path,) = glob.glob(f"{folder}/**/*.xplane.pb", recursive=True)
        kernels = _kernels(jax.profiler.ProfileData.from_file(path))
    kinds: collections.Counter[str] = collections.Counter()
    for operation, milliseconds in kernels.items():
        kinds[_kind(operation, names.get(operation, ""))] += milliseconds / times
    return dict(kinds.most_common())


def _kernels(profile: jax.profiler.ProfileData) -> Mapping[str, float]:
    """Milliseconds of each operation of the compiled program; of GPUs if the profile has any."""
    planes = [plane for plane in profile.planes if plane.name.startswith("/device:GPU")]
    found: collections.Counter[str] = collections.Counter()
    for plane in planes or profile.planes:
        for line in plane.lines:
            if planes and not line.name.startswith("Stream"):
                continue  # sums of the streams
            for event in line.events:
                operation = dict(event.stats).get("hlo_op")
                # Loops and branches contain the others.
                if operation is None and not planes:
                    continue
                if operation and re.match(r"while|call|cond", operation):
                    continue
                found[operation or event.name] += event.duration_ns / 1e6
    return found


def _kind(operation: str, name: str) -> str:
    for kind, pattern in _KINDS:
        if re.search(pattern, name):
            return kind
    if re.search(r"gemm|nvjet|cutlass|cublas", operation):
        return "dense products"
    return "copies" if re.search(r"(?i)copy|memcpy|memset|transpose", operation) else "the rest"
