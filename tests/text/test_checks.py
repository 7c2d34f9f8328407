"""Data checks: every planted fault is counted and reported with its location."""

import csv
import json
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from tfbert.config import DataConfig
from tfbert.text import checks
from tfbert.text.checks import Finding, Labelling, Tokenization, check
from tfbert.text.splits import load_splits

GIVEN = {"validation_fraction": 0.0, "test_fraction": 0.0}
CLEAN = {
    "train": [("one", "x"), ("two", "y"), ("three", "x")],
    "validation": [("four", "x"), ("five", "y")],
    "test": [("six", "y"), ("seven", "x")],
}


def report_of(folder: Path, token_lengths=None, sequence_length: int | None = 8, settings=None, **rows):
    """Write `rows` by split into `folder` and check them."""
    for name, pairs in rows.items():
        with open(folder / f"{name}.csv", "w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows([("text", "label"), *pairs])
    splits = load_splits(DataConfig(**GIVEN | (settings or {})), folder)
    if token_lengths is None:
        return check(splits)
    return check(splits, tokenization=Tokenization(token_lengths=token_lengths, sequence_length=sequence_length))


def test_clean_data_is_described_in_two_lines(tmp_path):
    report = report_of(tmp_path, **CLEAN)
    assert report.findings == ()
    assert report.warnings == ()
    assert report.lines() == [
        "train 3, validation 2, test 2 examples, 2 labels (smallest 'y' 1, largest 'x' 2)",
        "length of train: median 3 characters, 99% up to 5, longest 5",
    ]


def test_labels_of_equal_size_have_no_smallest(tmp_path):
    report = report_of(tmp_path, train=[("a b", "x"), ("c d", "y")], test=[("e f", "x")])
    assert report.lines()[0] == "train 2, test 1 examples, 2 labels (1 each)"


def test_counts_and_lengths_are_right(tmp_path):
    rows = {"train": [(f"{'a' * length} {length}", "xyz"[length % 3]) for length in range(1, 101)]}
    report = report_of(tmp_path, **rows)
    assert report.num_examples == {"train": 100}
    assert report.class_counts == {"train": {"x": 33, "y": 34, "z": 33}}
    lengths = sorted(len(text) for text, _ in rows["train"])
    assert report.characters["train"] == {
        "median": lengths[50],
        "p90": lengths[90],
        "p99": lengths[99],
        "longest": 104,
    }
    assert report.tokens is None


ONE = ("one", "x")
PLANTED = [
    (
        {"train": [*CLEAN["train"], ("two", "y"), (" one\n", "x"), ("one", "x")]},
        Finding("duplicate", ("train",), 3,
                ("train.csv:5 = train.csv:3", "train.csv:6 = train.csv:2", "train.csv:8 = train.csv:2")),
        "3 texts of train repeat an earlier one (exact): "
        "train.csv:5 = train.csv:3, train.csv:6 = train.csv:2, train.csv:8 = train.csv:2",
    ),
    (
        {"test": [("six", "y"), ("six", "y")]},
        Finding("duplicate", ("test",), 1, ("test.csv:3 = test.csv:2",)),
        "1 text of test repeats an earlier one (exact): test.csv:3 = test.csv:2",
    ),
    (
        {"test": [("six", "y"), ("three", "x")]},
        Finding("leak", ("train", "test"), 1, ("test.csv:3 = train.csv:4",)),
        "1 text of test is also in train (exact): test.csv:3 = train.csv:4",
    ),
    (
        {"test": [("four", "x"), ("five", "y")]},
        Finding("leak", ("validation", "test"), 2, ("test.csv:2 = validation.csv:2", "test.csv:3 = validation.csv:3")),
        "2 texts of test are also in validation (exact): test.csv:2 = validation.csv:2, test.csv:3 = validation.csv:3",
    ),
    (
        {"validation": [("Three!", "x"), ("T-WO", "y")]},
        Finding("near_leak", ("train", "validation"), 2,
                ("validation.csv:2 = train.csv:4", "validation.csv:3 = train.csv:3")),
        "2 texts of validation are also in train except for case or punctuation: "
        "validation.csv:2 = train.csv:4, validation.csv:3 = train.csv:3",
    ),
    (
        {"test": [("six", "y"), ("two", "x")]},
        Finding("leak_conflict", ("train", "test"), 1, ("test.csv:3 'x' = train.csv:3 'y'",)),
        "1 text of test is labelled differently in train: test.csv:3 'x' = train.csv:3 'y'",
    ),
    (
        {"train": [*CLEAN["train"], ("two", "x"), ("two", "x"), ("one", "y")]},
        Finding("conflict", ("train",), 2, ("train.csv:5 'x' = train.csv:3 'y'", "train.csv:7 'y' = train.csv:2 'x'")),
        "2 texts of train are labelled inconsistently: "
        "train.csv:5 'x' = train.csv:3 'y', train.csv:7 'y' = train.csv:2 'x'",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("planted", "finding", "line"), PLANTED)
def test_planted_faults_are_found_with_their_locations(tmp_path, planted, finding, line):
    report = report_of(tmp_path, **CLEAN | planted)
    assert finding in report.findings
    assert line in report.warnings
    assert line in report.lines()
    assert len(report.findings) == (2 if "conflict" in finding.kind else 1)  # a conflict is a repeat or a leak too


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (("a", "b"), "a, b"),
        ((), "nothing"),
        (0.5, "0.5"),
        ("x", "'x'"),
        (("long label",) * 9, "long label, " * 4 + "long labe..."),
    ],
)
def test_a_target_is_shown_briefly(target, expected):
    assert checks._brief(target) == expected


