"""The Keras model of a task: an encoder with a head; and the embeddings that a pooling head computes."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from tfbert.heads.base import Head
from tfbert.heads.pooled import PoolingHead
from tfbert.progress_bars import hidden
from tfbert.text.batches import EVALUATION_BATCH_TOKENS, batches, plan_evaluation
from tfbert.text.datasets import TokenizedSplit
from tfbert.text.preprocessor import INPUTS


class TaskModel(keras.Model):
    """An encoder with a head.

    Args:
        backbone: KerasNLP's BERT.
        head: computes scores from the output of the backbone.

    Attributes:
        example_loss: the loss of each example from the scores and a batch, for Keras' `fit`; `None` for no loss.
    """

    def __init__(self, backbone: keras.Model, head: Head):
        super().__init__(name="task_model")
        self.backbone = backbone
        self.head = head
        self.example_loss: Callable[[tf.Tensor, Mapping[str, tf.Tensor]], tf.Tensor] | None = None
        head.build(backbone.hidden_dim)
        # An unused pooler gets no gradient, and would waste optimizer slots.
        backbone.pooled_dense.trainable = head.uses_pooler
        self.built = True

    def call(self, inputs: Mapping[str, tf.Tensor], training: bool = False):
        """Return the head's scores.

        Args:
            inputs: int32 `token_ids`, `segment_ids`, `padding_mask` `(sequences, length)`, and any features that the
                head reads.
            training: whether dropout is active.
        """
        packed = {name: inputs[name] for name in INPUTS}
        return self.head(self.backbone(packed, training=training), dict(inputs), training=training)

    def scores_and_vectors(self, inputs: Mapping[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the scores without dropout, and one vector per sequence, `(sequences, hidden_dim)`.

        Args:
            inputs: as for `call`.
        """
        encoded = self.backbone({name: inputs[name] for name in INPUTS}, training=False)
        return self.head.scores_and_vectors(encoded, dict(inputs))

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Return the loss for Keras' `fit` and `evaluate`: the mean of `example_loss`, or the loss given to `compile`.

        Args:
            x: the inputs.
            y: for `example_loss`, all other tensors of a batch from `text.batches.batches`, by name.
            y_pred: the scores.
            sample_weight: weights of the examples, only for the loss given to `compile`.
            training: whether the loss is for a training step.
        """
        if self.example_loss is None or self.loss is not None:
            return super().compute_loss(x, y, y_pred, sample_weight, training)
        losses = self.example_loss(y_pred, {**x, **y})
        return tf.reduce_sum(losses * y["weights"]) / tf.reduce_sum(y["weights"])


class Embedder(keras.Model):
    """An encoder with the pooling of a head, but without its scores.

    Args:
        backbone: KerasNLP's BERT.
        head: the head whose pooling is used.
    """

    def __init__(self, backbone: keras.Model, head: PoolingHead):
        super().__init__(name="embedder")
        self.backbone = backbone
        self.head = head
        self.built = True

    def call(self, inputs: Mapping[str, tf.Tensor], training: bool = False):
        """Return float32 `(sequences, hidden_dim)`.

        Args:
            inputs: int32 `token_ids`, `segment_ids`, `padding_mask` `(sequences, length)`.
            training: whether dropout is active.
        """
        return self.head.pool(self.backbone(inputs, training=training), inputs["padding_mask"])


def embed_sequences(
    model: Callable, split: TokenizedSplit, sequence_length: int, sequences: Sequence[int] | np.ndarray
) -> np.ndarray:
    """Return the embeddings that a model computes for some sequences, in order: float32 `(len(sequences), ...)`.

    Args:
        model: returns an embedding for each packed sequence, such as an `Embedder`.
        split: the split that contains the sequences.
        sequence_length: maximum length in tokens.
        sequences: indices of the sequences, one or more.
    """
    vectors = None
    for positions, embeddings in embedded_batches(model, split, sequence_length, sequences):
        if vectors is None:
            vectors = np.zeros((len(sequences), *embeddings.shape[1:]), np.float32)
        vectors[positions] = embeddings
    return vectors


def embedded_batches(
    model: Callable, split: TokenizedSplit, sequence_length: int, sequences: Sequence[int] | np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield what a model computes for some sequences in batches of similar length, longest first.

    Args:
        model: returns one or several vectors for each packed sequence.
        split: the split that contains the sequences.
        sequence_length: maximum length in tokens.
        sequences: indices of the sequences, one or more.

    Returns:
        The positions in `sequences` of the sequences of the batch, and their vectors, float32 `(batch, ...)`.
    """
    sequences = np.asarray(sequences)
    single = split.take(sequences, np.arange(len(sequences) + 1))
    lengths = single.lengths()
    batch_size = max(1, EVALUATION_BATCH_TOKENS // int(max(lengths.max(), 8)))
    plan = plan_evaluation(lengths, batch_size)
    forward = tf.function(
        lambda inputs: model(inputs, training=False),
        input_signature=[{name: tf.TensorSpec([None, None], tf.int32) for name in INPUTS}],
        autograph=False,
    )
    with tqdm(total=len(sequences), desc="vectors", unit=" sequences", leave=False, disable=hidden()) as bar:
        for positions, batch in zip(plan, batches(single, plan, sequence_length), strict=True):
            yield positions, forward({name: batch[name] for name in INPUTS}).numpy()
            bar.update(len(positions))
