"""Perturbations: pure, seeded functions that change only texts they apply to, and never empty one."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfbert.text.edits import Edit
from tfbert.text.perturbations.catalog import PERTURBATIONS
from tfbert.text.perturbations.perturbation import Perturbation

BY_NAME = {perturbation.name: perturbation for perturbation in PERTURBATIONS}
TEXTS = (
    "Hello Emma, I don't know why this isn't working in New York: 1000 dollars are missing. I am annoyed at the café!",
    "我的银行卡在北京不能用了，王芳说要等3天，一共1,000元。为什么？",
)


def test_there_are_at_least_ten_for_each_language():
    assert len(BY_NAME) == len(PERTURBATIONS)
    for language in ("English", "Chinese"):
        assert sum(language in perturbation.languages for perturbation in PERTURBATIONS) >= 10
    assert all(perturbation.description for perturbation in PERTURBATIONS)


@pytest.mark.parametrize("name", BY_NAME)
def test_each_changes_a_text_of_each_of_its_languages(name):
    perturbation = BY_NAME[name]
    for language, text in zip(("English", "Chinese"), TEXTS, strict=True):
        results = {perturbation(text, seed) for seed in range(30)}
        assert (results != {text}) == (language in perturbation.languages), language


@pytest.mark.parametrize("perturbation", PERTURBATIONS, ids=lambda perturbation: perturbation.name)
@settings(deadline=None, derandomize=True)
@given(text=st.text(min_size=1).filter(str.strip), seed=st.integers(0, 3))
def test_the_same_seed_gives_the_same_text_that_is_never_empty(perturbation, text, seed):
    edits = perturbation.edits(text, seed)
    result = perturbation(text, seed)
    assert perturbation(text, seed) == result and result.strip()
    assert all(text[edit.start : edit.end] != edit.replacement for edit in edits)
    assert all(first.end <= second.start for first, second in zip(edits, edits[1:], strict=False))
    # What is counted as changed is changed.
    assert bool(edits) == (result != text)


def test_edits_that_leave_only_whitespace_or_the_same_text_are_none():
    deletion = Perturbation("deletion", "", ("English",), lambda text, rng: [Edit(0, len(text), " ")])
    assert deletion.edits("abc") == [] and deletion("abc") == "abc"
    same = Perturbation("same", "", ("English",), lambda text, rng: [Edit(0, 1, text[0])])
    assert same.edits("abc") == []


def test_texts_with_the_same_key_have_the_same_random_numbers():
    names = BY_NAME["names"]
    first, second = names.edits("Emma called", 0, "key"), names.edits("I met Emma", 0, "key")
    assert first[0].replacement == second[0].replacement != "Emma"
    draws = Perturbation("draw", "", ("English",), lambda text, rng: [Edit(0, 0, str(rng.random()))])
    assert draws("a", 0) != draws("a", 1)
