"""Keeps XLA from fusions that compute wrong numbers on CPUs.

For CPUs, XLA leaves parts of a program to a library, YNNPACK. Where such a part has a reduction in it, its
result can be wrong by any amount, and nothing says so: in jaxlib 0.10.2, which is the last for Python 3.11,
the sum of squares after a product (jax#39103); there and in 0.12.0.1 a product with a constant, times a
matrix, summed (jax#40412). Products and convolutions left to it one by one are right, so they stay.

XLA reads its flags once, when JAX first computes. Hence `import hicfm_jax` sets this one. Processes started
from there inherit it; GPUs and TPUs take no notice.
"""

import importlib.metadata
import os
import pathlib
import re
import sys
import warnings

FLAG = "xla_cpu_experimental_ynn_fusion_type"

# What is left to YNNPACK. Each of the other types (DOT, ELTWISE, REDUCE) by itself gives wrong sums.
FUSIONS = "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT,LIBRARY_FUSION_TYPE_INDIVIDUAL_CONVOLUTION"

# XLA ends the process over a flag or a value that it does not know, and cannot be asked what it knows. So the
# flag is for the releases that were tried: from the first, below the second, as setup.py has them.
KNOWN = ((0, 10, 2), (0, 13))


def set_fusions() -> None:
    """Adds the flag to XLA_FLAGS; warns where that cannot be done any more.

    A setting of the flag that is there already stays, and a jaxlib that may not know it is left alone.
    """
    flags = os.environ.get("XLA_FLAGS", "").strip()
    if FLAG in flags or not _known_to(_installed()):
        return
    ours = f"--{FLAG}={FUSIONS}"
    hindrance = "JAX has started already" if _started() else ""
    if flags and not flags.startswith("-"):  # then XLA reads them from the file of that name
        if _mentions(pathlib.Path(flags)):
            return
        hindrance = "XLA_FLAGS is the name of a file"
    if hindrance:
        warnings.warn(
            f"{hindrance}, so sums on CPUs may be wrong (jax#39103, jax#40412). Import hicfm_jax before JAX "
            f"computes anything, or add this to the flags of XLA: {ours}",
            stacklevel=3,
        )
        return
    os.environ["XLA_FLAGS"] = f"{flags} {ours}".lstrip()


def _installed() -> str:
    """Release of jaxlib, "" without one."""
    try:
        return importlib.metadata.version("jaxlib")
    except importlib.metadata.PackageNotFoundError:
        return ""


def _known_to(jaxlib: str) -> bool:
    release = re.match(r"\d+(\.\d+)*", jaxlib)
    return release is not None and KNOWN[0] <= tuple(map(int, release[0].split("."))) < KNOWN[1]


def _started() -> bool:
    # Asked of a JAX that somebody imported: hicfm_jax by itself imports none.
    bridge = sys.modules.get("jax._src.xla_bridge")
    return bridge is not None and bridge.backends_are_initialized()


def _mentions(path: pathlib.Path) -> bool:
    try:
        return FLAG in path.read_text()
    except OSError:
        return False
