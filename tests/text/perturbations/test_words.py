"""Words that perturbations may change, and the language of a text."""

import random
import re

import pytest

from tfbert.text.perturbations.words import language_of, some, words_matching, words_of


def test_short_words_negations_and_addresses_are_left_out():
    text = "I do not see the card at https://a.bank/card, ask bob@card.org #card $ACME or don't; naïve"
    assert [word.text for word in words_of(text)] == ["see", "the", "card", "ask", "naïve"]
    assert all(text[word.start : word.end] == word.text for word in words_of(text))


def test_chinese_words_are_pairs_without_negations_and_numerals():
    assert [word.text for word in words_of("我的银行卡不能用三次")] == ["我的", "银行", "能用"]
    assert words_of("银行")[0].is_chinese and not words_of("bank")[0].is_chinese


def test_some_words_are_at_least_one():
    words = words_of("one two three four five six seven eight nine ten " * 50)
    assert 20 < len(some(words, random.Random(0), 0.1)) < 80
    assert len(some(words[:3], random.Random(1), 0.0)) == 1
    assert some([], random.Random(0), 0.5) == []


def test_matches_outside_of_addresses():
    assert [word.text for word in words_matching(re.compile(r"\d+"), "12 www.a.b/34 $56 #78")] == ["12", "56", "78"]


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("my card", "English"),
        ("我的 card 丢了", "Chinese"),
        ("please translate 你好 into English", "English"),
        ("カードをなくした", ""),
        ("카드를 잃어버렸다", ""),
        ("где моя карта", ""),
        ("12 + 3", ""),
    ],
)
def test_language(text, language):
    assert language_of(text) == language
