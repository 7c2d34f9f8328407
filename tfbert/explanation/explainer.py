"""Explanations of predictions: the contribution of every word to the log-odds of a label, computed in the graph."""

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import tensorflow as tf
from tensorflow.types.experimental import ConcreteFunction

from tfbert.explanation.batch import ExplainedBatch, words_at_positions
from tfbert.explanation.gradients import integrated_gradients
from tfbert.explanation.occlusion import occlusion
from tfbert.models import evidence
from tfbert.models.graph_functions import graph_function
from tfbert.models.predictions import predict_items
from tfbert.models.predictor import Predictor, mean_by_record
from tfbert.tasks.base_explained import Target
from tfbert.tasks.base_outputs import EXPLANATION, GRADIENTS, OCCLUSION
from tfbert.text.inputs import Item, batch_of
from tfbert.text.preprocessor import INPUTS, call_in_micro_batches
from tfbert.text.words import Words, words_of

# The largest number of words that are explained by occlusion unless a method is given: its cost grows with the square
# of the length, that of integrated gradients with the length.
MAX_OCCLUDED_WORDS = 64


class Explainer:
    """Explains predictions of a model word by word.

    Args:
        predictor: the predictor, whose task must have something to explain.
        run_eagerly: whether to run without traced graphs, which for a few batches is faster.

    Attributes:
        specs: tensor specifications by name: the inputs of the predictor, and string `label` and `method` `(batch,)`,
            "" for the predicted label and for the default method.

    Raises:
        ValueError: the task has no explanations.
    """

    def __init__(self, predictor: Predictor, *, run_eagerly: bool = False):
        if predictor.task.explained is None:
            raise ValueError(f"models of the task {predictor.task.name} have no explanations")
        self._predictor, self._task, self._explained = predictor, predictor.task, predictor.task.explained
        self.specs = predictor.specs | {name: tf.TensorSpec([None], tf.string, name) for name in ("label", "method")}
        self._num_evidence = evidence.num_stored(predictor.evidence)
        # It is called in several places: inlined, its graph would be optimized once for each of them.
        self._scores_and_vectors = graph_function(
            self._compute_scores_and_vectors,
            run_eagerly=run_eagerly,
            input_signature=[predictor.sequence_specs],
            experimental_attributes={"_noinline": True},
        )
        signature = list(self.specs.values())
        self._explain = graph_function(self._explain_tensors, run_eagerly=run_eagerly, input_signature=signature)

    def __call__(self, items: Sequence[Item], label: str = "", method: str = "") -> dict[str, np.ndarray]:
        """Return explanations of items: arrays by name, item first.

        Args:
            items: one or more items.
            label: the label to explain; "" for the predicted one.
            method: `occlusion` or `gradients`; "" for the default.
        """
        given = [{**item, "label": label, "method": method} for item in items]
        return {name: value.numpy() for name, value in self._explain(*batch_of(given, self.specs).values()).items()}

    def explain(
        self, items: Iterable[Item], label: str = "", method: str = "", batch_size: int = 16, num_pooled: int = 1
    ) -> Iterator[tuple[Item, dict]]:
        """Yield each item with its explanation, ready for JSON and without padding, in order.

        Args:
            items: any number; read lazily.
            label: as for a call.
            method: as for a call.
            batch_size: number of items per batch.
            num_pooled: as for `predict_items`.
        """
        explain = functools.partial(self, label=label, method=method)
        return predict_items(explain, EXPLANATION, items, batch_size, num_pooled)

    def signature(self) -> ConcreteFunction:
        """Return the serving signature, a function of the inputs of `specs` as keyword arguments."""

        def explain(**inputs: tf.Tensor) -> dict[str, tf.Tensor]:
            return self._explain(*(tf.ensure_shape(inputs[name], spec.shape) for name, spec in self.specs.items()))

        return tf.function(explain, autograph=False).get_concrete_function(**self.specs)

    def _explain_tensors(self, *tensors: tf.Tensor) -> dict[str, tf.Tensor]:
        inputs = dict(zip(self.specs, tensors, strict=True))
        label, method = inputs.pop("label"), inputs.pop("method")
        label_ids, checks = self._check(label, method)
        with tf.control_dependencies(checks):
            words = {name: words_of(tf.identity(text), self._predictor.tokenizer) for name, text in inputs.items()}
        word_records = tf.concat([text.texts for text in words.values()], axis=0)
        num_words = tf.math.unsorted_segment_sum(tf.ones_like(word_records), word_records, tf.shape(label)[0])
        by_gradients = (method == GRADIENTS) | ((method == "") & (num_words > MAX_OCCLUDED_WORDS))
        batch, vectors = self._batch(inputs, words, word_records, label_ids)
        special = self._predictor.tokenizer.special
        occluded = occlusion(batch, self._scores, ~by_gradients, special.mask)
        integrated, gap = integrated_gradients(
            batch, self._predictor.model.backbone, self._forward, self._scores, by_gradients, special.padding
        )
        outputs = {
            "explained_label": tf.gather(tf.constant(list(self._explained.labels)), batch.target.label_ids),
            "log_odds": batch.values(),
            "method": tf.where(by_gradients, GRADIENTS, OCCLUSION),
            "gap": tf.where(by_gradients, gap, -1.0),
        }
        shown = evidence.nearest(vectors, self._predictor.evidence) if self._num_evidence else {}
        return outputs | _by_record(words, batch, occluded + integrated) | shown

    def _check(self, label: tf.Tensor, method: tf.Tensor) -> tuple[tf.Tensor, list[tf.Operation]]:
        """Return the id of each label, -1 for the predicted one, and assertions that all values are known."""
        labels = list(self._explained.labels)
        is_label = label[:, None] == tf.constant(labels)[None, :]
        position = tf.argmax(tf.cast(is_label, tf.int32), axis=1, output_type=tf.int32)
        label_ids = tf.where(tf.reduce_any(is_label, axis=1), position, -1)
        checks = {
            "label must be one of the labels of the model, or empty for the predicted one": tf.reduce_all(
                (label == "") | (label_ids >= 0)
            ),
            f"method must be {OCCLUSION} or {GRADIENTS}, or empty for the default": tf.reduce_all(
                (method == "") | (method == OCCLUSION) | (method == GRADIENTS)
            ),
        }
        return label_ids, [
            tf.raw_ops.Assert(condition=condition, data=[message], summarize=1) for message, condition in checks.items()
        ]

    def _batch(
        self, inputs: Mapping[str, tf.Tensor], words: Mapping[str, Words], word_records: tf.Tensor, label_ids: tf.Tensor
    ) -> tuple[ExplainedBatch, tf.Tensor]:
        """Return the batch, and the vector of each record, float32 `(records, hidden_dim)`."""
        sequences = self._task.sequences(inputs, self._predictor.preprocessor)
        packed = sequences.dense()
        scores, vectors = self._scores_and_vectors(packed)
        target = self._explained.target(scores, sequences, label_ids)
        batch = ExplainedBatch(
            packed=packed,
            scores=scores,
            records=tf.range(tf.shape(label_ids)[0]) if sequences.records is None else sequences.records,
            words=words_at_positions(sequences, words, tf.shape(packed["token_ids"])[1]),
            word_records=word_records,
            explained=self._explained,
            target=Target(target.label_ids, None, target.positions),
            has_several=sequences.records is not None,
        )
        vectors = mean_by_record(vectors, batch.records, batch.num_records)
        return (batch if target.sequences is None else batch.select(target.sequences)), vectors

    def _scores(self, packed: Mapping[str, tf.Tensor]) -> tf.Tensor:
        return self._scores_and_vectors(packed)[0]

    def _forward(self, packed: Mapping[str, tf.Tensor]) -> tf.Tensor:
        return self._calibrated(self._predictor.model(packed, training=False))

    def _calibrated(self, scores: tf.Tensor) -> tf.Tensor:
        decision = self._task.decision
        return scores if decision is None else decision.calibrate(scores, self._predictor.decided)

    def _compute_scores_and_vectors(self, packed: Mapping[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        # An additional sequence and at least one position, because there may be none, of which nothing can be computed.
        num_missing = tf.maximum(0, 1 - tf.shape(packed["token_ids"])[1])
        padded = {}
        for name, values in packed.items():
            by_position = [[0, num_missing]] if name in INPUTS else [[0, 0]] * (len(values.shape) - 1)
            padded[name] = tf.pad(values, [[0, 1], *by_position])
        shapes = []

        def joined(rows: Mapping[str, tf.Tensor]) -> tf.Tensor:
            scores, vectors = self._predictor.model.scores_and_vectors(rows)
            shapes.append(scores.shape[1:])
            return tf.concat([tf.reshape(scores, [tf.shape(scores)[0], -1]), vectors], axis=1)

        values, hidden_dim = call_in_micro_batches(joined, padded)[:-1], self._predictor.model.backbone.hidden_dim
        length = tf.shape(padded["token_ids"])[1]
        shape = tf.stack([-1, *(length if size is None else size for size in shapes[0])])
        scores = tf.ensure_shape(tf.reshape(values[:, :-hidden_dim], shape), [None, *shapes[0]])
        return self._calibrated(scores), tf.ensure_shape(values[:, -hidden_dim:], [None, hidden_dim])


def _by_record(words: Mapping[str, Words], batch: ExplainedBatch, contributions: tf.Tensor) -> dict[str, tf.Tensor]:
    """Return the words of each record with their contributions, `(records, words)`, and the explained word."""
    order = tf.argsort(batch.word_records, stable=True)
    records = tf.cast(tf.gather(batch.word_records, order), tf.int64)
    input_names = [tf.fill(tf.shape(text.texts), name) for name, text in words.items()]
    by_word = {
        "word": (tf.concat([text.strings for text in words.values()], axis=0), ""),
        "input": (tf.concat(input_names, axis=0), ""),
        "start": (tf.concat([text.starts for text in words.values()], axis=0), -1),
        "end": (tf.concat([text.ends for text in words.values()], axis=0), -1),
        "contribution": (contributions, 0.0),
    }
    # At least one column: not every client and server can handle arrays without elements.
    num_records = tf.cast(batch.num_records, tf.int64)
    outputs, rows = {}, tf.RaggedTensor.from_value_rowids(order, records, num_records)
    width = tf.maximum(rows.bounding_shape(1), 1)
    for name, (values, padding) in by_word.items():
        in_order = rows.with_flat_values(tf.gather(values, order))
        outputs[name] = in_order.to_tensor(padding, shape=tf.stack([num_records, width]))
    return outputs | {"explained_word": _explained_word(batch, tf.cast(rows.row_starts(), tf.int32), order)}


def _explained_word(batch: ExplainedBatch, row_starts: tf.Tensor, order: tf.Tensor) -> tf.Tensor:
    """Return the position of the word whose scores are explained, int32 `(records,)`; -1 for scores of whole texts.

    Args:
        batch: the records.
        row_starts: int32 `(records,)`, where the words of each record begin in `order`.
        order: int32 `(words,)`, the words by record.
    """
    if batch.target.positions is None:
        return tf.fill(tf.shape(row_starts), -1)
    word = tf.gather(batch.words, batch.target.positions, batch_dims=1)
    place = tf.gather(tf.concat([tf.argsort(order), [0]], axis=0), tf.maximum(word, 0))
    return tf.where(word < 0, -1, place - row_starts)
