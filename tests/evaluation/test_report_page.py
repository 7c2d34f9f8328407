"""The report page: what it shows and omits, and that it escapes all user text."""

import base64
import copy
import hashlib
import html
import json
import re
from pathlib import Path

import numpy as np
import pytest
from markupsafe import Markup

from tfbert.evaluation import drawing, plots, report_page
from tfbert.evaluation.classification import METRICS
from tfbert.evaluation.metric import Metric

CALIBRATION_ERROR = Metric("calibration_error", "lower", "fraction", "mean difference between probability and accuracy")
# The type attribute and the content of every script element.
SCRIPTS = re.compile(r"<script( [^>]*)?>(.*?)</script>", re.DOTALL)
SECTIONS = [
    "curves",
    "metrics",
    "checks",
    "labels",
    "confusions",
    "trust",
    "lengths",
    "mistakes",
    "cost",
    "repeat",
]
# 95 examples of `refund`, 8 of them predicted as `card?`; 105 of `card?`, 7 of them predicted as `refund`.
CONFUSION = np.array([[87, 8], [7, 98]])


def _metric(value, low=None, high=None):
    return {"value": value, "low": low, "high": high}


def _label(f1, precision, recall, num_examples, num_predicted):
    counts = {"num_examples": num_examples, "num_predicted": num_predicted}
    return {"precision": precision, "recall": recall, "f1": f1, **counts}


@pytest.fixture
def report():
    return _report()


@pytest.fixture
def details():
    return _details()


def _report():
    """Return a complete `report.json` with distinct values."""
    test = {
        "num_examples": 1200,
        "metrics": {
            "accuracy": _metric(0.925, 0.9102, 0.9398),
            "macro_f1": _metric(0.9183, 0.9011, 0.9321),
            "mcc": _metric(0.8512, 0.8301, 0.8723),
            "loss": _metric(0.2345),
            "calibration_error": _metric(0.0172),
        },
        "per_label": {"card?": _label(0.929, 0.925, 0.933, 105, 106), "refund": _label(0.921, 0.926, 0.916, 95, 94)},
    }
    validation = copy.deepcopy(test) | {"num_examples": 640}
    validation["metrics"]["accuracy"] = _metric(0.9375, 0.9187, 0.9562)
    history = [
        {
            "epoch": epoch,
            "loss": 1.5 / epoch,
            "learning_rate": 2e-4 / epoch,
            "seconds": 61.0 + epoch,
            "examples_per_second": 163.4,
            "validation": {"accuracy": 0.9375 - 0.1 / epoch, "macro_f1": 0.92 - 0.1 / epoch, "loss": 0.3 + 0.2 / epoch},
        }
        for epoch in (1, 2, 3)
    ]
    return {
        "task": "classification",
        "encoder": {"name": "minilm", "num_layers": 12},
        "seed": 7,
        "config": {
            "task": "classification",
            "data": {"separator": "\t"},
            "train": {"learning_rate": 2e-4, "epochs": 3},
        },
        "versions": {"tfbert": "0.1.0", "tensorflow": "2.18.0"},
        "command": "python tools/train.py --task classification --set train.epochs=3",
        "data": {
            "train": {"path": "banking/train.csv", "sha256": "ab" * 32, "num_examples": 9003},
            "test": {"path": "banking/test.csv", "sha256": "cd" * 32, "num_examples": 1200},
        },
        "checks": {"lines": ["21 to 187 examples per label"], "warnings": ["7 texts of test are also in train"]},
        "seconds": {"read": 0.42, "tokenize": 2.31, "train": 200.0, "export": 25.0},
        "history": history,
        "best_epoch": 3,
        "validation": validation,
        "test": test,
        "seeds": {
            "count": 3,
            "seeds": [0, 1, 2],
            "test": {"accuracy": {"mean": 0.9241, "std": 0.0032, "values": [0.92]}},
        },
        "peak_memory_bytes": 2_413_000_000,
        "metrics": [metric.to_json() for metric in (*METRICS, CALIBRATION_ERROR)],
    }


