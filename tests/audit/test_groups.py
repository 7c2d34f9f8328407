"""Scores by group: small groups are not judged, planted differences are more than chance, and equal groups are not."""

import numpy as np
import pytest

from tfbert.audit.answers import Answers
from tfbert.audit.groups import Grouping, audit_groups, group_by_column, group_by_terms
from tfbert.text.records import Record
from tfbert.text.terms import load_terms


def grouping(members, names=("a", "b")):
    return Grouping("list", "a list", names, np.asarray(members))


def binary(gold, chosen):
    """Return predictions and labels of a classification with the labels `no` and `yes`."""
    gold, chosen = (np.stack([~is_yes, is_yes], axis=1) for is_yes in (gold, chosen))
    return Answers(("no", "yes"), np.where(chosen, 0.8, 0.2), chosen, False, 1.0), gold


def accuracy_of(answers, gold):
    is_right = (answers.chosen == gold).all(axis=1)
    return lambda texts: float(is_right[texts].mean())


def audited(members, gold, chosen, names=("a", "b")):
    answers, gold = binary(gold, chosen)
    return audit_groups(grouping(members, names), answers, gold, accuracy_of(answers, gold))


def test_texts_are_grouped_by_terms_and_by_a_column():
    texts = ["she and he", "her dog", "his dog", "nothing", "he"]
    records = [Record(text, "x", "f:1", subgroup=group) for text, group in zip(texts, "ab b\0", strict=True)]
    by_terms = group_by_terms(load_terms("gender"), records)
    assert (by_terms.members.tolist(), by_terms.num_several) == ([-1, 0, 1, -1, 1], 1)
    assert by_terms.has_texts and not group_by_terms(load_terms("religions"), records).has_texts
    by_column = group_by_column("site", [*records[:2], Record("", "x", "f:2"), records[3]])
    assert (by_column.names, by_column.members.tolist()) == (("b", "a"), [1, 0, -1, 0])
    with pytest.raises(ValueError, match="data.group_column=site: no record has a value in this column"):
        group_by_column("site", [Record("", "x", "f:2")])


def test_scores_and_rates_of_a_group():
    gold = np.array([True] * 40 + [False] * 40)
    chosen = gold.copy()
    chosen[:10] = False  # a quarter of `yes`, all of them in group a
    audit = audited([0] * 20 + [1] * 20 + [0] * 20 + [1] * 20, gold, chosen)
    first, second = audit.groups
    assert (first.num_texts, first.is_judged, first.score.value, second.score.value) == (40, True, 0.75, 1.0)
    yes = first.rates[1]
    assert (yes.label, yes.num_with, yes.num_without) == ("yes", 20, 20)
    assert (yes.true_positive.value, yes.false_positive.value) == (0.5, 0.0)
    assert first.score.low < 0.75 < first.score.high and yes.true_positive.low < 0.5 < yes.true_positive.high
    assert first.areas.subgroup.value == 0.75
    assert (first.areas.bpsn.value, first.areas.bnsp.value) == (1.0, 0.75)
    assert (audit.gap.measure, audit.gap.lowest, audit.gap.highest) == ("true positive rate of 'yes'", "a", "b")
    assert audit.gap.difference.value == 0.5 and audit.gap.difference.low > 0.2 and audit.gap.p_value < 0.01
    assert 0.1 < audit.gap.chance < 0.5


def test_small_groups_are_listed_but_not_judged():
    gold = np.arange(100) % 2 == 0
    audit = audited([0] * 71 + [1] * 29, gold, gold)
    assert [group.is_judged for group in audit.groups] == [True, False] and audit.gap is None
    audit = audited([0] * 60 + [1] * 40, np.arange(100) < 5, np.zeros(100, bool))
    assert audit.gap.measure == "false positive rate of 'yes'"  # hardly any text has the label
    audit = audited([0] * 60 + [1] * 40, gold, gold, ("a", "b", "nobody"))
    assert audit.groups[2].num_texts == 0 and audit.groups[2].score is None and audit.gap.difference.value == 0


def test_differences_by_chance_are_rarely_called_more_than_that():
    rng, p_values = np.random.default_rng(0), []
    for _ in range(20):
        gold = rng.random(300) < 0.4
        p_values.append(audited(rng.integers(0, 3, 300), gold, rng.random(300) < 0.3 + 0.4 * gold, "abc").gap.p_value)
    assert np.count_nonzero(np.array(p_values) <= 0.05) <= 2


def test_mean_errors_of_a_regression():
    rng = np.random.default_rng(0)
    gold = rng.normal(0, 1, (200, 1))
    members = np.arange(200) % 2
    answers = Answers(("value",), gold + 0.1 * rng.normal(0, 1, (200, 1)) + 0.2 * members[:, None], None, False, 1.0)
    audit = audit_groups(grouping(members), answers, gold, lambda texts: float(len(texts)), is_fraction=False)
    assert [group.mean_error.value for group in audit.groups] == pytest.approx([0, 0.2], abs=0.04)
    gap = audit.gap
    assert (gap.measure, gap.lowest, gap.highest) == ("mean error", "a", "b")
    assert gap.p_value < 0.001 and gap.difference.low > 0.1 and gap.difference.value > 4 * gap.chance
