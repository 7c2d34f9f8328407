"""Perturbations of wording."""

import random

import pytest

from tfbert.text.edits import apply_edits
from tfbert.text.perturbations import name_lists, wording


def perturbed(function, text, seed=0):
    return apply_edits(text, function(text, random.Random(seed)))


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("I do not know", "I don't know"),
        ("DO NOT pay", "DON'T pay"),
        ("Cannot pay, can not wait, will not go", "Can't pay, can't wait, won't go"),
        ("i  am here and It is late", "i'm here and It's late"),
        ("Yes, I am. Do not", "Yes, I am. Do not"),
        ("I have a card", "I have a card"),
    ],
)
def test_contracted(text, result):
    assert perturbed(wording.contracted, text) == result


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("I don't know", "I do not know"),
        ("Can’t pay, won't go", "Cannot pay, will not go"),
        ("I've paid; It's late", "I have paid; It is late"),
        ("it's been late, my bank's card", "it's been late, my bank's card"),
    ],
)
def test_expanded(text, result):
    assert perturbed(wording.expanded, text) == result


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("pay 1000 or $12,345", "pay 1,000 or $12345"),
        ("1234567 and 1,234,567.", "1,234,567 and 1234567."),
        ("in 1998, order 0123456, 12345678, 2024-1234, A1234, 1234.5, 999, www.a.b/c?d=1234", None),
        ("付了1,000元", "付了1000元"),
    ],
)
def test_numbers(text, result):
    assert perturbed(wording.numbers, text) == (result or text)


def test_greetings_and_sentences_have_the_language_of_the_text():
    assert perturbed(wording.greeting, "my card").endswith(", my card")
    assert perturbed(wording.greeting, "我的卡丢了").endswith("好，我的卡丢了")
    for seed in range(5):
        assert perturbed(wording.irrelevant_sentence, "my card ", seed).startswith("my card. ")
        assert perturbed(wording.irrelevant_sentence, "my card?", seed).startswith("my card? ")
        assert perturbed(wording.irrelevant_sentence, "我的卡丢了", seed).startswith("我的卡丢了。")
    for function in (wording.greeting, wording.irrelevant_sentence):
        assert perturbed(function, "где карта") == "где карта"


def test_names_are_exchanged_within_their_list():
    names = wording.Exchange(name_lists.ENGLISH_NAMES, name_lists.CHINESE_NAMES)
    places = wording.Exchange(name_lists.ENGLISH_PLACES, name_lists.CHINESE_PLACES)
    for seed in range(50):
        first, _, second, other = perturbed(names, "Emma and emma David", seed).split()
        assert first.lower() == second != "emma" and first in name_lists.ENGLISH_NAMES[0]
        assert other in name_lists.ENGLISH_NAMES[1]
        assert perturbed(names, "王芳", seed) in set(name_lists.CHINESE_NAMES[1]) - {"王芳"}
        assert perturbed(places, "FRANCE", seed).title() in name_lists.ENGLISH_PLACES[1]
    assert perturbed(names, "Emmanuel Emma-Lou") == "Emmanuel Emma-Lou"
    assert perturbed(places, "in New York").removeprefix("in ") in set(name_lists.ENGLISH_PLACES[0]) - {"New York"}


def test_no_name_is_in_two_lists():
    lists = (
        *name_lists.ENGLISH_NAMES,
        *name_lists.ENGLISH_PLACES,
        *name_lists.CHINESE_NAMES,
        *name_lists.CHINESE_PLACES,
    )
    names = [name for names in lists for name in names]
    assert len(names) == len(set(names))
