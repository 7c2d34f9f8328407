"""Evidence: training examples that a model keeps, of which explanations show the nearest neighbours of a text."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

# The number of examples that are shown.
NUM_SHOWN = 5
# The variables: float16 unit vectors, and the texts, second texts (empty unless examples are pairs) and labels.
VECTORS, TEXTS, PAIRS, LABELS = "evidence_vectors", "evidence_texts", "evidence_pairs", "evidence_labels"
SPECS = {VECTORS: tf.TensorSpec([None, None], tf.float16)} | {
    name: tf.TensorSpec([None], tf.string) for name in (TEXTS, PAIRS, LABELS)
}


def values(vectors: np.ndarray, texts: Sequence[Sequence[str]], labels: Sequence[str]) -> dict[str, np.ndarray]:
    """Return the values of the variables.

    Args:
        vectors: float32 `(examples, hidden_dim)`.
        texts: one or two texts per example.
        labels: the label of each example, in words.
    """
    norms = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return {
        VECTORS: (vectors / norms).astype(np.float16),
        TEXTS: _strings([first for first, *_ in texts]),
        PAIRS: _strings([second for _, *others in texts for second in others]),
        LABELS: _strings(labels),
    }


def describe(truth: Any) -> str:
    """Return the target of a record in words: `fee`, `fee, card`, `3.5` or `Leeds: location, Ada: person`.

    Args:
        truth: the target as `Task.truth_of` returns it.
    """
    if isinstance(truth, Mapping):
        return f"{truth['text']}: {truth['label']}"
    if isinstance(truth, float):
        return f"{truth:.6g}"
    return truth if isinstance(truth, str) else ", ".join(map(describe, truth))


def num_stored(variables: Mapping[str, tf.Variable]) -> int:
    """Return the number of examples in the variables, which may be missing."""
    return _size(variables[VECTORS]) if variables else 0


def nearest(vectors: tf.Tensor, variables: Mapping[str, tf.Variable]) -> dict[str, tf.Tensor]:
    """Return the outputs that show the most similar examples, in the graph.

    Args:
        vectors: float32 `(batch, hidden_dim)`.
        variables: by name, with one or more examples.

    Returns:
        `evidence`, for pairs `evidence_pair`, `evidence_label` and `evidence_similarity`, all `(batch, 5)` or narrower
        if there are fewer examples, most similar first.
    """
    # The size of the variables is fixed only after training, so it is unknown in the graph.
    examples = tf.reshape(tf.cast(variables[VECTORS], tf.float32), [-1, vectors.shape[1]])
    similarity = tf.matmul(tf.math.l2_normalize(vectors, axis=1), examples, transpose_b=True)
    best = tf.math.top_k(similarity, tf.minimum(NUM_SHOWN, tf.shape(examples)[0]))
    outputs = {"evidence": tf.gather(variables[TEXTS], best.indices)}
    if _size(variables[PAIRS]):
        outputs["evidence_pair"] = tf.gather(variables[PAIRS], best.indices)
    outputs["evidence_label"] = tf.gather(variables[LABELS], best.indices)
    # Unit vectors in half precision may be a little longer than 1.
    return outputs | {"evidence_similarity": tf.clip_by_value(best.values, -1.0, 1.0)}


def _size(variable: tf.Variable) -> int:
    with tf.init_scope():  # outside the graph that is being traced
        return int(tf.shape(variable)[0])


def _strings(texts: Sequence[str]) -> np.ndarray:
    return np.asarray([text.encode() for text in texts], dtype=object)
