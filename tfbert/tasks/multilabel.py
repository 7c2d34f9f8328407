"""Multi-label classification: any number of labels per text or pair of texts, such as topics, tags or aspects.

A record is a text, optionally a second text, and the names of its labels. The served outputs are the labels whose
probability reaches the label's threshold, and the probabilities of all labels.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from tfbert.calibration.temperature import fit_sigmoids
from tfbert.evaluation import labelsets as evaluation
from tfbert.evaluation.metric import Baseline, Evaluation
from tfbert.heads.pooled import PooledHead, start_with_label_probes
from tfbert.space import COMMON, Choice
from tfbert.tasks import base_outputs
from tfbert.tasks.base import Embed
from tfbert.tasks.base_context import Served
from tfbert.tasks.base_decision import CALIBRATION, VALIDATION, Decision, Predicted
from tfbert.tasks.base_explained import ExplainedTexts
from tfbert.tasks.base_huggingface import SEQUENCE_CLASSES
from tfbert.tasks.base_pooled import FittedLabelTask, LabelOptions, PooledTask, has_pair, most_frequent_title
from tfbert.text.datasets import Target, TokenizedSplit
from tfbert.text.readers.cells import parse_cell
from tfbert.text.readers.columns import Column, shown, shown_json
from tfbert.text.readers.rows import Row
from tfbert.text.records import Record, label_of

LABELS = Column(
    "labels",
    "labels, label, tags, categories, classes, topics, aspects, genres, keywords",
    several=True,
    is_target=True,
)
# Characters that separate the labels in a cell. A comma is not one of them, as names such as "food, drink" contain it.
_SEPARATORS = ";|"
# A cell that looks like a list; a single label in parentheses is not a list.
_BRACKETED = re.compile(r"\[.*\]|\{.*\}|\(.*,.*\)", re.DOTALL)
# The separator of the numbers in a cell with a vector.
_VECTOR_SEPARATOR = re.compile(r"[\s,]+")
_YES, _NO = ("1", "1.0", "true"), ("", "0", "0.0", "false")
# Upper limit of `balanced` weights, so that a label with only a few examples does not dominate training.
_MAX_WEIGHT = 20.0
# The number of examples that the initial head is fitted to: the maximum per label, the approximate total of all labels,
# and the number of examples that are drawn regardless of their labels.
_EXAMPLES_PER_LABEL, _TOTAL_EXAMPLES, _ANY_EXAMPLES = 50, 4000, 1000


class Multilabel(PooledTask):
    """Multi-label text classification: a sigmoid for each label of the training split."""

    title = "any number of labels per text or pair of texts"
    aliases = ("multi_label", "multi_label_classification", "multilabel_classification")
    options = LabelOptions
    data_options = (*PooledTask.data_options, "data.label_names")
    model_class = SEQUENCE_CLASSES["multi_label_classification"]
    several_labels = True
    search_space = COMMON | {"head.pooling": Choice("mean", "cls", "max")}

    def parse_target(self, row: Row) -> tuple[str, ...]:
        """Return the labels of a row, sorted, without duplicates.

        Raises:
            ValueError: the labels are not a list, a text or one yes/no column per label; or a name is empty.
        """
        return tuple(sorted(set(_parse_labels(row.values.get("labels")))))

    def labels_of(self, record: Record) -> Iterable[str]:
        """Return the labels."""
        return record.target

    def fit(self, records: Iterable[Record], options: LabelOptions) -> "FittedMultilabel":
        """Return the task with its labels, sorted by name, and the number of records that have each label.

        Raises:
            ValueError: there are no labels, or all records have the same labels.
        """
        pair, records = has_pair(records)
        counts: dict[str, int] = {}
        num_examples = 0
        for record in records:
            num_examples += 1
            for label in record.target:
                counts[label] = counts.get(label, 0) + 1
        if not counts:
            raise ValueError("train has no labels; expected at least one label that some texts have and others do not")
        labels = tuple(sorted(counts))
        if all(count == num_examples for count in counts.values()):
            same = ", ".join(map(repr, labels))
            raise ValueError(f"every text in train has the same labels: {same}; expected labels that some texts lack")
        return FittedMultilabel(
            options=options,
            has_pair=pair,
            labels=labels,
            counts=tuple(counts[label] for label in labels),
            num_examples=num_examples,
        )

    def fit_to_model(self, labels: tuple[str, ...], options: LabelOptions, has_pair: bool) -> "FittedMultilabel":
        """Return the task with the labels of a model; the numbers of its training records are unknown and 0."""
        counts = (0,) * len(labels)
        return FittedMultilabel(options=options, has_pair=has_pair, labels=labels, counts=counts, num_examples=0)


class Thresholds(Decision):
    """Calibrated probabilities, and a threshold per label that maximizes F1; labels that reach it are chosen.

    The variables are `slopes` and `intercepts` of the logits, fitted to calibration, and `thresholds`, fitted to
    validation, all float32 `(labels,)`; and `threshold_sources`, int32 `(labels,)`, which are values of
    `labelsets.ThresholdSource`.

    Args:
        labels: the labels, by id.
    """

    fitted_to = (VALIDATION, CALIBRATION)

    def __init__(self, labels: Sequence[str]):
        self._labels = labels
        self.specs = {
            "slopes": tf.TensorSpec([len(labels)], tf.float32),
            "intercepts": tf.TensorSpec([len(labels)], tf.float32),
            "thresholds": tf.TensorSpec([len(labels)], tf.float32),
            "threshold_sources": tf.TensorSpec([len(labels)], tf.int32),
        }

    def initial(self) -> Mapping[str, np.ndarray]:
        """Return unchanged logits and a threshold of one half for every label."""
        num_labels = len(self._labels)
        return {
            "slopes": np.ones(num_labels, np.float32),
            "intercepts": np.zeros(num_labels, np.float32),
            "thresholds": np.full(num_labels, evaluation.DEFAULT_THRESHOLD, np.float32),
            "threshold_sources": np.full(num_labels, evaluation.ThresholdSource.UNDECIDED, np.int32),
        }

    def fit(self, splits: Mapping[str, Predicted]) -> Mapping[str, np.ndarray]:
        """Return calibrated logits, thresholds with approximately the highest F1, and their sources."""
        values = dict(self.initial())
        if CALIBRATION in splits:
            calibration = splits[CALIBRATION]
            fitted = fit_sigmoids(calibration.outputs["logits"].astype(np.float64), np.stack(calibration.gold))
            values |= {name: np.float32(array) for name, array in zip(("slopes", "intercepts"), fitted, strict=True)}
        if VALIDATION in splits:
            validation = splits[VALIDATION]
            probabilities = tf.sigmoid(self.calibrate(validation.outputs["logits"], values)).numpy()
            thresholds, sources = evaluation.best_thresholds(np.stack(validation.gold), probabilities)
            values |= {"thresholds": thresholds, "threshold_sources": sources}
        return values

    def describe(self, decided: Mapping[str, np.ndarray]) -> str:
        """Return how the logit of each label becomes a probability, and its threshold."""
        columns = (decided[name].tolist() for name in ("slopes", "intercepts", "thresholds"))
        by_label = zip(self._labels, *columns, strict=True)
        values = ", ".join(f"{label} {slope:.4g} {offset:+.4g} {limit:.4g}" for label, slope, offset, limit in by_label)
        return f"slope and intercept of each label's logit, and the probability from which it is chosen: {values}"

    def calibrate(self, scores: tf.Tensor, decided: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Return the logits with the slope and the intercept of each label, which keep their order."""
        return scores * decided["slopes"] + decided["intercepts"]

    def apply(self, outputs: Mapping[str, tf.Tensor], decided: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Return the chosen labels, most probable first, with the other outputs.

        Returns:
            `labels` string and `label_probabilities` float32 `(batch, largest number of chosen labels, 1 or more)`,
            padded with "" and 0; `num_labels` int32 `(batch,)`; `probabilities` float32 `(batch, labels)`; and
            `outputs` without the logits.
        """
        outputs = dict(outputs)
        logits = self.calibrate(outputs.pop("logits"), decided)
        probabilities = tf.sigmoid(logits)
        is_chosen = evaluation.is_chosen(probabilities, decided["thresholds"])
        num_labels = tf.reduce_sum(tf.cast(is_chosen, tf.int32), axis=-1)
        # At least one column: not every client and server can handle arrays without elements.
        width = tf.maximum(tf.reduce_max(num_labels), 1)
        # Ordered by logits because probabilities near 1 become equal.
        order = tf.math.top_k(tf.where(is_chosen, logits, logits.dtype.min), width).indices
        is_filled = tf.sequence_mask(num_labels, width)
        names = tf.gather(tf.constant(self._labels), order)
        return {
            "labels": tf.where(is_filled, names, ""),
            "label_probabilities": tf.where(is_filled, tf.gather(probabilities, order, batch_dims=1), 0.0),
            "num_labels": num_labels,
            "probabilities": probabilities,
            **outputs,
        }


@dataclass(frozen=True, kw_only=True)
class FittedMultilabel(FittedLabelTask):
    """Multi-label classification with the labels of train and their frequencies.

    Args:
        counts: the number of training records that have each label, by id.
        num_examples: the number of training records.
    """

    counts: tuple[int, ...]
    num_examples: int

    all_outputs = base_outputs.MULTILABEL
    metrics = evaluation.METRICS
    # It does not depend on thresholds, which are fitted only after training.
    monitor = evaluation.MEAN_AVERAGE_PRECISION

    @property
    def targets(self) -> Mapping[str, Target]:
        """`has_label`: whether the record has each label."""
        return {"has_label": Target("bool", (len(self.labels),))}

    @property
    def decision(self) -> Thresholds:
        """A threshold for each label."""
        return Thresholds(self.labels)

    @property
    def explained(self) -> ExplainedTexts:
        """The log-odds of a label."""
        return ExplainedTexts(self.labels, "sigmoid", self.options.long_text)

    def target_of(self, record: Record) -> np.ndarray:
        """Return whether the record has each label: bool `(labels,)`.

        Raises:
            ValueError: train does not have one of the labels; the message suggests a similar one.
        """
        has_label = np.zeros(len(self.labels), bool)
        has_label[[self.label_id_of(label, record) for label in record.target]] = True
        return has_label

    def initialize_head(self, head: PooledHead, embed: Embed, split: TokenizedSplit, seed: int) -> None:
        """Fit the head by logistic regression for each label, unless `head.start` is `random`."""
        if self.options.start == "random":
            return
        has_label = split.targets["has_label"]
        num_examples, num_labels = has_label.shape
        order = np.random.default_rng(seed).permutation(num_examples)
        max_each = min(_EXAMPLES_PER_LABEL, max(_TOTAL_EXAMPLES // num_labels, 1))
        with_label = [order[has_label[order, label]][:max_each] for label in range(num_labels)]
        indices = np.unique(np.concatenate([order[:_ANY_EXAMPLES], *with_label]))
        weights = np.where(has_label, *self._weights()) if self._is_balanced else np.ones(has_label.shape, np.float32)
        prevalence = np.where(has_label, weights, 0).sum(0) / weights.sum(0)
        prevalence = np.clip(prevalence, 0.5 / num_examples, 1 - 0.5 / num_examples)
        start_with_label_probes(head, embed(indices), has_label[indices], prevalence)

    def loss(self, scores: tf.Tensor, batch: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Return the binary cross-entropy averaged over the labels, smoothed by `train.label_smoothing`."""
        has_label, smoothing = batch["has_label"], self.options.label_smoothing
        expected = tf.where(has_label, 1 - smoothing / 2, smoothing / 2)
        losses = tf.nn.sigmoid_cross_entropy_with_logits(expected, scores)
        if self._is_balanced:
            losses *= tf.where(has_label, *self._weights())
        return tf.reduce_mean(losses, axis=-1)

    def decode_texts(self, scores: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return `logits`, float32 `(batch, labels)`."""
        return {"logits": scores}

    def evaluate(
        self, outputs: Mapping[str, np.ndarray], gold: Sequence[np.ndarray], decided: Mapping[str, np.ndarray]
    ) -> Evaluation:
        """Return the evaluation of the probabilities and the chosen labels."""
        return evaluation.LabelSetEvaluation(
            outputs["probabilities"],
            np.stack(gold),
            labels=self.labels,
            thresholds=decided["thresholds"],
            sources=decided["threshold_sources"],
        )

    def constant_baseline(self, train: TokenizedSplit, gold: Sequence[np.ndarray]) -> Baseline:
        """Return the scores of the most frequent label alone."""
        frequencies = np.float32(self.counts) / np.float32(self.num_examples)
        outputs = {"probabilities": np.tile(frequencies, (len(gold), 1))}
        decided = self.decision.initial() | {"thresholds": np.full(len(self.labels), frequencies.max())}
        scores = self.evaluate(outputs, gold, decided).point_scores()
        return Baseline(most_frequent_title(self.labels, frequencies), scores)

    def signatures(self, served: Served) -> dict[str, Any]:
        """Return `labels`, which maps ids to names and thresholds, and `classify`, for Classify calls."""
        names = tf.constant(self.labels)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.int32, name="label_id")])
        def labels(label_id):
            is_known = (label_id >= 0) & (label_id < len(self.labels))
            safe_id = tf.where(is_known, label_id, 0)
            return {
                "label": tf.where(is_known, tf.gather(names, safe_id), ""),
                "threshold": tf.where(is_known, tf.gather(served.decided["thresholds"], safe_id), 0.0),
            }

        return {"labels": labels, "classify": self.classify_signature(served)}

    @property
    def _is_balanced(self) -> bool:
        return self.options.class_weights == "balanced"

    def _weights(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the `balanced` weights of texts with each label and of texts without it, float32 `(labels,)` each."""
        with_label = np.asarray(self.counts)
        without_label = np.maximum(self.num_examples - with_label, 1)
        weights = [np.minimum(self.num_examples / (2 * count), _MAX_WEIGHT) for count in (with_label, without_label)]
        # Rounded so that runs of earlier versions, which stored the weights in half precision, can be repeated.
        with_weight, without_weight = (weight.astype(np.float16).astype(np.float32) for weight in weights)
        return with_weight, without_weight


def _parse_labels(value: Any) -> list[str]:
    """Return the labels from a list, a cell, or one yes/no column per label."""
    if isinstance(value, str):
        parsed = parse_cell(value)
        if parsed is None and _BRACKETED.fullmatch(value.strip()):
            expected = 'expected JSON such as ["a", "b"], or names separated by ; or |'
            raise ValueError(f"labels is {shown(value)}, which cannot be read as a list; {expected}")
        value = value if parsed is None else parsed
    if isinstance(value, Mapping):
        return [label_of(name, "labels") for name, cell in value.items() if _is_yes(name, cell)]
    if isinstance(value, list):
        _reject_vector(value, value)
        return [label_of(name, f"labels[{index}]") for index, name in enumerate(value)]
    if not isinstance(value, str):
        if value is None:
            raise ValueError("labels is null; expected a list of names, which may be empty")
        return [label_of(value, "labels")]
    separators = [separator for separator in _SEPARATORS if separator in value]
    if len(separators) > 1:
        expected = "expected only one separator, or a JSON list if they are part of names"
        raise ValueError(f"labels is {shown(value)}, with both {' and '.join(separators)}; {expected}")
    names = value.split(separators[0]) if separators else [value]
    _reject_vector(names if separators else _VECTOR_SEPARATOR.split(value.strip()), value)
    return [label_of(name, "labels") for name in names if name.strip()]


def _reject_vector(items: Sequence, value: Any) -> None:
    """Reject a vector with a 0 or 1 for each label, which would be taken for labels named 0 and 1.

    Args:
        items: the items of a list.
        value: the value of the column, for the message.

    Raises:
        ValueError: all items are 0 or 1 and one is repeated, which does not happen in a list of names or ids.
    """
    digits = ["1" if item is True else "0" if item is False else str(item).strip() for item in items]
    if len(digits) > len(set(digits)) and set(digits) <= {"0", "1", "0.0", "1.0"}:
        expected = "expected names of labels, or a column for each label by --set data.columns=labels=NAME|NAME|..."
        raise ValueError(f"labels is {shown_json(value)}, a vector of zeros and ones; {expected}")


def _is_yes(name: str, cell: Any) -> bool:
    """Return whether the cell in the column of a label means yes (1 or true), not no (0, false or empty)."""
    text = "" if cell is None else str(cell).strip().lower()
    if isinstance(cell, list | Mapping) or text not in _YES + _NO:
        raise ValueError(f"label {shown(name)} is {shown_json(cell)}; expected 1, 0, true, false or an empty cell")
    return text in _YES


TASK = Multilabel(LABELS)
