"""Label coverage: train keeps examples of every label, and all labels that it lacks are reported in one error."""

import csv
import json
import random

import pytest

from tfbert.config import DataConfig
from tfbert.tasks import classification, entities, multilabel, regression
from tfbert.text.labels import require_known, texts_to_keep
from tfbert.text.records import Record
from tfbert.text.splits import SALTS, hash_fraction, load_splits

CUT = {"test_fraction": 0.2, "validation_fraction": 0.2}
COMMON = [(f"This is text number {number}, of many.", "xyz"[number % 3]) for number in range(200)]


def texts_between(low, high, count, salt=""):
    """Return texts whose hash is in an interval."""
    texts = (f"A rare text, number {number}" for number in range(10_000))
    return [text for text in texts if low <= hash_fraction(text, salt) < high][:count]


def write(path, pairs):
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "label"), *pairs])
    return path


def splits_of(path, task=classification.TASK, **settings):
    splits = load_splits(DataConfig(**CUT | settings), path, task.schema)
    return splits, {name: [(record.text, record.target) for record in split] for name, split in splits.items()}


@pytest.mark.parametrize("interval", [(0.0, 0.2), (0.2, 0.4)])
def test_the_only_text_of_a_label_stays_in_train(tmp_path, interval):
    (text,) = texts_between(*interval, 1)
    splits, by_split = splits_of(write(tmp_path / "d.csv", [*COMMON, (text, "rare")]))
    assert (text, "rare") in by_split["train"]
    assert sorted(pair for pairs in by_split.values() for pair in pairs) == sorted([*COMMON, (text, "rare")])
    assert splits["train"].note == "60% of d.csv by hash, plus 1 text so that train has examples of 'rare'"
    notes = {name: splits[name].note for name in ("validation", "test")}
    less = "test" if interval[0] == 0 else "validation"
    assert notes == {name: "20% of d.csv by hash" + ", less 1 text kept in train" * (name == less) for name in notes}


def test_two_texts_of_a_label_stay_in_train_and_all_others_follow_their_hash(tmp_path):
    rare = [(text, "rare") for text in texts_between(0, 0.4, 6)]
    (inside,) = texts_between(0.4, 1, 1)
    half = [(inside, "half"), *((text, "half") for text in texts_between(0, 0.4, 9)[6:])]
    plenty = [(text, "plenty") for text in (*texts_between(0, 0.2, 12)[-3:], *texts_between(0.4, 1, 4)[1:])]
    pairs = [*COMMON, *rare, *half, *plenty]
    splits, by_split = splits_of(write(tmp_path / "d.csv", pairs))
    # The texts of a label that are nearest to the interval of train are kept.
    by_hash = {label: sorted(texts, key=lambda pair: -hash_fraction(pair[0])) for label, texts in
               (("rare", rare), ("half", half[1:]))}  # fmt: skip
    kept = {*by_hash["rare"][:2], by_hash["half"][0]}
    for name, (low, high) in {"test": (0, 0.2), "validation": (0.2, 0.4), "train": (0.4, 2)}.items():
        in_interval = {pair for pair in pairs if low <= hash_fraction(pair[0]) < high}
        assert set(by_split[name]) == (in_interval | kept if name == "train" else in_interval - kept)
    assert splits["train"].note == "60% of d.csv by hash, plus 3 texts so that train has examples of 'half', 'rare'"


def test_near_duplicates_stay_together_in_any_order_of_rows(tmp_path):
    (text,) = texts_between(0, 0.2, 1)
    variants = [(text, "rare"), (text.upper(), "x"), (f" {text}!", "rare")]
    pairs = [*COMMON, *variants]
    _, by_split = splits_of(write(tmp_path / "a.csv", pairs))
    assert set(variants) <= set(by_split["train"])
    random.Random(0).shuffle(pairs)
    _, shuffled = splits_of(write(tmp_path / "b.csv", pairs))
    assert {name: sorted(pairs) for name, pairs in shuffled.items()} == {
        name: sorted(pairs) for name, pairs in by_split.items()
    }


def test_added_rows_move_only_texts_of_labels_that_were_rare(tmp_path):
    first, second = texts_between(0, 0.2, 2)
    _, before = splits_of(write(tmp_path / "a.csv", [*COMMON, (first, "rare"), (second, "other")]))
    more = [(text, "rare") for text in texts_between(0.4, 1, 2)] + [(f"One more {n}", "x") for n in range(50)]
    _, after = splits_of(write(tmp_path / "b.csv", [*more, *COMMON, (first, "rare"), (second, "other")]))
    assert set(before["test"]) | {(first, "rare")} == set(after["test"]) - set(more)
    assert set(before["validation"]) == set(after["validation"]) - set(more)
    assert set(before["train"]) - {(first, "rare")} == set(after["train"]) - set(more)


def test_a_rare_label_stays_if_only_validation_is_cut(tmp_path):
    (text,) = texts_between(0, 0.2, 1, SALTS["validation"])
    write(tmp_path / "d" / "train.csv", [*COMMON, (text, "rare")])
    write(tmp_path / "d" / "test.csv", [("given", "x")])
    splits, by_split = splits_of(tmp_path / "d")
    assert (text, "rare") in by_split["train"]
    assert by_split["test"] == [("given", "x")]
    assert splits["validation"].note == "20% of train.csv by hash, less 1 text kept in train"
    assert len(by_split["train"]) + len(by_split["validation"]) == 201


def test_a_class_directory_with_one_text_stays_in_train(tmp_path):
    (text,) = texts_between(0, 0.2, 1)
    for number, (common, label) in enumerate([*COMMON, (text, "rare")]):
        (tmp_path / "d" / label).mkdir(parents=True, exist_ok=True)
        (tmp_path / "d" / label / f"{number}.txt").write_text(common)
    _, by_split = splits_of(tmp_path / "d")
    assert (text, "rare") in by_split["train"]


