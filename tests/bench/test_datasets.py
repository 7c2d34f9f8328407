"""What the quality table trains on: drawn and converted as said."""

import csv
import json
from collections import Counter

import pytest

from tfbert.bench.datasets import DATA_SETS, copy_named, draw_ten_a_label, write_clinc, write_squad
from tfbert.config import Config, override, parse_assignments
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


@pytest.mark.parametrize("entry", DATA_SETS, ids=lambda entry: entry.name)
def test_settings_are_config_fields(entry):
    values = parse_assignments(f"{path}={value}" for path, value in entry.settings.items())
    changed = override(Config(), values).to_dict()
    for path, value in values.items():
        section, field = path.split(".")
        assert changed[section][field] == value
