"""Base classes of tasks on whole texts or pairs of texts: pooled vectors, windows of long texts, and labels."""

import abc
import functools
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from tfbert.calibration.out_of_domain import Domain
from tfbert.heads.pooled import PooledHead
from tfbert.nearest import did_you_mean
from tfbert.tasks.base_context import Context, Served
from tfbert.tasks.base_editing import EditableTask
from tfbert.tasks.base_huggingface import ConvertibleTask, FittedConvertibleTask
from tfbert.tasks.base_options import EvidenceOptions, LearnedHeadOptions, option
from tfbert.text.datasets import Warn
from tfbert.text.input_columns import TEXT_PAIR
from tfbert.text.inputs import Input, Item, Text
from tfbert.text.preprocessor import Preprocessor, Sequences
from tfbert.text.readers.columns import Column, shown
from tfbert.text.readers.rows import Row
from tfbert.text.record_sequences import RecordSequences
from tfbert.text.records import TEXT, Record, optional_text_of, text_of


@dataclass(frozen=True, kw_only=True)
class PooledOptions(LearnedHeadOptions, EvidenceOptions):
    """Options of tasks on whole texts; the config describes them."""

    pooling: str = option("head.pooling")
    start: str = option("head.start")
    long_text: str = option("encoder.long_text")
    window_overlap_fraction: float = option("encoder.window_overlap_fraction")
    out_of_domain: str = option("decision.out_of_domain")
    noise: float = option("train.noise")
    counterfactuals: str | None = option("train.counterfactuals")

    def check(self) -> None:
        """Reject an overlap of windows if long texts are cut, and noise if they are not.

        Raises:
            ValueError: `encoder.window_overlap_fraction` is set, but there are no windows; or `train.noise` is set, but
                a text and its noisy copy may have different numbers of windows.
        """
        if self.noise and self.long_text != "cut":
            raise ValueError(f"train.noise={self.noise}: expected 0 with encoder.long_text={self.long_text}, or cut")
        if self.long_text == "cut" and self.window_overlap_fraction != PooledOptions.window_overlap_fraction:
            raise ValueError(
                f"encoder.window_overlap_fraction={self.window_overlap_fraction}: there are no windows with "
                "encoder.long_text=cut; set encoder.long_text to mean or max"
            )


@dataclass(frozen=True, kw_only=True)
class LabelOptions(PooledOptions):
    """Options of tasks that label whole texts."""

    label_smoothing: float = option("train.label_smoothing")
    class_weights: str = option("train.class_weights")


class PooledTask(ConvertibleTask, EditableTask):
    """Base class of tasks on a whole text or a pair of texts. Segment ids tell the texts of a pair apart."""

    inputs = (Text("text"), Text("text_pair", required=False))
    data_options = ("data.group_column",)

    def __init__(self, target_column: Column):
        self.columns = (TEXT, TEXT_PAIR, target_column)

    @abc.abstractmethod
    def parse_target(self, row: Row) -> Any:
        """Return the target of a row.

        Raises:
            ValueError: the target is invalid.
        """

    def parse(self, row: Row) -> Record:
        """Return the record of a row, with the second text if the row has one.

        Raises:
            ValueError: the row is invalid.
        """
        pair = optional_text_of(row, TEXT_PAIR.role)
        return Record(text_of(row), self.parse_target(row), row.where, () if pair is None else (pair,))


