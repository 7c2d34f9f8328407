"""Classification: one label per text or pair of texts, such as intent, topic, sentiment, entailment or paraphrase.

A record is a text, optionally a second text, and the name of its label. The served outputs are the most probable label,
its probability, and the probabilities of all labels.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tensorflow as tf

from tfbert.evaluation import classification as evaluation
from tfbert.evaluation.metric import Baseline, Evaluation
from tfbert.heads.pooled import PooledHead, start_with_probe
from tfbert.space import COMMON, Choice
from tfbert.tasks import base_outputs
from tfbert.tasks.base import Embed
from tfbert.tasks.base_choice import ChoiceDecision, ChoiceOptions
from tfbert.tasks.base_context import Served
from tfbert.tasks.base_explained import ExplainedTexts
from tfbert.tasks.base_huggingface import SEQUENCE_CLASSES
from tfbert.tasks.base_options import option
from tfbert.tasks.base_pooled import FittedLabelTask, LabelOptions, PooledTask, has_pair, most_frequent_title
from tfbert.text.corrections import Correction
from tfbert.text.datasets import Target, TokenizedSplit
from tfbert.text.readers.rows import Row
from tfbert.text.records import LABEL, Record, one_label_of

# The number of examples that the initial head is fitted to: bounds per label, and the approximate total. On the 77
# labels of banking77, 20 examples per label gave as good a start as 50.
_MAX_EXAMPLES, _MIN_EXAMPLES, _TOTAL_EXAMPLES = 50, 10, 1500


@dataclass(frozen=True, kw_only=True)
class ClassificationOptions(LabelOptions, ChoiceOptions):
    """Options of classification; the config describes them."""

    group_weights: str | None = option("train.group_weights")


class Classification(PooledTask):
    """Single-label text classification: softmax over the labels of the training split."""

    title = "one label per text or pair of texts"
    aliases = ("intent", "intents", "sentiment", "topic", "text_classification", "sequence_classification")
    options = ClassificationOptions
    data_options = (*PooledTask.data_options, "data.label_names", "data.corrections")
    model_class = SEQUENCE_CLASSES["single_label_classification"]
    search_space = COMMON | {"head.pooling": Choice("mean", "cls", "max"), "train.label_smoothing": Choice(0.0, 0.1)}

    def parse_target(self, row: Row) -> str:
        """Return the label of a row.

        Raises:
            ValueError: the label is missing, empty or not a name.
        """
        return one_label_of(row.values.get("label"))

    def corrected(self, record: Record, corrections: Sequence[Correction]) -> Record:
        """Return the record with the label that a person has filled in.

        Raises:
            ValueError: the label is not a name.
        """
        return replace(record, target=one_label_of(corrections[0].label))

    def labels_of(self, record: Record) -> Iterable[str]:
        """Return the label."""
        return (record.target,)

    def fit(self, records: Iterable[Record], options: ClassificationOptions) -> "FittedClassification":
        """Return the task with its labels, sorted by name so that label ids do not depend on the order of the rows.

        Raises:
            ValueError: there are fewer than two labels.
        """
        pair, records = has_pair(records)
        labels = tuple(sorted({record.target for record in records}))
        if len(labels) < 2:
            raise ValueError(f"train has only the label {labels[0]!r}; expected at least two labels")
        return FittedClassification(options=options, has_pair=pair, labels=labels)

    def fit_to_model(
        self, labels: tuple[str, ...], options: ClassificationOptions, has_pair: bool
    ) -> "FittedClassification":
        """Return the task with the labels of a model.

        Raises:
            ValueError: there are fewer than two labels.
        """
        if len(labels) < 2:
            raise ValueError(f"the model has {len(labels)} label; expected at least two")
        return FittedClassification(options=options, has_pair=has_pair, labels=labels)


class LabelDecision(ChoiceDecision):
    """Decision between labels.

    Args:
        options: which outputs there are.
        labels: the labels, by id.
    """

    def __init__(self, options: ClassificationOptions, labels: Sequence[str]):
        super().__init__(options)
        self._labels = labels

    def apply(self, outputs: Mapping[str, tf.Tensor], decided: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Return the served outputs, in the graph."""
        outputs = super().apply(outputs, decided)
        if "set_ids" in outputs:
            ids = outputs.pop("set_ids")
            outputs["label_set"] = tf.where(ids < 0, "", tf.gather(tf.constant(self._labels), tf.maximum(ids, 0)))
        return outputs

    def covered(self, outputs: Mapping[str, np.ndarray], gold: Sequence[int]) -> np.ndarray | None:
        """Return whether each prediction set has the true label."""
        if "label_set" not in outputs:
            return None
        labels = np.array([self._labels[label_id].encode() for label_id in gold], object)
        return (outputs["label_set"] == labels[:, None]).any(axis=1)