def _details():
    bins = [
        {"low": 0.0, "high": 0.5, "num_examples": 0, "mean_probability": None, "accuracy": None},
        {"low": 0.5, "high": 0.75, "num_examples": 4, "mean_probability": 0.6, "accuracy": 0.5},
        {"low": 0.75, "high": 1.0, "num_examples": 196, "mean_probability": 0.95, "accuracy": 0.94},
    ]
    mistake = {
        "texts": ["where is it"],
        "confused": [["card?", "refund"]],
        "gold": "card?",
        "predicted": "refund",
        "where": "test.csv:41",
    }
    return {
        "labels": ["refund", "card?"],
        "split": "test",
        "confusion": CONFUSION,
        "step_losses": [(step, 2.0 / step) for step in range(1, 200)],
        "reliability": {"bins": bins, "calibration_error": 0.0172},
        "lengths": {"train": np.array([8, 8, 20, 40]), "test": np.array([5, 9, 11])},
        "sequence_length": 30,
        "mistakes": [mistake | {"confidence": 0.987, "gold_probability": 0.004}],
    }


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """The page of the complete report with all details."""
    path = tmp_path_factory.mktemp("page") / "report.html"
    report_page.render(_report(), _details(), path)
    return path.read_text(encoding="utf-8")


@pytest.fixture
def render(tmp_path):
    def run(report, details):
        report_page.render(report, details, tmp_path / "report.html")
        return (tmp_path / "report.html").read_text(encoding="utf-8")

    return run


@pytest.fixture
def render_text(render, monkeypatch):
    """Render without drawing plots, which takes most of the time, for tests of the text."""
    monkeypatch.setattr(plots, "to_svg", lambda figure, title: Markup(f'<svg aria-label="{html.escape(title)}"></svg>'))
    return render


def _sections(text):
    return re.findall(r'<section id="(\w+)">', text)


def _rows(text, section):
    """Return the visible text of the cells of every body row in a section."""
    content = re.search(rf'<section id="{section}">.*?\n</section>', text, re.DOTALL).group()
    rows = [re.findall(r"<td.*?>(.*?)</td>", row, re.DOTALL) for row in re.findall(r"<tr.*?</tr>", content, re.DOTALL)]
    return [[_visible(cell) for cell in row] for row in rows if row]


def _visible(markup):
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", markup.replace("<wbr>", ""))).split())


def test_sections_and_table_of_contents(text):
    assert _sections(text) == SECTIONS
    assert re.findall(r'<a href="#(\w+)">', text)[: len(SECTIONS) + 1] == ["result", *SECTIONS]


def test_headline_shows_the_test_score(text):
    visible = _visible(text)
    assert "92.5 % accuracy on 1,200 test examples, 95% interval 91.0 to 94.0 %" in visible
    assert "Over 3 seeds: 92.4 ± 0.3 %" in visible
    assert "Expect about 93 of 100 similar texts to get the right label (95% interval 91 to 94)." in visible
    assert "7 texts of test are also in train" in visible.split("Training Metrics")[1]
    assert "Training time 3 min 20 s Total time 3 min 48 s" in visible
    assert "only" not in visible.split("Encoder")[0], "1,200 examples are enough"


SCORE_WARNING = "The data checks found problems that may make the score above misleading:"


def _result(text):
    return _visible(re.search(r'<header id="result">.*?</header>', text, re.DOTALL).group())


def test_only_warnings_about_the_score_qualify_it(render_text, report, details):
    length, leak = "1 of 21 texts of test is longer than sequence_length 30", "30 texts of test are also in train"
    report["checks"] = {"lines": [length], "warnings": [length], "score_warnings": []}
    visible = _result(render_text(report, details))
    assert "The data checks gave 1 warning , too minor to change the score noticeably." in visible
    assert SCORE_WARNING not in visible and length not in visible
    report["checks"] = {"lines": [leak, length], "warnings": [leak, length], "score_warnings": [leak]}
    text = render_text(report, details)
    assert f"{SCORE_WARNING} {leak} and 1 more" in _result(text)
    assert "too minor" not in text and length in _visible(text)
    del report["checks"]["score_warnings"]
    assert f"{SCORE_WARNING} {leak} {length}" in _result(render_text(report, details))
    report["checks"] = {"lines": [], "warnings": [], "score_warnings": []}
    visible = _result(render_text(report, details))
    assert SCORE_WARNING not in visible and "The data checks" not in visible


