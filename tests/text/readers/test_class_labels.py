"""Names of integer labels: from the config or from `dataset_info.json`, for labels, lists of labels and tags."""

import json

import pytest

from tfbert.config import DataConfig
from tfbert.tasks import classification, entities, multilabel, regression
from tfbert.text.readers.class_labels import names_of_features
from tfbert.text.records import read_records

ADVICE = " (--set data.bad_rows=skip skips such rows)"


def write(path, *rows):
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


def targets(path, task=classification, **settings):
    return [record.target for record in read_records(path, DataConfig(**settings), task.TASK.schema)]


def message(path, task=classification, **settings):
    with pytest.raises(ValueError) as caught:
        targets(path, task, **settings)
    return str(caught.value)


def test_integers_and_names_become_names(tmp_path):
    path = write(tmp_path / "a.jsonl", *({"text": "a", "label": label} for label in (1, 0, "spam", 1.0, "0")))
    assert targets(path) == ["1", "0", "spam", "1", "0"]
    assert targets(path, label_names="ham,spam") == ["spam", "ham", "spam", "spam", "ham"]
    layout = read_records(path, DataConfig(label_names="ham,spam")).layout
    assert layout.lines()[0] == "one object per line, utf-8, label names from data.label_names"
    csv_path = tmp_path / "a.csv"
    csv_path.write_text("text,label\na,1\nb,0.0\n", encoding="utf-8")
    assert targets(csv_path, label_names='["ham, fresh", "spam"]') == ["spam", "ham, fresh"]


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        (2, "label is 2; expected 0 to 1, or one of the names 'ham', 'spam'"),
        (-1, "label is -1, which stands for a missing label; expected 0 to 1, or one of the names 'ham', 'spam'"),
        ("eggs", "label is \"eggs\"; expected 0 to 1, or one of the names 'ham', 'spam'"),
        (True, "label is true; expected 0 to 1, or one of the names 'ham', 'spam'"),
        (0.5, "label is 0.5; expected 0 to 1, or one of the names 'ham', 'spam'"),
        (None, "label is null; expected a string, a number, true or false"),
    ],
)
def test_another_label_is_an_error_with_its_line(tmp_path, label, expected):
    path = write(tmp_path / "a.jsonl", {"text": "a", "label": 0}, {"text": "b", "label": label})
    assert message(path, label_names="ham,spam") == f"a.jsonl:2: {expected}{ADVICE}"
    assert targets(path, label_names="ham,spam", bad_rows="skip") == ["ham"]


def test_names_are_different(tmp_path):
    path = write(tmp_path / "a.jsonl", {"text": "a", "label": 0})
    with pytest.raises(ValueError, match="data.label_names: has 'ham' several times; expected different names"):
        targets(path, label_names="ham,ham,spam")


def test_lists_of_labels_and_tags(tmp_path):
    path = write(tmp_path / "a.jsonl", {"text": "a", "labels": [1, 0]}, {"text": "b", "labels": []})
    assert targets(path, multilabel, label_names="food,staff") == [("food", "staff"), ()]
    path = write(tmp_path / "b.jsonl", {"tokens": ["Ada", "lives"], "ner_tags": [1, 0]})
    (spans,) = targets(path, entities, label_names="O,B-PER,I-PER")
    assert [tuple(span) for span in spans] == [(0, 3, "PER")]
    expected = "1 among words and tags; expected strings; give the names of integer tags with --set data.label_names="
    assert message(path, entities).startswith(f"b.jsonl:1: {expected}")


def test_names_from_a_file_next_to_the_data(tmp_path):
    path = write(tmp_path / "train.jsonl", {"text": "a", "label": 1}, {"text": "b", "label": 0})
    info = {"features": {"text": {"_type": "Value"}, "label": {"names": ["ham", "spam"], "_type": "ClassLabel"}}}
    (tmp_path / "dataset_info.json").write_text(json.dumps(info), encoding="utf-8")
    assert targets(path) == ["spam", "ham"]
    lines = read_records(path, DataConfig()).layout.lines()
    assert lines[0] == "one object per line, utf-8, label names from dataset_info.json"
    assert targets(path, label_names="eggs,bacon") == ["bacon", "eggs"]
    # Labels that were added later do not need an integer.
    assert targets(write(path, {"text": "a", "label": 1}, {"text": "b", "label": "phishing"})) == ["spam", "phishing"]
    other = write(tmp_path / "other.jsonl", {"text": "a", "topic": 1})
    assert targets(other) == ["1"]
    assert read_records(other, DataConfig()).layout.lines()[0] == "one object per line, utf-8"
    (tmp_path / "dataset_info.json").write_text("[]", encoding="utf-8")
    assert message(path).endswith("dataset_info.json: is a list; expected a JSON object")


def test_the_digest_of_a_file_depends_on_the_names_next_to_it(tmp_path):
    path = write(tmp_path / "train.jsonl", {"text": "a", "label": 1}, {"text": "b", "label": 0})
    digests = {read_records(path, DataConfig()).sha256}
    for names in (["ham", "spam"], ["spam", "ham"]):
        info = {"features": {"label": {"names": names, "_type": "ClassLabel"}}}
        (tmp_path / "dataset_info.json").write_text(json.dumps(info), encoding="utf-8")
        digests.add(read_records(path, DataConfig()).sha256)
    assert len(digests) == 3


def test_values_of_a_regression_stay_numbers(tmp_path):
    path = write(tmp_path / "train.jsonl", {"text": "a", "stars": 1}, {"text": "b", "stars": 0})
    info = {"features": {"stars": {"names": ["1 star", "2 stars"], "_type": "ClassLabel"}}}
    (tmp_path / "dataset_info.json").write_text(json.dumps(info), encoding="utf-8")
    assert targets(path, regression, columns="value=stars") == [1.0, 0.0]
    reader = read_records(path, DataConfig(columns="value=stars"), regression.TASK.schema)
    assert reader.layout.lines()[0] == "one object per line, utf-8"


def test_features_without_names_are_left_out():
    features = {"a": {"_type": "Value"}, "b": {"_type": "ClassLabel", "names": []}, "c": [{"_type": "Value"}], "d": 3}
    assert names_of_features(features) == {}
    assert names_of_features(None) == {}
