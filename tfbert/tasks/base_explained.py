"""What explanations explain: for each record a label, and the function of the scores to which words contribute."""

import abc
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import tensorflow as tf

from tfbert.text.preprocessor import Sequences

# Probabilities are compared with it only to leave positions out.
_NEVER = -1.0


@dataclass(frozen=True)
class Target:
    """The explained label of each record.

    Args:
        label_ids: int32 `(records,)`, positions in `Explained.labels`.
        sequences: int32 `(records,)`, the only sequence of each record whose scores are used, ascending; `None` means
            all sequences.
        positions: int32 `(records,)`, the token in this sequence whose scores are explained; `None` for scores of whole
            sequences.
    """

    label_ids: tf.Tensor
    sequences: tf.Tensor | None = None
    positions: tf.Tensor | None = None

    def take(self, records: tf.Tensor) -> "Target":
        """Return the labels and positions of some records, with repetitions: int32 `(copies,)`."""
        positions = None if self.positions is None else tf.gather(self.positions, records)
        return Target(tf.gather(self.label_ids, records), None, positions)


class Explained(abc.ABC):
    """The explained values of a task, in the graph.

    Attributes:
        labels: the names of the labels that can be explained.
    """

    labels: Sequence[str]

    @abc.abstractmethod
    def target(self, scores: tf.Tensor, sequences: Sequences, label_ids: tf.Tensor) -> Target:
        """Return what is explained for each record.

        Args:
            scores: float32, the scores of all sequences.
            sequences: the sequences of the batch.
            label_ids: int32 `(records,)`, the label to explain; -1 for the predicted one.
        """

    @abc.abstractmethod
    def values(self, scores: tf.Tensor, copies: tf.Tensor, target: Target) -> tf.Tensor:
        """Return the explained value of each copy of a record, float32 `(copies,)`, differentiable.

        Args:
            scores: float32 `(sequences, ...)`, the scores of the sequences of all copies.
            copies: int32 `(sequences,)`, the copy of each sequence, in any order.
            target: what is explained for each copy.
        """


@dataclass(frozen=True)
class ExplainedTexts(Explained):
    """Explained scores of whole texts.

    Args:
        labels: the labels by id, one score each.
        kind: `softmax` for the log-odds of one of several labels, `sigmoid` for the log-odds of a label apart from all
            others, `number` for the score itself.
        combine: how the scores of the windows of a text are combined, `mean` or `max`; `cut` for one sequence per text.
        scale: the unit of a `number`, by which the score is multiplied.
    """

    labels: Sequence[str]
    kind: Literal["softmax", "sigmoid", "number"]
    combine: str = "cut"
    scale: float = 1.0

    def target(self, scores: tf.Tensor, sequences: Sequences, label_ids: tf.Tensor) -> Target:
        """Return the label with the highest score where none is given."""
        records = tf.range(tf.shape(scores)[0]) if sequences.records is None else sequences.records
        best = tf.argmax(self._combined(scores, records, tf.shape(label_ids)[0]), axis=-1, output_type=tf.int32)
        return Target(tf.where(label_ids < 0, best, label_ids))

    def values(self, scores: tf.Tensor, copies: tf.Tensor, target: Target) -> tf.Tensor:
        """Return the log-odds of the label, or the number."""
        scores = self._combined(scores, copies, tf.shape(target.label_ids)[0])
        score = tf.gather(scores, target.label_ids, batch_dims=1)
        if self.kind != "softmax":
            return score * self.scale
        is_label = tf.one_hot(target.label_ids, len(self.labels), on_value=True, off_value=False)
        return score - tf.reduce_logsumexp(tf.where(is_label, scores.dtype.min, scores), axis=-1)

    def _combined(self, scores: tf.Tensor, copies: tf.Tensor, num_copies: tf.Tensor) -> tf.Tensor:
        combine = tf.math.unsorted_segment_max if self.combine == "max" else tf.math.unsorted_segment_mean
        return combine(scores, copies, num_copies)


@dataclass(frozen=True)
class ExplainedTags(Explained):
    """Explained tags of one token per text: the log-odds that it begins or continues an entity of a type.

    Args:
        labels: the entity types, by id.
        continues: the name of the token values that tell whether a token continues the unit of the previous one; such a
            token is not explained, because it has no tag of its own.
    """

    labels: Sequence[str]
    continues: str

    def target(self, scores: tf.Tensor, sequences: Sequences, label_ids: tf.Tensor) -> Target:
        """Return the token most likely to belong to an entity of the type, or of any type where none is given."""
        probabilities = _by_type(tf.nn.softmax(scores), len(self.labels))
        wanted = tf.one_hot(label_ids, len(self.labels)) + tf.cast(label_ids < 0, tf.float32)[:, None]
        wanted = tf.gather(wanted > 0, sequences.records)[:, None, :]
        has_tag = self._has_tag(sequences, tf.shape(scores)[1])[:, :, None]
        probabilities = tf.where(wanted & has_tag, probabilities, _NEVER)
        num_sequences, length, num_types = *tf.unstack(tf.shape(scores)[:2]), len(self.labels)
        flat = tf.reshape(probabilities, [num_sequences, length * num_types])
        # An additional column makes the maximum defined even without sequences.
        flat = tf.pad(flat, [[0, 0], [0, 1]], constant_values=2 * _NEVER)
        highest, place = tf.reduce_max(flat, axis=1), tf.argmax(flat, axis=1, output_type=tf.int32)
        num_records = tf.shape(label_ids)[0]
        is_best = highest >= tf.gather(
            tf.math.unsorted_segment_max(highest, sequences.records, num_records), sequences.records
        )
        index = tf.where(is_best, tf.range(tf.shape(highest)[0]), tf.int32.max)
        best = tf.math.unsorted_segment_min(index, sequences.records, num_records)
        place = tf.gather(place, best)
        return Target(place % num_types, best, place // num_types)

    def values(self, scores: tf.Tensor, copies: tf.Tensor, target: Target) -> tf.Tensor:
        """Return the log-odds of the type at the token, for one sequence per copy."""
        order = tf.argsort(copies)
        tags = tf.gather(tf.gather(scores, order), target.positions, batch_dims=1)
        is_type = tf.repeat(tf.one_hot(target.label_ids, len(self.labels)), 2, axis=1)
        is_type = tf.pad(is_type, [[0, 0], [1, 0]]) > 0
        inside, outside = (
            tf.reduce_logsumexp(tf.where(mask, tags, tags.dtype.min), axis=-1) for mask in (is_type, ~is_type)
        )
        return inside - outside

    def _has_tag(self, sequences: Sequences, length: tf.Tensor) -> tf.Tensor:
        """Return which positions of the sequences have a tag of their own, bool `(sequences, length)`."""
        flags = ~sequences.windows.values_of(sequences.token_values[self.continues])
        return tf.pad(flags.to_tensor(False), [[0, 0], [1, length - 1]])[:, :length]


def _by_type(probabilities: tf.Tensor, num_types: int) -> tf.Tensor:
    """Return the probability of each type, `(..., types)`, as the sum of those of its two tags."""
    shape = tf.concat([tf.shape(probabilities)[:-1], [num_types, 2]], axis=0)
    return tf.reduce_sum(tf.reshape(probabilities[..., 1:], shape), axis=-1)
