"""Progress bars: hidden in a log file, shown in a notebook."""

import io
import sys
import types

import pytest
from tqdm import tqdm

from tfbert.progress_bars import hidden


@pytest.mark.parametrize("is_notebook", [False, True])
def test_a_bar_is_shown_in_a_notebook_but_not_in_a_file(monkeypatch, is_notebook):
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    if is_notebook:
        monkeypatch.setitem(sys.modules, "ipykernel", types.ModuleType("ipykernel"))
    stream = io.StringIO()
    for _ in tqdm(range(3), disable=hidden(), file=stream):
        pass
    assert ("3/3" in stream.getvalue()) is is_notebook
