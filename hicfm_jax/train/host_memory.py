"""What becomes of memory that a training step on a CPU has freed."""

import ctypes
import importlib.metadata
import importlib.util
import sys

# malloc.h
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8


def keep_freed_memory() -> bool:
    """Has the process keep the memory that it frees, where training is on a CPU.

    XLA frees what a step worked with and asks for it again in the next: of ViT-L more than a gigabyte,
    whose pages the operating system takes back and hands out again cleared, 4 kB at a time. With an
    accelerator, arrays are not in this memory, and threads that read tiles do better with the defaults.

    To be called before the first array is made: a thread that has memory of its own stays with it.

    Returns:
      Whether it does. It needs Linux with glibc, and no accelerator's plugin installed.
    """
    accelerator = importlib.metadata.entry_points(group="jax_plugins") or importlib.util.find_spec("libtpu")
    if sys.platform != "linux" or accelerator:
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    # A heap for all threads: only its blocks can be kept, whatever their size.
    return all(mallopt(*option) for option in ((_ARENA_MAX, 1), (_MMAP_MAX, 0), (_TRIM_THRESHOLD, -1)))
