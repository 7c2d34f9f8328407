"""What tasks share that say something about a whole text or a pair of texts: one vector a text, then a dense layer."""

import abc
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfbert.config import Config
from tfbert.heads.pooled import PooledHead
from tfbert.tasks.base import Encoding, Task
from tfbert.text.columns import Column
from tfbert.text.datasets import Example, Tokens
from tfbert.text.input_columns import TEXT_PAIR
from tfbert.text.items import Item
from tfbert.text.packing import Packer
from tfbert.text.records import TEXT, Record, optional_text_of, text_of
from tfbert.text.rows import Row


class PooledTask(Task):
    """A text, or a pair told apart by segment ids, in; something about the whole out.

    The facts hold `has_pair`. A subclass adds the column of its target, which it reads in `target_in`.
    """

    def __init__(self, target_column: Column):
        self.columns = (TEXT, TEXT_PAIR, target_column)

    @abc.abstractmethod
    def target_in(self, row: Row) -> Any:
        """Return the target of a row.

        Raises:
            ValueError: what is wrong with it.
        """

    @abc.abstractmethod
    def target_of(self, record: Record, facts: dict) -> Any:
        """Return what the model should learn of a record: a number, or an array of a fixed shape.

        Raises:
            ValueError: the model cannot learn it, such as a label that train does not have.
        """

    @abc.abstractmethod
    def num_outputs(self, facts: dict) -> int:
        """Return the number of logits a text."""

    @abc.abstractmethod
    def decode(self, logits: tf.Tensor, facts: dict) -> dict[str, tf.Tensor]:
        """Return the answers, in the graph, from logits `(batch, num_outputs)`."""

    def parse(self, row: Row) -> Record:
        """Return the record of a row, with the second text if the row has one.

        Raises:
            ValueError: what is wrong with the row.
        """
        pair = optional_text_of(row, TEXT_PAIR.role)
        return Record(text_of(row), self.target_in(row), row.where, () if pair is None else (pair,))

    def input_ranks(self, facts: dict) -> dict[str, int]:
        """Return `text`, and `text_pair` where the model learned from pairs."""
        return {"text": 1, "text_pair": 1} if facts["has_pair"] else {"text": 1}

    def inputs_of(self, record: Record, facts: dict) -> Item:
        """Return the record's texts.

        Raises:
            ValueError: a text without its second, or the other way round.
        """
        if bool(record.others) != facts["has_pair"]:
            wish = "two texts, as the first record of train has" if facts["has_pair"] else "one text, as in train"
            raise ValueError(f"{record.where}: {1 + len(record.others)} text; wanted {wish}")
        return dict(zip(("text", "text_pair"), record.texts, strict=False))

    def gold_of(self, record: Record, facts: dict) -> Any:
        """Return the target."""
        return self.target_of(record, facts)

    def examples(
        self, record: Record, tokens: Sequence[Tokens], packer: Packer, facts: dict, config: Config, remark: Callable
    ) -> list[Example]:
        """Return one row, or one for each window of a long text, all with the record's target."""
        self.inputs_of(record, facts)
        target = self.target_of(record, facts)
        segments = [text.ids for text in tokens]
        if facts["has_pair"] or config.encoder.long_text == "cut":
            return [Example(*packer.row(segments), target)]
        ids, room = segments[0], packer.room(1)
        starts = packer.window_starts(len(ids), room)
        return [Example(*packer.row([ids[start : start + room]]), target) for start in starts]

    def cut_length(self, facts: dict, config: Config) -> int | None:
        """Return the sequence length, or `None` if long texts are read in windows."""
        return super().cut_length(facts, config) if facts["has_pair"] or config.encoder.long_text == "cut" else None

    def build_head(self, facts: dict, config: Config) -> keras.layers.Layer:
        """Return a pooled head."""
        head, seed = config.head, config.train.seed
        return PooledHead(self.num_outputs(facts), pooling=head.pooling, dropout=head.dropout, seed=seed, name="head")

    def answer(self, inputs: Mapping[str, tf.Tensor], encoding: Encoding, facts: dict) -> dict[str, tf.Tensor]:
        """Return what `decode` gives, and `truncated`: where tokens were cut."""
        segments = [encoding.tokenizer(inputs[name]) for name in self.input_ranks(facts)]
        join = encoding.config.encoder.long_text
        if facts["has_pair"] or join == "cut":
            packed = encoding.packer.pack(segments)
            truncated = packed.pop("truncated")
            return self.decode(encoding.logits(packed), facts) | {"truncated": truncated}
        windows = encoding.packer.windows(segments[0], encoding.packer.room(1))
        packed = encoding.packer.pack([windows.token_ids])
        packed.pop("truncated")
        over_windows = tf.math.segment_mean if join == "mean" else tf.math.segment_max
        logits = over_windows(encoding.logits(packed), windows.records)
        return self.decode(logits, facts) | {"truncated": tf.zeros_like(windows.lengths, tf.bool)}

    def answer_rows(self, logits: tf.Tensor, padding_mask: tf.Tensor, facts: dict) -> dict[str, tf.Tensor]:
        """Return what `decode` gives for each row."""
        return self.decode(logits, facts)


def has_pair(records: Iterable[Record]) -> tuple[bool, Iterable[Record]]:
    """Return whether the first record has two texts, and the records again.

    Args:
        records: at least one.
    """
    stream = iter(records)
    first = next(stream)

    def again():
        yield first
        yield from stream

    return bool(first.others), again()
