"""Examination of labelled data: the rows of all splits, and the tasks whose labels cannot be judged."""

import numpy as np
import pytest

from tfbert.data_quality.doubtful import check_supported, choose, doubtful_rows
from tfbert.data_quality.label_errors import scores_of_model
from tfbert.tasks.base import load_task
from tfbert.text.records import Record


def test_tasks_without_labels_are_refused():
    check_supported(load_task("classification"))
    with pytest.raises(ValueError, match="labels of the task regression cannot be judged; expected classification"):
        check_supported(load_task("regression"))


def test_records_are_chosen_at_random_in_order():
    assert choose(3, 5, 0).tolist() == [0, 1, 2]
    assert len(choose(100, 5, 0)) == 5 and (np.diff(choose(100, 5, 0)) > 0).all()
    assert choose(100, 5, 0).tolist() != choose(100, 5, 1).tolist()


def test_rows_have_the_suggested_label_and_its_nearest_neighbours():
    records = [Record(text, label, f"train.csv:{line}") for line, (text, label) in enumerate(["ax", "by", "az"], 2)]
    vectors = np.float32([[1, 0], [0.9, 0.1], [0, 1]])
    scores = scores_of_model(np.float32([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]]), np.asarray([0, 0, 1]))
    rows = doubtful_rows("train", records, ["x", "y"], scores, (vectors, vectors), (records, np.asarray([0, 0, 1])))
    assert [(row.record.where, row.suggested) for row in rows] == [("train.csv:3", "y"), ("train.csv:4", "x")]
    assert [neighbour.where for neighbour in rows[1].neighbours] == ["train.csv:3", "train.csv:2"]
    assert rows[0].score == pytest.approx(-0.6) and rows[0].value is None
