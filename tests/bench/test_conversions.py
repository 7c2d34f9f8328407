"""What the quality table trains on: drawn and converted as said."""

import csv
import gzip
import json
from collections import Counter

from tfbert.bench.conversions import (
    copy_named,
    draw_from_train,
    draw_ten_a_label,
    join_clinc,
    write_clinc,
    write_faq_threads,
    write_sentence_pairs,
    write_squad,
    write_squad2,
    write_tweet_values,
)
from tfbert.config import Config, override
from tfbert.tasks import regression
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

    draw_ten_a_label(source, target, 3)

    with open(target / "train.csv", newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert Counter(row["category"] for row in rows) == {"lost": 10, "found, or not": 10, "late?": 10}
    assert len({row["text"] for row in rows}) == 30
    assert (target / "test.csv").read_bytes() == (source / "test.csv").read_bytes()


def test_draws_repeat_by_number_and_differ_between_numbers(tmp_path):
    source = _banking(tmp_path / "source")
    drawn = []
    for folder, draw in (("a", 0), ("b", 0), ("c", 1)):
        (tmp_path / folder).mkdir()
        draw_ten_a_label(source, tmp_path / folder, draw)
        drawn.append((tmp_path / folder / "train.csv").read_text(encoding="utf-8"))
    assert drawn[0] == drawn[1] != drawn[2]


def test_draws_of_all_sizes_are_tested_on_what_the_whole_file_is_tested_on(tmp_path):
    source = tmp_path / "sentences.txt"
    rows = [(f"{label} news, a@b.com writes, number {i}", label) for label in ("good", "bad") for i in range(60)]
    source.write_text("".join(f"{text}@{label}\n" for text, label in rows), encoding="utf-8")
    drawn = {}
    for name, number, draw in (("a", 5, 0), ("b", 5, 1), ("c", 9, 0), ("again", 5, 0)):
        (tmp_path / name).mkdir()
        draw_from_train(number, "@")(source, tmp_path / name, draw)
        drawn[name] = {
            split: [json.loads(line) for line in (tmp_path / name / f"{split}.jsonl").read_text().splitlines()]
            for split in ("train", "test")
        }
    whole = load_splits(override(Config(), {"data.separator": "@"}).data, source)
    expected = [{"text": record.text, "label": record.target} for record in whole["test"]]
    assert all(splits["test"] == expected for splits in drawn.values()) and expected
    train = {(record.text, record.target) for record in whole["train"]}
    assert all({(row["text"], row["label"]) for row in splits["train"]} <= train for splits in drawn.values())
    assert Counter(row["label"] for row in drawn["c"]["train"]) == {"good": 9, "bad": 9}
    assert drawn["a"] == drawn["again"] and drawn["a"]["train"] != drawn["b"]["train"]


def test_clinc_keeps_the_in_scope_pairs_of_every_split(tmp_path):
    splits = {name: [[f"{name} {i}", f"label {i % 2}"] for i in range(4)] for name in ("train", "val", "test")}
    (tmp_path / "data_full.json").write_text(json.dumps({**splits, "oos_train": [["x", "oos"]]}), encoding="utf-8")
    target = tmp_path / "target"
    target.mkdir()

    write_clinc(tmp_path, target, 0)

    read = load_splits(Config().data, target)
    assert {name: [[r.text, r.target] for r in split] for name, split in read.items()} == {
        "train": splits["train"],
        "validation": splits["val"],
        "test": splits["test"],
    }


def test_files_are_copied_to_the_names_of_their_splits(tmp_path):
    names = {"one.conll": "a O\n", "two.test.annotated": "b O\n", "three.json.gz": "c"}
    for name, content in names.items():
        (tmp_path / name).write_text(content)
    target = tmp_path / "target"
    target.mkdir()
    copy_named(train="one.conll", test="two.test.annotated as .conll", validation="three.json.gz")(tmp_path, target, 0)
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
    kept = json.loads((target / "test.json").read_text())["data"][0]["paragraphs"][0]["qas"]
    assert [item["id"] for item in kept] == ["a", "c"]


def _gzipped(path, text, encoding="utf-8"):
    path.write_bytes(gzip.compress(text.encode(encoding)))


def _lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _target(tmp_path):
    target = tmp_path / "target"
    target.mkdir()
    return target


def test_articles_with_unanswerable_questions_are_in_one_split_only(tmp_path):
    train = {"data": [{"title": "", "paragraphs": ["p"]}]}
    _gzipped(tmp_path / "derived_train_v1.1_format_3838.json.gz", json.dumps(train))
    articles = [{"title": title, "paragraphs": [title]} for title in ("d", "a", "c", "b")]
    (tmp_path / "dev-v2.0_16articles.json").write_text(json.dumps({"data": articles}))
    target = _target(tmp_path)
    write_squad2(tmp_path, target, 0)
    titles = {
        n: [a["title"] for a in json.loads((target / f"{n}.json").read_text())["data"]] for n in ("train", "test")
    }
    assert titles == {"train": ["", "a", "c"], "test": ["b", "d"]}


def test_a_question_with_two_sentences_is_two_pairs(tmp_path):
    _gzipped(tmp_path / "train.json.gz", json.dumps({"questions": ["q"], "answers": ["s"]}))
    test = {"questions": ["x", "y"], "candidates": ["one", "two", "three"], "ground_truths": [[2], [0, 2]]}
    _gzipped(tmp_path / "test.json.gz", json.dumps(test))
    target = _target(tmp_path)
    write_sentence_pairs(tmp_path, target, 0)
    assert _lines(target / "train.jsonl") == [{"question": "q", "answer": "s"}]
    found = [(row["question"], row["answer"]) for row in _lines(target / "test.jsonl")]
    assert found == [("x", "three"), ("y", "one"), ("y", "three")]


def test_other_wordings_of_a_thread_are_in_one_split_and_its_own_question_in_train(tmp_path):
    threads = [
        {"question": f"question {i}", "answer": [f"a {i}", f"b {i}"], "rephr": [f"w {i}", "*", None, " ", f"v {i}"]}
        for i in range(60)
    ]
    threads.append({"question": "single", "answer": "only one", "rephr": []})
    (tmp_path / "stackExchange-FAQ.json").write_text(json.dumps({"root": {"qapair": threads}}))
    target = _target(tmp_path)
    write_faq_threads(tmp_path, target, 0)
    splits = {name: _lines(target / f"{name}.jsonl") for name in ("train", "validation", "test")}
    of_train = {(row["question"], row["answer"]) for row in splits["train"]}
    assert {(f"question {i}", f"{letter} {i}") for i in range(60) for letter in "ab"} | {
        ("single", "only one")
    } <= of_train
    threads_of = {
        name: {row["question"].split()[1] for row in rows if row["question"][0] in "wv"}
        for name, rows in splits.items()
    }
    assert sum(map(len, threads_of.values())) == len(set.union(*threads_of.values())) == 60
    assert min(map(len, threads_of.values())) > 0
    # Two wordings with two answers each, and nothing of what is no wording.
    assert sum(map(len, splits.values())) == 60 * 2 + 1 + 60 * 4


def test_joined_queries_have_the_domains_of_all_of_them(tmp_path):
    domains = {"money": ["pay", "save"], "food": ["cook"]}
    queries = [[f"{intent} {i}", intent] for i in range(30) for intent in ("pay", "save", "cook")]
    splits = {"train": queries, "val": queries[:9], "test": queries[9:20], "oos_test": [["x", "oos"]]}
    (tmp_path / "data_full.json").write_text(json.dumps(splits))
    (tmp_path / "domains.json").write_text(json.dumps(domains))
    target = _target(tmp_path)
    join_clinc(tmp_path, target, 3)
    for name in ("train", "val", "test"):
        rows = _lines(target / f"{name}.jsonl")
        parts = [row["text"].split(". ") for row in rows]
        assert sorted(part for joined in parts for part in joined) == sorted(text for text, _ in splits[name])
        assert {len(joined) for joined in parts} <= {1, 2, 3}
        for row, joined in zip(rows, parts, strict=True):
            assert row["labels"] == sorted({"food" if part.startswith("cook") else "money" for part in joined})


def test_tweets_become_signed_values(tmp_path):
    rows = (
        "sentiment,confidence,text\r\nnegative,0.75,Ñ bad\r\nneutral,1,so so\r\npositive,,none\r\npositive,0.5,good\r\n"
    )
    _gzipped(tmp_path / "tweets.csv.gz", rows, "mac_roman")
    target = _target(tmp_path)
    write_tweet_values(tmp_path / "tweets.csv.gz", target, 0)
    with open(target / "train.csv", newline="", encoding="utf-8") as stream:
        assert [(row["text"], float(row["value"])) for row in csv.DictReader(stream)] == [
            ("Ñ bad", -0.75),
            ("so so", 0.0),
            ("good", 0.5),
        ]
    whole = override(Config(), {"data.validation_fraction": 0.0, "data.test_fraction": 0.0}).data
    read = load_splits(whole, target, regression.TASK.schema)
    assert [record.target for record in read["train"]] == [-0.75, 0.0, 0.5]