def test_warnings_without_a_score(render_text, report, details):
    report |= {"test": None, "validation": None}
    report["checks"] = {"lines": ["a", "b"], "warnings": ["a", "b"], "score_warnings": ["a"]}
    visible = _result(render_text(report, {}))
    assert "The data checks gave 2 warnings ." in visible
    assert SCORE_WARNING not in visible


def test_a_metric_with_an_expectation_is_the_headline_and_is_compared_with_the_mean_over_labels(
    render_text, report, details
):
    hits = Metric("hits", "higher", "fraction", "hits", expectation="tickets to reach the right team")
    mean = Metric("mean_hits", "higher", "fraction", "mean hits", title="hits per team", is_label_mean=True)
    report["metrics"] = [hits.to_json(), mean.to_json()]
    report["test"]["metrics"] = {"mean_hits": _metric(0.8, 0.7, 0.9), "hits": _metric(0.9, 0.85, 0.95)}
    report |= {"validation": None, "history": [], "untrained": None, "seeds": None}
    visible = _result(render_text(report, details))
    assert "90.0 % hits" in visible
    assert "Expect about 90 of 100 similar tickets to reach the right team (95% interval 85 to 95)." in visible
    assert "Some labels score much lower than the average: hits per team is 80.0 %. See Labels below." in visible


def test_near_perfect_scores_are_counted_per_thousand(render_text, report, details):
    report["test"]["metrics"]["accuracy"] = _metric(0.9964, 0.9921, 0.9988)
    text = render_text(report, details)
    assert "Expect about 996 of 1,000 similar texts to get the right label (95% interval 992 to 999)." in text


def test_notes_on_small_and_uneven_splits(render_text, report, details):
    report["test"] |= {"num_examples": 120}
    report["test"]["metrics"]["macro_f1"] = _metric(0.7012)
    visible = _visible(render_text(report, details))
    assert "The test split has only 120 examples" in visible
    assert "macro F1 is 70.1 %" in visible


def test_metrics_of_both_splits_with_intervals_and_seeds(text):
    rows = {row[0].split()[0]: row[1:] for row in _rows(text, "metrics")}
    assert rows["accuracy"] == ["93.8 % 91.9 to 95.6", "92.5 % 91.0 to 94.0", "92.4 ± 0.3 %"]
    assert rows["MCC"] == ["0.851 0.830 to 0.872", "0.851 0.830 to 0.872", "–"]
    assert rows["loss"] == ["0.234", "0.234", "–"]


def test_without_a_test_split_the_page_shows_validation(render_text, report, details):
    report |= {"test": None, "seeds": None}
    text = render_text(report, details | {"split": "validation"})
    visible = _visible(text)
    assert "93.8 % accuracy on 640 validation examples" in visible
    assert "There is no test split." in visible
    assert all(len(row) == 2 for row in _rows(text, "metrics"))


def test_the_page_states_that_there_are_no_scores(render, report):
    report |= {"test": None, "validation": None, "seeds": None}
    for row in report["history"]:
        row["validation"] = None
    text = render(report, {})
    assert "There is neither a test nor a validation split" in text
    assert _sections(text) == ["curves", "checks", "cost", "repeat"]


def test_a_minimal_report(render):
    assert _sections(render({"task": "classification"}, {})) == []


@pytest.mark.parametrize(
    "key, section",
    [("confusion", "confusions"), ("reliability", "trust"), ("lengths", "lengths"), ("mistakes", "mistakes")],
)
def test_a_section_without_its_details_is_omitted(render_text, report, details, key, section):
    del details[key]
    text = render_text(report, details)
    assert _sections(text) == [name for name in SECTIONS if name != section]
    assert f'href="#{section}"' not in text


