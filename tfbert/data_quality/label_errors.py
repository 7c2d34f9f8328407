"""Label errors: a ranking of rows by how doubtful their labels are, and the label that each row should rather have.

Two judges have not seen the label of a row: a cross-validated probe, and the nearest neighbours of the row. The score
is the margin of their mean: the probability of the given label, less the highest probability of another label.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from tfbert.data_quality.neighbours import nearest, neighbour_blocks
from tfbert.data_quality.probe import out_of_sample
from tfbert.data_quality.shapley import MAX_RANKS, shapley_values

Key = TypeVar("Key")

# Neighbours that judge a label, and the cosine difference at which the weight of a neighbour falls to 1/e. On banking77
# with wrong labels, 20 found more of them than 5 or 10.
_NUM_NEIGHBOURS, _TEMPERATURE = 20, 0.1
# Neighbours that are listed as support of a suggestion.
NUM_SUPPORTING = 2


@dataclass(frozen=True, eq=False)
class LabelScores:
    """How well the labels of rows fit, one value per row.

    Args:
        suggested: int64, the most probable label, which may be the given one.
        score: float32, -1 to 1: the mean probability of the given label, less the highest of another one. The lower,
            the more doubtful the label.
        self_confidence: float32, the probe's probability of the given label.
        margin: float32, the same as `score` for the probe alone.
        disagreement: float32, the fraction of the nearest neighbours that have another label; `None` if not asked.
        is_judged: bool, whether another row of train has the label; otherwise nothing is known about it.
    """

    suggested: np.ndarray
    score: np.ndarray
    self_confidence: np.ndarray
    margin: np.ndarray
    disagreement: np.ndarray | None
    is_judged: np.ndarray

    def take(self, rows: np.ndarray) -> "LabelScores":
        """Return the scores of some rows, by their indices."""
        return LabelScores(**{name: None if values is None else values[rows] for name, values in vars(self).items()})

    @property
    def doubtful(self) -> np.ndarray:
        """The rows for which another label is more probable than the given one, most doubtful first."""
        rows = np.flatnonzero((self.score < 0) & self.is_judged)
        return rows[np.argsort(self.score[rows], kind="stable")]


def score_labels(
    vectors: np.ndarray,
    targets: np.ndarray,
    num_labels: int,
    others: Mapping[Key, tuple[np.ndarray, np.ndarray]],
    seed: int = 0,
) -> tuple[LabelScores, dict[Key, LabelScores], np.ndarray]:
    """Return the scores of the labels of train and of other rows, and the KNN-Shapley values of train.

    Args:
        vectors: unit vectors of the rows of train, float32 `(rows, size)`.
        targets: label ids of these rows, with two or more distinct ones.
        num_labels: number of labels.
        others: unit vectors and label ids of further rows by any key, which are judged by the rows of train alone.
        seed: random seed for the folds.

    Returns:
        The scores of train; those of the others; and the value of each row of train for predicting the other rows of
        train by their nearest neighbours, float64 `(rows,)`. The values are scaled so that their mean is the accuracy
        of this prediction.
    """
    probabilities, of_others = out_of_sample(
        vectors, targets, num_labels, [other for other, _ in others.values()], seed
    )
    by_neighbours, disagreement, values = _ask_neighbours(vectors, targets, num_labels)
    counts = np.bincount(targets, minlength=num_labels)
    scores = _scores(probabilities, by_neighbours, targets, disagreement, counts[targets] > 1)
    other_scores = {}
    for (name, (other, labels)), judged in zip(others.items(), of_others, strict=True):
        neighbours = nearest(other, vectors, _NUM_NEIGHBOURS)
        votes, disagreeing = _votes(neighbours.similarities, targets[neighbours.indices], labels, num_labels)
        other_scores[name] = _scores(judged, votes, labels, disagreeing, counts[labels] > 0)
    return scores, other_scores, values


def scores_of_model(probabilities: np.ndarray, targets: np.ndarray) -> LabelScores:
    """Return the scores of labels by the probabilities of a model that has not seen them.

    Args:
        probabilities: float32 `(rows, labels)`.
        targets: label ids `(rows,)`.
    """
    margin, suggested = _margins(probabilities, targets)
    given = probabilities[np.arange(len(targets)), targets]
    return LabelScores(suggested, margin, given, margin, None, np.ones(len(targets), bool))


def supporting_rows(
    queries: np.ndarray, suggested: np.ndarray, vectors: np.ndarray, targets: np.ndarray, own_rows: np.ndarray
) -> list[np.ndarray]:
    """Return the rows of train with the suggested label that are nearest to each query, nearest first.

    Args:
        queries: unit vectors of doubtful rows, float32 `(queries, size)`.
        suggested: the suggested label id of each query.
        vectors: unit vectors of train.
        targets: label ids of train.
        own_rows: the row of train that each query is, or -1.
    """
    support: list[np.ndarray] = [np.zeros(0, np.int64)] * len(queries)
    for label in np.unique(suggested):
        candidates, asking = np.flatnonzero(targets == label), np.flatnonzero(suggested == label)
        if not len(candidates):
            continue
        found = nearest(queries[asking], vectors[candidates], NUM_SUPPORTING + 1)
        for query, indices in zip(asking, found.indices, strict=True):
            rows = candidates[indices]
            support[query] = rows[rows != own_rows[query]][:NUM_SUPPORTING]
    return support


def _ask_neighbours(
    vectors: np.ndarray, targets: np.ndarray, num_labels: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the votes of each row's neighbours, the fraction that disagrees, and the KNN-Shapley value of each row."""
    num_rows = len(vectors)
    votes, disagreement = np.zeros((num_rows, num_labels), np.float32), np.zeros(num_rows, np.float32)
    values = np.zeros(num_rows)
    for block in neighbour_blocks(vectors, vectors, MAX_RANKS, is_same=True, title="neighbours"):
        labels, given = targets[block.indices], targets[block.rows]
        judging = slice(_NUM_NEIGHBOURS)
        votes[block.rows], disagreement[block.rows] = _votes(
            block.similarities[:, judging], labels[:, judging], given, num_labels
        )
        of_block = shapley_values(labels == given[:, None], num_rows - 1)
        values += np.bincount(block.indices.ravel(), weights=of_block.ravel(), minlength=num_rows)
    return votes, disagreement, values


def _votes(
    similarities: np.ndarray, labels: np.ndarray, given: np.ndarray, num_labels: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the weight of each label among the neighbours of rows, and the fraction that has not the given label."""
    weights = np.exp(similarities / _TEMPERATURE)
    weights /= weights.sum(axis=1, keepdims=True)
    votes = np.zeros((len(labels), num_labels), np.float32)
    np.add.at(votes, (np.arange(len(labels))[:, None], labels), weights)
    return votes, (labels != given[:, None]).mean(axis=1, dtype=np.float32)


def _scores(
    by_probe: np.ndarray,
    by_neighbours: np.ndarray,
    targets: np.ndarray,
    disagreement: np.ndarray,
    is_judged: np.ndarray,
) -> LabelScores:
    score, suggested = _margins((by_probe + by_neighbours) / 2, targets)
    margin, _ = _margins(by_probe, targets)
    return LabelScores(suggested, score, by_probe[np.arange(len(targets)), targets], margin, disagreement, is_judged)


def _margins(probabilities: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the margin of the given labels, and the most probable label of each row."""
    rows = np.arange(len(targets))
    given, others = probabilities[rows, targets], probabilities.copy()
    others[rows, targets] = -1.0
    best = others.argmax(axis=1)
    margin = given - others[rows, best]
    return margin, np.where(margin < 0, best, targets)
