"""Parts of report pages: summary, table of the history, table of contents, cost and repetition."""

import re

import pytest

from tfbert.evaluation.metric import Metric
from tfbert.evaluation.page_parts import Column, history_table, score_columns, summary_view, write_page

METRICS = (
    Metric("macro_f1", "higher", "fraction", "mean F1 of all labels", title="macro F1"),
    Metric("loss", "lower", "nats", "loss"),
)


def test_the_summary_omits_empty_values():
    report = {"seconds": {"train": 65.0, "export": 5.0, "start": None}, "seed": 0}
    lines = [("Updates", "12"), ("Labels", "")]
    times = [("Training time", "1 min 05 s"), ("Total time", "1 min 10 s")]
    expected = [("Encoder", "tiny"), ("Updates", "12"), *times, ("Seed", "0")]
    assert summary_view("tiny", lines, report) == expected
    assert summary_view("tiny", [], {}) == [("Encoder", "tiny")]


def test_a_history_has_a_row_for_each_entry():
    history = [
        {"update": 2, "held_out": {"macro_f1": 0.5, "loss": 1.25}},
        {"update": 4, "held_out": {"macro_f1": 0.75}},
        {"update": 6, "held_out": None},
    ]
    columns = [Column("update", lambda entry: str(entry["update"])), *score_columns(METRICS, "held_out")]
    table = history_table(history, columns, lambda entry: entry["update"] == 4)
    assert [column["name"] for column in table["columns"]] == ["update", "macro F1", "loss"]
    assert [row["cells"] for row in table["rows"]] == [["2", "50.0 %", "1.250"], ["4", "75.0 %", "–"], ["6", "–", "–"]]
    assert [row["best"] for row in table["rows"]] == [False, True, False]


def test_columns_of_scores_explain_the_metrics_if_asked_to():
    columns = score_columns(METRICS, "validation", prefix="validation ", with_meaning=True)
    assert [column.name for column in columns] == ["validation macro F1", "validation loss"]
    assert [column.meaning for column in columns] == [metric.meaning for metric in METRICS]
    assert [column.meaning for column in score_columns(METRICS, "validation")] == [None, None]


def test_values_that_differ_from_their_defaults_are_marked_and_unused_fields_are_left_out(tmp_path):
    config = {
        "task": "tagging",
        "train": {"learning_rate": 0.5, "epochs": 3, "unused": 1, "betas": [0.9, 0.999], "rate": None, "steps": None},
    }
    report = {"config": config, "encoder": {"name": "tiny", "num_layers": 2}, "versions": {"keras": "3"}}
    report["resolved"] = {"train.rate": 2e-4, "train.steps": 2048}
    defaults = {"task": "tagging", "train.learning_rate": 0.25, "train.epochs": 3, "train.betas": (0.9, 0.999)}
    defaults |= {"train.rate": None, "train.steps": 0}
    headline = {"title": "T", "score": "1", "sentence": None, "notes": [], "summary": []}
    path = tmp_path / "report.html"
    write_page(
        "base.html.jinja", path, {"cost": "Cost", "repeat": "Repeat"}, report, defaults=defaults, headline=headline
    )
    groups = path.read_text(encoding="utf-8").partition('<div class="groups">')[2]
    rows = re.findall(r"<tr( class=\"best\")?><td>(.*?)</td><td>(.*?)</td></tr>", groups)
    assert rows == [
        ("", "task", "tagging"),
        (' class="best"', "learning_rate", "0.5<small>default: 0.25</small>"),
        ("", "epochs", "3"),
        ("", "betas", "[0.9, 0.999]"),
        ("", "rate", "none (2e-4)"),
        (' class="best"', "steps", "none (2,048)<small>default: 0</small>"),
        ("", "num layers", "2"),
        ("", "keras", "3"),
    ]


@pytest.fixture
def page(tmp_path):
    """Return a function that renders the page of a pretraining from a report and examples of masked words."""

    def make(report, guesses):
        headline = {"title": "A & B", "score": "4.250", "sentence": None, "notes": ["Be careful."], "summary": []}
        headline |= {"before": "6.500", "num_masked_words": 4321}
        curves = {"plots": [], "table": history_table([], [], lambda entry: False)}
        sections = {"curves": "Curves", "guesses": "Words", "cost": "Time", "repeat": "Repeat"}
        path, corpus = tmp_path / "report.html", {"splits": [], "lines": []}
        views = {"headline": headline, "curves": curves, "guesses": guesses, "corpus": corpus}
        write_page("pretraining.html.jinja", path, sections | {"corpus": "Corpus"}, report, **views)
        return path.read_text(encoding="utf-8")

    return make


def test_sections_without_content_are_not_listed(page):
    guesses = [{"before": "a", "after": "b", "truth": "c", "guesses": []}]
    report = {"seconds": {"train": 3.0}, "command": "python tools/pretrain.py"}
    content = page(report, guesses)
    assert [name for name in ("curves", "guesses", "cost", "repeat") if f'href="#{name}"' in content] == [
        "curves",
        "guesses",
        "cost",
        "repeat",
    ]
    assert "<title>4.250 · A &amp; B</title>" in content and "<pre>python tools/pretrain.py</pre>" in content
    assert "Be careful." in content and '<p class="lead">' not in content
    content = page({}, [])
    assert not any(f'"#{name}"' in content or f'id="{name}"' in content for name in ("guesses", "cost", "repeat"))
