"""Data report: lines, order of the warnings, and which of them cast doubt on the scores."""

import dataclasses
import json

import pytest

from tfbert.text.data_report import DataReport, Finding

LARGER_TEST = {"train": 1000, "test": 101}
LENGTHS = {"median": 8, "p90": 20, "p99": 30, "longest": 1200}


def report(**values):
    """Return a report on clean data with some values replaced."""
    fields = {
        "num_examples": {"train": 1000, "test": 100},
        "class_counts": {"train": {"card": 700, "fee": 300}, "test": {"card": 60, "fee": 40}},
        "missing_labels": {},
        "label_warnings": (),
        "findings": (),
        "characters": {"train": LENGTHS, "test": LENGTHS},
        "tokens": None,
        "sequence_length": 32,
        "record_warnings": {},
        "num_skipped": {},
        "skipped": {},
        "num_replaced": {},
        "notes": {},
    }
    return DataReport(**fields | values)


def tokens(num_tokens=0, num_cut=0, num_cut_tokens=0):
    return LENGTHS | {"num_tokens": num_tokens, "num_cut": num_cut, "num_cut_tokens": num_cut_tokens}


@pytest.mark.parametrize(
    ("kind", "splits", "count", "expected"),
    [
        ("duplicate", ["train"], 1, "1 text of train repeats an earlier one (exact): a = b"),
        ("duplicate", ["train"], 2, "2 texts of train repeat an earlier one (exact): a = b"),
        ("conflict", ["test"], 1, "1 text of test is labelled inconsistently: a = b"),
        ("leak", ["train", "test"], 1200, "1,200 texts of test are also in train (exact): a = b, ..."),
        ("near_leak", ["train", "test"], 1, "1 text of test is also in train except for case or punctuation: a = b"),
        ("leak_conflict", ["train", "test"], 1, "1 text of test is labelled differently in train: a = b"),
    ],
)
def test_findings_are_sentences(kind, splits, count, expected):
    assert Finding(kind, tuple(splits), count, ("a = b",)).line() == expected


def test_a_finding_shows_three_examples():
    assert Finding("duplicate", ("train",), 5, tuple("abcde")).line().endswith(": a, b, c, ...")


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({}, ""),
        ({"card": 5}, ", 1 label ('card')"),
        ({"card": 5, "fee": 5}, ", 2 labels (5 each)"),
        ({"card": 1700, "fee": 5}, ", 2 labels (smallest 'fee' 5, largest 'card' 1,700)"),
    ],
)
def test_the_first_line_has_sizes_and_labels(counts, expected):
    first, *_ = report(class_counts={"train": counts, "test": {}}).lines()
    assert first == f"train 1,000, test 100 examples{expected}"


def test_lengths_are_in_tokens_if_known():
    assert report().lines()[1] == "length of train: median 8 characters, 99% up to 30, longest 1,200"
    with_tokens = report(tokens={"train": tokens() | {"median": 1}, "test": tokens()})
    assert with_tokens.lines()[1] == "length of train: median 1 token, 99% up to 30, longest 1,200"


def test_clean_data_has_no_warnings():
    assert report().warnings == report().score_warnings == () and report().table() == []


def test_warnings_are_in_order_of_importance():
    findings = [Finding(kind, ("train", "test"), 1, ("a",)) for kind in ("duplicate", "near_leak", "leak_conflict")]
    result = report(
        findings=tuple(findings),
        missing_labels={"test": ["fee"]},
        label_warnings=(("'fee' and 'Fee' look alike", 2),),
        unread=("a.csv: column 'note' is not used",),
        tokens={"train": tokens(1000, 1, 9), "test": tokens(100)},
        record_warnings={"train": {"answers were cut": ["a.csv:3"]}},
        num_skipped={"a.csv": 1},
        skipped={"a.csv": ["a.csv:7: no label"]},
        num_replaced={"a.csv": 2},
    )
    assert [kind for kind, _ in result.table()] == [
        "leak conflict", "near leak", "duplicate", "missing label", "unused column", "label", "cut text", "record",
        "skipped row", "encoding",
    ]  # fmt: skip
    sentences = [sentence for _, sentence in result.table()][3:]
    assert sentences == [
        "1 label of train is not in test: 'fee'",
        "a.csv: column 'note' is not used",
        "'fee' and 'Fee' look alike",
        "1 of 1,000 texts of train is longer than sequence_length 32: 9 of 1,000 tokens are cut",
        "train: answers were cut (1 case): a.csv:3",
        "1 row of a.csv was skipped; first: a.csv:7: no label",
        "2 characters of a.csv could not be decoded and were replaced by U+FFFD",
    ]
    assert result.lines()[2:] == list(result.warnings) and len(result.lines(with_warnings=False)) == 2


@pytest.mark.parametrize(
    ("values", "fewer"),
    [
        (
            {"findings": (Finding("leak", ("train", "test"), 1, ("a",)),)},
            {"num_examples": LARGER_TEST},
        ),
        ({"findings": (Finding("duplicate", ("test",), 5, ("a",)),)}, {"num_examples": LARGER_TEST}),
        ({"num_skipped": {"a": 11}, "skipped": {"a": ["x"]}}, {"num_examples": {"train": 1001, "test": 100}}),
        ({"num_replaced": {"a": 55}}, {"num_replaced": {"a": 54}}),
        ({"label_warnings": (("odd", 10),)}, {"label_warnings": (("odd", 9),)}),
        ({"record_warnings": {"test": {"odd": ["a"] * 5}}}, {"record_warnings": {"test": {"odd": ["a"] * 4}}}),
        (
            {"tokens": {"train": tokens(), "test": tokens(100, 10, 5)}},
            {"tokens": {"train": tokens(), "test": tokens(100, 10, 4)}},
        ),
        (
            {"tokens": {"train": tokens(), "test": tokens(100, 10, 5)}},
            {"tokens": {"train": tokens(), "test": tokens(100, 9, 5)}},
        ),
    ],
)
def test_enough_affected_records_cast_doubt_on_the_scores(values, fewer):
    doubtful, harmless = report(**values), report(**values | fewer)
    assert len(doubtful.score_warnings) == len(doubtful.warnings) == 1
    assert harmless.score_warnings == () and len(harmless.warnings) == 1


def test_duplicates_in_train_do_not_cast_doubt_on_the_scores():
    result = report(findings=(Finding("duplicate", ("train",), 900, ("a",)),))
    assert len(result.warnings) == 1 and result.score_warnings == ()


def test_a_report_converts_to_json_values():
    result = report(findings=(Finding("duplicate", ("train",), 1, ("a = b",)),))
    restored = json.loads(json.dumps(result.to_dict()))
    assert restored.keys() == {field.name for field in dataclasses.fields(DataReport)} - {"record_warnings"} | {
        "remarks"
    }
    assert restored["findings"] == [{"kind": "duplicate", "splits": ["train"], "count": 1, "examples": ["a = b"]}]
    assert restored["num_examples"] == {"train": 1000, "test": 100}
