"""Sentence splitting in Latin, Chinese and other scripts."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfbert.pretraining.sentences import split_sentences


@pytest.mark.parametrize(
    "marked",
    [
        "One sentence.",
        "It rose. |It fell! |Did it? |Yes.",
        "It rose.  \t|The Committee met.",
        "A line\n|another line\r\n\n| a third\u2028|a fourth",
        "It grew 3.5 percent. |In 1998. |Then 2 percent.",
        "in percent. but not here.",
        "Mr. Smith and Mrs. Jones of Acme Inc. Ltd. met Prof. Miller. |They left.",
        "J. R. Smith came. |So did I. |We met.",
        "On Dec. 3 the U.S. Treasury paid vs. Germany, e.g. Berlin, i.e. No. 5.",
        "Apples, pears, etc. |The rest.",
        '"It rose." |"Did it?" |(It did.) |[So.] |“Yes.” |‘No.’',
        "He said: «Non.» |Él vino. |¿Vino? |¡Sí! |École.",
        "1. First point. |2. Second point. |IV. Third. |(5) Fourth.",
        "Wait... |What?! |No!!! |OK.",
        "dots ... and more",
        "no blank.Here and www.example.com/A.b",
        "今天很好。|明天呢？|好！|“是的。”|他说：“走吧！”|然后走了；|完。",
        "第一，好；|第二，不好……|结束",
        "中文。 |English sentence. |中文 sentence. |１９９８年。",
        "हम आए। |वे गए॥ |ठीक",
        "它说. |中文也行",
        "Москва. |Ёлка. и так. далее",
        "ab. |中 b.",
    ],
)
def test_sentences(marked):
    expected = [sentence.strip() for sentence in marked.split("|")]
    assert list(split_sentences(marked.replace("|", ""))) == expected


@given(st.text(st.sampled_from("aB1. !?。”\"'(\n\t；中…-"), max_size=80))
def test_only_whitespace_is_lost(text):
    sentences = list(split_sentences(text))
    assert "".join("".join(sentences).split()) == "".join(text.split())
    assert all(sentence and sentence == sentence.strip() for sentence in sentences)


def test_a_long_sentence_is_cut_at_spaces():
    words = " ".join(["word"] * 1000)
    sentences = list(split_sentences(words))
    assert " ".join(sentences) == words
    assert all(500 <= len(sentence) <= 1000 for sentence in sentences[:-1])
    assert list(map(len, split_sentences("字" * 2500))) == [1000, 1000, 500]


@pytest.mark.parametrize(
    "text", ["." * 10**6, "x" * 10**6 + ". Y", "! " * 10**6, "a " * 10**6, ". \t" * 10**5, "？" * 10**6]
)
def test_splitting_takes_linear_time(text):
    started = time.process_time()
    for _ in split_sentences(text):
        pass
    assert time.process_time() - started < 5
