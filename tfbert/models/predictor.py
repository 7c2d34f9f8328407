"""The predictor: the function from raw inputs to decoded outputs that is validated, tested, exported and served."""

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from tfbert.config import Config
from tfbert.models import evidence
from tfbert.models.graph_functions import graph_function
from tfbert.models.task_model import TaskModel
from tfbert.models.variables import empty_variables
from tfbert.progress_bars import hidden
from tfbert.tasks.base import FittedTask
from tfbert.tasks.base_context import Context, Served
from tfbert.tasks.base_decision import LOGITS, OUT_OF_DOMAIN, VECTOR, Predicted
from tfbert.text.batches import EVALUATION_BATCH_TOKENS
from tfbert.text.inputs import Item, Text, batch_of, rough_lengths, specs_of
from tfbert.text.preprocessor import INPUTS, Preprocessor
from tfbert.text.records import Record
from tfbert.text.tokenizer import Tokenizer

_MAX_RECORDS = 256
# Records are sorted by length within pools of this size: batches have similar lengths, and memory use is constant.
_POOL_RECORDS = 4096

# A function from items to outputs: arrays by name, item first.
Predict = Callable[[Sequence[Item]], dict[str, np.ndarray]]


class Predictor:
    """A trained model with its tokenizer and its fitted task.

    Args:
        task: the fitted task, which defines inputs and outputs.
        model: a float32 model; its weights may change between calls.
        tokenizer: the tokenizer that the encoder was pretrained with.
        config: the config of the run.
        run_eagerly: whether to run without traced graphs, which for a few batches is faster; not for export.

    Attributes:
        index: variables of the task's index by name, assigned by `refresh`.
        decided: variables of the task's decision by name, assigned by `fit_decision`.
        domain: variables of the distribution of the training texts by name, assigned by the caller.
        evidence: variables of the training examples that the model keeps by name, assigned by the caller.
        specs: tensor specifications of the served inputs by name.
        predict: graph function from the inputs, in the order of `specs`, to the served outputs.
    """

    def __init__(
        self, task: FittedTask, model: TaskModel, tokenizer: Tokenizer, config: Config, *, run_eagerly: bool = False
    ):
        self.task, self.model, self.tokenizer, self.run_eagerly = task, model, tokenizer, run_eagerly
        self.preprocessor = make_preprocessor(tokenizer, config)
        self.index = empty_variables(task.index.specs if task.index else {})
        self.decided = empty_variables(task.decision.specs if task.decision else {})
        if task.decision:
            assign(self.decided, task.decision.initial())
        self.domain = empty_variables(task.domain.specs if task.domain else {})
        if task.domain:
            assign(self.domain, task.domain.initial(model.backbone.hidden_dim))
        self.evidence = empty_variables(evidence.SPECS if task.options.evidence else {})
        self.specs = specs_of(task.inputs)
        signature = list(self.specs.values())
        texts = [tf.TensorSpec([None], tf.string)]
        self.predict = graph_function(self._predict, run_eagerly=run_eagerly, input_signature=signature)
        self._decode = graph_function(self._decode_inputs, run_eagerly=run_eagerly, input_signature=signature)
        self._vectors = graph_function(self._vectors_of, run_eagerly=run_eagerly, input_signature=signature)
        self._embed = graph_function(self._embed_texts, run_eagerly=run_eagerly, input_signature=texts)

    def __call__(self, items: Sequence[Item]) -> dict[str, np.ndarray]:
        """Return the served outputs for items: arrays by name, item first."""
        return _to_numpy(self.predict(*batch_of(items, self.specs).values()))

    def decode(self, items: Sequence[Item]) -> dict[str, np.ndarray]:
        """Return the outputs for items before the decision is applied: arrays by name, item first.

        If the task has a domain, `VECTOR`, the pooled vector of each item, is one of them.
        """
        return _to_numpy(self._decode(*batch_of(items, self.specs).values()))

    def apply_decision(
        self, outputs: Mapping[str, np.ndarray], decided: Mapping[str, np.ndarray] | None = None
    ) -> dict[str, np.ndarray]:
        """Apply the current domain and a decision to outputs of `decode`, and return the served outputs.

        Args:
            outputs: results of `decode`.
            decided: values of the decision's variables by name; `None` for the current ones.
        """
        if self.task.decision is None and self.task.domain is None:
            return dict(outputs)
        num_items, batches = len(next(iter(outputs.values()))), []
        for start in range(0, num_items, _POOL_RECORDS):
            pool = slice(start, start + _POOL_RECORDS)
            tensors = {name: tf.constant(values[pool]) for name, values in outputs.items()}
            batches.append((np.arange(num_items)[pool], _to_numpy(self._decide(tensors, decided))))
        return _merge_batches(batches, num_items)

    def fit_decision(self, splits: Mapping[str, Predicted]) -> None:
        """Fit the decision, if the task has one, to outputs of `decode` for held-out splits, by name."""
        if self.task.decision is not None:
            assign(self.decided, self.task.decision.fit(self.with_domain(splits)))

    def with_domain(self, splits: Mapping[str, Predicted]) -> dict[str, Predicted]:
        """Return results of `decode` with the output that the domain adds, as decisions are fitted to."""
        if self.task.domain is None:
            return dict(splits)
        return {
            name: Predicted({output: np.asarray(v) for output, v in self._in_domain(split.outputs).items()}, split.gold)
            for name, split in splits.items()
        }

    @property
    def variables(self) -> dict[str, tf.Variable]:
        """The variables besides the weights, by name, which are stored with a run."""
        return self.index | self.decided | self.domain | self.evidence

    def decided_values(self) -> dict[str, np.ndarray]:
        """Return the values of the decision's variables by name."""
        return {name: variable.numpy() for name, variable in self.decided.items()}

    @functools.cached_property
    def sequence_specs(self) -> dict[str, tf.TensorSpec]:
        """Tensor specifications of packed sequences: `INPUTS`, and the features that the task computes from numbers."""

        def features(*tensors: tf.Tensor) -> Mapping[str, tf.Tensor]:
            return self.task.sequences(self._inputs(tensors), self.preprocessor).features

        computed = tf.function(features, autograph=False).get_concrete_function(*self.specs.values()).structured_outputs
        shapes = {name: ([None, None], tf.int32) for name in INPUTS}
        shapes |= {name: ([None, *values.shape[1:]], values.dtype) for name, values in computed.items()}
        return {name: tf.TensorSpec(shape, dtype, name) for name, (shape, dtype) in shapes.items()}

    def predict_sequences(self, packed: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Return the outputs for packed sequences and their features, as in `sequence_specs`, in the graph."""
        scores, vectors = self._split(self._scores_and_vectors(packed))
        outputs = self.task.decode_sequences(scores, packed["padding_mask"])
        return self._decide({**outputs, **vectors}) if self.task.predicts_by_sequence else outputs

    def refresh(self, splits: Mapping[str, Iterable[Record]]) -> None:
        """Build the task's index, if it has one, from the splits with the current weights."""
        if self.task.index is not None:
            for name, value in self.task.index.build(splits, self.embed).items():
                self.index[name].assign(value)

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Return the scores of one or more texts, each packed as a sequence: `(len(texts), ...)`."""
        return _in_batches(self._embed, [{"text": text} for text in texts], specs_of([Text("text")]))

    def vectors(self, items: Sequence[Item]) -> np.ndarray:
        """Return the vector of each item, that of a long text averaged over its windows: `(items, hidden_dim)`."""
        return _in_batches(self._vectors, items, self.specs)

    def signatures(self, predict: Callable[..., dict]) -> dict[str, Any]:
        """Return the serving signatures of the task besides `serving_default`, whose graph function is `predict`."""
        return self.task.signatures(Served(predict, self.preprocessor, self._scores, self.decided))

    def _scores(self, packed: Mapping[str, tf.Tensor]) -> tf.Tensor:
        return self.model(packed, training=False)

    def _vectors_of(self, *tensors: tf.Tensor) -> tf.Tensor:
        sequences = self.task.sequences(self._inputs(tensors), self.preprocessor)
        vectors = sequences.scores(lambda packed: self.model.scores_and_vectors(packed)[1])
        return vectors if sequences.records is None else mean_by_record(vectors, sequences.records, tf.size(tensors[0]))

    def _embed_texts(self, texts: tf.Tensor) -> tf.Tensor:
        return self._scores(self.preprocessor.pack([self.tokenizer(texts)]).dense())

    def _inputs(self, tensors: Sequence[tf.Tensor]) -> dict[str, tf.Tensor]:
        return dict(zip(self.specs, tensors, strict=True))

    def _decode_inputs(self, *tensors: tf.Tensor) -> dict[str, tf.Tensor]:
        inputs = self._inputs(tensors)
        sequences = self.task.sequences(inputs, self.preprocessor)
        context = Context(inputs, self.tokenizer.vocabulary, self.index)
        scores, vectors = self._split(sequences.scores(self._scores_and_vectors))
        if vectors and sequences.windows is not None:
            vectors = {VECTOR: tf.math.segment_mean(vectors[VECTOR], sequences.windows.records)}
        return self.task.decode(scores, sequences, context) | vectors

    def _predict(self, *tensors: tf.Tensor) -> dict[str, tf.Tensor]:
        return self._decide(self._decode_inputs(*tensors))

    def _scores_and_vectors(self, packed: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Return the scores of sequences, followed by their pooled vectors if the task has a domain."""
        if self.task.domain is None:
            return self._scores(packed)
        return tf.concat(self.model.scores_and_vectors(packed), axis=-1)

    def _split(self, values: tf.Tensor) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        if self.task.domain is None:
            return values, {}
        num_scores = values.shape[-1] - self.model.backbone.hidden_dim
        return values[:, :num_scores], {VECTOR: values[:, num_scores:]}

    def _decide(self, outputs: Mapping[str, tf.Tensor], decided: Mapping[str, Any] | None = None) -> dict[str, Any]:
        outputs = self._in_domain(outputs)
        return self.task.decision.apply(outputs, decided or self.decided) if self.task.decision else outputs

    def _in_domain(self, outputs: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Return the outputs with `out_of_domain` instead of vectors, if the task has a domain."""
        outputs = dict(outputs)
        if self.task.domain is not None:
            vectors, logits = outputs.pop(VECTOR), outputs.get(LOGITS)
            outputs[OUT_OF_DOMAIN] = self.task.domain.p_value(vectors, logits, self.domain)
        return outputs


def assign(variables: Mapping[str, tf.Variable], values: Mapping[str, np.ndarray]) -> None:
    """Assign values to variables, by name."""
    for name, value in values.items():
        variables[name].assign(value)


def mean_by_record(vectors: tf.Tensor, records: tf.Tensor, num_records: tf.Tensor) -> tf.Tensor:
    """Return the mean vector of each record, 0 for a record without sequences, in the graph.

    Args:
        vectors: float32 `(sequences, hidden_dim)`.
        records: int32 `(sequences,)`, the record of each sequence.
        num_records: the number of records.
    """
    return tf.math.unsorted_segment_mean(vectors, records, num_records)


def make_preprocessor(tokenizer: Tokenizer, config: Config) -> Preprocessor:
    """Return the preprocessor for the sequence length and window overlap of a config."""
    encoder = config.encoder
    return Preprocessor(tokenizer, encoder.sequence_length, encoder.window_overlap_fraction)


def predict_all(
    predict: Predict, task: FittedTask, records: Iterable[Record], total: int | None = None, title: str = ""
) -> tuple[dict[str, np.ndarray], list[Any]]:
    """Predict every record of a split.

    Args:
        predict: a predictor, its `decode`, or a loaded SavedModel.
        task: the fitted task.
        records: labelled records; read once, in pools.
        total: number of records for the progress bar; `None` if unknown.
        title: title of the progress bar; empty for no progress bar.

    Returns:
        The outputs as arrays by name, record first, and the gold value of each record.

    Raises:
        ValueError: a record is invalid, for example because its label is unknown.
    """
    batches: list[tuple[np.ndarray, dict[str, np.ndarray]]] = []
    gold: list[Any] = []
    stream = iter(records)
    with tqdm(total=total, desc=title, unit=" records", leave=False, disable=hidden() if title else True) as bar:
        while pool := list(itertools.islice(stream, _POOL_RECORDS)):
            items = [task.inputs_of(record) for record in pool]
            for indices in _batches_by_length(items):
                batches.append((indices + len(gold), predict([items[index] for index in indices])))
                bar.update(len(indices))
            gold += [task.gold(record) for record in pool]
    return _merge_batches(batches, len(gold)), gold


def _to_numpy(outputs: Mapping[str, tf.Tensor]) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in outputs.items()}


def _in_batches(
    embed: Callable[..., tf.Tensor], items: Sequence[Item], specs: Mapping[str, tf.TensorSpec]
) -> np.ndarray:
    """Return what a function computes for one or more items in batches, in order."""
    vectors = None
    for indices in _batches_by_length(items):
        batch = embed(*batch_of([items[index] for index in indices], specs).values()).numpy()
        vectors = np.zeros((len(items), *batch.shape[1:]), batch.dtype) if vectors is None else vectors
        vectors[indices] = batch
    return vectors


def _batches_by_length(items: Sequence[Item]) -> Iterator[np.ndarray]:
    """Yield batches of indices of items of similar length, longest first; batches of short items are larger."""
    num_tokens = rough_lengths(items)
    order = np.argsort(-num_tokens, kind="stable")
    start = 0
    while start < len(order):
        count = min(_MAX_RECORDS, max(1, int(EVALUATION_BATCH_TOKENS // num_tokens[order[start]])))
        yield order[start : start + count]
        start += count


def _merge_batches(batches: list[tuple[np.ndarray, dict[str, np.ndarray]]], num_items: int) -> dict[str, np.ndarray]:
    """Return the outputs of all batches, in the order of the items.

    An output that is wider in one batch than in another is padded with 0 or "".

    Args:
        batches: the indices of the items and the outputs of each batch.
        num_items: the number of items in all batches.
    """
    merged = {}
    for name, first in batches[0][1].items():
        shape = np.max([outputs[name].shape[1:] for _, outputs in batches], axis=0).astype(int)
        merged[name] = np.full((num_items, *shape), b"" if first.dtype == object else 0, first.dtype)
        for indices, outputs in batches:
            values = outputs[name]
            merged[name][(indices, *(slice(0, size) for size in values.shape[1:]))] = values
    return merged
