"""Tasks: what a problem on text files is, and the same problem fitted to its training data.

A task is one file in this folder that ends with `TASK = ...`; the name of the file is the name of the task. A `Task`
describes files and has no state. Its method `fit` returns a `FittedTask`, which holds everything that was learned from
the training records before training, such as the labels, and makes examples, losses, outputs and evaluations with it.
"""

import abc
import dataclasses
import functools
import importlib
import inspect
import logging
import pkgutil
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from tfbert.evaluation.metric import Evaluation, Metric
from tfbert.heads.base import Head
from tfbert.heads.index import Index
from tfbert.nearest import did_you_mean
from tfbert.space import COMMON, Space
from tfbert.tasks.base_context import Context, Served
from tfbert.tasks.base_decision import Decision
from tfbert.tasks.base_options import Options
from tfbert.tasks.base_outputs import Outputs
from tfbert.text.columns import Column
from tfbert.text.datasets import Target, TokenizedSplit, Warn
from tfbert.text.inputs import Input, Item
from tfbert.text.labels import require_known
from tfbert.text.preprocessor import Preprocessor, Sequences
from tfbert.text.record_sequences import RecordSequences
from tfbert.text.records import Record, Schema
from tfbert.text.rows import Row

logger = logging.getLogger(__name__)

SAMPLES_DIR = Path(__file__).parent.parent / "samples"

# Indices of sequences to the vectors that an encoder pools for them, float32 `(sequences, hidden_dim)`.
Embed = Callable[[np.ndarray], np.ndarray]


class Task(abc.ABC):
    """A named problem on text files.

    Attributes:
        title: what the task does, in a few words.
        columns: the columns of a file that make a record; formats that know a text and a label only have the first and
            the last.
        inputs: all inputs that a model of the task may have.
        options: the class of its options.
        data_options: paths of the config's data section that this task reads and others do not.
        defaults: config paths and values that differ from the general ones.
        search_space: config paths and the values worth trying for each.
        aliases: other names that users know the task by, in lower case and with underscores.
        several_labels: whether a record may have several labels.
        label_noun: what its labels are called in messages.
    """

    title: str
    columns: tuple[Column, ...]
    inputs: tuple[Input, ...]
    options: type[Options]
    data_options: tuple[str, ...] = ()
    defaults: Mapping[str, Any] = {}
    search_space: Space = COMMON
    aliases: tuple[str, ...] = ()
    several_labels = False
    label_noun = "label"

    @property
    def name(self) -> str:
        """The name of the task's file."""
        return _name_of(type(self))

    @property
    def samples_dir(self) -> Path:
        """The directory with the hand-written samples of this task."""
        return SAMPLES_DIR / self.name

    @property
    def schema(self) -> Schema:
        """What the task expects of a file."""
        return Schema(self.columns, self.parse, labels_of=self.labels_of if self.has_labels else None)

    @property
    def has_labels(self) -> bool:
        """Whether records have labels out of a set that train has to cover."""
        return type(self).labels_of is not Task.labels_of

    @abc.abstractmethod
    def parse(self, row: Row) -> Record:
        """Return the record of a row.

        Raises:
            ValueError: what is wrong with the row, without its place.
        """

    def labels_of(self, record: Record) -> Iterable[str]:
        """Return the labels of a record that are learned: the data checks count them, and a cut keeps each in train."""
        return ()

    def truth_of(self, record: Record) -> Any:
        """Return the target of a record for a reader of its prediction, ready for JSON."""
        return record.target

    @abc.abstractmethod
    def fit(self, records: Iterable[Record], options: Options) -> "FittedTask":
        """Read the training records once and return the task fitted to them.

        Raises:
            ValueError: nothing can be learned from these records, such as a single label, or not with these options.
        """


