"""Rows of the benchmark of wrong labels: labels are changed as announced, and both systems rank them."""

import csv
import gzip
from dataclasses import replace

import numpy as np
import pytest
from support.clusters import clusters

from benchmarks import doubtful, internals

# The peer ranks the labels at random.
STAND_IN = """
import numpy as np
labels = np.load(job["labels"])
assert worker == "label_quality" and np.load(job["probabilities"]).shape == (len(labels), labels.max() + 1)
np.save(job["scores"], np.random.default_rng(0).random(len(labels)))
"""


@pytest.fixture
def table(options, stand_in, monkeypatch):
    stand_in(STAND_IN)
    vectors, targets = clusters(600, 4)
    monkeypatch.setattr(doubtful, "_NUM_FIRST", {doubtful.BANKING: 30, doubtful.NEWS: 20})
    monkeypatch.setattr(internals, "text_vectors", lambda path: vectors)
    with open(options.data_dir / "banking77" / "train.csv", "w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([("text", "category"), *(("a", label) for label in targets)])
    folder = options.data_dir / "noisy_ag_news"
    folder.mkdir()
    with gzip.open(folder / "samples10000valMed.csv.gz", "wt", newline="", encoding="utf-8") as stream:
        noisy = np.where(np.arange(600) < 60, (targets + 1) % 4, targets)
        rows = zip(noisy, targets, ["a"] * 600, strict=True)
        csv.writer(stream).writerows([("label", "gt", "text"), *rows])
    return doubtful.measure(replace(options, repeats=1))


def test_all_systems_rank_all_workloads(table):
    workloads = ["banking77, uniform", "banking77, most confused", "noisy_ag_news"]
    assert [(row.workload, row.system) for row in table.rows] == [
        (workload, system) for workload in workloads for system in ("tfbert", "cleanlab")
    ]
    for row in table.rows:
        assert row.values["wrong"] == [0.1]
        is_ours = row.system == "tfbert"
        assert (min(row.values["auroc"]) > 0.9) == is_ours and ("seconds" in row.values) == is_ours
    assert "| 10.0% | " in table.to_markdown()


def test_labels_change_to_others_with_the_given_chances():
    targets = np.arange(200) % 4
    confusion = np.asarray([[0, 1, 3, 0], [9, 0, 1, 1], [1, 1, 0, 5], [2, 0, 1, 0]])
    changed = doubtful._changed(targets, doubtful._only_largest(confusion), 0)
    is_changed = changed != targets
    assert is_changed.sum() == 20
    np.testing.assert_array_equal(changed[is_changed], np.asarray([2, 0, 3, 0])[targets[is_changed]])
    assert len(set(doubtful._changed(targets, np.ones((4, 4)), 1)[targets == 0])) == 4