def test_user_text_is_escaped_everywhere(render, report, details):
    evil = "<script>alert('x')</script>&amp;\" onload=\"y"
    report["test"]["per_label"] = {evil: report["test"]["per_label"]["card?"]}
    report["checks"] = {"lines": [evil], "warnings": [evil + "!"]}
    report["config"]["data"]["separator"] = evil
    report |= {"command": evil, "task": evil, "encoder": {"name": evil}, "versions": {evil: evil}}
    report["data"] = {"test": {"path": evil, "sha256": evil, "num_examples": 1}}
    report |= {"run": evil, "data_name": evil}
    report["baselines"] = [{"name": "constant", "title": evil, "test": {"accuracy": 0.95}}]
    details["labels"] = [evil, "card?"]
    mistake = {"texts": [evil * 20], "gold": evil, "predicted": evil, "where": evil, "confused": [[evil, evil]]}
    span = {"start": 0, "end": 9, "label": evil}
    details["mistakes"] = [mistake | {"gold_spans": [span], "predicted_spans": [span | {"start": 3}]}]
    text = render(report, details)
    assert len(SCRIPTS.findall(text)) == text.count("<script") == text.count("</script") == 2
    assert not re.search(r'<[^>]*\sonload="', SCRIPTS.sub("", text))
    assert text.count("&lt;script&gt;") > 25
    assert {"table", "svg", "details"} <= set(re.findall(r"<(\w+)", text))
    (rows,) = (json.loads(body) for kind, body in SCRIPTS.findall(text) if kind)
    assert rows["rows"][0]["labels"][0][0] == evil


def test_the_page_needs_no_network(text):
    assert not re.search(r"https?://|\bsrc=|@import|//cdn|<link|\bfetch\b|XMLHttpRequest|import\(", text)
    assert all(target.startswith(("#", "data:image/png;base64,")) for target in re.findall(r'href="([^"]*)', text))
    assert set(re.findall(r"url\((.)", text)) <= {"#"}
    assert "default-src 'none'" in text


def test_only_the_script_of_the_page_may_run(text):
    (policy,) = re.findall(r"script-src ([^\"]*)\"", text)
    (script,) = (body for kind, body in SCRIPTS.findall(text) if not kind)
    digest = hashlib.sha256(script.encode()).digest()
    assert policy == f"'sha256-{base64.b64encode(digest).decode()}'"
    assert script == (Path(report_page.__file__).parent / "page.js").read_text(encoding="utf-8")


def test_identifiers_in_the_plots_are_unique(text):
    identifiers = re.findall(r'\bid="([^"]*)"', text)
    assert len(identifiers) == len(set(identifiers))


def test_plots_use_the_colours_of_the_page(text):
    drawings = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    assert len(drawings) == 6
    for drawn in drawings:
        assert not re.search("#0[1-6]{1}0[1-6]{1}0[1-6]{1}", drawn)
        assert "var(--ink)" in drawn or "var(--muted)" in drawn
        assert "font-family" not in drawn and "DejaVu" not in drawn


def test_labels_lowest_f1_first_and_unseen_last(render_text, report, details):
    report["test"]["per_label"]["never seen"] = _label(0.0, 0.0, 0.0, 0, 3)
    assert _rows(render_text(report, details), "labels") == [
        ["refund", "92.1 %", "92.6 %", "91.6 %", "95", "94"],
        ["card?", "92.9 %", "92.5 %", "93.3 %", "105", "106"],
        ["never seen", "–", "0.0 %", "–", "0", "3"],
    ]


def test_most_confused_pairs_first(text):
    assert _rows(text, "confusions") == [["refund", "card?", "8", "8.4 %"], ["card?", "refund", "7", "6.7 %"]]
    assert "15 of 200 test examples were given a wrong label" in _visible(text)
    matrix = re.search(r'<svg[^>]*aria-label="Confusion.*?</svg>', text, re.DOTALL).group()
    assert re.findall(r">(\d+)</text>", matrix) == ["87", "8", "7", "98"]
    # Each cell off the diagonal has a link on its colour and on its number.
    links = ["#mistakes?true=refund&predicted=card%3F", "#mistakes?true=card%3F&predicted=refund"]
    assert [html.unescape(link) for link in re.findall(r'xlink:href="(.*?)"', matrix)] == 2 * links
    pairs = text[text.index('<section id="confusions">') : text.index("<figure>", text.index("confusions"))]
    assert [html.unescape(link) for link in re.findall(r'<a href="(#mistakes.*?)"', pairs)] == links


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.01, 0.05, "+3.0 points (95% interval 1.0 to 5.0), so more of them will probably help."),
        (-0.02, 0.05, "which may be chance: it is uncertain whether more of them would help."),
        (-0.02, 0.005, "so more of the same kind will hardly help."),
    ],
)
def test_more_labelled_examples(render_text, report, details, low, high, expected):
    points = [{"num_examples": 500, "scores": [0.8, 0.82]}, {"num_examples": 1000, "scores": [0.84]}]
    report["training_sizes"] = {"metric": "accuracy", "points": points, "num_train": 1000}
    report["training_sizes"] |= {"difference": 0.03, "low": low, "high": high, "num_differing": 9}
    text = render_text(report, details)
    visible = _visible(text)
    doubling = "Doubling the number of labelled examples from 500 to 1,000 changed accuracy on validation by"
    assert doubling in visible and expected in visible
    assert "were used for this" not in visible and 'aria-label="Score by number of labelled examples"' in text
    report["training_sizes"]["num_train"] = 9003
    assert "Only 1,000 of the 9,003 training examples were used for this." in _visible(render_text(report, details))
    report["training_sizes"] |= {"num_differing": 0, "difference": 0.0, "low": 0.0, "high": 0.0}
    visible = _visible(render_text(report, details))
    assert doubling not in visible and "too small or too easy to tell whether more of them would help." in visible
    points[-1]["scores"] = [0.0]
    assert "too small or too hard to tell" in _visible(render_text(report, details))