def test_a_leak_with_one_of_several_labels_in_train_is_not_a_conflict(tmp_path):
    rows = CLEAN | {"train": [*CLEAN["train"], ("two", "x")], "test": [("two", "x"), ("six", "y")]}
    kinds = {(finding.kind, finding.splits) for finding in report_of(tmp_path, **rows).findings}
    assert kinds == {("duplicate", ("train",)), ("conflict", ("train",)), ("leak", ("train", "test"))}


def test_all_faults_are_counted_and_a_few_are_shown(tmp_path):
    texts = [(f"text {number}", "x") for number in range(1_200)]
    report = report_of(tmp_path, train=texts, test=texts)
    (finding,) = report.findings
    assert (finding.count, len(finding.examples)) == (1_200, 5)
    assert finding.examples[4] == "test.csv:6 = train.csv:6"
    assert finding.line() == (
        "1,200 texts of test are also in train (exact): "
        "test.csv:2 = train.csv:2, test.csv:3 = train.csv:3, test.csv:4 = train.csv:4, ..."
    )


def test_labels_and_warnings_come_from_the_task(tmp_path):
    rows = {"train": [("a", "x;y"), ("b", "x"), ("c", "none")], "test": [("d", "z")]}
    for name, pairs in rows.items():
        with open(tmp_path / f"{name}.csv", "w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows([("text", "label"), *pairs])
    splits = load_splits(DataConfig(**GIVEN), tmp_path)

    def labels_of(record):
        return [] if record.target == "none" else record.target.split(";")

    warnings = {"train": {"texts are odd": ["train.csv:2", "train.csv:4"]}, "test": {}}
    lengths = {"train": np.array([3, 3, 3]), "test": np.array([3])}
    tokenization = Tokenization(token_lengths=lengths, warnings=warnings)
    report = check(splits, Labelling(labels_of=labels_of, several=True), tokenization)
    assert report.class_counts == {"train": {"x": 2, "y": 1}, "test": {"z": 1}}
    assert report.record_warnings == {"train": {"texts are odd": ["train.csv:2", "train.csv:4"]}}
    assert report.warnings == (
        "2 labels of train are not in test: 'x', 'y'",
        "train: texts are odd (2 cases): train.csv:2, train.csv:4",
    )
    assert check(splits, Labelling(labels_of=lambda _: ())).lines()[0] == "train 3, test 1 examples"


def test_nothing_is_truncated_if_long_texts_are_read_in_windows(tmp_path):
    lengths = {"train": np.array([5, 9, 50])}
    rows = {"train": CLEAN["train"]}
    truncated = report_of(tmp_path, lengths, 8, **rows)
    assert (truncated.tokens["train"]["num_cut"], truncated.tokens["train"]["num_cut_tokens"]) == (2, 43)
    windowed = report_of(tmp_path, lengths, None, **rows)
    assert (windowed.tokens["train"]["num_cut"], windowed.tokens["train"]["longest"]) == (0, 50)
    assert windowed.warnings == ()


def test_missing_labels_are_reported(tmp_path):
    train = [(f"text {number}", f"l{number % 5}") for number in range(20)]
    report = report_of(tmp_path, train=train, validation=[("v", "l0")], test=[(f"t{i}", f"l{i}") for i in range(4)])
    assert report.missing_labels == {"validation": ["l1", "l2", "l3", "l4"], "test": ["l4"]}
    assert report.warnings == (
        "4 labels of train are not in validation: 'l1', 'l2', 'l3', ...",
        "1 label of train is not in test: 'l4'",
    )


def test_suspicious_labels_are_reported(tmp_path):
    assert report_of(tmp_path, train=[("a", "x"), ("b", "x")]).warnings == ("train has only one label: 'x'",)
    train = [("a", "Lost card"), ("b", "lost  card"), ("c", "-1"), ("d", "1")]
    train += [(f"{number}", f"id{number}") for number in range(10)]
    assert report_of(tmp_path, train=train).warnings == (
        "train has 14 labels for 14 examples: is it the label column?",
        "labels 'Lost card' (train.csv:2) and 'lost  card' (train.csv:3) differ only in case or spaces",
    )


def test_truncation_is_reported_in_examples_and_tokens(tmp_path):
    lengths = {"train": np.array([8, 9, 12]), "validation": np.array([3, 3]), "test": np.array([10, 4])}
    report = report_of(tmp_path, lengths, **CLEAN)
    assert report.tokens["train"] == {
        "median": 9,
        "p90": 12,
        "p99": 12,
        "longest": 12,
        "num_tokens": 29,
        "num_cut": 2,
        "num_cut_tokens": 5,
    }
    assert report.lines()[1:] == [
        "length of train: median 9 tokens, 99% up to 12, longest 12",
        "2 of 3 texts of train are longer than sequence_length 8: 5 of 29 tokens are cut",
        "1 of 2 texts of test is longer than sequence_length 8: 2 of 14 tokens are cut",
    ]
    with pytest.raises(ValueError, match=r"^token_lengths of test: 3 values; expected 2, one per record$"):
        report_of(tmp_path, lengths | {"test": np.array([1, 2, 3])}, **CLEAN)


def test_skipped_rows_and_replaced_characters_are_reported_once_per_file(tmp_path):
    rows = [b"number %d \xff,%s" % (number, b"y" if number % 2 else b"x") for number in range(200)]
    (tmp_path / "train.csv").write_bytes(b"\n".join([b"text,label", *rows, b",x"]))
    settings = {"bad_rows": "skip", "encoding_errors": "replace", "validation_fraction": 0.2, "test_fraction": 0.2}
    report = report_of(tmp_path, settings=settings)
    assert sum(report.num_examples.values()) == 200
    message = "train.csv:202: text is ''; expected at least one non-whitespace character"
    assert (report.num_skipped, report.skipped) == ({"train.csv": 1}, {"train.csv": [message]})
    assert report.num_replaced == {"train.csv": 200}
    assert report.lines()[-2:] == [
        f"1 row of train.csv was skipped; first: {message}",
        "200 characters of train.csv could not be decoded and were replaced by U+FFFD",
    ]
    assert "validation: 20% of train.csv by hash" in report.lines()


def test_one_truncated_text_of_many_casts_no_doubt_on_the_score(tmp_path):
    rows = {"train": [(f"text {number}", "xy"[number % 2]) for number in range(21)]}
    lengths = np.full(21, 6)
    lengths[3] = 60
    report = report_of(tmp_path, {"train": lengths}, 8, **rows)
    line = "1 of 21 texts of train is longer than sequence_length 8: 52 of 180 tokens are cut"
    assert (report.warnings, report.score_warnings) == ((line,), ())
    lengths[:3] = 60
    report = report_of(tmp_path, {"train": lengths}, 8, **rows)
    assert report.warnings == report.score_warnings
    assert report.warnings == ("4 of 21 texts of train are longer than sequence_length 8: 208 of 342 tokens are cut",)


def score_warnings(folder, **rows):
    report = report_of(folder, **rows)
    assert set(report.score_warnings) <= set(report.warnings)
    return len(report.warnings), [line.split(":")[0] for line in report.score_warnings]


def test_warnings_cast_doubt_on_the_score_if_they_concern_enough_records(tmp_path):
    train = [(f"text {number}", "xy"[number % 2]) for number in range(500)]
    test = [(f"other {number}", "xy"[number % 2]) for number in range(200)]
    assert score_warnings(tmp_path, train=train, test=test) == (0, [])
    # A single leak, near leak, conflict, duplicate or missing label makes no difference; several do.
    assert score_warnings(tmp_path, train=train, test=[*test, train[0]]) == (1, [])
    assert score_warnings(tmp_path, train=train, test=[*test, *train[:3]]) == (
        1, ["3 texts of test are also in train (exact)"],
    )  # fmt: skip
    assert score_warnings(tmp_path, train=train, test=[*test, ("Text 1", "y"), ("Text 3", "y"), ("Text 5", "y")]) == (
        1, ["3 texts of test are also in train except for case or punctuation"],
    )  # fmt: skip
    assert score_warnings(tmp_path, train=train, test=[*test, *[(text, "x") for text, _ in test[1:7:2]]]) == (
        2, ["3 texts of test are labelled inconsistently"],
    )  # fmt: skip
    assert score_warnings(tmp_path, train=[*train, *train[:100]], test=test) == (1, [])
    assert score_warnings(tmp_path, train=train, test=[*test, *test[:20]]) == (
        1, ["20 texts of test repeat an earlier one (exact)"],
    )  # fmt: skip
    assert score_warnings(tmp_path, train=[*train, *[(f"z {n}", "z") for n in range(4)]], test=test) == (1, [])
    assert score_warnings(tmp_path, train=[*train, *[(f"z {n}", "z") for n in range(6)]], test=test) == (
        1, ["1 label of train is not in test"],
    )  # fmt: skip
    assert score_warnings(tmp_path, train=[*train, ("z", "X")], test=[*test, ("y", "X")]) == (2, [])
    several = [(f"z {n}", "X") for n in range(6)]
    assert score_warnings(tmp_path, train=[*train, *several], test=[*test, ("y", "X")]) == (
        1, ["labels 'X' (train.csv"],
    )  # fmt: skip


def test_labels_with_one_example_are_reported_with_advice(tmp_path):
    train = [(f"text {number}", "x") for number in range(9)] + [("a", "y"), ("b", "z")]
    advice = "too few to learn from (add examples, or merge or remove these labels)"
    assert report_of(tmp_path, train=train).warnings == ()
    assert report_of(tmp_path, train=[*train, ("text 9", "x")]).warnings == (
        f"2 labels with one example in train, {advice}: 'y', 'z'",
    )


def test_a_report_survives_json(tmp_path):
    lengths = {name: np.arange(len(rows)) for name, rows in CLEAN.items()}
    report = report_of(tmp_path, lengths, **CLEAN | {"test": [("six", "y"), ("one", "y")]})
    tree = json.loads(json.dumps(report.to_dict()))
    assert tree["num_examples"] == {"train": 3, "validation": 2, "test": 2}
    assert tree["class_counts"]["train"] == {"x": 2, "y": 1}
    assert tree["tokens"]["test"]["num_tokens"] == 1
    assert tree["findings"] == [
        {"kind": "leak", "splits": ["train", "test"], "count": 1, "examples": ["test.csv:3 = train.csv:2"]},
        {
            "kind": "leak_conflict",
            "splits": ["train", "test"],
            "count": 1,
            "examples": ["test.csv:3 'y' = train.csv:2 'x'"],
        },
    ]


def test_memory_is_a_few_bytes_per_record(tmp_path):
    num_records = 10_000
    with open(tmp_path / "train.csv", "w", encoding="utf-8") as file:
        file.write("text,label\n")
        file.writelines(f"number {number} {'of many words ' * 30},{number % 2}\n" for number in range(num_records))
    splits = load_splits(DataConfig(**GIVEN), tmp_path)
    tracemalloc.start()
    report = check(splits)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert report.num_examples == {"train": num_records}
    assert peak_bytes < 100 * num_records + 500_000


DATA = Path(os.environ.get("TFBERT_DATA") or Path(__file__).parents[2].parent / "shared" / "data")


@pytest.mark.skipif(not DATA.is_dir(), reason="the real data sets are not available")
@pytest.mark.parametrize(
    ("name", "settings", "expected"),
    [
        ("banking77", {}, {("leak", "test"): 7}),
        ("sst2", {"format": "text"}, {("leak", "test"): 2}),
        ("financial_phrasebank/*.txt", {"separator": "@"}, {("duplicate", "train"): 8, ("conflict", "train"): 2}),
        ("waimai_10k/*.csv", {}, {("conflict", "train"): 7}),
        # Ignoring case, 101 repeat an earlier one; 100 of these are identical.
        ("bbc_news", {"encoding_errors": "replace"}, {("duplicate", "train"): 100}),
    ],
)
def test_known_faults_of_real_data_are_found(name, settings, expected):
    path = next(DATA.glob(name), None)
    if path is None:
        pytest.skip(f"{name} is not available")
    report = check(load_splits(DataConfig(**GIVEN | settings), path))
    counts = {(finding.kind, finding.splits[-1]): finding.count for finding in report.findings}
    assert expected.items() <= counts.items()
