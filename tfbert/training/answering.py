"""Raw texts in, decoded answers out: the one function that is evaluated in training, exported and served."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from tfbert.config import Config
from tfbert.tasks.base import Encoding, Task, TaskModel
from tfbert.text.items import Item, batch_of, rough_lengths
from tfbert.text.packing import Packer
from tfbert.text.records import Record
from tfbert.text.tokenizer import Tokenizer

_BATCH_TOKENS = 8192
_MOST_RECORDS = 256
# Records that are sorted by length together, so that batches are of like length and memory does not grow with a file.
_POOL_RECORDS = 4096

Ask = Callable[[Sequence[Item]], dict[str, np.ndarray]]


class Answering:
    """A trained model with its tokenizer and its task.

    Args:
        task: decides what is asked and answered.
        facts: of the task.
        model: float32; its weights may change between calls.
        tokenizer: the one it is trained with.
        config: of the run.
        arrays: the task's own, by name; `None` makes empty ones, which `refresh` fills.
    """

    def __init__(
        self,
        task: Task,
        facts: dict,
        model: TaskModel,
        tokenizer: Tokenizer,
        config: Config,
        arrays: Mapping[str, tf.Variable] | None = None,
    ):
        self.task, self.facts, self.model, self.tokenizer = task, facts, model, tokenizer
        self.arrays = _empty(task.array_specs(facts)) if arrays is None else dict(arrays)
        packer = make_packer(tokenizer, config)
        self._encoding = Encoding(tokenizer, packer, lambda packed: model(packed, training=False), config, self.arrays)
        self._embed = tf.function(self._rows_of, input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
        self.specs = input_specs(task, facts)
        self.answer = tf.function(self._answer, input_signature=list(self.specs.values()), autograph=False)

    def __call__(self, items: Sequence[Item]) -> dict[str, np.ndarray]:
        """Return the answers to some items: output name to array with the item first."""
        tensors = batch_of(items, list(self.specs))
        return {name: value.numpy() for name, value in self.answer(*tensors.values()).items()}

    def answer_rows(
        self, token_ids: tf.Tensor, segment_ids: tf.Tensor, padding_mask: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """Return the answers to rows that are packed already, in the graph."""
        packed = {"token_ids": token_ids, "segment_ids": segment_ids, "padding_mask": padding_mask}
        return self.task.answer_rows(self._encoding.logits(packed), padding_mask, self.facts)

    def refresh(self, splits: Mapping[str, Iterable[Record]]) -> None:
        """Make the task's arrays anew, of the splits and with the model as it is now."""
        for name, value in self.task.arrays(splits, self.embed, self.facts, self._encoding.config).items():
            self.arrays[name].assign(value)

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Return what the head gives for some texts, at least one, each in a row of its own: `(len(texts), ...)`."""
        found = None
        for indices in _alike([{"text": text} for text in texts]):
            part = self._embed(batch_of([{"text": texts[index]} for index in indices], ["text"])["text"]).numpy()
            found = np.zeros((len(texts), *part.shape[1:]), part.dtype) if found is None else found
            found[indices] = part
        return found

    def extra_signatures(self, answer: Callable[..., dict]) -> dict[str, Any]:
        """Return the task's own serving signatures; `answer` is the graph function of `serving_default`."""
        named = self.task.extra_signatures(answer, self.facts)
        return {**named, **self.task.model_signatures(self._encoding, self.facts)}

    def _rows_of(self, texts: tf.Tensor) -> tf.Tensor:
        packed = self._encoding.packer.pack([self._encoding.tokenizer(texts)])
        packed.pop("truncated")
        return self._encoding.logits(packed)

    def _answer(self, *tensors: tf.Tensor) -> dict[str, tf.Tensor]:
        return self.task.answer(dict(zip(self.specs, tensors, strict=True)), self._encoding, self.facts)


def _empty(specs: Mapping[str, tf.TensorSpec]) -> dict[str, tf.Variable]:
    """Return variables without values that take arrays of any size which the specs allow."""
    return {
        name: tf.Variable(
            tf.zeros([size or 0 for size in spec.shape], spec.dtype), trainable=False, shape=spec.shape, name=name
        )
        for name, spec in specs.items()
    }


def make_packer(tokenizer: Tokenizer, config: Config) -> Packer:
    """Return what packs rows for a run."""
    encoder = config.encoder
    return Packer(tokenizer.special, encoder.sequence_length, encoder.window_overlap_fraction)


def input_specs(task: Task, facts: dict) -> dict[str, tf.TensorSpec]:
    """Return the served inputs by name."""
    ranks = task.input_ranks(facts)
    return {name: tf.TensorSpec([None] * rank, tf.string, name=name) for name, rank in ranks.items()}


def answer_all(
    ask: Ask, task: Task, facts: dict, records: Iterable[Record], total: int | None = None, title: str = ""
) -> tuple[dict[str, np.ndarray], list[Any]]:
    """Ask about every record of a split.

    Args:
        ask: an `Answering`, or what asks a SavedModel.
        task: that the records are of.
        facts: of the task.
        records: labelled; read once, in pools.
        total: their number, for the progress bar.
        title: of the progress bar; empty for none.

    Returns:
        The answers, output name to array in the order of the records, and what each should have been.

    Raises:
        ValueError: a record that the model cannot be asked about, such as one with an unknown label.
    """
    parts: list[tuple[np.ndarray, dict[str, np.ndarray]]] = []
    gold: list[Any] = []
    stream = iter(records)
    with tqdm(total=total, desc=title, unit="ex", leave=False, disable=None if title else True) as bar:
        while pool := list(itertools.islice(stream, _POOL_RECORDS)):
            items = [task.inputs_of(record, facts) for record in pool]
            for indices in _alike(items):
                parts.append((indices + len(gold), ask([items[index] for index in indices])))
                bar.update(len(indices))
            gold += [task.gold_of(record, facts) for record in pool]
    return _joined(parts, len(gold)), gold


def _alike(items: Sequence[Item]) -> Iterator[np.ndarray]:
    """Yield indices of items of like length, longest first, few of the long and many of the short."""
    num_tokens = rough_lengths(items)
    order = np.argsort(-num_tokens, kind="stable")
    start = 0
    while start < len(order):
        count = min(_MOST_RECORDS, max(1, int(_BATCH_TOKENS // num_tokens[order[start]])))
        yield order[start : start + count]
        start += count


def _joined(parts: list[tuple[np.ndarray, dict[str, np.ndarray]]], count: int) -> dict[str, np.ndarray]:
    """Put parts in their places; an output that is wider in one batch than in another is padded with 0 or ""."""
    joined = {}
    for name, first in parts[0][1].items():
        shape = np.max([answers[name].shape[1:] for _, answers in parts], axis=0).astype(int)
        whole = np.full((count, *shape), b"" if first.dtype == object else 0, first.dtype)
        for indices, answers in parts:
            values = answers[name]
            whole[(indices, *(slice(0, size) for size in values.shape[1:]))] = values
        joined[name] = whole
    return joined
