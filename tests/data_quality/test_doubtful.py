"""Examination of labelled data: the rows of all splits, and the tasks whose labels cannot be judged."""

import json

import numpy as np
import pytest
from support import small

from tfbert.data_quality import doubtful
from tfbert.data_quality.doubtful import check_supported, choose, doubtful_rows, judge
from tfbert.data_quality.label_errors import scores_of_model
from tfbert.data_quality.labels import GivenLabel, Labels
from tfbert.tasks.base import load_task
from tfbert.text.records import Record
from tfbert.training.problem import prepare


def test_tasks_without_labels_are_refused():
    check_supported(load_task("classification"))
    with pytest.raises(
        ValueError, match="labels of the task regression cannot be judged; expected classification or entities"
    ):
        check_supported(load_task("regression"))


def test_records_are_chosen_at_random_in_order():
    assert choose(3, 5, 0).tolist() == [0, 1, 2]
    assert len(choose(100, 5, 0)) == 5 and (np.diff(choose(100, 5, 0)) > 0).all()
    assert choose(100, 5, 0).tolist() != choose(100, 5, 1).tolist()


def test_rows_have_the_suggested_label_and_its_nearest_neighbours():
    given = [
        GivenLabel(Record(text, label, f"train.csv:{line}"), label)
        for line, (text, label) in enumerate(["ax", "by", "az"], 2)
    ]
    train = Labels(given, np.float32([[1, 0], [0.9, 0.1], [0, 1]]), np.asarray([0, 0, 1]))
    scores = scores_of_model(np.float32([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]]), train.targets)
    rows = doubtful_rows("train", given, ["x", "y"], scores, train.vectors, train, np.asarray([0.1, 0.2, 0.3]))
    assert [(row.given.record.where, row.suggested) for row in rows] == [("train.csv:3", "y"), ("train.csv:4", "x")]
    assert [neighbour.record.where for neighbour in rows[1].neighbours] == ["train.csv:3", "train.csv:2"]
    assert rows[0].score == pytest.approx(-0.6) and rows[0].value == pytest.approx(0.2)


def test_records_of_span_tasks_are_limited_by_their_words(monkeypatch, tmp_path):
    text = "".join(json.dumps({"text": f"Ada met {name}", "entities": [[0, 3, "x"]]}) + "\n" for name in "abcdefgh")
    (tmp_path / "train.jsonl").write_text(text)
    settings = {"data__validation_fraction": 0.0, "data__test_fraction": 0.0}
    data = prepare(small.config(tmp_path, task="entities", **settings)).labelled_data()
    monkeypatch.setattr(doubtful, "_MAX_VALUES", 4 * data.encoder.backbone.hidden_dim * 6)
    judged = judge(data, {"train": 100})
    found = judged.judgement
    assert 0 < found.num_examined["train"] < found.num_records["train"] == 8
    assert (
        len(judged.records["train"]) == len(judged.vectors["train"]) == found.num_labels["train"] == len(found.values)
    )
