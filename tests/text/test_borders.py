"""Where labelled parts of a text may begin and end: the same by character, by token and in the graph."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tfbert.text.borders import borders_of, cuts_unit, cuts_unit_in_graph, goes_on
from tfbert.text.spans import Span


@tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
def in_graph(texts):
    codes = tf.strings.unicode_decode(texts, "UTF-8")
    return codes.with_flat_values(cuts_unit_in_graph(codes))


def units(text):
    """Return a text with a bar between its units; blanks and what is at edges are units of their own."""
    return "".join(
        ("" if cut or not place else "|") + c for place, (c, cut) in enumerate(zip(text, cuts_unit(text), strict=True))
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Ada met", "Ada| |met"),
        ("(Ada's).", "(|Ada|'s|)|."),
        ("@ada_l #x-1", "@ada_l| |#x-1"),
        ("https://a.b/c?d=1,", "https://a.b/c?d=1|,"),
        ("Wal-Mart, U.S.", "Wal-Mart|,| |U.S|."),
        ("\u201cA\u201d\tB\u00a0C", "\u201c|A|\u201d|\t|B|\u00a0|C"),
        ("...", ".|.|."),
        ("我在北京。", "我在北京|。"),
        ("", ""),
    ],
)
def test_units_between_blanks(text, expected):
    assert units(text) == expected


@given(st.lists(st.text(alphabet="aé京'’.,(@#-/ \t\u00a0\u3000👩", max_size=12), min_size=1, max_size=5))
@settings(deadline=None, derandomize=True, max_examples=200)
def test_the_graph_says_the_same(texts):
    found = in_graph(tf.constant(texts)).to_list()
    assert found == [cuts_unit(text).tolist() for text in texts]


def test_no_texts():
    assert in_graph(tf.constant([], tf.string)).to_list() == []
    assert in_graph(tf.constant([""])).to_list() == [[]]


def test_tokens_that_go_on():
    text, starts = "#Ada2016 met", np.array([0, 1, 4, 9])
    assert goes_on(text, starts, "blanks").tolist() == [False, True, True, False]
    assert goes_on(text, starts, "words").tolist() == [False, False, True, False]
    assert goes_on(text, starts, "anywhere").tolist() == [False] * 4
    for borders in ("blanks", "words", "anywhere"):
        assert goes_on("", np.array([], int), borders).shape == (0,)


@pytest.mark.parametrize(
    ("few", "text", "expected"),
    [
        (Span(0, 3, "x"), "Ada met", "blanks"),
        (Span(1, 4, "x"), "#Ada met", "words"),
        (Span(0, 3, "x"), "Ada-Mary", "words"),
        (Span(0, 2, "x"), "Ada met", "anywhere"),
        (Span(4, 7, "x"), "met Ada", "blanks"),
    ],
)
@pytest.mark.parametrize("number", [1, 2])
def test_a_rule_may_be_broken_by_one_in_a_hundred(few, text, expected, number):
    spans = [("Mary, Ada", Span(0, 4, "x"))] * (100 - number) + [(text, few)] * number
    assert borders_of(spans) == (expected if number > 1 else "blanks")
