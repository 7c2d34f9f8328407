"""The report page of a search: the winner, fresh seeds, importance, and all trials, best first."""

import re

import pytest

from tfbert.hyperparameters.page import render

RATE, POOLING = "train.learning_rate", "head.pooling"


def trial(name, score, **values):
    state = "failed" if score is None else "finished"
    return {"id": name, "state": state, "score": score, "values": {RATE: 2e-4} | values, "seconds": 61, "notes": []}


@pytest.fixture
def report():
    """Return the report of a search of which trial 2 is the winner."""
    return {
        "task": "classification",
        "data_name": "banking",
        "first_update_at": 1.7e9,
        "objective": {
            "name": "macro_f1",
            "better": "higher",
            "unit": "fraction",
            "description": "mean F1",
            "title": "macro F1",
        },
        "plan": {"space": {RATE: {}, POOLING: {}}, "algorithm": "random", "executions": 2},
        "encoder": {"name": "tiny"},
        "seconds": {"trials": 200.0, "confirm": 50.0},
        "trials": [
            trial("0", 0.5),
            trial("1", None, **{RATE: 1e-2}) | {"notes": ["diverged <b>"]},
            trial("2", 0.75, **{RATE: 1e-3, POOLING: "cls"}),
        ],
        "winner": "2",
        "values": {RATE: 1e-3, POOLING: "cls"},
        "sentence": "Trial 2 is better than the default: 0.75 to 0.5",
        "candidates": [
            {"name": "default", "mean": 0.5, "scores": [0.4, 0.6], "failed": ""},
            {"name": "2", "mean": 0.7, "scores": [0.6, 0.8], "failed": ""},
            {"name": "0", "failed": "out of memory"},
        ],
        "comparison": {"split": "test", "ours": {"mean": 0.7}, "theirs": {"mean": 0.5}, "better_fraction": 0.99},
        "validation": {"num_examples": 12, "metrics": {"macro_f1": {"value": 0.8}}},
        "test": {"num_examples": 34, "metrics": {"macro_f1": {"value": 0.72, "low": 0.61, "high": 0.83}}},
        "config": {"task": "classification", "train": {"epochs": 2}},
        "versions": {"keras": "3.15"},
        "command": "python tools/search.py --data data",
    }


@pytest.fixture
def page(tmp_path):
    """Return a function from a report to its page, as HTML and as text."""

    def make(report):
        render(report, tmp_path / "report.html")
        text = (tmp_path / "report.html").read_text(encoding="utf-8")
        shown = re.sub(r"<(style|script).*?</\1>|<[^>]+>", " ", text, flags=re.DOTALL)
        return text, " ".join(shown.split())

    return make


def test_the_headline_is_the_score_on_test(page, report):
    _, text = page(report)
    assert "Search: classification of banking with tiny" in text and report["sentence"] in text
    assert "Date 2023-11-1" in text
    assert "72.0 %" in text and "61.0 to 83.0 %" in text
    assert "3: 2 finished, 1 failed" in text and "3 min 20 s" in text
    assert "Confirmation 4 trainings with fresh seeds, 50.0 s" in text


def test_without_test_split_validation_is_called_optimistic(page, report):
    _, text = page(report | {"test": None, "comparison": None})
    assert "80.0 %" in text and "There is no test split." in text


def test_trials_are_listed_best_first_and_those_without_a_score_last(page, report):
    html, text = page(report)
    rows = text[text.rindex("Trials") :]
    positions = [rows.index(rate) for rate in ("0.001", "2e-4", "0.01")]
    assert positions == sorted(positions)
    assert "failed; diverged &lt;b&gt;" in html and "diverged <b>" not in html


def test_a_loss_is_listed_lowest_first(page, report):
    losses = {
        "objective": {"name": "loss", "better": "lower", "unit": "nats", "description": "cross entropy"},
        "winner": "0",
        "candidates": [],
        "comparison": None,
    }
    scores = {"metrics": {"loss": {"value": 0.5, "low": 0.4, "high": 0.6}}, "num_examples": 3}
    _, text = page(report | losses | {"test": scores, "validation": scores})
    rows = text[text.rindex("Trials") :]
    assert rows.index("0.500") < rows.index("0.750")


def test_fresh_seeds_are_shown_with_their_spread(page, report):
    html, text = page(report)
    assert "Fresh seeds" in text and "60.0 %, 80.0 %" in text and "out of memory" in text
    # The standard deviation of two scores 0.2 apart.
    assert "14.1 %" in text
    assert text.index("60.0 %, 80.0 %") < text.index("40.0 %, 60.0 %")
    assert "Fresh seeds" not in page(report | {"candidates": [], "comparison": None})[1]


def test_importance_is_omitted_if_nothing_varied(page, report):
    assert "Importance of hyperparameters" in page(report)[1]
    same = [trial("0", 0.5), trial("1", 0.6)]
    assert (
        "Importance of hyperparameters"
        not in page(report | {"trials": same, "winner": "default", "comparison": None})[1]
    )
