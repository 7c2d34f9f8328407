"""What tasks share that predict something about a whole text or a pair of texts: one vector per text, a dense layer."""

import abc
import bisect
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from tfbert.heads.pooled import PooledHead
from tfbert.nearest import did_you_mean
from tfbert.tasks.base import FittedTask, Task
from tfbert.tasks.base_context import Context, Served
from tfbert.tasks.base_options import LearnedHeadOptions, option
from tfbert.text.columns import Column
from tfbert.text.datasets import Warn
from tfbert.text.input_columns import TEXT_PAIR
from tfbert.text.inputs import Input, Item, Text
from tfbert.text.preprocessor import Preprocessor, Sequences
from tfbert.text.record_sequences import RecordSequences
from tfbert.text.records import TEXT, Record, optional_text_of, text_of
from tfbert.text.rows import Row


@dataclass(frozen=True, kw_only=True)
class PooledOptions(LearnedHeadOptions):
    """Options of tasks on whole texts; their meaning is documented in the config."""

    pooling: str = option("head.pooling")
    start: str = option("head.start")
    long_text: str = option("encoder.long_text")
    window_overlap_fraction: float = option("encoder.window_overlap_fraction")

    def check(self) -> None:
        """Refuse an overlap of windows where there are no windows.

        Raises:
            ValueError: `encoder.window_overlap_fraction` is set, but long texts are cut.
        """
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


class PooledTask(Task):
    """Tasks that predict something about a whole text, or about a pair of texts, which differ in their segment ids."""

    inputs = (Text("text"), Text("text_pair", required=False))

    def __init__(self, target_column: Column):
        self.columns = (TEXT, TEXT_PAIR, target_column)

    @abc.abstractmethod
    def target_in(self, row: Row) -> Any:
        """Return the target of a row.

        Raises:
            ValueError: what is wrong with it.
        """

    def parse(self, row: Row) -> Record:
        """Return the record of a row, with the second text if the row has one.

        Raises:
            ValueError: what is wrong with the row.
        """
        pair = optional_text_of(row, TEXT_PAIR.role)
        return Record(text_of(row), self.target_in(row), row.where, () if pair is None else (pair,))


@dataclass(frozen=True, kw_only=True)
class FittedPooledTask(FittedTask):
    """A task on whole texts that knows its training data.

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
        """`text`, and `text_pair` where the model learned from pairs."""
        return PooledTask.inputs if self.has_pair else PooledTask.inputs[:1]

    @property
    def cuts_texts(self) -> bool:
        """Whether texts are cut to the sequence length; otherwise they are read in windows."""
        return self.options.long_text == "cut"

    @property
    @abc.abstractmethod
    def num_scores(self) -> int:
        """The number of scores per text."""

    @abc.abstractmethod
    def target_of(self, record: Record) -> Any:
        """Return what the model should learn of a record: a number, or an array of a fixed shape.

        Raises:
            ValueError: the model cannot learn it, such as a label that train does not have.
        """

    @abc.abstractmethod
    def decode_texts(self, scores: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return the outputs for texts, in the graph, from scores `(batch, num_scores)`."""

    def inputs_of(self, record: Record, *, training: bool = False) -> Item:
        """Return the record's texts.

        Raises:
            ValueError: a text without its second, or the other way round.
        """
        if bool(record.others) != self.has_pair:
            expected = "two texts, as the first record of train has" if self.has_pair else "one text, as in train"
            raise ValueError(f"{record.where}: {1 + len(record.others)} text; expected {expected}")
        return dict(zip(("text", "text_pair"), record.texts, strict=False))

    def sequences(self, inputs: Mapping[str, tf.Tensor], preprocessor: Preprocessor) -> Sequences:
        """Return one sequence for each record, or one for each window of a long text."""
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
        """Return what `decode_texts` returns, and `truncated`: where tokens were cut."""
        if sequences.windows is None:
            return self.decode_texts(scores) | {"truncated": sequences.is_cut}
        over_windows = tf.math.segment_mean if self.options.long_text == "mean" else tf.math.segment_max
        scores = over_windows(scores, sequences.windows.records)
        return self.decode_texts(scores) | {"truncated": tf.zeros_like(sequences.windows.lengths, tf.bool)}

    def decode_sequences(self, scores: tf.Tensor, padding_mask: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return what `decode_texts` returns for each sequence."""
        return self.decode_texts(scores)

    def predict_examples(self, served: Served, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return the outputs for serialized `tf.train.Example`s, string `(batch,)`, in the graph."""
        features = {each.name: tf.io.FixedLenFeature([], tf.string) for each in self.inputs}
        return served.predict(**tf.io.parse_example(examples, features))


@dataclass(frozen=True, kw_only=True)
class FittedLabelTask(FittedPooledTask):
    """A task that labels whole texts and knows its labels.

    Args:
        labels: sorted by name; the position is the label's id.
    """

    options: LabelOptions
    labels: tuple[str, ...]

    @property
    def known_labels(self) -> Sequence[str]:
        """The labels, by id."""
        return self.labels

    @property
    def num_scores(self) -> int:
        """One logit per label."""
        return len(self.labels)

    def label_id_of(self, label: str, record: Record) -> int:
        """Return the id of a label of a record.

        Raises:
            ValueError: train does not have the label; a similar one is named.
        """
        position = bisect.bisect_left(self.labels, label)
        if self.labels[position : position + 1] == (label,):
            return position
        number = f"{len(self.labels):,} label{'' if len(self.labels) == 1 else 's'}"
        hint = did_you_mean(label, self.labels)
        raise ValueError(f"{record.where}: label {label!r} is not one of the {number} of train{hint}")

    def classify_signature(self, served: Served) -> Any:
        """Return `classify`: all labels and their probabilities, for TF Serving's Classify and MultiInference calls."""
        names = tf.constant(self.labels)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="inputs")])
        def classify(inputs):
            scores = self.predict_examples(served, inputs)["probabilities"]
            return {"classes": tf.tile(names[None, :], [tf.shape(scores)[0], 1]), "scores": scores}

        return classify


def has_pair(records: Iterable[Record]) -> tuple[bool, Iterable[Record]]:
    """Return whether the first record has two texts, and all records again.

    Args:
        records: one or more.
    """
    stream = iter(records)
    first = next(stream)
    return bool(first.others), itertools.chain([first], stream)