def test_every_label_of_a_text_counts(tmp_path):
    texts = texts_between(0, 0.4, 6)
    rows = [{"text": text, "labels": [label]} for text, label in COMMON]
    rows += [{"text": texts[0], "labels": ["a", "x"]}, {"text": texts[1], "labels": ["b", "c"]}]
    rows += [{"text": text, "labels": ["x"]} for text in texts[2:]]
    path = tmp_path / "d.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    splits, by_split = splits_of(path, multilabel.TASK)
    assert {(texts[0], ("a", "x")), (texts[1], ("b", "c"))} <= set(by_split["train"])
    assert not {(text, ("x",)) for text in texts[2:]} & set(by_split["train"])
    assert splits["train"].note == "60% of d.jsonl by hash, plus 2 texts so that train has examples of 'a', 'b', 'c'"


def test_every_entity_type_that_is_learned_stays(tmp_path):
    # An entity inside a longer one is not learned, so the nested `inner` entities in train do not count as examples.
    nested = texts_between(0.4, 1, 3)
    inner, other = texts_between(0, 0.2, 2)
    rows = [{"text": text, "entities": [{"start": 0, "end": 4, "label": "this"}]} for text, _ in COMMON]
    spans = [{"start": 0, "end": 6, "label": "this"}, {"start": 2, "end": 6, "label": "inner"}]
    rows += [{"text": text, "entities": spans} for text in nested]
    rows += [{"text": inner, "entities": spans[1:]}, {"text": other, "entities": spans[:1]}]
    path = tmp_path / "d.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    splits, _ = splits_of(path, entities.TASK)
    where = {name: [record.text for record in split] for name, split in splits.items()}
    assert inner in where["train"]
    assert other in where["test"]


def test_a_task_without_labels_is_cut_by_hash_alone(tmp_path):
    path = write(tmp_path / "d.csv", [(text, number) for number, (text, _) in enumerate(COMMON)])
    splits, by_split = splits_of(path, regression.TASK)
    assert regression.TASK.schema.labels_of is None
    assert [text for text, _ in by_split["test"]] == [text for text, _ in COMMON if hash_fraction(text) < 0.2]
    assert splits["train"].note == "60% of d.csv by hash"


def test_one_text_of_a_label_stays_if_two_would_empty_another_split(tmp_path):
    pairs = [(text, f"l{number // 2}") for number, (text, _) in enumerate(COMMON[:40])]
    _, by_split = splits_of(write(tmp_path / "d.csv", pairs))
    assert {label for _, label in by_split["train"]} == {f"l{number}" for number in range(20)}
    assert by_split["validation"] and by_split["test"]


def test_a_file_whose_labels_all_occur_once_is_rejected(tmp_path):
    pairs = [(text, f"l{number}") for number, (text, _) in enumerate(COMMON[:50])]
    with pytest.raises(ValueError) as caught:
        splits_of(write(tmp_path / "d.csv", pairs))
    assert str(caught.value) == (
        "d.csv: nearly every text has its own label, so no text is left for validation; check that the "
        "label is last in lines of text and label, or selected by data.columns in tables"
    )


def test_texts_to_keep():
    fractions = {"a": 0.1, "b": 0.15, "c": 0.3, "d": 0.5, "e": 0.6}
    pairs = "a pq, b pr, c ps, d qt, e tr, d q, a pq, e s, d s"
    records = [Record(text, labels, "") for text, labels in map(str.split, pairs.split(", "))]
    for order in (records, records[::-1]):
        kept = texts_to_keep(order, lambda record: record.target, lambda record: fractions[record.text], 0.4, 2)
        assert kept == {"p": (0.3, 0.15), "q": (0.1,), "r": (0.15,)}
    kept = texts_to_keep(records, lambda record: record.target, lambda record: fractions[record.text], 0.4, 1)
    assert kept == {"p": (0.3,)}


def test_all_labels_that_train_lacks_are_reported_in_one_error():
    def error_of(*labels, known=("fee", "card"), noun="label"):
        records = [Record("t", label.split("+"), f"test.csv:{number}") for number, label in enumerate(labels, start=2)]
        with pytest.raises(ValueError) as caught:
            require_known([records[:2], records[2:]], lambda record: record.target, known, noun)
        return str(caught.value)

    require_known([[Record("t", ["fee"], "test.csv:2")]], lambda record: record.target, ["fee"])
    assert error_of("fee", "cards") == (
        "test.csv:3: label 'cards' is not one of the 2 labels of train; did you mean 'card'? 1 record with this label: "
        "add examples of it to train, or remove or relabel this record"
    )
    assert error_of("person", "person+persons", "persons", known=["person"], noun="entity type") == (
        "test.csv:3: entity type 'persons' is not in train, whose only entity type is 'person'. 2 records "
        "with this entity type: add examples of it to train, or remove or relabel these records"
    )
    assert error_of("fee", "cards", "loan+cards", "fee", "loans") == (
        "test.csv:3: label 'cards' is not one of the 2 labels of train; did you mean 'card'? Train lacks 3 labels of 3 "
        "records: 'cards' (2, first test.csv:3), 'loan' (1, first test.csv:4), 'loans' (1, first test.csv:6). Add "
        "examples of these labels to train, or remove or relabel these records"
    )
    many = error_of(*(f"id{number}" for number in range(20)))
    assert many.count("first test.csv:") == 5
    assert "'id4' (1, first test.csv:6), 15 more. Add examples" in many
