"""Export of the index for FAISS: it finds the same entries as the model."""

import json
import sys

import numpy as np
import pytest
import tensorflow as tf
from support.small import config, finished_run

from tfbert.config import override
from tfbert.models.saved_run import load_run
from tfbert.serving.vectors import export_vectors
from tfbert.training import run
from tfbert.training.problem import prepare

WORDS = ["card", "pin", "loan", "house", "fee", "rate"]


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faq")
    for number, name in enumerate(["train", "validation", "test"]):
        lines = [f"{word} {number},the {word}" for word in WORDS]
        (folder / f"{name}.csv").write_text("\n".join(["question,answer", *lines]), encoding="utf-8")
    problem = prepare(override(config(folder, train__epochs=1), {"task": "matching"}))
    run.train(problem, folder / "run")
    return folder / "run"


def test_faiss_finds_the_same_entries_as_the_model(run_dir, tmp_path):
    faiss = pytest.importorskip("faiss", reason="the extra `faiss` is not installed")
    assert export_vectors(run_dir, tmp_path / "new" / "out") == 2 * len(WORDS)
    index = faiss.read_index(str(tmp_path / "new" / "out" / "vectors.faiss"))
    lines = (tmp_path / "new" / "out" / "vectors.jsonl").read_text(encoding="utf-8").splitlines()
    predictor = load_run(run_dir).predictor
    offset = float(predictor.index["offset"].numpy())
    assert [json.loads(line) for line in lines[:2]] == [
        {"entry": 0, "answer": "the card", "question": "", "offset": 0.0},
        {"entry": 0, "answer": "the card", "question": "card 0", "offset": pytest.approx(offset)},
    ]
    texts = ["card 2", "my house"]
    similar, numbers = index.search(predictor.embed(texts), len(lines))
    expected = predictor([{"text": text} for text in texts])
    for row in range(len(texts)):
        by_entry = {}
        for value, number in zip(similar[row], numbers[row], strict=True):
            line = json.loads(lines[number])
            by_entry[line["answer"]] = max(by_entry.get(line["answer"], -2), value - line["offset"])
        order = sorted(by_entry, key=by_entry.get, reverse=True)
        assert order == [answer.decode() for answer in expected["answer"][row]]
        np.testing.assert_allclose([by_entry[answer] for answer in order], expected["similarity"][row], atol=1e-5)


def test_a_missing_faiss_names_the_extra(monkeypatch, run_dir, tmp_path):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(
        ValueError, match=r"the package faiss, needed for the index for FAISS, is not .*: pip install -e '\.\[faiss\]'"
    ):
        export_vectors(run_dir, tmp_path)


def test_a_run_without_an_index_is_rejected(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(ValueError, match="its model has no index of vectors; expected a run of matching that has one"):
        export_vectors(finished_run()[0], tmp_path)
    assert tf.io.gfile.listdir(str(tmp_path)) == []
