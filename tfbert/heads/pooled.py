"""Encoder output in, one vector of logits a text out: the head of tasks that say something about a whole text."""

import warnings
from typing import Literal

import keras
import numpy as np
from keras import ops
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

# Inverse strength of the penalty, and the most iterations, of the probe that a head starts from.
_PROBE_STRENGTH = 10.0
_PROBE_ITERATIONS = 200


class PooledHead(keras.layers.Layer):
    """Pool the tokens of a text into one vector, then a dense layer.

    Args:
        num_outputs: logits a text.
        pooling: `mean`, `max`, `cls` or `pooler`, as in `HeadConfig`.
        dropout: on the pooled vector in training.
        seed: of the dense layer's initial weights and of dropout.
        **kwargs: of `keras.layers.Layer`. The head always computes in float32.
    """

    def __init__(
        self,
        num_outputs: int,
        *,
        pooling: Literal["mean", "max", "cls", "pooler"] = "mean",
        dropout: float = 0.1,
        seed: int = 0,
        **kwargs,
    ):
        super().__init__(dtype="float32", **kwargs)
        self.pooling = pooling
        self.dropout = keras.layers.Dropout(dropout, seed=seed, dtype="float32", name="dropout")
        self.logits = keras.layers.Dense(
            num_outputs,
            kernel_initializer=keras.initializers.TruncatedNormal(stddev=0.02, seed=seed),
            dtype="float32",
            name="logits",
        )

    @property
    def uses_pooler(self) -> bool:
        """Whether BERT's own pooler has any influence, and therefore a gradient."""
        return self.pooling == "pooler"

    def build(self, hidden_dim: int) -> None:
        """Make the weights for an encoder of this width."""
        self.logits.build((None, hidden_dim))
        self.built = True

    def pool(self, encoded: dict, padding_mask):
        """Return float32 `(batch, hidden_dim)`.

        Args:
            encoded: `sequence_output` `(batch, length, hidden_dim)` and `pooled_output` `(batch, hidden_dim)`.
            padding_mask: int32 `(batch, length)`, 1 for a real token. [CLS] and [SEP] count as real, as they did when
                the default encoder was trained to pool by mean.
        """
        if self.pooling == "pooler":
            return ops.cast(encoded["pooled_output"], "float32")
        sequence = ops.cast(encoded["sequence_output"], "float32")
        if self.pooling == "cls":
            return sequence[:, 0, :]
        mask = ops.cast(padding_mask, "float32")[:, :, None]
        if self.pooling == "max":
            return ops.max(sequence + (mask - 1.0) * 1e9, axis=1)
        return ops.sum(sequence * mask, axis=1) / ops.sum(mask, axis=1)

    def call(self, encoded: dict, padding_mask, training: bool = False):
        """Return logits: float32 `(batch, num_outputs)`."""
        return self.logits(self.dropout(self.pool(encoded, padding_mask), training=training))


class Embedder(keras.Model):
    """The vectors that a head pools, without its logits.

    Args:
        backbone: KerasNLP's BERT.
        head: whose pooling is used.
    """

    def __init__(self, backbone: keras.Model, head: PooledHead):
        super().__init__(name="embedder")
        self.backbone = backbone
        self.head = head

    def call(self, inputs, training: bool = False):
        """Return float32 `(batch, hidden_dim)`.

        Args:
            inputs: int32 `token_ids`, `segment_ids`, `padding_mask` `(batch, length)`.
            training: whether dropout is active.
        """
        return self.head.pool(self.backbone(inputs, training=training), inputs["padding_mask"])


def start_with_probe(head: PooledHead, vectors: np.ndarray, targets: np.ndarray) -> None:
    """Set a head's logits to those of logistic regression on the vectors of the untrained encoder.

    Args:
        head: built; its weights are changed.
        vectors: pooled, float32 `(examples, hidden_dim)`.
        targets: int `(examples,)`, of two classes or more. A class without examples keeps its random weights.

    Source: Kumar et al. 2022, "Fine-Tuning can Distort Pretrained Features", section 3: train the head first, then all.
        Ours takes one strength of the penalty for all data instead of choosing it on validation.
    """
    kernel, bias = (np.asarray(weight).copy() for weight in (head.logits.kernel, head.logits.bias))
    # The penalty has a meaning only for vectors of length about 1; the head sees them as they are.
    scale = np.linalg.norm(vectors, axis=1).mean()
    probe = LogisticRegression(C=_PROBE_STRENGTH, max_iter=_PROBE_ITERATIONS)
    with warnings.catch_warnings():
        # Where the iterations end early the probe is a little worse, and training goes on from it all the same.
        warnings.simplefilter("ignore", ConvergenceWarning)
        probe.fit(vectors / scale, targets)
    weights, offsets = probe.coef_, probe.intercept_
    if len(probe.classes_) == 2:
        weights, offsets = np.concatenate([-weights, weights]) / 2, np.concatenate([-offsets, offsets]) / 2
    kernel[:, probe.classes_] = weights.T / scale
    bias[probe.classes_] = offsets
    head.logits.set_weights([kernel, bias])
