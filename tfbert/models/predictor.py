"""The predictor: raw inputs in, decoded outputs out; what is validated, tested, exported and served."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from tfbert.config import Config
from tfbert.models.task_model import TaskModel
from tfbert.models.variables import empty_variables
from tfbert.tasks.base import FittedTask
from tfbert.tasks.base_context import Context, Served
from tfbert.text.inputs import Item, batch_of, rough_lengths
from tfbert.text.preprocessor import Preprocessor
from tfbert.text.records import Record
from tfbert.text.tokenizer import Tokenizer

_BATCH_TOKENS = 8192
_MAX_RECORDS = 256
# Records that are sorted by length together, so that the records of a batch have similar lengths and memory does not
# grow with a file.
_POOL_RECORDS = 4096

# Some items to outputs by name, each an array with the item first.
Predict = Callable[[Sequence[Item]], dict[str, np.ndarray]]


class Predictor:
    """A trained model with its tokenizer and its fitted task.

    Args:
        task: decides what goes in and what comes out.
        model: float32; its weights may change between calls.
        tokenizer: the one the encoder was pretrained with.
        config: the config of the run.

    Attributes:
        index: the variables of the task's index, by name; `refresh` fills them.
        decided: the variables of the task's decision, by name; `decide` sets them.
        specs: the served inputs by name.
        predict: graph function from the inputs, in the order of `specs`, to the served outputs.
    """

    def __init__(self, task: FittedTask, model: TaskModel, tokenizer: Tokenizer, config: Config):
        self.task, self.model, self.tokenizer = task, model, tokenizer
        self.preprocessor = make_preprocessor(tokenizer, config)
        self.index = empty_variables(task.index.specs if task.index else {})
        self.decided = empty_variables(task.decision.specs if task.decision else {})
        if task.decision:
            self._set_decided(task.decision.initial())
        self.specs = {each.name: each.spec for each in task.inputs}
        signature = list(self.specs.values())
        self.predict = tf.function(self._predict, input_signature=signature, autograph=False)
        self._decode = tf.function(self._decode_inputs, input_signature=signature, autograph=False)
        self._embed = tf.function(
            self._embed_texts, input_signature=[tf.TensorSpec([None], tf.string)], autograph=False
        )

    def __call__(self, items: Sequence[Item]) -> dict[str, np.ndarray]:
        """Return the served outputs for some items: output name to array with the item first."""
        return _evaluated(self.predict(*batch_of(items, list(self.specs)).values()))

    def decode(self, items: Sequence[Item]) -> dict[str, np.ndarray]:
        """Return the outputs for some items before the decision is applied: output name to array, item first."""
        return _evaluated(self._decode(*batch_of(items, list(self.specs)).values()))

    def apply_decision(self, outputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return the served outputs for what `decode` returned, with the decision as it is now."""
        if self.task.decision is None:
            return dict(outputs)
        number, parts = len(next(iter(outputs.values()))), []
        for start in range(0, number, _POOL_RECORDS):
            chosen = slice(start, start + _POOL_RECORDS)
            tensors = {name: tf.constant(values[chosen]) for name, values in outputs.items()}
            decided = _evaluated(self.task.decision.apply(tensors, self.decided))
            parts.append((np.arange(number)[chosen], decided))
        return _joined(parts, number)

    def decide(self, outputs: Mapping[str, np.ndarray], gold: Sequence) -> None:
        """Fit the decision, if the task has one, to what `decode` returned for the validation split."""
        if self.task.decision is not None:
            self._set_decided(self.task.decision.fit(outputs, gold))

    def decided_values(self) -> dict[str, np.ndarray]:
        """Return the values of the decision, by name."""
        return {name: variable.numpy() for name, variable in self.decided.items()}

    def predict_sequences(
        self, token_ids: tf.Tensor, segment_ids: tf.Tensor, padding_mask: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """Return the outputs for sequences that are packed already, in the graph."""
        packed = {"token_ids": token_ids, "segment_ids": segment_ids, "padding_mask": padding_mask}
        outputs = self.task.decode_sequences(self._scores(packed), padding_mask)
        return self._decided(outputs) if self.task.predicts_by_sequence else outputs

    def refresh(self, splits: Mapping[str, Iterable[Record]]) -> None:
        """Build the task's index, if it has one, of the splits and with the model as it is now."""
        if self.task.index is not None:
            for name, value in self.task.index.build(splits, self.embed).items():
                self.index[name].assign(value)

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Return the scores of texts, each a sequence of its own: `(len(texts), ...)` for one or more texts."""
        vectors = None
        for indices in _similar([{"text": text} for text in texts]):
            part = self._embed(batch_of([{"text": texts[index]} for index in indices], ["text"])["text"]).numpy()
            vectors = np.zeros((len(texts), *part.shape[1:]), part.dtype) if vectors is None else vectors
            vectors[indices] = part
        return vectors

    def signatures(self, predict: Callable[..., dict]) -> dict[str, Any]:
        """Return the task's own serving signatures; `predict` is the graph function of `serving_default`."""
        return self.task.signatures(Served(predict, self.preprocessor, self._scores, self.decided))

    def _set_decided(self, values: Mapping[str, np.ndarray]) -> None:
        for name, value in values.items():
            self.decided[name].assign(value)

    def _scores(self, packed: Mapping[str, tf.Tensor]) -> tf.Tensor:
        return self.model(packed, training=False)

    def _embed_texts(self, texts: tf.Tensor) -> tf.Tensor:
        return self._scores(self.preprocessor.pack([self.tokenizer(texts)]).dense())

    def _decode_inputs(self, *tensors: tf.Tensor) -> dict[str, tf.Tensor]:
        inputs = dict(zip(self.specs, tensors, strict=True))
        sequences = self.task.sequences(inputs, self.preprocessor)
        context = Context(inputs, self.tokenizer.vocabulary, self.index)
        return self.task.decode(sequences.scores(self._scores), sequences, context)

    def _predict(self, *tensors: tf.Tensor) -> dict[str, tf.Tensor]:
        return self._decided(self._decode_inputs(*tensors))

    def _decided(self, outputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return self.task.decision.apply(outputs, self.decided) if self.task.decision else outputs


def make_preprocessor(tokenizer: Tokenizer, config: Config) -> Preprocessor:
    """Return the preprocessor of a run."""
    encoder = config.encoder
    return Preprocessor(tokenizer, encoder.sequence_length, encoder.window_overlap_fraction)


def predict_all(
    predict: Predict, task: FittedTask, records: Iterable[Record], total: int | None = None, title: str = ""
) -> tuple[dict[str, np.ndarray], list[Any]]:
    """Predict every record of a split.

    Args:
        predict: a predictor, its `decode`, or a loaded SavedModel.
        task: the fitted task of the records.
        records: labelled; read once, in pools.
        total: the number of records, for the progress bar.
        title: of the progress bar; empty for none.

    Returns:
        The outputs by name, each an array in the order of the records, and the truth for each record.

    Raises:
        ValueError: a record that cannot be predicted, such as one with an unknown label.
    """
    parts: list[tuple[np.ndarray, dict[str, np.ndarray]]] = []
    gold: list[Any] = []
    stream = iter(records)
    with tqdm(total=total, desc=title, unit="ex", leave=False, disable=None if title else True) as bar:
        while pool := list(itertools.islice(stream, _POOL_RECORDS)):
            items = [task.inputs_of(record) for record in pool]
            for indices in _similar(items):
                parts.append((indices + len(gold), predict([items[index] for index in indices])))
                bar.update(len(indices))
            gold += [task.gold(record) for record in pool]
    return _joined(parts, len(gold)), gold


def _evaluated(outputs: Mapping[str, tf.Tensor]) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in outputs.items()}


def _similar(items: Sequence[Item]) -> Iterator[np.ndarray]:
    """Yield indices of items of similar length, longest first, few long ones or many short ones together."""
    num_tokens = rough_lengths(items)
    order = np.argsort(-num_tokens, kind="stable")
    start = 0
    while start < len(order):
        count = min(_MAX_RECORDS, max(1, int(_BATCH_TOKENS // num_tokens[order[start]])))
        yield order[start : start + count]
        start += count


def _joined(parts: list[tuple[np.ndarray, dict[str, np.ndarray]]], count: int) -> dict[str, np.ndarray]:
    """Put parts in their places; an output that is wider in one part than in another is padded with 0 or ""."""
    joined = {}
    for name, first in parts[0][1].items():
        shape = np.max([outputs[name].shape[1:] for _, outputs in parts], axis=0).astype(int)
        whole = np.full((count, *shape), b"" if first.dtype == object else 0, first.dtype)
        for indices, outputs in parts:
            values = outputs[name]
            whole[(indices, *(slice(0, size) for size in values.shape[1:]))] = values
        joined[name] = whole
    return joined
