"""Memory that a process frees is reused by it."""

import subprocess
import sys

import pytest

# Counts the pages that the system provides for the second allocation of 100 MB.
COUNT = """
import resource
from tfbert.training.memory import keep_memory

def pages():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    b"x" * 100_000_000
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

{first}
pages()
print(pages())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere memory is left to the system")
def test_freed_memory_is_reused():
    pages = {}
    for first in ("", "keep_memory()"):
        code = COUNT.format(first=first)
        result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        pages[first] = int(result.stdout)
    assert pages[""] > 10 * pages["keep_memory()"]
