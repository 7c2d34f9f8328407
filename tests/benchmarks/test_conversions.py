"""Conversion of published data sets to the formats of tfbert."""

import csv
import gzip
import json
from collections import Counter

import pytest

from benchmarks.conversions import (
    draw_ten_per_label,
    limited,
    rename,
    table,
    write_clinc,
    write_faq_threads,
    write_goemotions,
    write_phrasebank,
    write_squad,
)
from tfbert.config import Config
from tfbert.text.splits import load_splits


def _banking(folder, per_label=25, labels=("lost", "found, or not", "late?")):
    folder.mkdir()
    for name in ("train", "test"):
        with open(folder / f"{name}.csv", "w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream)
            writer.writerow(["text", "category"])
            writer.writerows([f'{name} "{label}"\n{i}', label] for label in labels for i in range(per_label))
    return folder


def test_a_draw_has_ten_different_examples_of_every_label_and_the_whole_test_split(tmp_path):
    source = _banking(tmp_path / "source")
    target = tmp_path / "target"
    target.mkdir()

    draw_ten_per_label(source, target, 3)

    with open(target / "train.csv", newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert Counter(row["category"] for row in rows) == {"lost": 10, "found, or not": 10, "late?": 10}
    assert len({row["text"] for row in rows}) == 30
    assert (target / "test.csv").read_bytes() == (source / "test.csv").read_bytes()


def test_draws_repeat_by_number_and_differ_between_numbers(tmp_path):
    source = _banking(tmp_path / "source")
    draws = []
    for folder, draw in (("a", 0), ("b", 0), ("c", 1)):
        (tmp_path / folder).mkdir()
        draw_ten_per_label(source, tmp_path / folder, draw)
        draws.append((tmp_path / folder / "train.csv").read_text(encoding="utf-8"))
    assert draws[0] == draws[1] != draws[2]


def test_clinc_keeps_the_in_scope_pairs_of_every_split(tmp_path):
    source = {name: [[f"{name} {i}", f"label {i % 2}"] for i in range(4)] for name in ("train", "val", "test")}
    (tmp_path / "data_full.json").write_text(json.dumps({**source, "oos_train": [["x", "oos"]]}), encoding="utf-8")
    target = tmp_path / "target"
    target.mkdir()

    write_clinc(tmp_path, target, 0)

    splits = load_splits(Config().data, target)
    assert {name: [[r.text, r.target] for r in split] for name, split in splits.items()} == {
        "train": source["train"],
        "validation": source["val"],
        "test": source["test"],
    }


def test_files_are_copied_to_the_names_of_their_splits(tmp_path):
    names = {"one.conll": "a O\n", "two.test.annotated": "b O\n", "three.json.gz": "c"}
    for name, content in names.items():
        (tmp_path / name).write_text(content)
    target = tmp_path / "target"
    target.mkdir()
    rename(train="one.conll", test="two.test.annotated as .conll", validation="three.json.gz")(tmp_path, target, 0)
    assert {path.name: path.read_text() for path in target.iterdir()} == {
        "train.conll": "a O\n",
        "test.conll": "b O\n",
        "validation.json.gz": "c",
    }


def test_squad_keeps_the_answerable_questions(tmp_path):
    (tmp_path / "derived_train_v1.1_format_3838.json.gz").write_bytes(b"train")
    items = [
        {"id": "a", "is_impossible": False},
        {"id": "b", "is_impossible": True},
        {"id": "c", "is_impossible": False},
    ]
    document = {"data": [{"paragraphs": [{"context": "x", "qas": items}]}]}
    (tmp_path / "dev-v2.0_16articles.json").write_text(json.dumps(document))
    target = tmp_path / "target"
    target.mkdir()
    write_squad(tmp_path, target, 0)
    assert (target / "train.json.gz").read_bytes() == b"train"
    questions = json.loads((target / "test.json").read_text())["data"][0]["paragraphs"][0]["qas"]
    assert [item["id"] for item in questions] == ["a", "c"]


def _lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _target(tmp_path):
    target = tmp_path / "target"
    target.mkdir()
    return target


def test_paraphrases_of_a_thread_are_in_one_split_and_its_question_in_train(tmp_path):
    threads = [
        {"question": f"question {i}", "answer": [f"a {i}", f"b {i}"], "rephr": [f"w {i}", "*", None, " ", f"v {i}"]}
        for i in range(60)
    ]
    threads.append({"question": "single", "answer": "only one", "rephr": []})
    (tmp_path / "stackExchange-FAQ.json").write_text(json.dumps({"root": {"qapair": threads}}))
    target = _target(tmp_path)
    write_faq_threads(tmp_path, target, 0)
    splits = {name: _lines(target / f"{name}.jsonl") for name in ("train", "validation", "test")}
    train_pairs = {(row["question"], row["answer"]) for row in splits["train"]}
    assert {(f"question {i}", f"{letter} {i}") for i in range(60) for letter in "ab"} | {
        ("single", "only one")
    } <= train_pairs
    threads_of = {
        name: {row["question"].split()[1] for row in rows if row["question"][0] in "wv"}
        for name, rows in splits.items()
    }
    assert sum(map(len, threads_of.values())) == len(set.union(*threads_of.values())) == 60
    assert min(map(len, threads_of.values())) > 0
    # Two wordings with two answers each, and no other questions.
    assert sum(map(len, splits.values())) == 60 * 2 + 1 + 60 * 4


def test_a_table_becomes_texts_and_labels(tmp_path):
    (tmp_path / "a.csv").write_text('id,review,stars\n1,"good, ""really""",5\n2, ,4\n3,bad,1\n', encoding="utf-8")
    (tmp_path / "b.tsv.gz").write_bytes(gzip.compress(b'3\ta "fine" one\n'))
    target = tmp_path / "target"
    target.mkdir()
    table(train="a.csv", text="review", label="stars")(tmp_path, target, 0)
    table(test="b.tsv.gz", names="stars,review", text="review", label="stars")(tmp_path, target, 0)
    assert lines_of(target / "train.jsonl") == [
        {"text": 'good, "really"', "label": "5"},
        {"text": "bad", "label": "1"},
    ]
    assert lines_of(target / "test.jsonl") == [{"text": 'a "fine" one', "label": "3"}]


@pytest.mark.parametrize(
    ("name", "header", "separator"), [("a.jsonl", [], "\n"), ("a.tsv", ["text\tlabel"], "\n"), ("a.conll", [], "\n\n")]
)
def test_a_limited_train_split_has_that_many_examples(tmp_path, name, header, separator):
    examples = [f"word{i}\tO\nlast{i}\tO" if name == "a.conll" else f"word{i}\tx" for i in range(8)]
    (tmp_path / name).write_text(separator.join([*header, *examples]) + "\n", encoding="utf-8")
    draws = []
    for seed in (0, 0, 1):
        target = tmp_path / f"target{len(draws)}"
        target.mkdir()
        limited(rename(train=name), 3)(tmp_path, target, seed)
        draws.append((target / f"train{name[1:]}").read_text(encoding="utf-8"))
    assert draws[0] == draws[1] != draws[2]
    drawn = draws[0].strip().split(separator)
    assert drawn[: len(header)] == header
    assert len(set(drawn)) == 3 + len(header) and set(drawn) <= {*header, *examples}


def test_a_limited_squad_has_that_many_paragraphs(tmp_path):
    paragraphs = [{"context": str(number), "qas": []} for number in range(8)]
    document = {"data": [{"paragraphs": paragraphs[:5]}, {"paragraphs": paragraphs[5:]}]}
    (tmp_path / "a.json.gz").write_bytes(gzip.compress(json.dumps(document).encode()))
    target = tmp_path / "target"
    target.mkdir()
    limited(rename(train="a.json.gz"), 3)(tmp_path, target, 0)
    (article,) = json.loads(gzip.decompress((target / "train.json.gz").read_bytes()))["data"]
    drawn = [paragraph["context"] for paragraph in article["paragraphs"]]
    assert len(set(drawn)) == 3 and set(drawn) <= {paragraph["context"] for paragraph in paragraphs}


def test_phrasebank_lines_end_with_the_label(tmp_path):
    (tmp_path / "sentences.txt").write_text("\ufeffprofit @ 5 % rose@positive\r\nflat@neutral\r\n", encoding="utf-8")
    write_phrasebank(tmp_path / "sentences.txt", tmp_path, 0)
    rows = [row for split in ("train", "validation", "test") for row in lines_of(tmp_path / f"{split}.jsonl")]
    assert sorted(rows, key=lambda row: row["text"]) == [
        {"text": "flat", "label": "neutral"},
        {"text": "profit @ 5 % rose", "label": "positive"},
    ]


def test_goemotions_has_the_names_of_the_labels(tmp_path):
    (tmp_path / "labels.txt").write_text("joy\nanger\nfear\n", encoding="utf-8")
    for name in ("train", "dev", "test"):
        (tmp_path / f"{name}.tsv.gz").write_bytes(gzip.compress(f'{name} "text"\t0,2\tid\n'.encode()))
    write_goemotions(tmp_path, tmp_path, 0)
    for name, split in (("train", "train"), ("dev", "validation"), ("test", "test")):
        assert lines_of(tmp_path / f"{split}.jsonl") == [{"text": f'{name} "text"', "labels": ["joy", "fear"]}]


def lines_of(path):
    """Return the values of a file of JSON lines."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
