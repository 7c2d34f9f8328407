"""Out-of-domain detection: how unlike the training data a text is, as a p-value that calibration records determine.

A score is high for vectors far from those of train, or for logits that are low for all labels. Its p-value for a text
is the fraction of calibration records with a score at least as high. Records from the same source as the calibration
records have a p-value of at most 0.05 in at most 5 % of the cases, whatever the score; no out-of-domain text is needed.

Source: Lee et al. 2018, "A Simple Unified Framework for Detecting Out-of-Distribution Samples and Adversarial Attacks"
    (Mahalanobis distance to class means with a shared covariance, ours shrunk as by Ledoit and Wolf 2004); Liu et al.
    2020, "Energy-based Out-of-distribution Detection"; Sun et al. 2022, "Out-of-Distribution Detection with Deep
    Nearest Neighbors", ours with whitened vectors and the first neighbour; Bates et al. 2023, "Testing for Outliers
    with Conformal p-values", section 2.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import tensorflow as tf
from sklearn.covariance import LedoitWolf
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_limits

Method = Literal["energy", "mahalanobis", "neighbours"]
METHODS: tuple[Method, ...] = get_args(Method)
# A text with a lower p-value counts as out of domain.
SIGNIFICANCE = 0.05
# The covariance and the means of labels are estimated from this number of records.
MAX_TRAIN_RECORDS = 5000
# Every text is compared with all stored neighbours: with 5,000, predicting a single text takes about 20 % longer.
_MAX_NEIGHBOURS = 1000
# The scores of more calibration records would not change p-values near 0.05 by more than 0.01.
MAX_CALIBRATION_RECORDS = 2000
# Labels are left out in this number of groups, or in one group per label if there are fewer.
_NUM_GROUPS = 10
_NUM_ROUNDS = 3
# Inverse regularization strength, as for the head's initial weights.
_PROBE_C = 10.0


@dataclass(frozen=True)
class Pooled:
    """The pooled vectors of records, and their labels.

    Args:
        vectors: float32 `(records, hidden_dim)`.
        targets: label ids, int `(records,)`; `None` for a task without exactly one label per record.
        logits: float32 `(records, labels)`; `None` for a task without exactly one label per record.
    """

    vectors: np.ndarray
    targets: np.ndarray | None = None
    logits: np.ndarray | None = None


class Domain:
    """The distribution of the training texts, as model variables.

    The score of a text is `-energy_weight * logsumexp(logits)`, plus the squared distance of `(vector - mean) @
    projection` to the closest of the `centres`.
    """

    specs: Mapping[str, tf.TensorSpec] = {
        "mean": tf.TensorSpec([None], tf.float32),
        "projection": tf.TensorSpec([None, None], tf.float32),
        "centres": tf.TensorSpec([None, None], tf.float32),
        "centre_squares": tf.TensorSpec([None], tf.float32),
        "energy_weight": tf.TensorSpec([], tf.float32),
        "calibration_scores": tf.TensorSpec([None], tf.float32),
    }

    def initial(self, hidden_dim: int) -> dict[str, np.ndarray]:
        """Return variables with which every text has a p-value of 1."""
        return {
            "mean": np.zeros(hidden_dim, np.float32),
            "projection": np.zeros((hidden_dim, 1), np.float32),
            "centres": np.zeros((1, 1), np.float32),
            "centre_squares": np.zeros(1, np.float32),
            "energy_weight": np.float32(0),
            "calibration_scores": np.zeros(0, np.float32),
        }

    def fit(self, method: Method, train: Pooled, calibration: Pooled) -> dict[str, np.ndarray]:
        """Return the variables for a method.

        Args:
            method: of `METHODS`; `energy` needs logits.
            train: some training records.
            calibration: records that were not used for training.
        """
        values = self.initial(train.vectors.shape[1])
        if method == "energy":
            values["energy_weight"] = np.float32(1)
        else:
            means, targets = _means(train)
            projection, mean = _whitening(train.vectors - means[targets]), train.vectors.mean(0)
            centres = _some(train.vectors) if method == "neighbours" else means
            # Without the mean, the squares would be so large that float32 cannot represent their differences.
            centres = ((centres - mean) @ projection).astype(np.float32)
            values |= {"mean": mean, "projection": projection, "centres": centres}
            values |= {"centre_squares": np.square(centres).sum(axis=-1)}
        variables = {name: tf.constant(value) for name, value in values.items()}
        logits = np.zeros((len(calibration.vectors), 1), np.float32) if method != "energy" else calibration.logits
        scores = self._score(tf.constant(calibration.vectors), tf.constant(logits), variables)
        return values | {"calibration_scores": np.sort(scores.numpy())}

    def p_value(self, vectors: tf.Tensor, logits: tf.Tensor | None, variables: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Return the p-value of each text, in the graph: float32 `(texts,)`.

        Args:
            vectors: float32 `(texts, hidden_dim)`.
            logits: float32 `(texts, labels)`; `None` for a task without logits.
            variables: by name, as in `specs`.
        """
        logits = tf.zeros_like(vectors[:, :1]) if logits is None else logits
        scores, others = self._score(vectors, logits, variables), variables["calibration_scores"]
        num_higher = tf.reduce_sum(tf.cast(others[None, :] >= scores[:, None], tf.float32), axis=-1)
        return (1.0 + num_higher) / (1.0 + tf.cast(tf.shape(others)[0], tf.float32))

    @staticmethod
    def _score(vectors: tf.Tensor, logits: tf.Tensor, variables: Mapping[str, tf.Tensor]) -> tf.Tensor:
        projected = tf.matmul(vectors - variables["mean"], variables["projection"])
        products = tf.matmul(projected, variables["centres"], transpose_b=True)
        squares = tf.reduce_sum(tf.square(projected), axis=-1)
        distances = squares + tf.reduce_min(variables["centre_squares"] - 2.0 * products, axis=-1)
        return distances - variables["energy_weight"] * tf.reduce_logsumexp(logits, axis=-1)


