"""Exports of doccano and Prodigy: labels, sets of labels and spans, and examples that were not accepted."""

import json

import pytest

from tfbert.config import DataConfig
from tfbert.tasks import classification, entities, multilabel
from tfbert.text.records import read_records

ADVICE = " (--set data.bad_rows=skip skips such rows)"
TEXT = "Ada lives in Ulm"
SPANS = [(0, 3, "PER"), (13, 16, "LOC")]
HASHES = {"_input_hash": 1, "_task_hash": 2, "_session_id": None, "_view_id": "choice", "_timestamp": 1700000000}
OPTIONS = [{"id": "fee", "text": "Fees"}, {"id": "late", "text": "Late delivery"}]


def write(path, *rows):
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


def read(path, task=classification, **settings):
    return [(r.text, r.target) for r in read_records(path, DataConfig(**settings), task.TASK.schema)]


def spans(path, **settings):
    return [[tuple(span) for span in target] for _, target in read(path, entities, **settings)]


def first_line(path, task=classification):
    return read_records(path, DataConfig(), task.TASK.schema).layout.lines()[0]


@pytest.mark.parametrize(
    "row",
    [
        {"id": 1, "text": TEXT, "label": [list(span) for span in SPANS], "Comments": []},
        {"id": 1, "text": TEXT, "labels": [list(span) for span in SPANS]},
        {
            "id": 1,
            "text": TEXT,
            "entities": [{"id": 5, "label": name, "start_offset": s, "end_offset": e} for s, e, name in SPANS],
            "relations": [{"id": 1, "from_id": 5, "to_id": 6, "type": "in"}],
            "Comments": ["sure?"],
        },
    ],
)
def test_spans_of_doccano(tmp_path, row):
    path = write(tmp_path / "a.jsonl", row, {**row, "text": "Nobody"} | {key: [] for key in row if key[0] in "elr"})
    assert spans(path) == [SPANS, []]
    counted = ", 1 relation skipped" if "relations" in row else ""
    assert first_line(path, entities) == f"doccano's export, one object per line, utf-8{counted}"
    assert spans(path, format="doccano") == [SPANS, []]


def test_damaged_relations_of_doccano_are_an_error(tmp_path):
    path = write(tmp_path / "a.jsonl", *({"text": TEXT, "entities": [], "relations": value} for value in (None, 3)))
    with pytest.raises(ValueError) as caught:
        spans(path, format="doccano")
    assert str(caught.value) == f"a.jsonl:2: relations is 3; expected a list{ADVICE}"


def test_labels_of_doccano(tmp_path):
    path = write(tmp_path / "a.jsonl", {"id": 1, "text": "a", "label": ["x"]}, {"id": 2, "text": "b", "label": ["y"]})
    assert read(path) == [("a", "x"), ("b", "y")]
    path = write(tmp_path / "b.jsonl", {"id": 1, "text": "a", "label": ["x", "y"]}, {"id": 2, "text": "b", "label": []})
    assert read(path, multilabel) == [("a", ("x", "y")), ("b", ())]


def prodigy(text, answer="accept", **more):
    return {"text": text, **more, "answer": answer, "meta": {"source": "mail"}, **HASHES}


def test_spans_of_prodigy(tmp_path):
    tokens = [{"text": "Ada", "start": 0, "end": 3, "id": 0}]
    found = [{"start": s, "end": e, "label": name, "token_start": 0, "token_end": 0} for s, e, name in SPANS]
    rows = (
        prodigy(TEXT, tokens=tokens, spans=found),
        prodigy("Nobody", tokens=tokens),
        prodigy("Eve", "reject", spans=[]),
        prodigy("Bob", "ignore", tokens=tokens),
        prodigy("Tom", "ignore", tokens=tokens),
    )
    path = write(tmp_path / "a.jsonl", *rows)
    assert spans(path) == [SPANS, []]
    assert first_line(path, entities) == (
        "Prodigy's export, one object per line, utf-8, 1 rejected example skipped, 2 ignored examples skipped"
    )


def test_choices_of_prodigy(tmp_path):
    rows = [prodigy(text, options=OPTIONS, accept=accept) for text, accept in (("a", ["late"]), ("b", ["fee", "late"]))]
    path = write(tmp_path / "a.jsonl", *rows, prodigy("c", options=OPTIONS, accept=[]))
    assert read(path, multilabel) == [("a", ("late",)), ("b", ("fee", "late")), ("c", ())]
    assert read(write(tmp_path / "b.jsonl", rows[0])) == [("a", "late")]
    numbered = [{"id": 1, "text": "Positive"}, {"id": 0, "text": "Negative"}]
    path = write(tmp_path / "c.jsonl", prodigy("a", options=numbered, accept=[0]), prodigy("b", accept=[1]))
    assert read(path) == [("a", "Negative"), ("b", "1")]


def test_single_labels_of_prodigy(tmp_path):
    rows = (prodigy("a", label="fee", spans=[]), prodigy("b", "reject", label="fee"), prodigy("c", label="late"))
    path = write(tmp_path / "a.jsonl", *rows)
    assert read(path) == [("a", "fee"), ("c", "late")]
    assert first_line(path) == "Prodigy's export, one object per line, utf-8, 1 rejected example skipped"


def test_an_unknown_answer_of_prodigy_is_an_error(tmp_path):
    path = write(tmp_path / "a.jsonl", prodigy("a", label="fee"), prodigy("b", "maybe", label="fee"))
    with pytest.raises(ValueError) as caught:
        read(path)
    assert str(caught.value) == f'a.jsonl:2: answer is "maybe"; expected accept, reject or ignore{ADVICE}'


def test_an_export_without_accepted_examples_says_what_was_skipped(tmp_path):
    path = write(tmp_path / "a.jsonl", prodigy("a", "reject", label="x"), prodigy("b", "ignore", label="x"))
    with pytest.raises(ValueError) as caught:
        read(path)
    expected = "expected at least one line with a JSON object; 1 rejected example skipped, 1 ignored example skipped"
    assert str(caught.value) == f"a.jsonl: no records; {expected}"


def test_answers_of_another_type_are_not_verdicts(tmp_path):
    rows = ({"text": "a", "label": "x", "answer": ["accept"], "spans": []}, {"text": "b", "label": "y", "answer": {}})
    assert read(write(tmp_path / "a.jsonl", *rows)) == [("a", "x"), ("b", "y")]


def test_other_objects_are_left_alone(tmp_path):
    path = write(tmp_path / "a.jsonl", {"text": "a", "label": "x", "relations": [3]})
    assert read(path) == [("a", "x")]
    assert first_line(path) == "one object per line, utf-8"
