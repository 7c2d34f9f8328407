"""Cross-validated linear probe: logistic regression on vectors of the frozen encoder.

No row is predicted by a probe that has seen its label.
"""

import contextlib
import warnings
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import PredefinedSplit, StratifiedKFold
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from tfbert.progress_bars import hidden

NUM_FOLDS = 5
# Inverse strength of the penalty, for vectors of length 1. Weaker penalties learn wrong labels by heart.
_STRENGTH = 3.0
# Stopping early is a penalty, too; on 77 labels more iterations found label errors no better.
_MAX_ITERATIONS = 30


def new_probe(strength: float = _STRENGTH) -> LogisticRegression:
    """Return a probe that has not been fitted."""
    return LogisticRegression(C=strength, max_iter=_MAX_ITERATIONS)


@contextlib.contextmanager
def fitting() -> Iterator[None]:
    """Fit probes in a `with` block in one thread, without warnings about early stopping and rare labels."""
    # The products are so small that several threads spend most of their time waiting for each other.
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        # Rare labels are missing in some folds.
        warnings.filterwarnings("ignore", "The least populated class")
        warnings.filterwarnings("ignore", "The number of unique classes")
        yield


def out_of_sample(
    vectors: np.ndarray,
    targets: np.ndarray,
    num_labels: int,
    others: Sequence[np.ndarray] = (),
    seed: int = 0,
    groups: np.ndarray | None = None,
    max_fitted: int | None = None,
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return the probabilities of all labels for rows, by probes that were fitted to other rows.

    Args:
        vectors: unit vectors of the rows to fit probes to, float32 `(rows, size)`.
        targets: label ids of the rows, with two or more distinct ones.
        num_labels: number of labels.
        others: unit vectors of further rows, such as those of other splits; predicted by the mean of all probes.
        seed: random seed for the folds.
        groups: int `(rows,)`; rows of one group are in the same fold. `None` means that every row is a group.
        max_fitted: largest number of rows that a probe is fitted to, chosen at random; `None` for no limit.

    Returns:
        float32 `(rows, num_labels)`, and the same for the others. A label without examples outside the fold of a row
        has probability 0.
    """
    rng = np.random.default_rng(seed)
    folds = _folds(targets, groups, seed)
    num_folds = folds.get_n_splits()
    probabilities = np.zeros((len(vectors), num_labels), np.float32)
    of_others = [np.zeros((len(other), num_labels), np.float32) for other in others]
    with fitting(), tqdm(total=num_folds, desc="probes", unit=" folds", leave=False, disable=hidden()) as bar:
        for fitted, held_out in folds.split(vectors, targets):
            if max_fitted is not None:
                fitted = np.sort(rng.permutation(fitted)[:max_fitted])
            labels, predict = _fitted(vectors[fitted], targets[fitted])
            probabilities[np.ix_(held_out, labels)] = predict(vectors[held_out])
            for mean, other in zip(of_others, others, strict=True):
                if len(other):
                    mean[:, labels] += predict(other) / num_folds
            bar.update()
    return probabilities, of_others


def _folds(targets: np.ndarray, groups: np.ndarray | None, seed: int) -> StratifiedKFold | PredefinedSplit:
    """Return folds with similar numbers of each label, or folds of groups."""
    largest = int(np.bincount(targets).max())
    if groups is None and largest > 1:
        return StratifiedKFold(min(NUM_FOLDS, largest), shuffle=True, random_state=seed)
    _, group_of = np.unique(np.arange(len(targets)) if groups is None else groups, return_inverse=True)
    num_groups = int(group_of.max()) + 1
    return PredefinedSplit(np.random.default_rng(seed).permutation(num_groups)[group_of] % min(NUM_FOLDS, num_groups))


def _fitted(vectors: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]:
    """Return the labels that a probe knows, and the function that predicts their probabilities."""
    labels = np.unique(targets)
    if len(labels) < 2:
        # There are too few rows for two labels in each fold.
        return labels, lambda rows: np.ones((len(rows), len(labels)), np.float32)
    return labels, new_probe().fit(vectors, targets).predict_proba
