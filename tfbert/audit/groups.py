"""Metrics by group: scores, rates of each label, and how far the groups are apart (equalised odds)."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tfbert.audit.answers import Answers
from tfbert.audit.statistics import CONFIDENCE, Estimate, area_under_curve, proportion
from tfbert.evaluation.metric import ScoreFunction
from tfbert.evaluation.metrics import resampled
from tfbert.text.records import Record
from tfbert.text.terms import TermList

# Smaller groups are listed, but no difference from them is judged.
MIN_TEXTS = 30
# The same for the texts of a group that have a label, or lack it.
MIN_RATE_TEXTS = 10
_RESAMPLES = 2000


@dataclass(frozen=True)
class Grouping:
    """Texts by group.

    Args:
        source: the name of the list of terms, or of the column.
        description: what determines the group of a text, in a few words.
        names: the names of the groups.
        members: the group of each text by index, int `(texts,)`; -1 for none.
        num_several: number of texts that are in no group because they mention several.
    """

    source: str
    description: str
    names: tuple[str, ...]
    members: np.ndarray
    num_several: int = 0

    @property
    def has_texts(self) -> bool:
        """Whether any text belongs to a group, or mentions several."""
        return self.num_several > 0 or bool((self.members >= 0).any())


@dataclass(frozen=True)
class LabelRates:
    """How often a label is predicted for the texts of a group.

    Args:
        label: the label.
        num_with: number of texts that have the label.
        num_without: number of texts that do not.
        true_positive: the fraction of the first for which it is predicted; `None` without such texts.
        false_positive: the same for the others.
    """

    label: str
    num_with: int
    num_without: int
    true_positive: Estimate | None
    false_positive: Estimate | None


@dataclass(frozen=True)
class SubgroupAreas:
    """Areas under ROC curves of a binary label, which do not depend on a threshold.

    Args:
        subgroup: among the texts of the group.
        bpsn: texts of the group without the label, other texts with it: low if the model scores the group too high.
        bnsp: texts of the group with the label, other texts without it: low if the model scores the group too low.

    Source: Borkan et al. 2019, "Nuanced metrics for measuring unintended bias with real data for text classification".
    """

    subgroup: Estimate
    bpsn: Estimate
    bnsp: Estimate


@dataclass(frozen=True)
class GroupScores:
    """The scores of one group.

    Args:
        name: the name of the group.
        num_texts: number of its texts.
        is_judged: whether there are enough of them to compare the group with others.
        score: the main metric of the task.
        rates: the rates of each label; empty for a regression.
        areas: for a classification with two labels; `None` otherwise.
        mean_error: the mean difference of predicted and true value; `None` for tasks with labels.
    """

    name: str
    num_texts: int
    is_judged: bool
    score: Estimate | None
    rates: tuple[LabelRates, ...] = ()
    areas: SubgroupAreas | None = None
    mean_error: Estimate | None = None


@dataclass(frozen=True)
class Gap:
    """The largest difference between two groups.

    Args:
        measure: what differs, such as `true positive rate of 'refund'`.
        lowest: the group with the lowest value.
        highest: the group with the highest value.
        difference: the difference; the interval is that of the largest difference, which is never below 0.
        chance: the difference that 95% of random assignments of the same texts to the groups stay below.
        p_value: the fraction of random assignments with at least this difference.
    """

    measure: str
    lowest: str
    highest: str
    difference: Estimate
    chance: float
    p_value: float


@dataclass(frozen=True)
class GroupAudit:
    """The scores of all groups of a grouping.

    Args:
        grouping: the groups.
        groups: the scores of each.
        gap: the equalised-odds difference, or that of the mean errors of a regression; `None` if nothing can be judged.
    """

    grouping: Grouping
    groups: tuple[GroupScores, ...]
    gap: Gap | None


def group_by_terms(terms: TermList, records: Sequence[Record]) -> Grouping:
    """Return the texts that mention only one group of a list."""
    found = [terms.groups_in(record.texts) for record in records]
    members = np.array([next(iter(groups)) if len(groups) == 1 else -1 for groups in found], int)
    num_several = sum(len(groups) > 1 for groups in found)
    return Grouping(terms.name, terms.description, terms.groups, members, num_several)


def group_by_column(column: str, records: Sequence[Record]) -> Grouping:
    """Return the texts by their value in a column, the most frequent value first.

    Raises:
        ValueError: no record has a value.
    """
    counts = Counter(record.subgroup for record in records if record.subgroup is not None)
    if not counts:
        raise ValueError(f"data.group_column={column}: no record has a value in this column; expected one in some")
    names = tuple(name for name, _ in counts.most_common())
    index = {name: position for position, name in enumerate(names)}
    members = np.array([index.get(record.subgroup, -1) for record in records], int)
    return Grouping(column, f"column {column!r}", names, members)


def audit_groups(
    grouping: Grouping,
    answers: Answers,
    gold: np.ndarray,
    score: ScoreFunction,
    is_fraction: bool = True,
) -> GroupAudit:
    """Compare the groups.

    Args:
        grouping: the groups.
        answers: the predictions for the texts.
        gold: which labels each text has, bool `(texts, labels)`; for a regression its value, float64 `(texts, 1)`.
        score: computes the main metric on texts, given by their indices.
        is_fraction: whether that is a fraction of the texts.
    """
    groups = []
    for group, name in enumerate(grouping.names):
        texts = np.flatnonzero(grouping.members == group)
        number = len(texts)
        value = None
        if number:
            by_position = _on(score, texts)
            value = Estimate(**resampled(by_position, number, is_fraction=is_fraction))
        groups.append(_scores_of(name, texts, value, answers, gold))
    judged = [index for index, group in enumerate(groups) if group.is_judged]
    gap = None
    if len(judged) > 1:
        find = _error_gap if answers.chosen is None else _odds_gap
        gap = find(grouping, judged, answers, gold)
    return GroupAudit(grouping, tuple(groups), gap)


def _on(score: ScoreFunction, texts: np.ndarray) -> Callable[[np.ndarray], float]:
    return lambda positions: score(texts[positions])


def _scores_of(name: str, texts: np.ndarray, score: Estimate | None, answers: Answers, gold: np.ndarray) -> GroupScores:
    number = len(texts)
    is_judged = number >= MIN_TEXTS
    if answers.chosen is None:
        errors = (answers.confidences - gold)[texts, 0]
        mean_error = Estimate(**resampled(lambda i: errors[i].mean(), number, is_fraction=False)) if number else None
        return GroupScores(name, number, is_judged, score, mean_error=mean_error)
    rates = tuple(
        LabelRates(
            label,
            int(gold[texts, index].sum()),
            int((~gold[texts, index]).sum()),
            _rate(answers.chosen[texts, index][gold[texts, index]]),
            _rate(answers.chosen[texts, index][~gold[texts, index]]),
        )
        for index, label in enumerate(answers.names)
    )
    is_binary = len(answers.names) == 2 and not answers.several
    areas = _areas(texts, answers.confidences[:, 1], gold[:, 1]) if is_binary and number else None
    return GroupScores(name, number, is_judged, score, rates, areas)


def _rate(predicted: np.ndarray) -> Estimate | None:
    return proportion(int(predicted.sum()), len(predicted)) if len(predicted) else None


def _areas(texts: np.ndarray, scores: np.ndarray, positive: np.ndarray) -> SubgroupAreas:
    is_member = np.zeros(len(scores), bool)
    is_member[texts] = True
    subsets = (is_member, positive != is_member, positive == is_member)
    return SubgroupAreas(*(area_under_curve(positive[subset], scores[subset]) for subset in subsets))


def _odds_gap(grouping: Grouping, judged: Sequence[int], answers: Answers, gold: np.ndarray) -> Gap | None:
    """Return the equalised-odds difference: the largest difference of a rate between two groups.

    The rates are the true and the false positive rate of every label; those of two labels mirror each other. In random
    assignments, the hits of each rate are distributed over the groups at random.

    Source: Hardt et al. 2016, "Equality of opportunity in supervised learning", 2; the difference as in fairlearn's
        `equalized_odds_difference`.
    """
    rng = np.random.default_rng(0)
    largest: tuple[float, str, int, int] | None = None
    resampled_gaps, random_gaps = np.zeros(_RESAMPLES), np.zeros(_RESAMPLES)
    for index in range(len(answers.names) - answers.num_free, len(answers.names)):
        for kind, subset in (("true", gold[:, index]), ("false", ~gold[:, index])):
            members, predicted = grouping.members[subset], answers.chosen[subset, index]
            numbers = np.array([(members == group).sum() for group in judged])
            hits = np.array([predicted[members == group].sum() for group in judged])
            kept = numbers >= MIN_RATE_TEXTS
            if kept.sum() < 2:
                continue
            groups, numbers, hits = np.array(judged)[kept], numbers[kept], hits[kept]
            rates = hits / numbers
            if largest is None or np.ptp(rates) > largest[0]:
                measure = f"{kind} positive rate of {answers.names[index]!r}"
                largest = float(np.ptp(rates)), measure, groups[rates.argmin()], groups[rates.argmax()]
            sampled = rng.binomial(numbers, rates, (_RESAMPLES, len(rates))) / numbers
            resampled_gaps = np.maximum(resampled_gaps, np.ptp(sampled, axis=1))
            random = rng.multivariate_hypergeometric(numbers, hits.sum(), _RESAMPLES, method="marginals") / numbers
            random_gaps = np.maximum(random_gaps, np.ptp(random, axis=1))
    if largest is None:
        return None
    value, measure, lowest, highest = largest
    return _gap(measure, grouping.names[lowest], grouping.names[highest], value, resampled_gaps, random_gaps)


def _error_gap(grouping: Grouping, judged: Sequence[int], answers: Answers, gold: np.ndarray) -> Gap:
    """Return the largest difference of the mean error of a regression between two groups."""
    rng = np.random.default_rng(0)
    is_judged = np.isin(grouping.members, judged)
    errors = (answers.confidences - gold)[is_judged, 0]
    members = np.searchsorted(judged, grouping.members[is_judged])
    by_group = [errors[members == group] for group in range(len(judged))]
    means = np.array([values.mean() for values in by_group])
    samples = [[rng.choice(values, len(values)).mean() for values in by_group] for _ in range(_RESAMPLES)]
    counts = np.bincount(members)
    random = [np.bincount(members, rng.permutation(errors)) / counts for _ in range(_RESAMPLES)]
    lowest, highest = (grouping.names[judged[position]] for position in (means.argmin(), means.argmax()))
    gaps = (np.ptp(np.array(values), axis=1) for values in (samples, random))
    return _gap("mean error", lowest, highest, float(np.ptp(means)), *gaps)


def _gap(
    measure: str, lowest: str, highest: str, value: float, resampled_gaps: np.ndarray, random_gaps: np.ndarray
) -> Gap:
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(resampled_gaps, [tail, 100 - tail])
    # Rounding must not make an equal difference smaller.
    p_value = (1 + np.count_nonzero(random_gaps >= value - 1e-12)) / (1 + _RESAMPLES)
    difference = Estimate(value, min(float(low), value), max(float(high), value))
    return Gap(measure, lowest, highest, difference, float(np.percentile(random_gaps, 100 * CONFIDENCE)), p_value)
