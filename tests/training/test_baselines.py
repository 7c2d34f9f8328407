"""Baselines of a fine-tuning: constant predictions, the model before training, and heads fitted to less data."""

import numpy as np
import pytest

from tests.support import small
from tfbert.files import read_json
from tfbert.tasks.base import load_task
from tfbert.tasks.base_config import read_config
from tfbert.training.problem import prepare


@pytest.fixture(scope="module")
def report():
    """The report of a run that an epoch has improved."""
    run_dir, _ = small.finished_run()
    return read_json(run_dir / "report.json")


def test_the_baselines_of_a_run(report):
    constant, untrained = report["baselines"]
    assert constant["name"] == "constant" and constant["title"] == "always predicting 'card', the most frequent label"
    # Half of the texts are about cards.
    assert 0.3 < constant["test"]["accuracy"] < 0.7 and constant["test"]["mcc"] == 0
    assert untrained["title"] == "frozen encoder with its initial head"
    assert untrained["validation"] == report["untrained"]
    gain = report["gain"]
    assert (gain["metric"], gain["split"]) == ("accuracy", "test")
    after = report["test"]["metrics"]["accuracy"]["value"]
    assert gain["difference"] == pytest.approx(after - untrained["test"]["accuracy"])
    assert gain["low"] <= gain["difference"] <= gain["high"]
    assert 0 < gain["num_differing"] <= report["test"]["num_examples"]
    assert report["seconds"]["baselines"] > 0


def test_heads_fitted_to_less_data(report):
    sizes = report["training_sizes"]
    assert sizes["metric"] == "accuracy" and sizes["num_train"] == 48
    # The head is fitted to all of the 48 examples.
    assert [point["num_examples"] for point in sizes["points"]] == [6, 12, 24, 48]
    assert [len(point["scores"]) for point in sizes["points"]] == [2, 2, 2, 1]
    whole, half = (np.mean(sizes["points"][index]["scores"]) for index in (-1, -2))
    assert whole == pytest.approx(report["untrained"]["accuracy"])
    assert sizes["difference"] == pytest.approx(whole - half)
    assert sizes["low"] <= sizes["difference"] <= sizes["high"]
    assert 0 <= sizes["num_differing"] <= report["validation"]["num_examples"]


def test_the_trained_weights_are_restored(report):
    kept = report["average"] or report["history"][report["best_epoch"] - 1]
    assert report["validation"]["metrics"]["accuracy"]["value"] == pytest.approx(kept["validation"]["accuracy"])


@pytest.mark.parametrize(
    ("task", "title", "metric", "expected"),
    [
        ("regression", "the mean of train", "spearman", 0.0),
        ("multilabel", "the most frequent label", "mean_average_precision", None),
        ("multiple_choice", "choosing at random", "accuracy", None),
        ("answers", "never giving an answer", "no_answer_accuracy", 1.0),
        ("entities", "finding no entity", "f1", 0.0),
        ("matching", None, None, None),
    ],
)
def test_constant_predictions_on_the_samples(task, title, metric, expected):
    assert load_task(task).name == task
    problem = prepare(read_config(task, None, {"encoder.name": "tiny"}), log_warnings=False)
    gold = [problem.task.gold(record) for record in problem.splits["test"]]
    baseline = problem.task.constant_baseline(problem.tokenized["train"], gold)
    if title is None:
        assert baseline is None
        return
    assert baseline.title.endswith(title)
    if expected is not None:
        assert baseline.scores[metric] == pytest.approx(expected)
    else:
        assert 0.05 < baseline.scores[metric] < 0.6


def test_the_most_frequent_label_is_counted_by_text_not_by_window():
    titles = []
    for long_text in ("cut", "mean"):
        values = {"encoder.name": "tiny", "encoder.sequence_length": 16, "encoder.long_text": long_text}
        problem = prepare(read_config("classification", None, values), log_warnings=False)
        train = problem.tokenized["train"]
        assert (len(train) > len(train.num_tokens)) == (long_text == "mean")
        titles.append(problem.task.constant_baseline(train, [0]).title)
    assert titles[0] == titles[1] and titles[0].endswith("one of the most frequent labels")
