"""Unit borders by character and by token, and the rule that a set of spans follows."""

import re

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from support import tagged

from tfbert.text.borders import borders_of, continues_unit, continuing_tokens
from tfbert.text.preprocessor import Preprocessor
from tfbert.text.spans import Span

EDGES = ".,;:!?…()[]{}<>\"“”„«»‘’'`。，；：！？、（）《》「」【】"


@tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
def flags_of(texts):
    codes = tf.strings.unicode_decode(texts, "UTF-8")
    return codes.with_flat_values(continues_unit(codes))


def units(text):
    """Return a text with a bar between its units; whitespace and punctuation at edges are separate units."""
    (flags,) = flags_of(tf.constant([text])).to_list()
    return "".join(
        ("" if flag or not index else "|") + c for index, (c, flag) in enumerate(zip(text, flags, strict=True))
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
def test_units_between_whitespace(text, expected):
    assert units(text) == expected


def plainly(text):
    """Return whether each character continues a unit, by a loop over the chunks."""
    inside = [False] * len(text)
    for chunk in re.finditer(r"[^ \t\u00a0\u3000]+", text):
        first = chunk.end() - len(chunk.group().lstrip(EDGES))
        end = chunk.start() + len(chunk.group().rstrip(EDGES))
        inside[first + 1 : end] = [True] * len(inside[first + 1 : end])
    return [flag and character not in "'’" for flag, character in zip(inside, text, strict=True)]


@given(st.lists(st.text(alphabet="aé京'’.,(@#-/ \t\u00a0\u3000👩", max_size=12), min_size=1, max_size=5))
@settings(deadline=None, derandomize=True, max_examples=200)
def test_units_agree_with_a_plain_loop(texts):
    assert flags_of(tf.constant(texts)).to_list() == [plainly(text) for text in texts]


def test_no_texts():
    assert flags_of(tf.constant([], tf.string)).to_list() == []
    assert flags_of(tf.constant([""])).to_list() == [[]]


def test_tokens_that_continue_a_unit():
    tokenizer = tagged.tokenizer()
    texts = tf.constant(["#Ada2016 met", "", "Adas's"])
    tokens = Preprocessor(tokenizer, 16).tokenize(texts, with_offsets=True)
    pieces = [[tokenizer.vocabulary[token] for token in ids] for ids in tokens.ids.to_list()]
    assert pieces == [["#", "ada", "##2016", "met"], [], ["ada", "##s", "[UNK]", "[UNK]"]]

    def continuing(borders):
        flags = continuing_tokens(tokens, texts, borders, tokenizer.vocabulary)
        assert flags.dtype == tf.bool
        return flags.to_list()

    assert continuing("whitespace") == [[False, True, True, False], [], [False, True, False, True]]
    assert continuing("words") == [[False, False, True, False], [], [False, True, False, False]]
    assert continuing("anywhere") == [[False] * 4, [], [False] * 4]
    with pytest.raises(ValueError, match="^borders 'other': expected one of whitespace, words, anywhere$"):
        continuing("other")


@pytest.mark.parametrize(
    ("violation", "text", "expected"),
    [
        (Span(0, 3, "x"), "Ada met", "whitespace"),
        (Span(1, 4, "x"), "#Ada met", "words"),
        (Span(0, 3, "x"), "Ada-Mary", "words"),
        (Span(0, 2, "x"), "Ada met", "anywhere"),
        (Span(4, 7, "x"), "met Ada", "whitespace"),
    ],
)
@pytest.mark.parametrize("number", [1, 2])
def test_one_span_in_a_hundred_may_violate_a_rule(violation, text, expected, number):
    spans = [("Mary, Ada", Span(0, 4, "x"))] * (100 - number) + [(text, violation)] * number
    assert borders_of(spans) == (expected if number > 1 else "whitespace")


def test_the_rule_does_not_depend_on_the_size_of_a_chunk(monkeypatch):
    texts = [f"#Ada{index} met" for index in range(7)]
    spans = [(text, Span(1, 4, "x")) for text in texts] + [(texts[-1], Span(6, 9, "x"))]
    assert borders_of(iter(spans)) == "anywhere"
    word_spans = [(text, Span(1, len(text) - 4, "x")) for text in texts]
    for size in (1, 3, 7):
        monkeypatch.setattr("tfbert.text.borders._CHUNK_TEXTS", size)
        assert borders_of(iter(spans)) == "anywhere"
        assert borders_of(iter(word_spans)) == "words"
    assert borders_of([]) == "whitespace"
    assert borders_of([("half \ud83d Ada", Span(7, 10, "x"))]) == "whitespace"


def test_positions_count_characters_as_python_does():
    text = "👩\u200d🚀 Ada-京 e\u0301"
    assert np.flatnonzero(np.asarray(flags_of(tf.constant([text])).to_list()[0])).tolist() == [
        index for index, flag in enumerate(plainly(text)) if flag
    ]
