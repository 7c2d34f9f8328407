"""What the report says of extracted answers: tables by kind of question, and the threshold's curve."""

import numpy as np
import pytest

from tfbert.evaluation import answer_findings, squad


def test_the_figure_names_its_lines_and_leaves_out_margins_beyond_reason():
    margins = np.array([-2.0, 0.0, 1.0, 1e9])
    curve = squad.threshold_curve(margins, np.ones(4), np.array([True, False, True, False]))
    drawing = str(answer_findings.threshold_figure(curve, 0.25)["svg"])
    for text in ("all questions", "with an answer", "without an answer", "in use: 0.25"):
        assert text in drawing
    assert "1e9" not in drawing and "000000" not in drawing.replace("#000000", "")


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("How many legs has a spider?", "how many"),
        ("In what year, and how, did it end?", "what"),
        ("To whom was it sold?", "whom"),
        ("Who's there?", "who"),
        ("The somewhat whole shown?", "other"),
        ("谁来了?", "other"),
    ],
)
def test_question_word(question, expected):
    assert answer_findings.question_word(question) == expected


SCORES = {"f1": np.array([1.0, 0.5, 0.0, 0.75]), "exact_match": np.array([1.0, 0.0, 0.0, 0.0])}


def test_table_by_question_word_begins_with_the_most_frequent():
    table = answer_findings.by_question_word(SCORES, ["Who?", "What is it?", "What?", "so what"])
    assert table["rows"] == [["what", 3, "41.7 %", "0.0 %"], ["who", 1, "100.0 %", "100.0 %"]]


def test_table_by_length_goes_by_the_first_answer():
    table = answer_findings.by_length(SCORES, [[], ["a b c"], ["a", "b c d"], ["1 2 3 4 5 6 7 8 9 10 11"]])
    assert table["rows"] == [
        ["no answer", 1, "100.0 %", "100.0 %"],
        ["1 word", 1, "0.0 %", "0.0 %"],
        ["3 to 5 words", 1, "50.0 %", "0.0 %"],
        ["more than 10 words", 1, "75.0 %", "0.0 %"],
    ]
