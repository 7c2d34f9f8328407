"""Tables of a task on the report page."""

import re

from tfbert.evaluation import report_page
from tfbert.evaluation.metric import Metric


def test_columns_of_numbers_are_aligned_with_their_headings(tmp_path):
    rows = [["1 word", 1061, "64.4 %", "–", "PER"], ["no answer", 12, "3.0 %", "0.5", "LOC"]]
    table = {
        "title": "By length",
        "columns": ["answer", "questions", "F1", "gain", "type"],
        "rows": rows,
        "caption": "C.",
    }
    report_page.render({"task": "answers"}, {"tables": [table]}, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    (table,) = re.findall(r"<h3>By length</h3>.*?</table>", text, re.DOTALL)
    heads = [bool(kind) for kind in re.findall(r"<th( class=\"n\")?>", table)]
    cells = [kind == "n" for kind in re.findall(r"<td class=\"(\w+)\"", table)]
    assert heads == [False, True, True, True, False] and cells == heads * 2
    assert '<td class="n">1,061</td>' in table.replace("\n", "")


def test_texts_that_start_with_a_digit_are_not_numbers(tmp_path):
    rows = [["place", "88b Larkspur Gardens, Bristol", 3], ["date", "24/09", 2], ["range", "2 to 3", 1]]
    table = {"title": "Confused", "columns": ["type", "examples", "number"], "rows": rows, "caption": "C."}
    report_page.render({"task": "entities"}, {"tables": [table]}, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    cells = re.findall(r"<td class=\"(\w+)\"[^>]*>", text[text.index("Confused") :])
    assert cells == ["name", "name", "n"] * 3


def test_correlations_are_drawn_by_epoch(tmp_path):
    history = [
        {"epoch": epoch, "loss": 0.5, "validation": {"spearman": 0.7 + epoch / 50, "mae": 1.0}} for epoch in (1, 2, 3)
    ]
    metrics = [Metric("spearman", "higher", "correlation", "order"), Metric("mae", "lower", "target", "distance")]
    report = {"task": "regression", "history": history, "best_epoch": 3}
    report["metrics"] = [metric.to_json() for metric in metrics]
    report_page.render(report, {}, tmp_path / "report.html")
    (plot,) = re.findall(r"<svg.*?</svg>", (tmp_path / "report.html").read_text(encoding="utf-8"), re.DOTALL)[1:2]
    assert "Validation metrics by epoch" in plot and "spearman" in plot and "mae" not in plot and "%</text>" not in plot
