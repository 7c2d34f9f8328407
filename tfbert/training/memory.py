"""Memory allocation of this process; no result depends on it."""

import ctypes
import sys

# glibc's numbers of the parameters that `mallopt` sets, and the largest value that it accepts.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
_MAX_BYTES = 2**31 - 1


def keep_memory() -> None:
    """Make this process keep the memory that it frees for reuse; without glibc, do nothing.

    A training step frees tensors of tens of megabytes and allocates the same again. By default glibc returns such
    memory to the system, which then has to clear every page before it hands it out again. Peak memory stays the same;
    the process holds it until it ends.

    Source: `mallopt(3)`. There is one arena because the arenas of threads never hold more than 64 MB in one piece.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for parameter, value in ((_MMAP_THRESHOLD, _MAX_BYTES), (_TRIM_THRESHOLD, _MAX_BYTES), (_ARENA_MAX, 1)):
            mallopt(parameter, value)
