"""The Python examples of README.md and docs/api.md run as they are, with a tiny encoder and few rows."""

import functools
import logging
import re
from pathlib import Path

import pytest
from support import small

import tfbert
from tfbert.api import jobs
from tfbert.serving import export_run
from tfbert.serving.verify import check

ROOT = Path(__file__).parents[1]
PYTHON = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
OPTIONS = {"encoder": "tiny", "sequence_length": 32, "batch_size": 16}


def blocks(page):
    return PYTHON.findall((ROOT / page).read_text(encoding="utf-8"))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Work in a directory with the files that the examples read, with an encoder that trains fast."""
    small.write_csv(tmp_path / "reviews.csv", small.rows(60, 1))
    lines = (f"{text}. {label} {number}.\n\n" for number, (text, label) in enumerate(small.rows(200, 2)))
    (tmp_path / "texts.txt").write_text("".join(lines), encoding="utf-8")
    for name in ("fine_tune", "search"):
        function = getattr(jobs, name)

        def fast(*args, _function=function, **options):
            return _function(*args, **OPTIONS | options)

        monkeypatch.setattr(tfbert, name, functools.wraps(function)(fast), raising=False)
    monkeypatch.setattr(export_run, "verify", check)  # in this process, which is faster
    monkeypatch.setattr(logging, "basicConfig", lambda **options: None)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(page):
    names = {}
    for number, block in enumerate(blocks(page)):
        code = compile(block, f"{page}, example {number + 1}", "exec")
        exec(code, names)
    return names


@pytest.mark.skipif(not blocks("README.md"), reason="README.md has no Python")
def test_examples_of_the_readme(folder):
    assert isinstance(run("README.md")["run"], tfbert.Run)


@pytest.mark.slow
def test_examples_of_the_api(folder):
    names = run("docs/api.md")
    assert len(blocks("docs/api.md")) == 8
    assert isinstance(names["result"], tfbert.Search) and isinstance(names["model"], tfbert.SavedModel)
    assert names["pretraining"].encoder.endswith("/encoder")
    assert (folder / "saved_models" / "support" / "1" / "saved_model.pb").exists()
