"""Pooled head: one vector per text, then a dense layer; and linear probes that its weights can be initialized from."""

import warnings
from collections.abc import Mapping
from typing import Literal, TypeGuard

import keras
import numpy as np
from keras import ops
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, RidgeCV
from threadpoolctl import threadpool_limits

from tfbert.heads.base import Head, mean_of_tokens

# scikit-learn's C, the inverse regularization strength, and the iteration limit of logistic regression.
_PROBE_C = 10.0
_PROBE_ITERATIONS = 200
# Penalties per example that ridge regression chooses from, for features whose mean square is 1.
_RIDGE_PENALTIES = np.logspace(-4, 1, 11)
# The smallest scale of a feature, as a fraction of the largest one.
_MIN_SCALE = 1e-3

Pooling = Literal["mean", "max", "cls", "pooler"]


class PoolingHead(Head):
    """A head whose scores depend only on one vector per text, pooled from its tokens, with dropout on the vector.

    Args:
        pooling: `mean` or `max` over the tokens, `cls` (first token) or `pooler` (BERT's own layer on the first token).
        dropout: fraction of the pooled vector that is dropped in training, 0 to below 1.
        seed: random seed of dropout.
        **kwargs: arguments of `keras.layers.Layer`.
    """

    def __init__(self, *, pooling: Pooling = "mean", dropout: float = 0.1, seed: int = 0, **kwargs):
        super().__init__(**kwargs)
        self.pooling = pooling
        self.dropout = keras.layers.Dropout(dropout, seed=seed, dtype="float32", name="dropout")

    @property
    def uses_pooler(self) -> bool:
        """Whether BERT's own pooler has any influence on the scores."""
        return self.pooling == "pooler"

    def pool(self, encoded: Mapping, padding_mask):
        """Return one vector per text: float32 `(batch, hidden_dim)`.

        Args:
            encoded: `sequence_output` `(batch, length, hidden_dim)` and `pooled_output` `(batch, hidden_dim)`.
            padding_mask: int32 `(batch, length)`, 0 for padding. [CLS] and [SEP] are pooled too, because the
                default encoder was trained so with mean pooling.
        """
        if self.pooling == "pooler":
            return ops.cast(encoded["pooled_output"], "float32")
        sequence = ops.cast(encoded["sequence_output"], "float32")
        if self.pooling == "cls":
            return sequence[:, 0, :]
        if self.pooling == "max":
            return ops.max(sequence + (ops.cast(padding_mask, "float32")[:, :, None] - 1.0) * 1e9, axis=1)
        return mean_of_tokens(sequence, padding_mask)

    def scores_of(self, vectors, training: bool = False):
        """Return scores, float32 `(batch, ...)`.

        Args:
            vectors: pooled, float32 `(batch, hidden_dim)`.
            training: whether dropout is active.
        """
        raise NotImplementedError

    def call(self, encoded: Mapping, inputs: Mapping, training: bool = False):
        """Return scores, float32 `(batch, ...)`."""
        return self.scores_of(self.pool(encoded, inputs["padding_mask"]), training)

    def scores_and_vectors(self, encoded: Mapping, inputs: Mapping):
        """Return the scores without dropout, and the pooled vectors, float32 `(batch, hidden_dim)`."""
        vectors = self.pool(encoded, inputs["padding_mask"])
        return self.scores_of(vectors), vectors


def is_pooling(head: Head) -> TypeGuard[PoolingHead]:
    """Return whether the scores of a head depend only on one pooled vector per text."""
    return isinstance(head, PoolingHead)


class PooledHead(PoolingHead):
    """Pool the tokens of a text into one vector, then a dense layer.

    Args:
        num_outputs: logits per text.
        seed: random seed of the dense layer's initial weights and of dropout.
        **kwargs: arguments of `PoolingHead`.
    """

    def __init__(self, num_outputs: int, *, seed: int = 0, **kwargs):
        super().__init__(seed=seed, **kwargs)
        self.logits = keras.layers.Dense(
            num_outputs,
            kernel_initializer=keras.initializers.TruncatedNormal(stddev=0.02, seed=seed),
            dtype="float32",
            name="logits",
        )

    def build(self, hidden_dim: int) -> None:
        """Create the weights for an encoder with this `hidden_dim`."""
        self.logits.build((None, hidden_dim))
        self.built = True

    def scores_of(self, vectors, training: bool = False):
        """Return logits: float32 `(batch, num_outputs)`."""
        return self.logits(self.dropout(vectors, training=training))


