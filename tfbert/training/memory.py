"""How this process gets memory from the system; nothing that is computed depends on it."""

import ctypes
import sys

# glibc's numbers of what `mallopt` sets, and the most that it takes.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
_MOST_BYTES = 2**31 - 1


def keep_memory() -> None:
    """Let this process keep the memory that it frees, to use it again; where there is no glibc, do nothing.

    A training step frees tensors of tens of megabytes and asks for the same again. Unless told so, glibc gives such
    memory back to the system, which then hands out and clears every page anew. It costs nothing at the peak, where
    the memory is needed; it is held until the process ends.

    Source: `mallopt(3)`. One arena, because what threads have of their own is never more than 64 MB in one piece.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for what, value in ((_MMAP_THRESHOLD, _MOST_BYTES), (_TRIM_THRESHOLD, _MOST_BYTES), (_ARENA_MAX, 1)):
            mallopt(what, value)