def choose_method(train: Pooled, calibration: Pooled, seed: int) -> Method:
    """Return the method that best recognizes records whose labels were left out of train.

    Args:
        train: vectors of the pretrained encoder, which has not learned the labels, and labels.
        calibration: the same for calibration records.
        seed: random seed for the groups of labels that are left out together.
    """
    if train.targets is None or calibration.targets is None:
        return "neighbours"
    labels = np.random.default_rng(seed).permutation(np.unique(train.targets))
    methods = METHODS if len(labels) > 2 else tuple(method for method in METHODS if method != "energy")
    totals = dict.fromkeys(methods, 0.0)
    for group in np.array_split(labels, min(_NUM_GROUPS, len(labels)))[:_NUM_ROUNDS]:
        is_new = np.isin(calibration.targets, group)
        if is_new.all() or not is_new.any():
            continue
        is_kept = ~np.isin(train.targets, group)
        kept = Pooled(train.vectors[is_kept], train.targets[is_kept])
        for method in methods:
            totals[method] += float(roc_auc_score(is_new, _scores_without(method, kept, calibration.vectors)))
    # Of equal methods the first one wins, which here is the distance to class means.
    return max(("mahalanobis", *methods), key=lambda method: totals[method])


def _scores_without(method: Method, train: Pooled, vectors: np.ndarray) -> np.ndarray:
    """Return the scores of records by a method that was fitted to a part of train."""
    logits = None
    if method == "energy":
        scale = np.linalg.norm(train.vectors, axis=1).mean()
        with threadpool_limits(1):
            probe = LogisticRegression(C=_PROBE_C, max_iter=100).fit(train.vectors / scale, train.targets)
        logits = probe.decision_function(vectors / scale).astype(np.float32)
        logits = np.stack([-logits, logits], axis=1) / 2 if logits.ndim == 1 else logits
    domain, records = Domain(), Pooled(vectors, logits=logits)
    # The p-values of the records among themselves have the order of their scores.
    values = domain.fit(method, train, records)
    given = None if logits is None else tf.constant(logits)
    return -domain.p_value(tf.constant(vectors), given, {name: tf.constant(v) for name, v in values.items()}).numpy()


def _some(vectors: np.ndarray) -> np.ndarray:
    """Return up to `_MAX_NEIGHBOURS` of the vectors, evenly spread."""
    return vectors[np.linspace(0, len(vectors) - 1, min(len(vectors), _MAX_NEIGHBOURS)).astype(int)]


def _means(train: Pooled) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean vector of each label that occurs, and the position of the mean of each record."""
    if train.targets is None:
        return train.vectors.mean(0, keepdims=True), np.zeros(len(train.vectors), int)
    labels, targets = np.unique(train.targets, return_inverse=True)
    sums = np.zeros((len(labels), train.vectors.shape[1]))
    np.add.at(sums, targets, train.vectors)
    return (sums / np.bincount(targets)[:, None]).astype(np.float32), targets


def _whitening(residuals: np.ndarray) -> np.ndarray:
    """Return the projection after which residuals have unit covariance: float32 `(hidden_dim, hidden_dim)`."""
    with threadpool_limits(1):
        covariance = LedoitWolf(assume_centered=True).fit(residuals.astype(np.float64)).covariance_
        # Shrinkage makes the covariance invertible unless all residuals are zero.
        values, axes = np.linalg.eigh(covariance)
    return (axes / np.sqrt(np.maximum(values, values.max() * 1e-9 + 1e-30))).astype(np.float32)