@dataclass(frozen=True, kw_only=True)
class FittedPooledTask(FittedConvertibleTask):
    """Base class of fitted tasks on whole texts.

    Args:
        has_pair: whether records have two texts.
    """

    options: PooledOptions
    has_pair: bool

    predicts_by_sequence = True

    def __post_init__(self):
        if self.has_pair and self.options.long_text != "cut":
            raise ValueError(
                f"encoder.long_text={self.options.long_text}: pairs of texts are always cut; expected cut, or records "
                "with one text"
            )

    @property
    def inputs(self) -> tuple[Input, ...]:
        """`text`, and `text_pair` if the training records are pairs."""
        return PooledTask.inputs if self.has_pair else PooledTask.inputs[:1]

    @property
    def predicts_untrained(self) -> bool:
        """Whether the head is fitted to the vectors of the pretrained encoder before training."""
        return self.options.start == "probe"

    @property
    def domain(self) -> Domain | None:
        """The distribution of the training texts, unless `decision.out_of_domain` is `none`."""
        return Domain() if self.options.is_enabled("decision.out_of_domain") else None

    def domain_labels(self, gold: Sequence) -> np.ndarray | None:
        """Return the label of each record, by which unusual texts are told apart; `None` for no or several labels.

        Args:
            gold: the gold value of each record.
        """
        return None

    @property
    def cuts_texts(self) -> bool:
        """Whether long texts are cut to the sequence length, instead of read in windows."""
        return self.options.long_text == "cut"

    @property
    @abc.abstractmethod
    def num_scores(self) -> int:
        """The number of scores per text."""

    @abc.abstractmethod
    def target_of(self, record: Record) -> Any:
        """Return the target of a record: a number, or an array of a fixed shape.

        Raises:
            ValueError: the model cannot learn the target, for example because train does not have the label.
        """

    @abc.abstractmethod
    def decode_texts(self, scores: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return the outputs of texts, in the graph, from their scores `(batch, num_scores)`."""

    def inputs_of(self, record: Record, *, training: bool = False) -> Item:
        """Return the record's texts.

        Raises:
            ValueError: the record is a pair but the training records are not, or the other way round.
        """
        if bool(record.others) != self.has_pair:
            number = "two texts" if record.others else "one text"
            expected = "two texts, like the first record of train" if self.has_pair else "one text, as in train"
            raise ValueError(f"{record.where}: has {number}; expected {expected}")
        return dict(zip(("text", "text_pair"), record.texts, strict=False))

    def sequences(self, inputs: Mapping[str, tf.Tensor], preprocessor: Preprocessor) -> Sequences:
        """Return one sequence per record, or one per window of a long text."""
        texts = {name: preprocessor.tokenize(text) for name, text in inputs.items()}
        if self.options.long_text == "cut":
            return preprocessor.pack([text.ids for text in texts.values()], texts=texts)
        ((name, text),) = texts.items()
        return preprocessor.read_in_windows(name, text)

    def targets_of(self, record: Record, sequences: RecordSequences, warn: Warn) -> Sequence[Mapping[str, Any]]:
        """Return the record's target for each of its sequences."""
        (name,) = self.targets
        return [{name: self.target_of(record)}] * len(sequences)

    def gold(self, record: Record) -> Any:
        """Return the target."""
        return self.target_of(record)

    def head(self, seed: int) -> PooledHead:
        """Return a pooled head."""
        options = self.options
        return PooledHead(self.num_scores, pooling=options.pooling, dropout=options.dropout, seed=seed, name="head")

    def decode(self, scores: tf.Tensor, sequences: Sequences, context: Context) -> dict[str, tf.Tensor]:
        """Return the outputs of `decode_texts` and `truncated`, bool `(batch,)`: whether tokens were cut."""
        if sequences.windows is None:
            return self.decode_texts(scores) | {"truncated": sequences.is_cut}
        combine = tf.math.segment_mean if self.options.long_text == "mean" else tf.math.segment_max
        scores = combine(scores, sequences.windows.records)
        return self.decode_texts(scores) | {"truncated": tf.zeros_like(sequences.windows.lengths, tf.bool)}

    def decode_sequences(self, scores: tf.Tensor, padding_mask: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return the outputs of `decode_texts` for each sequence."""
        return self.decode_texts(scores)

    def predict_examples(self, served: Served, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return the outputs of serialized `tf.train.Example`s, string `(batch,)`, in the graph."""
        features = {text.name: tf.io.FixedLenFeature([], tf.string) for text in self.inputs}
        return served.predict(**tf.io.parse_example(examples, features))


@dataclass(frozen=True, kw_only=True)
class FittedLabelTask(FittedPooledTask):
    """Base class of fitted tasks that label whole texts.

    Args:
        labels: the labels by id; in training sorted by name, in models that were trained elsewhere in their order.
    """

    options: LabelOptions
    labels: tuple[str, ...]

    @property
    def known_labels(self) -> Sequence[str]:
        """The labels, by id."""
        return self.labels

    @property
    def num_scores(self) -> int:
        """The number of labels: there is one logit per label."""
        return len(self.labels)

    def label_id_of(self, label: str, record: Record) -> int:
        """Return the id of a label.

        Args:
            label: the name of the label.
            record: the record that has the label, for the error message.

        Raises:
            ValueError: train does not have the label; the message suggests a similar one.
        """
        if label in self._ids:
            return self._ids[label]
        number = f"{len(self.labels):,} label{'' if len(self.labels) == 1 else 's'}"
        hint = did_you_mean(label, self.labels)
        raise ValueError(f"{record.where}: label {label!r} is not one of the {number} of train{hint}")

    @functools.cached_property
    def _ids(self) -> Mapping[str, int]:
        return {label: label_id for label_id, label in enumerate(self.labels)}

    def classify_signature(self, served: Served) -> Any:
        """Return the signature for TF Serving's Classify and MultiInference calls: labels and their probabilities."""
        names = tf.constant(self.labels)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="inputs")])
        def classify(inputs):
            scores = self.predict_examples(served, inputs)["probabilities"]
            return {"classes": tf.tile(names[None, :], [tf.shape(scores)[0], 1]), "scores": scores}

        return classify


def most_frequent_title(labels: Sequence[str], counts: np.ndarray) -> str:
    """Return the title of the baseline that always predicts the most frequent label.

    Args:
        labels: the labels by id.
        counts: how often each label occurs, `(labels,)`.
    """
    is_tie = np.count_nonzero(counts == counts.max()) > 1
    rank = "one of the most frequent labels" if is_tie else "the most frequent label"
    return f"always predicting {shown(labels[counts.argmax()])}, {rank}"


def has_pair(records: Iterable[Record]) -> tuple[bool, Iterable[Record]]:
    """Return whether the first record has two texts, and an iterable over all records.

    Args:
        records: one or more records; read once.

    Raises:
        ValueError: there are no records.
    """
    stream = iter(records)
    first = next(stream, None)
    if first is None:
        raise ValueError("train has no records; expected at least one")
    return bool(first.others), itertools.chain([first], stream)
