"""Swap test: how predictions change when the identity terms of two groups are exchanged in real texts."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tfbert.audit.answers import Answers
from tfbert.audit.groups import MIN_TEXTS
from tfbert.audit.statistics import Estimate, cluster_mean, proportion
from tfbert.text.records import Record
from tfbert.text.terms import TermList

# Smaller mean changes are not pointed out, even if they have a direction: one point of probability, or one hundredth of
# the standard deviation of the training values.
MIN_CHANGE = 0.01
_MAX_WORST = 5


@dataclass(frozen=True)
class Direction:
    """The mean change of a label's probability, or of the value, in one direction.

    Args:
        name: the label, or `value`.
        change: the mean change with terms of the second group instead of the first one. The interval is paired by
            text, treats the texts with the same term as similar, and is corrected for the number of comparisons.
        is_finding: whether the interval excludes 0 and the change is at least `MIN_CHANGE`.
    """

    name: str
    change: Estimate
    is_finding: bool


@dataclass(frozen=True)
class SwappedText:
    """A text whose prediction changes with its terms.

    Args:
        where: the location of the record.
        text: the texts of the record, as in the data.
        swapped: the texts with other terms.
        change: how much the prediction changes.
        before: the predicted labels, or the value.
        after: the same for the swapped text.
    """

    where: str
    text: tuple[str, ...]
    swapped: tuple[str, ...]
    change: float
    before: str
    after: str


@dataclass(frozen=True)
class SwapAudit:
    """The effect of exchanging the terms of two groups.

    Args:
        source: the name of the list.
        groups: the names of the two groups.
        num_texts: number of texts that mention one of them.
        num_terms: number of rows of the list that occur in these texts.
        is_judged: whether there are enough texts to judge.
        change: the mean absolute change of the predictions; `None` without texts.
        flips: the fraction of texts whose predicted labels change; `None` without texts, and for a regression.
        directions: the mean change of every label, largest first. Texts that mention both groups do not count.
        worst: the texts whose prediction changes most.
    """

    source: str
    groups: tuple[str, str]
    num_texts: int
    num_terms: int
    is_judged: bool
    change: Estimate | None = None
    flips: Estimate | None = None
    directions: tuple[Direction, ...] = ()
    worst: tuple[SwappedText, ...] = ()


def audit_swaps(
    lists: Sequence[TermList],
    records: Sequence[Record],
    answers: Answers,
    predict: Callable[[list[Record]], Answers],
) -> list[SwapAudit]:
    """Exchange the terms of every pair of groups in the texts that mention them.

    Args:
        lists: lists of terms.
        records: the records.
        answers: the predictions for them.
        predict: returns the predictions for other records.
    """
    pairs = [(terms, *pair) for terms in lists for pair in itertools.combinations(range(len(terms.groups)), 2)]
    num_comparisons = len(pairs) * answers.num_free
    return [_audit_pair(terms, (a, b), records, answers, predict, num_comparisons) for terms, a, b in pairs]


def _audit_pair(
    terms: TermList,
    pair: tuple[int, int],
    records: Sequence[Record],
    answers: Answers,
    predict: Callable[[list[Record]], Answers],
    num_comparisons: int,
) -> SwapAudit:
    first, second = pair
    swapped, indices, signs, rows = [], [], [], []
    for index, record in enumerate(records):
        texts = tuple(terms.replace(text, {first: second, second: first}) for text in record.texts)
        if texts == record.texts:
            continue
        mentions = [mention for text in record.texts for mention in terms.mentions(text) if mention.group in pair]
        groups = {mention.group for mention in mentions}
        signs.append(0 if len(groups) > 1 else 1 if groups == {first} else -1)
        rows.append(mentions[0].row)
        swapped.append(replace(record, text=texts[0], others=texts[1:]))
        indices.append(index)
    names = (terms.groups[first], terms.groups[second])
    if len(swapped) < 2:
        return SwapAudit(terms.name, names, len(swapped), len(set(rows)), False)
    before = replace(
        answers,
        confidences=answers.confidences[indices],
        chosen=None if answers.chosen is None else answers.chosen[indices],
    )
    after, clusters = predict(swapped), np.array(rows)
    changes, flips = before.total_change(after), before.flips(after)
    change = cluster_mean(changes, clusters)
    is_judged = len(swapped) >= MIN_TEXTS
    return SwapAudit(
        source=terms.name,
        groups=names,
        num_texts=len(swapped),
        num_terms=len(set(rows)),
        is_judged=is_judged,
        change=replace(change, low=max(change.low, 0.0)),
        flips=None if answers.chosen is None else proportion(int(flips.sum()), len(flips)),
        directions=_directions(before, after, np.array(signs), clusters, num_comparisons) if is_judged else (),
        worst=tuple(
            _swapped_text(records[indices[i]], swapped[i], changes[i], before, after, i)
            for i in np.argsort(-changes, kind="stable")[:_MAX_WORST].tolist()
        ),
    )


def _directions(
    before: Answers, after: Answers, signs: np.ndarray, clusters: np.ndarray, num_comparisons: int
) -> tuple[Direction, ...]:
    one_way = signs != 0
    if one_way.sum() < MIN_TEXTS:
        return ()
    changes = ((after.confidences - before.confidences) * signs[:, None])[one_way]
    directions = []
    for index in range(len(before.names) - before.num_free, len(before.names)):
        change = cluster_mean(changes[:, index], clusters[one_way], num_comparisons)
        is_finding = change.excludes_zero and abs(change.value) >= MIN_CHANGE * before.scale
        directions.append(Direction(before.names[index], change, is_finding))
    return tuple(sorted(directions, key=lambda direction: -abs(direction.change.value)))


def _swapped_text(
    record: Record, swapped: Record, change: float, before: Answers, after: Answers, index: int
) -> SwappedText:
    return SwappedText(
        record.where, record.texts, swapped.texts, float(change), _shown(before, index), _shown(after, index)
    )


def _shown(answers: Answers, index: int) -> str:
    if answers.chosen is None:
        return f"{answers.confidences[index, 0]:.4g}"
    labels = np.flatnonzero(answers.chosen[index])
    return (
        ", ".join(f"{answers.names[label]} {answers.confidences[index, label]:.2f}" for label in labels) or "no label"
    )
