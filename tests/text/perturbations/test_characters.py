"""Perturbations of characters."""

import random
import unicodedata

import pytest

from tfbert.text.edits import apply_edits
from tfbert.text.perturbations import characters


def perturbed(function, text, seed=0):
    return apply_edits(text, function(text, random.Random(seed)))


@pytest.mark.parametrize(
    ("function", "text", "result"),
    [
        (characters.upper_case, "my Card ß", "MY CARD SS"),
        (characters.lower_case, "My CARD İ", "my card i̇"),
        (characters.without_accents, "naïve Café, 북 йод", "naive Cafe, 북 йод"),
        (
            characters.no_punctuation,
            'Why? "No!" It is 3.5, e-mail a@b.c :) ok...',
            'Why "No" It is 3.5 e-mail a@b.c :) ok',
        ),
        (characters.no_punctuation, "为什么？我，不知道。", "为什么我不知道"),
        (characters.doubled_punctuation, "Why? 3.5, ok.", "Why?? 3.5,, ok.."),
        (characters.doubled_punctuation, "为什么？", "为什么？？"),
        (characters.zero_width, "ab 12", "ab 12"),
        (characters.full_width, "là naïve à", "là naïve à"),
        (characters.full_width, "等3天", "等３天"),
    ],
)
def test_result(function, text, result):
    assert perturbed(function, text) == result


def test_look_alikes_and_accents_look_the_same_but_are_other_characters():
    text = "please transfer money"
    for function in (characters.look_alikes, characters.accents):
        result = perturbed(function, text)
        assert len(result) == len(text) and sum(a != b for a, b in zip(result, text, strict=True)) == 1
    assert any("CYRILLIC" in unicodedata.name(c) for c in perturbed(characters.look_alikes, text) if c.isalpha())
    assert unicodedata.normalize("NFKC", perturbed(characters.look_alikes, "大人口山")) == "大人口山"
    assert perturbed(characters.look_alikes, "大人口山") != "大人口山"
    # Also if the only word with such a letter is not the first that is drawn.
    assert perturbed(characters.look_alikes, "rrr " * 20 + "bank") == "rrr " * 20 + "b\u0430nk"


def test_zero_width_characters_are_inside_of_words():
    for seed in range(20):
        result = perturbed(characters.zero_width, "send money", seed)
        position = result.index("\u200b")
        assert result[position - 1].isalpha() and result[position + 1].isalpha()
        assert result.replace("\u200b", "") == "send money"


def test_full_width_characters_are_words_outside_of_addresses():
    for seed in range(20):
        result = perturbed(characters.full_width, "pay 100 to a@b.c", seed)
        assert unicodedata.normalize("NFKC", result) == "pay 100 to a@b.c" and "a@b.c" in result
        assert result != "pay 100 to a@b.c"


def test_whitespace_is_never_removed():
    text = "pay my bill " * 30
    result = perturbed(characters.whitespace, text)
    assert result.split() == text.split() and len(result) > len(text)
    assert perturbed(characters.whitespace, "你好").strip() == "你好"