def test_a_file_that_holds_all_splits_is_named_once(render_text, report, details):
    assert [row[0] for row in _rows(render_text(report, details), "checks")] == ["train", "test"]
    report["data"]["test"] |= {name: report["data"]["train"][name] for name in ("path", "sha256")}
    text = render_text(report, details)
    assert _rows(text, "checks") == [["train", "9,003"], ["test", "1,200"]]
    assert "All splits are parts of banking/train.csv, SHA-256 abababababab ." in _visible(text)


def test_texts_with_the_same_mistake_twice_are_listed_once(render_text, report, details):
    assert "listed once" not in _visible(render_text(report, details))
    details["mistakes"][0]["confused"] *= 2
    assert "Each text is listed once, however often" in _visible(render_text(report, details))


def test_a_single_epoch_has_no_curve_of_the_learning_rate(render_text, report, details):
    assert 'aria-label="Learning rate by epoch"' in render_text(report, details)
    del report["history"][1:]
    report["best_epoch"] = 1
    assert 'aria-label="Learning rate by epoch"' not in render_text(report, details)


def test_words_of_the_first_mistakes_are_coloured_and_the_deletion_test_is_told(render_text, report, details):
    details["mistakes"] = [{"texts": ["my card"], "gold": "refund", "predicted": "card?"}] * 2
    details["explanations"] = [[(0, 0, 2, -0.2), (0, 3, 7, 2.0)]]
    details["evidence"] = [[(["a <b>", "c"], "refund", 0.876), (["d" * 400], "", -0.1)]]
    tests = {"explained": {"comprehensiveness": 0.4}, "random": {"comprehensiveness": 0.081}}
    page = render_text(report, details | {"faithfulness": {"num_texts": 27, **tests}})
    assert page.count('<mark class="p3">card</mark>') == 1 and '<mark class="n1">' not in page
    assert '0.88</span> <b dir="auto">refund</b> <span dir="auto">a &lt;b&gt; | c</span>' in page
    assert "Below the first mistakes are the most similar training examples" in page
    assert page.count('<p class="similar">') == 1 and "d" * 300 + " …<" in page
    assert "In the first 1, words with a solid line speak for the predicted label" in page
    assert "on 27 texts" in page and "by 40.0 points on average" in page and "random words, by 8.1 points" in page


def test_no_mistakes(render_text, report, details):
    text = render_text(report, details | {"confusion": np.diag([95, 105])})
    assert "0 of 200 test examples were given a wrong label." in _visible(text)


def test_lengths_show_truncation(text):
    train, test = _rows(text, "lengths")
    # One text of 40 tokens loses 10 of 76 tokens in total.
    assert train == ["train", "4", "14", "40", "40", "1 (25.0 %)", "10 (13.2 %)"]
    assert test[-2:] == ["0 (0.0 %)", "0 (0.0 %)"]


def test_calibration_is_computed_from_the_bins(text):
    visible = _visible(text)
    # (4 * 0.6 + 196 * 0.95) / 200 and (4 * 0.5 + 196 * 0.94) / 200.
    assert "the mean probability of the predictions is 94.3 %, and 93.1 % of them are correct" in visible
    assert "Calibration error: 1.7 %" in visible


