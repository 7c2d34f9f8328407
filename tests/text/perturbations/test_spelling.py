"""Typing errors: how many, where, and of which kind."""

import collections
import random

from tfbert.text.edits import apply_edits
from tfbert.text.perturbations.spelling import NEIGHBOURS, misspelling, misspellings, typos
from tfbert.text.perturbations.words import Word, words_of

CARD, BANK = Word(0, 4, "card"), Word(0, 2, "银行")


def results(word, kinds=misspelling):
    rng = random.Random(0)
    return collections.Counter(apply_edits(word.text, [edit]) for edit in (kinds(word, rng) for _ in range(400)))


def test_a_word_is_misspelt_in_four_ways_after_its_first_letter():
    found = results(CARD)
    swapped, omitted, doubled = {"crad", "cadr"}, {"crd", "cad", "car"}, {"caard", "carrd", "cardd"}
    neighbouring = {f"c{k}rd" for k in NEIGHBOURS["a"]} | {f"ca{k}d" for k in NEIGHBOURS["r"]}
    neighbouring |= {f"car{k}" for k in NEIGHBOURS["d"]}
    assert found.keys() == swapped | omitted | doubled | neighbouring
    for kind in (swapped, omitted, doubled, neighbouring):
        assert 60 < sum(found[word] for word in kind) < 150
    assert results(Word(0, 4, "CARD")).keys() == {word.upper() for word in found}


def test_neighbours_are_next_to_each_other_on_the_keyboard():
    assert (
        set(NEIGHBOURS["s"]) == set("adwezx")
        and set(NEIGHBOURS["q"]) == set("wa")
        and set(NEIGHBOURS["m"]) == set("njk")
    )
    assert all(key in NEIGHBOURS[other] for key, others in NEIGHBOURS.items() for other in others)


def test_chinese_characters_are_swapped_omitted_doubled_or_confused():
    assert results(BANK).keys() == {"行银", "银", "银银行", "银行行"}
    assert {"再坐", "在座"} & results(Word(0, 2, "在坐")).keys()


def test_candidates_have_each_kind_once():
    edits = misspellings(CARD, random.Random(3))
    assert len(edits) == len(set(edits)) == 4
    # Two equal letters cannot be swapped.
    assert len(misspellings(Word(0, 2, "行行"), random.Random(0))) == 2


def test_the_rate_is_the_fraction_of_misspelt_words():
    text = "please show the balance of every account " * 500
    words = len(words_of(text))
    for rate in (0.05, 0.1, 1):
        assert abs(len(typos(rate).edits(text)) / words - rate) < 0.02
    assert typos(0).edits(text) == []
    assert [typos(rate).name for rate in (0.05, 0.1, 0.125)] == ["typos_5", "typos_10", "typos_12_5"]
    assert "5 % of the words" in typos(0.05).description
