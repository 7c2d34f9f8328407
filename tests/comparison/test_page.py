"""The comparison page: title, settings, and the table of disagreements with its filter and marked spans."""

import html
import json
import re
import shutil
import subprocess

import numpy as np
import pytest
from support.systems import replaced, right_except, system

from tfbert.comparison.compare import compare
from tfbert.comparison.page import render
from tfbert.comparison.systems import Training
from tfbert.config import Config
from tfbert.tasks.entities import EntitiesOptions, FittedEntities
from tfbert.text.records import Record
from tfbert.text.spans import Span


def rendered(comparison, path):
    render(comparison, "tfbert compare a b", path)
    return path.read_text("utf-8")


def table_of(page):
    """Return the data of the table of disagreements."""
    return json.loads(html.unescape(re.search(r'<script type="application/json">(.*?)</script>', page).group(1)))


@pytest.fixture
def comparison():
    """Return a comparison of two systems that disagree on 12 of 60 records."""
    wrong = system("<b>", right_except(60, *range(10)), train__learning_rate=0.5)
    return compare([system("a", right_except(60, 58, 59)), wrong])


def test_title_result_and_settings(comparison, tmp_path):
    page = rendered(comparison, tmp_path / "compare.page")
    assert "Comparison of a, &lt;b&gt;</title>" in page and "a, <b>" not in page and "<dt><b>" not in page
    assert "a&#39;s accuracy is 13.3 points higher than &lt;b&gt;&#39;s" in page and "tfbert compare a b" in page
    assert re.search(r"train\.learning_rate</td><td>none</td><td>0\.5</td>", page)
    assert not re.search(r"https?://|src=", page)


def test_disagreements_can_be_filtered_by_the_better_model(comparison, tmp_path):
    page = rendered(comparison, tmp_path / "compare.html")
    assert "The predictions differ for 12 of 60 records, which follow with the largest difference" in page
    table = table_of(page)
    assert table["sources"] == ["true", "a", "<b>"]
    rows = table["rows"]
    assert [row["categories"] for row in rows] == [["a better"]] * 10 + [["<b> better"]] * 2
    assert rows[0]["text"] == [["text 0", "", []]] and (rows[0]["where"], rows[0]["note"]) == ("test.csv:2", "a better")
    labels = [(label, round(probability or 0, 3), is_wrong) for label, probability, is_wrong in rows[0]["labels"]]
    assert labels == [("card", 0, False), ("card", 0.9, False), ("fee", 0.9, True)]


CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
def test_the_browser_offers_the_filter(comparison, tmp_path):
    rendered(comparison, tmp_path / "compare.html")
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    command += ["--no-first-run", f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom"]
    command.append((tmp_path / "compare.html").as_uri())
    page = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    assert re.findall(r"<option[^>]*>([^/]* better [^/]*)</option>", page) == ["a better (10)", "&lt;b&gt; better (2)"]


def test_three_models_have_filters_for_the_best_and_the_worst(tmp_path):
    systems = [system(name, right_except(60, *wrong)) for name, wrong in (("a", [1]), ("b", [2]), ("c", [1, 2, 3]))]
    rows = {
        row["text"][0][0]: row["categories"] for row in table_of(rendered(compare(systems), tmp_path / "c"))["rows"]
    }
    assert rows == {
        "text 1": ["b among the best", "a among the worst", "c among the worst"],
        "text 2": ["a among the best", "b among the worst", "c among the worst"],
        "text 3": ["a among the best", "b among the best", "c among the worst"],
    }


def test_pages_of_equal_systems_have_no_disagreements(tmp_path):
    page = rendered(compare([system("a", right_except(60)), system("b", right_except(60))]), tmp_path / "compare.page")
    assert 'id="disagreements"' not in page and "equally right on each of the 60 records" in page


def test_equal_leaders_are_named_together(tmp_path):
    systems = [system(name, right_except(60, *range(wrong))) for name, wrong in (("a", 30), ("b", 0), ("c", 0))]
    page = rendered(compare(systems), tmp_path / "compare.html")
    assert "accuracy of b and c, the best of 3, on 60 records" in page
    page = rendered(compare(systems[1:]), tmp_path / "compare.html")
    assert "accuracy of b and c on 60 records" in page
    # A score is only bold if another one is worse.
    assert "equal scores</td>" in page and "<strong>100.0 %" not in page


def entity_system(name, bounds, texts):
    """Return a system of entities that finds the given span in the first text and nothing in the others."""
    count = len(texts)
    outputs = {"num_entities": np.array([1] + [0] * (count - 1))}
    outputs |= {"start": np.full((count, 1), bounds[0]), "end": np.full((count, 1), bounds[1])}
    outputs |= {"entity_label": np.full((count, 1), b"place", object), "probability": np.full((count, 1), 0.5)}
    outputs["entity_text"] = np.full((count, 1), texts[0][slice(*bounds)].encode(), object)
    task = FittedEntities(options=EntitiesOptions(), types=("place",), borders="whitespace")
    records = [Record(text, (Span(7, 15, "place"),) if not i else (), f"t.conll:{i}") for i, text in enumerate(texts)]
    return replaced(
        system(name, right_except(3)), task=task, records=records, trainings=[Training(outputs, {})], config=Config()
    )


def test_entities_are_marked_in_the_text(tmp_path):
    texts = ["now in New York & <more>", *(f"text {index}" for index in range(60))]
    systems = [entity_system("a", (7, 15), texts), entity_system("b", (7, 10), texts)]
    page = rendered(compare(systems), tmp_path / "compare.html")
    (row,) = table_of(page)["rows"]
    # True and a are New York, b is New.
    assert row["text"] == [
        ["now in ", "", []], ["New", "s7", ["b place"]], [" York", "s3", ["true, a place"]], [" & <more>", "", []],
    ]  # fmt: skip
    assert [is_wrong for *_, is_wrong in row["labels"]] == [False, False, True]
    assert "What a predicts has a line below it, what b predicts a dotted one, and both a double one." in page
    assert "&lt;more&gt;" in page and "<more>" not in page


def test_further_models_are_marked_like_the_third(tmp_path):
    texts = ["now in New York", *(f"text {index}" for index in range(60))]
    spans = {"a": (7, 15), "b": (7, 10), "c": (7, 15), "d": (0, 3)}
    systems = [entity_system(name, span, texts) for name, span in spans.items()]
    (row,) = table_of(rendered(compare(systems), tmp_path / "compare.html"))["rows"]
    assert [(piece, kind) for piece, kind, _ in row["text"]] == [
        ("now", "s4"),
        (" in ", ""),
        ("New", "s7"),
        (" York", "s7"),
    ]