@dataclass(frozen=True, kw_only=True)
class FittedTask(abc.ABC):
    """A task that knows its training data: a frozen dataclass, stored with the run and with the SavedModel.

    Args:
        options: what the user has set.

    Attributes:
        outputs: what is served.
        metrics: what is measured, on every epoch or in the report.
        targets: what is learned of each sequence, by name.
        by_record: whether all sequences of a record belong to one example.
        by_batch: whether the loss compares the examples of a batch, so that a batch cannot be split.
        predicts_by_sequence: whether what is predicted for a sequence is what is predicted for its record.
        decision: what validation decides after training, such as thresholds; `None` for tasks without.
        index: what is searched to answer; `None` for tasks without.
    """

    options: Options
    outputs: ClassVar[Outputs]
    metrics: ClassVar[tuple[Metric, ...]]
    targets: ClassVar[Mapping[str, Target]]
    by_record: ClassVar[bool] = False
    by_batch: ClassVar[bool] = False
    predicts_by_sequence: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """The name of the task."""
        return _name_of(type(self))

    @property
    def definition(self) -> Task:
        """The task that was fitted."""
        return load_task(self.name)

    @property
    @abc.abstractmethod
    def inputs(self) -> tuple[Input, ...]:
        """The served inputs."""

    @property
    @abc.abstractmethod
    def monitor(self) -> Metric:
        """The metric that chooses the best epoch where the user has not chosen one."""

    @property
    def known_labels(self) -> Sequence[str]:
        """The labels of train, by id; empty for tasks without labels."""
        return ()

    @property
    def cuts_texts(self) -> bool:
        """Whether the texts of a record together are cut to the sequence length; other tasks report their cuts."""
        return False

    @property
    def decision(self) -> Decision | None:
        """What validation decides after training."""
        return None

    @property
    def index(self) -> Index | None:
        """What is searched to answer."""
        return None

    @abc.abstractmethod
    def inputs_of(self, record: Record, *, training: bool = False) -> Item:
        """Return the inputs of a record: those of a request for its answer, or those that it is learned from.

        Raises:
            ValueError: the record does not have the inputs of the training data.
        """

    @abc.abstractmethod
    def sequences(self, inputs: Mapping[str, tf.Tensor], preprocessor: Preprocessor) -> Sequences:
        """Return the token sequences of a batch of inputs, in the graph.

        Args:
            inputs: tensors by name, as `text.inputs.batch_of` makes them of what `inputs_of` returns.
            preprocessor: makes sequences of texts.
        """

    @abc.abstractmethod
    def targets_of(self, record: Record, sequences: RecordSequences, warn: Warn) -> Sequence[Mapping[str, Any] | None]:
        """Return the targets of each sequence of a record, by name.

        Args:
            record: a labelled record.
            sequences: its sequences.
            warn: called with a remark on the record, in the plural.

        Returns:
            One for each sequence; `None` for a sequence that is not learned from.

        Raises:
            ValueError: a target that cannot be learned, such as a label that train does not have.
        """

    @abc.abstractmethod
    def head(self, seed: int) -> Head:
        """Return a new head, not yet built.

        Args:
            seed: random seed of its weights and its dropout.
        """

    def initialize_head(self, head: Head, embed: Embed, split: TokenizedSplit, seed: int) -> None:  # noqa: B027
        """Give a new head better weights than random ones, if the task knows any.

        Args:
            head: built.
            embed: by the pretrained encoder.
            split: train.
            seed: random seed, for drawing the examples that the weights are fitted to.
        """

    def augment(self, split: TokenizedSplit, embed: Embed, seed: int) -> TokenizedSplit:
        """Return the training split as it is learned from, such as with hard negatives in every example.

        Args:
            split: train.
            embed: by the pretrained encoder.
            seed: random seed.

        Returns:
            A split with as many examples, the same whenever the same run is started again.
        """
        return split

    def example_weights(self, split: TokenizedSplit) -> np.ndarray | None:
        """Return a float32 weight for each example, with mean 1; `None` means 1 each."""
        return None

    @abc.abstractmethod
    def loss(self, scores: tf.Tensor, batch: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Return the loss of each example: float32 `(examples,)`.

        Args:
            scores: what the head returns for the sequences of the batch.
            batch: as `text.batches.batches` makes it.
        """

    @abc.abstractmethod
    def decode(self, scores: tf.Tensor, sequences: Sequences, context: Context) -> dict[str, tf.Tensor]:
        """Return the outputs of each record, in the graph, dense with the batch first.

        Where the task has a decision, these are what the decision is applied to.

        Args:
            scores: what the head returns for the sequences.
            sequences: as `sequences` made them.
            context: what else there is in the graph.
        """

    @abc.abstractmethod
    def decode_sequences(self, scores: tf.Tensor, padding_mask: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return the outputs of the `token_ids` signature for packed sequences: dense, with the sequence first."""

    @abc.abstractmethod
    def gold(self, record: Record) -> Any:
        """Return what the prediction should be, as `evaluate` takes it.

        Raises:
            ValueError: a target that the model cannot predict; the message has the record's place.
        """

    @abc.abstractmethod
    def evaluate(
        self, outputs: Mapping[str, np.ndarray], gold: Sequence, decided: Mapping[str, np.ndarray]
    ) -> Evaluation:
        """Compare outputs with the truth.

        Args:
            outputs: by name, with the record first.
            gold: of each record.
            decided: the values of the decision; empty for tasks without.
        """

    def signatures(self, served: Served) -> dict[str, Any]:
        """Return the task's own serving signatures by name, besides those that every task has."""
        return {}

    def require_known_labels(self, splits: Iterable[Iterable[Record]]) -> None:
        """Check that train has every label of other splits; one error reports all labels that it lacks.

        Raises:
            ValueError: there are records with labels that train lacks.
        """
        task = self.definition
        if task.has_labels:
            require_known(splits, task.labels_of, self.known_labels, task.label_noun)

    def to_json(self) -> dict:
        """Return everything the fitted task holds, ready for JSON."""
        fields = dataclasses.asdict(self)
        lists = {name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()}
        return {"task": self.name, "kind": type(self).__name__, **lists}

    def metric(self, name: str) -> Metric:
        """Return a metric that is measured after every epoch, by its name.

        Raises:
            ValueError: the task has no such metric; a similar one is named.
        """
        metrics = {metric.name: metric for metric in self.metrics if metric.every_epoch}
        if name not in metrics:
            raise ValueError(f"train.monitor={name}: expected one of {', '.join(metrics)}{did_you_mean(name, metrics)}")
        return metrics[name]


def fitted_from_json(stored: Mapping[str, Any]) -> FittedTask:
    """Return the fitted task that `to_json` described.

    Raises:
        ValueError: another version of tfbert has stored it.
    """
    fields = dict(stored)
    task = load_task(fields.pop("task", ""))
    kinds = {each.__name__: each for each in fitted_kinds(task.name)}
    fitted = kinds.get(fields.pop("kind", ""))
    options = typing.get_type_hints(fitted)["options"] if fitted else None
    if not fitted or fields.keys() != _names(fitted) or fields["options"].keys() != _names(options):
        raise ValueError(f"task {task.name}: stored by another version of tfbert; train or export the model again")
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
    return fitted(**values | {"options": options(**fields["options"])})


def fitted_kinds(task: str) -> list[type[FittedTask]]:
    """Return the classes that `fit` of a task may return: those in the task's file."""
    module = _module(task)
    kinds = [each for each in vars(module).values() if isinstance(each, type) and issubclass(each, FittedTask)]
    return [kind for kind in kinds if kind.__module__ == module.__name__ and not inspect.isabstract(kind)]


def _names(kind: type) -> set[str]:
    return {field.name for field in dataclasses.fields(kind)}


def list_tasks() -> list[str]:
    """Return the names of all tasks, sorted; files whose names begin with `base` hold what tasks share."""
    folder = Path(__file__).parent
    return sorted(m.name for m in pkgutil.iter_modules([str(folder)]) if not m.name.startswith("base"))


def load_task(name: str) -> Task:
    """Return the task whose file has this name, or one of whose aliases it is, such as `ner`.

    Raises:
        ValueError: there is no such task; a similar name is given.
    """
    known = list_tasks()
    return _module(name if name in known else _task_of_alias(name, tuple(known))).TASK


@functools.cache  # so that a process logs only once which task is meant
def _task_of_alias(name: str, known: tuple[str, ...]) -> str:
    plain = "_".join(name.casefold().replace("-", " ").replace("_", " ").split())
    names = {task: task for task in known} | {alias: task for task in known for alias in _module(task).TASK.aliases}
    if plain not in names:
        raise ValueError(f"task '{name}' is not one of {', '.join(known)}{did_you_mean(plain, names)}")
    logger.info("task '%s' is '%s'", name, names[plain])
    return names[plain]


def _name_of(kind: type) -> str:
    return kind.__module__.rpartition(".")[2]


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"tfbert.tasks.{name}")
