"""The Python examples of README.md and docs/ run as they are, with a tiny encoder and few rows.

Blocks that start with ```` ```python NAME ```` are code for the library NAME, which tests do not install.
"""

import functools
import logging
import re
from pathlib import Path

import numpy as np
import pandas
import pytest
from support import running_server, small

import tfbert
from tfbert.api import jobs
from tfbert.serving import export_run, litert
from tfbert.serving.verify import check

ROOT = Path(__file__).parents[1]
PYTHON = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
OPTIONS = {"encoder": "tiny", "sequence_length": 32, "batch_size": 16, "epochs": 2}
PAGES = ["README.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))]
# The values that stand for others in the examples of a page.
REPLACED = {
    "docs/coming_from.md": {"bert_base_en_uncased": "tiny"},
    "docs/search.md": {'"data.path": "tickets/"': '"data.path": "reviews/", "encoder.name": "tiny", "train.epochs": 1',
                       "max_trials=20": "max_trials=1, overwrite=True"},
}  # fmt: skip


def blocks(page):
    examples = PYTHON.findall((ROOT / page).read_text(encoding="utf-8"))
    for old, new in REPLACED.get(page, {}).items():
        assert any(old in example for example in examples)
        examples = [example.replace(old, new) for example in examples]
    return examples


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Work in a directory with the files that the examples read, with an encoder that trains fast."""
    small.write_csv(tmp_path / "reviews.csv", small.rows(60, 1))
    small.write_data(tmp_path / "reviews")
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


def run(page, **names):
    for number, block in enumerate(blocks(page)):
        code = compile(block, f"{page}, example {number + 1}", "exec")
        exec(code, names)
    return names


def test_every_page_with_examples_is_run():
    tested = {"README.md", "docs/api.md", "docs/coming_from.md", "docs/search.md", "docs/serve.md", "docs/serving.md"}
    assert {page for page in PAGES if blocks(page)} == tested


def test_examples_of_the_readme(folder):
    assert isinstance(run("README.md")["run"], tfbert.Run)


@pytest.mark.slow
def test_examples_of_the_api(folder):
    names = run("docs/api.md")
    assert len(blocks("docs/api.md")) == 9
    assert isinstance(names["result"], tfbert.Search) and isinstance(names["model"], tfbert.SavedModel)
    assert names["pretraining"].encoder.endswith("/encoder")
    assert (folder / "saved_models" / "support" / "1" / "saved_model.pb").exists()


@pytest.mark.slow
def test_examples_for_users_of_other_libraries(folder):
    pairs = small.rows(60, 3)
    frame = pandas.DataFrame(pairs, columns=["text", "label"])
    names = run("docs/coming_from.md", pairs=pairs, frame=frame)
    assert names["run"].report["test"]["metrics"]
    assert (folder / "saved_models" / "reviews" / "1" / "saved_model.pb").exists()


@pytest.mark.slow
def test_example_of_a_tuner_of_your_own(folder):
    assert run("docs/search.md")["tuner"].oracle.get_best_trials()[0].score is not None


def test_examples_of_the_client(monkeypatch, capsys):
    with running_server.running(model_name="NAME") as server:
        addresses = {"localhost:8501": server.options.rest_api_port, "localhost:8500": server.options.port}
        replaced = {address: f"127.0.0.1:{port}" for address, port in addresses.items()}
        monkeypatch.setitem(REPLACED, "docs/serve.md", replaced)
        names = run("docs/serve.md")
        [[label, probability], _] = [line.split() for line in capsys.readouterr().out.splitlines()]
        assert label in small.TOPICS and 0 < float(probability) <= 1
        client = names["Client"](f"grpc://{replaced['localhost:8500']}", "NAME")
        assert [prediction["label"] for prediction in client.predict(["my card never arrived"])] == [label]


@pytest.mark.slow
def test_example_of_litert(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    litert.export_litert(small.finished_run()[0], tmp_path / "device")
    ids = np.ones((1, 32), np.int32)
    names = run("docs/serving.md", ids=ids, segments=np.zeros_like(ids), mask=np.ones_like(ids))
    assert names["predict"](token_ids=ids, segment_ids=np.zeros_like(ids), padding_mask=ids)["label_id"].shape == (1,)