def test_mistakes_show_text_probabilities_and_location(render_text, report, details):
    long = "".join(chr(0x4E00 + i) for i in range(2500))
    details["mistakes"].append({"texts": [long], "gold": "refund", "predicted": "card?"})
    text = render_text(report, details)
    assert "where is it true card? (0.4 %) , predicted refund (98.7 %) · test.csv:41" in _visible(text)
    assert long[:2000] in text and long[:2001] not in text
    assert "and 500 more characters" in text


def test_time_memory_config_and_command(text, report):
    assert _rows(text, "cost") == [
        ["read", "0.4 s", "0.2 %"],
        ["tokenize", "2.3 s", "1.0 %"],
        ["train", "3 min 20 s", "87.8 %"],
        ["export", "25.0 s", "11.0 %"],
        ["total", "3 min 48 s", ""],
    ]
    assert "Peak memory: 2.4 GB." in text
    assert f"<pre>{report['command']}</pre>" in text
    for name, value in [("learning_rate", "0.0002"), ("epochs", "3"), ("separator", "&#39;\\t&#39;")]:
        assert f"<tr><td>{name}</td><td>{value}</td></tr>" in text


def test_chinese_labels_stay_text_in_the_plots(render, report, details):
    text = render(report, details | {"labels": ["体育", "财经 $x$"]})
    matrix = re.search(r'<svg[^>]*aria-label="Confusion.*?</svg>', text, re.DOTALL).group()
    assert matrix.count(">体育</text>") == 2 and matrix.count(">财经 $x$</text>") == 2


@pytest.mark.parametrize("num_labels", [77, 150])
def test_many_labels_make_a_readable_and_small_page(render, report, details, num_labels):
    rng = np.random.default_rng(0)
    labels = [f"a_label_with_quite_a_long_name_{i}?" for i in range(num_labels)]
    confusion = rng.integers(0, 3, (num_labels, num_labels)) + np.diag(np.full(num_labels, 90))
    confusion[3, 5], confusion[5, 3] = 40, 30
    per_label = {label: _label(0.5 + i / 1000, 0.6, 0.7, 100, 90) for i, label in enumerate(labels)}
    report["test"]["per_label"] = per_label
    details |= {"labels": labels, "confusion": confusion}
    details["mistakes"] = details["mistakes"] * 60
    text = render(report, details)
    assert len(text.encode()) < 1_500_000
    rows = _rows(text, "labels")
    assert [row[0] for row in rows] == labels
    assert f"The other {num_labels - 20} labels" in text
    pairs = _rows(text, "confusions")
    assert len(pairs) == 25
    assert [row[:3] for row in pairs[:2]] == [[labels[3], labels[5], "40"], [labels[5], labels[3], "30"]]
    matrix = re.search(r'<svg[^>]*aria-label="Confusion.*?</svg>', text, re.DOTALL).group()
    names = re.findall(r">(a_label[^<]*|any other[^<]*)</text>", matrix)
    shown = [drawing.shorten(labels[3]), drawing.shorten(labels[5])]
    assert len(names) == 41 and names[:2] == shown and names[-1] == "any other label"
    # The rows are complete: their cells sum to all examples of their labels.
    shown_labels = list(dict.fromkeys(label for row in pairs for label in row[:2]))[:20]
    cells = [int(cell) for cell in re.findall(r">(\d+)</text>", matrix)]
    assert sum(cells) == confusion[[labels.index(label) for label in shown_labels]].sum()
    assert f"All {num_labels} labels" in text and "data:image/png;base64," in text


def test_loss_curve_omits_nan_and_infinity(render, report, details):
    details["step_losses"] = [(1, 2.0), (2, float("nan")), (3, float("inf")), (4, 1.0)]
    text = render(report, details)
    assert _sections(text) == SECTIONS
    assert not re.search(r"\b(nan|inf)\b", text)


def test_half_a_surrogate_pair_is_replaced(render_text, report, details):
    details["mistakes"][0]["texts"] = ["a \ud83d b"]
    assert "a ? b" in render_text(report, details)


def test_the_same_run_gives_the_same_page(text, render, report, details):
    assert render(report, details) == text
