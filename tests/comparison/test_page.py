"""The comparison page: title, filters, marked spans, long texts and lists that are cut."""

import re
from dataclasses import replace

import numpy as np
import pytest
from support.systems import records, replaced, right_except, system

from tfbert.comparison import page
from tfbert.comparison.compare import compare
from tfbert.comparison.page import Excerpt, mark, render
from tfbert.comparison.systems import Training
from tfbert.config import Config
from tfbert.evaluation.metric import LabelledSpan
from tfbert.tasks.entities import EntitiesOptions, FittedEntities
from tfbert.text.records import Record
from tfbert.text.spans import Span


def rendered(comparison, path):
    render(comparison, "tfbert compare a b", path)
    return path.read_text("utf-8")


@pytest.fixture
def comparison():
    """Return a comparison of two systems that disagree on 12 of 60 records."""
    wrong = system("<b>", right_except(60, *range(10)), train__learning_rate=0.5)
    return compare([system("a", right_except(60, 58, 59)), wrong])


def test_title_result_and_settings(comparison, tmp_path):
    html = rendered(comparison, tmp_path / "compare.html")
    assert "Comparison of a, &lt;b&gt;</title>" in html and "a, <b>" not in html and "<dt><b>" not in html
    assert "a has 13.3 points more accuracy than &lt;b&gt;" in html and "tfbert compare a b" in html
    assert re.search(r"train\.learning_rate</td><td>0\.0002</td><td>0\.5</td>", html)
    assert not re.search(r"https?://|src=", html)


def test_disagreements_can_be_filtered_by_the_better_model(comparison, tmp_path):
    html = rendered(comparison, tmp_path / "compare.html")
    assert "The predictions differ for 12 of 60 records." in html
    assert re.findall(r'<label for="filter-(\w+)">(.*?)</label>', html) == [
        ("all", "all 12"), ("0", "a better 10"), ("1", "&lt;b&gt; better 2")
    ]  # fmt: skip
    assert (html.count('class="record group-0"'), html.count('class="record group-1"')) == (10, 2)
    assert "#filter-1:checked ~ .rows > :not(.group-1)" in html
    first = html[html.index('class="record group-0"') :].partition("</dl>")[0]
    assert (
        re.sub(r"<[^>]*>|\s+", " ", first).split()[-11:]
        == (
            "text 0 true · test.csv:2 card a · right card (90.0 %) <b> fee (90.0 %)".replace(
                "<b>", "&lt;b&gt;"
            ).split()[-11:]
        )
    )


def test_three_models_have_filters_for_the_best_and_the_worst(tmp_path):
    systems = [system(name, right_except(60, *wrong)) for name, wrong in (("a", [1]), ("b", [2]), ("c", [1, 2, 3]))]
    html = rendered(compare(systems), tmp_path / "compare.html")
    names = [name for _, name in re.findall(r'<label for="filter-(\w+)">(.*?)</label>', html)]
    assert names == [
        "all 3", "a among the best 2", "b among the best 2", "a among the worst 1", "b among the worst 1",
        "c among the worst 3",
    ]  # fmt: skip


def test_long_texts_and_many_disagreements_are_cut(tmp_path, monkeypatch):
    monkeypatch.setattr(page, "_MAX_DISAGREEMENTS", 5)
    of = [replace(record, text=f"{index} " + "x" * 5000) for index, record in enumerate(records(60))]
    comparison = compare([system("a", right_except(60), of=of), system("b", right_except(60, *range(8)), of=of)])
    html = rendered(comparison, tmp_path / "compare.html")
    assert "differ for 8 of 60 records, of which the page shows the 5 with the largest difference" in html
    assert html.count("<summary>") == 5 and "and 1,002 more characters" in html


def test_pages_of_equal_systems_have_no_disagreements(tmp_path):
    html = rendered(compare([system("a", right_except(60)), system("b", right_except(60))]), tmp_path / "compare.html")
    assert 'id="disagreements"' not in html and "equally right on each of the 60 records" in html


def entity_system(name, found, texts):
    """Return a system of entities that finds the given span in the first text and nothing in the others."""
    count = len(texts)
    outputs = {"num_entities": np.array([1] + [0] * (count - 1))}
    outputs |= {"start": np.full((count, 1), found[0]), "end": np.full((count, 1), found[1])}
    outputs |= {"entity_label": np.full((count, 1), b"place", object), "probability": np.full((count, 1), 0.5)}
    outputs["entity_text"] = np.full((count, 1), texts[0][slice(*found)].encode(), object)
    task = FittedEntities(options=EntitiesOptions(), types=("place",), borders="whitespace")
    of = [Record(text, (Span(7, 15, "place"),) if not i else (), f"t.conll:{i}") for i, text in enumerate(texts)]
    return replaced(
        system(name, right_except(3)), task=task, records=of, trainings=[Training(outputs, {})], config=Config()
    )


def test_entities_are_marked_in_the_text(tmp_path):
    texts = ["now in New York & <more>" + " x" * 200, *(f"text {index}" for index in range(60))]
    systems = [entity_system("a", (7, 15), texts), entity_system("b", (7, 10), texts)]
    html = rendered(compare(systems), tmp_path / "compare.html")
    right, wrong = (
        "now in <mark>New York<small>place</small></mark> &amp;",
        '<mark class="wrong">New<small>place</small></mark> York',
    )
    assert html.count(right) == 2 and html.count(wrong) == 1
    # The text is cut after the entities, and not repeated above them.
    assert "&lt;more&gt;" in html and " …</dd>" in html and html.count("now in") == 3


def test_marks_and_excerpts():
    text = "0123456789"
    spans = [LabelledSpan(2, 4, "a"), LabelledSpan(3, 5, "overlapping"), LabelledSpan(8, 9)]
    shown = mark(text, spans, [Excerpt(1, 5), Excerpt(7, 10)], spans[:1])
    assert shown == '… 1<mark>23<small>a</small></mark>4 …… 7<mark class="wrong">8</mark>9'


def test_excerpts_start_and_end_at_words(tmp_path):
    texts = ["long ago " * 30 + "in New York " + "and so on " * 30, *(f"text {index}" for index in range(60))]
    start = texts[0].index("New")
    systems = [entity_system("a", (start, start + 8), texts), entity_system("b", (start, start + 3), texts)]
    html = rendered(compare(systems), tmp_path / "compare.html")
    # The true entities are elsewhere, in the first words of the text.
    assert re.search(
        r"… (long )?ago long .* in <mark class=\"wrong\">New York<small>place</small></mark> and so on", html
    )
    assert re.search(r"(and|so|on) …", html) and not re.search(r"… (ong|ng|go|g|o) |(an|n|a|s) …", html)