def start_with_probe(head: PooledHead, vectors: np.ndarray, targets: np.ndarray) -> None:
    """Initialize a head with logistic regression on vectors of the pretrained encoder.

    Args:
        head: a built head, whose weights are changed.
        vectors: pooled vectors, float32 `(examples, hidden_dim)`.
        targets: label ids, int `(examples,)`, two or more distinct ones. A label without examples keeps its random
            weights.

    Source: Kumar et al. 2022, "Fine-Tuning can Distort Pretrained Features", section 3: train the head first, then
        everything. Ours uses the same regularization for all data instead of choosing it on validation data.
    """
    kernel, bias = (np.asarray(weight).copy() for weight in (head.logits.kernel, head.logits.bias))
    # The penalty is meant for vectors of length about 1; the head receives them unscaled.
    scale = np.linalg.norm(vectors, axis=1).mean()
    probe = _logistic_regression(vectors / scale, targets)
    weights, offsets = probe.coef_, probe.intercept_
    if len(probe.classes_) == 2:
        weights, offsets = np.concatenate([-weights, weights]) / 2, np.concatenate([-offsets, offsets]) / 2
    kernel[:, probe.classes_] = weights.T / scale
    bias[probe.classes_] = offsets
    head.logits.set_weights([kernel, bias])


def start_with_label_probes(
    head: PooledHead, vectors: np.ndarray, has_label: np.ndarray, prevalence: np.ndarray
) -> None:
    """Initialize each logit of a head with logistic regression of the examples with a label against those without.

    Args:
        head: a built head, whose weights are changed.
        vectors: pooled vectors, float32 `(examples, hidden_dim)`.
        has_label: bool `(examples, num_outputs)`. A label that all or no examples have keeps its random weights, and
            its bias becomes the log-odds of the prevalence.
        prevalence: the fraction of texts with each label in the data on which the head will be used, `(num_outputs,)`,
            above 0 and below 1. Rare labels may be more frequent among the examples.

    Source: King and Zeng 2001, "Logistic Regression in Rare Events Data", section 4.1: correction of the intercept for
        examples that are selected by their label. Ours ignores that selecting for one label slightly shifts the others.
    """
    kernel, bias = (np.asarray(weight).copy() for weight in (head.logits.kernel, head.logits.bias))
    scale = np.linalg.norm(vectors, axis=1).mean()
    bias[:] = _log_odds(prevalence)
    for label, targets in enumerate(has_label.T):
        if targets.any() and not targets.all():
            probe = _logistic_regression(vectors / scale, targets)
            kernel[:, label] = probe.coef_[0] / scale
            bias[label] += probe.intercept_[0] - _log_odds(targets.mean())
    head.logits.set_weights([kernel, bias])


def start_with_ridge(head: PooledHead, vectors: np.ndarray, targets: np.ndarray) -> None:
    """Initialize a head with one logit with ridge regression on vectors of the pretrained encoder.

    The penalty is chosen by leave-one-out cross-validation, but is at least the penalty that the head's dropout is
    equivalent to. Without this lower bound the best weights can be large and cancel each other, which fails under
    dropout.

    Args:
        head: a built head with one output, whose weights are changed.
        vectors: pooled vectors, float32 `(examples, hidden_dim)`.
        targets: float `(examples,)`.

    Source: Srivastava et al. 2014, "Dropout: A Simple Way to Prevent Neural Networks from Overfitting", section 9.1:
        dropout before linear regression is on average a ridge penalty on features scaled to equal mean squares.
    """
    vectors = vectors.astype(np.float64)
    scale = np.sqrt(np.mean(vectors**2, axis=0))
    # MiniLM has features near 1e-32, which would be scaled up to noise.
    scale = np.maximum(scale, _MIN_SCALE * scale.max())
    min_penalty = head.dropout.rate / (1 - head.dropout.rate)
    penalties = len(targets) * np.unique(np.maximum(_RIDGE_PENALTIES, min_penalty))
    probe = RidgeCV(penalties).fit(vectors / scale, targets.astype(np.float64))
    head.logits.set_weights([(probe.coef_ / scale)[:, None], np.asarray([probe.intercept_])])


def _logistic_regression(vectors: np.ndarray, targets: np.ndarray) -> LogisticRegression:
    probe = LogisticRegression(C=_PROBE_C, max_iter=_PROBE_ITERATIONS)
    # The products are so small that several threads spend most of their time waiting for each other.
    with threadpool_limits(1), warnings.catch_warnings():
        # A probe that has not converged is slightly worse, but still a good start.
        warnings.simplefilter("ignore", ConvergenceWarning)
        # One or two examples of each label are enough for a start.
        warnings.filterwarnings("ignore", "The number of unique classes")
        return probe.fit(vectors, targets)


def _log_odds(fraction: np.ndarray) -> np.ndarray:
    return np.log(fraction) - np.log1p(-fraction)
