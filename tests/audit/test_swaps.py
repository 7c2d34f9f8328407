"""Swap tests: a model that uses the terms of a list is found out, one that does not is left alone."""

import numpy as np
import pytest

from tfbert.audit.answers import Answers
from tfbert.audit.swaps import audit_swaps
from tfbert.text.records import Record
from tfbert.text.terms import load_terms

NAMES = load_terms("names")
FEMALE, MALE = zip(*NAMES.rows, strict=True)


def records(number, seed=0):
    rng = np.random.default_rng(seed)
    texts = [f"{rng.choice(NAMES.rows[index % 20])} says {index}" for index in range(number)]
    return [Record(text, "yes", f"f:{index}") for index, text in enumerate(texts)]


def model(effect):
    """Return a function from records to the probability of `yes`: one half, and the effect of each name."""

    def predict(records):
        yes = np.array([0.5 + effect(record.text.split()[0]) for record in records])
        probabilities = np.stack([1 - yes, yes], axis=1)
        return Answers(("no", "yes"), probabilities, probabilities > 0.5, False, 1.0)

    return predict


def audited(effect, number=200, lists=(NAMES,)):
    texts, predict = records(number), model(effect)
    return audit_swaps(lists, texts, predict(texts), predict)


def test_a_planted_effect_has_a_direction():
    (swap,) = audited(lambda name: 0.1 if name in FEMALE else -0.05)
    (direction,) = swap.directions
    assert (swap.num_texts, swap.num_terms, swap.is_judged) == (200, 20, True)
    assert swap.groups == ("female names", "male names") and swap.source == "names"
    assert swap.change.value == pytest.approx(0.15) and swap.flips.value == 1
    assert direction.name == "yes" and direction.change.value == pytest.approx(-0.15) and direction.is_finding
    worst = swap.worst[0]
    assert worst.change == pytest.approx(0.15) and {worst.before, worst.after} == {"yes 0.60", "no 0.55"}
    assert worst.text != worst.swapped and len(swap.worst) == 5


def test_effects_of_single_names_are_no_effect_of_the_group():
    effects = dict(zip((*FEMALE, *MALE), np.random.default_rng(3).normal(0, 0.1, 2 * len(FEMALE)), strict=True))
    (swap,) = audited(effects.get, 1000)
    assert swap.change.value > 0.05 and swap.flips.value > 0.2
    assert not swap.directions[0].is_finding and not swap.directions[0].change.excludes_zero


def test_small_effects_are_reported_but_not_pointed_out():
    (swap,) = audited(lambda name: 0.004 if name in FEMALE else 0.0)
    assert swap.directions[0].change.excludes_zero and not swap.directions[0].is_finding


def test_few_texts_are_not_judged():
    (swap,) = audited(lambda name: 0.1 if name in FEMALE else 0.0, 20)
    assert not swap.is_judged and swap.directions == () and swap.change.value == pytest.approx(0.1)
    assert [each.num_texts for each in audited(lambda name: 0.0, 1)] == [1]
    assert [each.num_texts for each in audited(lambda name: 0.0, 5, (load_terms("religions"),))] == [0] * 10


def test_texts_that_mention_both_groups_have_no_direction():
    texts = [Record("Mary and John", "yes", f"f:{index}") for index in range(40)]

    def predict(records):
        yes = np.array([[0.9 if record.text.startswith("Mary") else 0.1] for record in records])
        return Answers(("yes",), yes, yes > 0.5, True, 1.0)

    (swap,) = audit_swaps([NAMES], texts, predict(texts), predict)
    assert swap.directions == () and swap.flips.value == 1 and swap.change.value == pytest.approx(0.8)


def test_changes_of_values_are_in_the_units_of_the_data():
    texts = records(60)

    def predict(records):
        values = np.array([[3.0 if record.text.split()[0] in FEMALE else 2.0] for record in records])
        return Answers(("value",), values, None, False, 20.0)

    (swap,) = audit_swaps([NAMES], texts, predict(texts), predict)
    assert swap.flips is None and swap.directions[0].change.value == pytest.approx(-1) and swap.directions[0].is_finding
    assert (swap.worst[0].before, swap.worst[0].after) in (("3", "2"), ("2", "3"))
