"""Memory of this process: freed blocks are kept for the next tensors."""

from __future__ import annotations

import ctypes
from functools import cache

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # names of glibc's `mallopt`
_KEPT = 2**31 - 1
_LARGEST_ON_HEAP = 32 << 20


@cache
def keep_freed_memory() -> bool:
    """Ask the C library to keep freed memory; says whether it does.

    glibc gives blocks of more than 128 KiB, and free memory at the end of its heap, back to the
    system, and every new tensor then faults its pages in anew.  In loops that make the same
    tensors again and again that costs more than the arithmetic of cheap operations
    (docs/decisions/freed-memory-is-kept.md).  The process does not shrink any more.  Elsewhere
    than on glibc nothing is done.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return False
    return bool(mallopt(_MMAP_THRESHOLD, _LARGEST_ON_HEAP) and mallopt(_TRIM_THRESHOLD, _KEPT))