@dataclass(frozen=True, kw_only=True)
class FittedClassification(FittedLabelTask):
    """Classification with the labels of train."""

    options: ClassificationOptions

    all_outputs = base_outputs.CLASSIFICATION
    metrics = evaluation.METRICS
    monitor = evaluation.ACCURACY
    targets = {"label_id": Target("int64")}

    @property
    def decision(self) -> "LabelDecision":
        """Calibrated probabilities, the prediction set and abstention."""
        return LabelDecision(self.options, self.labels)

    @property
    def explained(self) -> ExplainedTexts:
        """The log-odds of a label."""
        return ExplainedTexts(self.labels, "softmax", self.options.long_text)

    def domain_labels(self, gold: Sequence[int]) -> np.ndarray:
        """Return the label ids."""
        return np.asarray(gold)

    def target_of(self, record: Record) -> int:
        """Return the label's id.

        Raises:
            ValueError: train does not have the label; the message suggests a similar one.
        """
        return self.label_id_of(record.target, record)

    def example_weights(self, split: TokenizedSplit) -> np.ndarray | None:
        """Return weights that give every label the same total weight for `balanced`, else `None`."""
        if self.options.class_weights == "none":
            return None
        targets = split.targets["label_id"]
        counts = np.bincount(targets, minlength=len(self.labels))
        return (len(targets) / (np.count_nonzero(counts) * counts[targets])).astype(np.float32)

    def initialize_head(self, head: PooledHead, embed: Embed, split: TokenizedSplit, seed: int) -> None:
        """Fit the head by logistic regression to some examples of every label, unless `head.start` is `random`."""
        if self.options.start == "random":
            return
        targets = split.targets["label_id"]
        order, labels = np.random.default_rng(seed).permutation(len(targets)), np.unique(targets)
        number = min(_MAX_EXAMPLES, max(_MIN_EXAMPLES, _TOTAL_EXAMPLES // len(labels)))
        indices = np.concatenate([order[targets[order] == label][:number] for label in labels])
        start_with_probe(head, embed(indices), targets[indices])

    def loss(self, scores: tf.Tensor, batch: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Return the cross-entropy with the label, smoothed by `train.label_smoothing`."""
        log_probabilities = tf.nn.log_softmax(scores)
        nll = -tf.gather(log_probabilities, batch["label_id"], batch_dims=1)
        smoothing = self.options.label_smoothing
        return (1 - smoothing) * nll - smoothing * tf.reduce_mean(log_probabilities, axis=-1)

    def decode_texts(self, scores: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return `label` and `label_id` `(batch,)`, and `logits` `(batch, num_classes)`."""
        label_id = tf.argmax(scores, axis=-1, output_type=tf.int32)
        return {"label": tf.gather(tf.constant(self.labels), label_id), "label_id": label_id, "logits": scores}

    def evaluate(
        self, outputs: Mapping[str, np.ndarray], gold: Sequence[int], decided: Mapping[str, np.ndarray]
    ) -> Evaluation:
        """Return the evaluation of predicted labels."""
        return evaluation.LabelEvaluation(outputs["label_id"], outputs["probabilities"], gold, self.labels)

    def constant_baseline(self, train: TokenizedSplit, gold: Sequence[int]) -> Baseline:
        """Return the scores of the most frequent label."""
        # A text may have several windows.
        counts = np.bincount(train.targets["label_id"][train.records[:-1]], minlength=len(self.labels))
        label_ids = np.full(len(gold), counts.argmax())
        probabilities = np.broadcast_to(np.float32(counts / counts.sum()), (len(gold), len(counts)))
        scores = evaluation.LabelEvaluation(label_ids, probabilities, gold, self.labels).point_scores()
        return Baseline(most_frequent_title(self.labels, counts), scores)

    def signatures(self, served: Served) -> dict[str, Any]:
        """Return `labels`, which maps ids to names, and `classify`, for Classify and MultiInference calls."""
        names = tf.constant(self.labels)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.int32, name="label_id")])
        def labels(label_id):
            is_known = (label_id >= 0) & (label_id < len(self.labels))
            return {"label": tf.where(is_known, tf.gather(names, tf.where(is_known, label_id, 0)), "")}

        return {"labels": labels, "classify": self.classify_signature(served)}


TASK = Classification(LABEL)
