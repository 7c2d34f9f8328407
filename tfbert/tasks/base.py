"""Task and FittedTask: the base classes of problems on text files, and of the same problems fitted to training data.

A task is a file in this folder that ends with `TASK = ...`; the name of the file is the name of the task. A `Task`
describes files and has no state. Its `fit` method returns a `FittedTask`, which holds what is known from the training
records before training starts, such as the labels, and computes targets, losses, outputs and evaluations from it.
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

from tfbert.calibration.out_of_domain import Domain
from tfbert.evaluation.metric import Baseline, Evaluation, Metric
from tfbert.heads.base import Head
from tfbert.heads.index import Index
from tfbert.nearest import did_you_mean
from tfbert.space import COMMON, Space
from tfbert.tasks.base_context import Context, Served
from tfbert.tasks.base_decision import Decision
from tfbert.tasks.base_explained import Explained
from tfbert.tasks.base_options import Options
from tfbert.tasks.base_outputs import Outputs
from tfbert.text.corrections import Correction
from tfbert.text.datasets import Target, TokenizedSplit, Warn
from tfbert.text.inputs import Input, Item
from tfbert.text.preprocessor import Preprocessor, Sequences
from tfbert.text.readers.columns import Column
from tfbert.text.readers.rows import Row
from tfbert.text.record_sequences import RecordSequences
from tfbert.text.records import Record, Schema

logger = logging.getLogger(__name__)

SAMPLES_DIR = Path(__file__).parent.parent / "samples"

# A function from indices of sequences to their pooled encoder outputs, float32 `(sequences, hidden_dim)`.
Embed = Callable[[np.ndarray], np.ndarray]


class Task(abc.ABC):
    """A named problem on text files.

    Attributes:
        title: what a model of the task predicts, in a few words.
        columns: the columns of a file that make up a record. Formats with only a text and a label fill the first and
            the last column.
        inputs: all inputs that a model of the task may have.
        options: the class of the task's options.
        data_options: config paths in the data section that are options of only some tasks, this one included.
        defaults: config path to value, where the task's default differs from the general one.
        search_space: the default search space for hyperparameters.
        aliases: other common names of the task, in lower case and with underscores.
        several_labels: whether a record may have several labels.
        label_noun: the word for a label in messages.
        calibrates: whether models of the task are calibrated, for which a part of validation is set aside.
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
    calibrates = True

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
        """The columns of a file and the functions that read its rows."""
        labels_of = self.labels_of if self.has_labels else None
        return Schema(self.columns, self.parse, labels_of=labels_of, corrected=self.corrected)

    @property
    def has_labels(self) -> bool:
        """Whether records have labels, all of which must occur in train."""
        return type(self).labels_of is not Task.labels_of

    @abc.abstractmethod
    def parse(self, row: Row) -> Record:
        """Return the record of a row.

        Raises:
            ValueError: the row is invalid; the message does not name the file and the line.
        """

    def labels_of(self, record: Record) -> Iterable[str]:
        """Return the labels that are learned from a record, which data checks count and data splits keep in train."""
        return ()

    def corrected(self, record: Record, corrections: Sequence[Correction]) -> Record:
        """Return a record with the labels of its corrections; only for tasks with the option `data.corrections`."""
        raise NotImplementedError

    def truth_of(self, record: Record) -> Any:
        """Return the target of a record as a JSON-serializable value for predictions files."""
        return record.target

    @abc.abstractmethod
    def fit(self, records: Iterable[Record], options: Options) -> "FittedTask":
        """Return the task fitted to the training records, which are read once.

        Raises:
            ValueError: nothing can be learned from the records, for example because all have the same label; or the
                options do not fit them.
        """


@dataclass(frozen=True, kw_only=True)
class FittedTask(abc.ABC):
    """A task with what is known from its training data: a frozen dataclass, stored with the run and the SavedModel.

    Subclasses set the attributes in the class body, or define them as properties if they depend on the training data.

    Args:
        options: the options that the user has set.

    Attributes:
        inputs: the inputs of the model.
        training_inputs: the inputs for training, if others than those of the model.
        all_outputs: the served outputs, including those that some options add.
        metrics: the metrics that are computed after every epoch or for the report.
        monitor: the metric that selects the best epoch by default.
        targets: the targets of each sequence, by name.
        known_labels: the labels of train, by id; empty for tasks without labels.
        decision: the decision that is fitted after training, such as thresholds; `None` for no decision.
        domain: the distribution of the training texts, which tells unusual texts apart; `None` for none.
        index: the index that the model searches; `None` for no index.
        explained: what explanations of words explain; `None` for a task without explanations.
        by_record: whether all sequences of a record belong to one example.
        by_batch: whether the loss compares the examples of a batch, so that a batch cannot be split.
        predicts_by_sequence: whether the prediction for a single sequence is a prediction for its record.
        predicts_untrained: whether a model predicts before training: its head has no weights, or fitted ones.
        cuts_texts: whether inputs, as a whole, are cut to the sequence length; other tasks warn of cuts themselves.
    """

    options: Options
    inputs: ClassVar[tuple[Input, ...]]
    training_inputs: ClassVar[tuple[Input, ...]] = ()
    all_outputs: ClassVar[Outputs]
    metrics: ClassVar[tuple[Metric, ...]]
    monitor: ClassVar[Metric]
    targets: ClassVar[Mapping[str, Target]]
    known_labels: ClassVar[Sequence[str]] = ()
    decision: ClassVar[Decision | None] = None
    domain: ClassVar[Domain | None] = None
    index: ClassVar[Index | None] = None
    explained: ClassVar[Explained | None] = None
    by_record: ClassVar[bool] = False
    by_batch: ClassVar[bool] = False
    predicts_by_sequence: ClassVar[bool] = False
    predicts_untrained: ClassVar[bool] = False
    cuts_texts: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """The name of the task."""
        return _name_of(type(self))

    @property
    def definition(self) -> Task:
        """The task that was fitted."""
        return load_task(self.name)

    @property
    def outputs(self) -> Outputs:
        """The served outputs with these options."""
        return tuple(o for o in self.all_outputs if not o.only_with or self.options.is_enabled(o.only_with))

    @abc.abstractmethod
    def inputs_of(self, record: Record, *, training: bool = False) -> Item:
        """Return the inputs for a record.

        Args:
            record: any record of the task.
            training: whether to return the inputs for training, instead of those of a prediction request.

        Raises:
            ValueError: the record does not have the same inputs as the training data.
        """

    @abc.abstractmethod
    def sequences(self, inputs: Mapping[str, tf.Tensor], preprocessor: Preprocessor) -> Sequences:
        """Return the token sequences of a batch of inputs, in the graph.

        Args:
            inputs: tensors by name, which `text.inputs.batch_of` makes from the results of `inputs_of`.
            preprocessor: the preprocessor that tokenizes and packs texts.
        """

    @abc.abstractmethod
    def targets_of(self, record: Record, sequences: RecordSequences, warn: Warn) -> Sequence[Mapping[str, Any] | None]:
        """Return the targets of each sequence of a record, by name.

        Args:
            record: a labelled record.
            sequences: the sequences of the record.
            warn: called with a warning about the record, with a plural subject, such as "texts have no word piece".

        Returns:
            The targets for each sequence; `None` for a sequence that is left out of training.

        Raises:
            ValueError: a target cannot be learned, for example because train does not have the label.
        """

    @abc.abstractmethod
    def head(self, seed: int) -> Head:
        """Return a new head, not yet built.

        Args:
            seed: random seed for its weights and its dropout.
        """

    def initialize_head(self, head: Head, embed: Embed, split: TokenizedSplit, seed: int) -> None:  # noqa: B027
        """Give a new head better initial weights than random ones; does nothing by default.

        Args:
            head: the head, already built.
            embed: computes vectors with the pretrained encoder.
            split: the training split.
            seed: random seed for drawing the examples that the weights are fitted to.
        """

    def augment(self, split: TokenizedSplit, embed: Embed, seed: int) -> TokenizedSplit:
        """Return the training split with augmented examples, for example with hard negatives; unchanged by default.

        Args:
            split: the training split.
            embed: computes vectors with the pretrained encoder.
            seed: random seed.

        Returns:
            A split with the same number of examples. It must depend only on the arguments, so that runs can resume.
        """
        return split

    def example_weights(self, split: TokenizedSplit) -> np.ndarray | None:
        """Return the weight of each example, float32 with mean 1; `None` for equal weights."""
        return None

    @abc.abstractmethod
    def loss(self, scores: tf.Tensor, batch: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Return the loss of each example: float32 `(examples,)`.

        Args:
            scores: the scores that the head returns for the sequences of the batch.
            batch: a batch from `text.batches.batches`.
        """

    @abc.abstractmethod
    def decode(self, scores: tf.Tensor, sequences: Sequences, context: Context) -> dict[str, tf.Tensor]:
        """Return the outputs of each record before the decision, in the graph: dense tensors with the record first.

        Args:
            scores: the scores that the head returns for the sequences.
            sequences: the result of `sequences`.
            context: the other values that are available in the graph.
        """

    @abc.abstractmethod
    def decode_sequences(self, scores: tf.Tensor, padding_mask: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return the outputs of the `token_ids` signature for packed sequences: dense, with the sequence first."""

    @abc.abstractmethod
    def gold(self, record: Record) -> Any:
        """Return the gold value of a record, in the form that `evaluate` takes.

        Raises:
            ValueError: the model cannot predict the target; the message names the place of the record.
        """

    @abc.abstractmethod
    def evaluate(
        self, outputs: Mapping[str, np.ndarray], gold: Sequence, decided: Mapping[str, np.ndarray]
    ) -> Evaluation:
        """Return an evaluation that compares outputs with gold values.

        Args:
            outputs: arrays by name, record first.
            gold: the gold value of each record.
            decided: the values of the decision's variables by name; empty for tasks without a decision.
        """

    def constant_baseline(self, train: TokenizedSplit, gold: Sequence) -> Baseline | None:
        """Return the scores of predicting the same for every record; `None` if that makes no sense, the default.

        Args:
            train: the training split.
            gold: the gold value of each record of another split.
        """
        return None

    def signatures(self, served: Served) -> dict[str, Any]:
        """Return the serving signatures that only this task has, by name."""
        return {}

    def to_json(self) -> dict:
        """Return a JSON-serializable description of the fitted task, which `fitted_from_json` reads."""
        fields = dataclasses.asdict(self)
        lists = {name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()}
        return {"task": self.name, "kind": type(self).__name__, **lists}


def fitted_from_json(stored: Mapping[str, Any]) -> FittedTask:
    """Return the fitted task that `to_json` described.

    Raises:
        ValueError: the description was stored by another version of tfbert.
    """
    fields = dict(stored)
    task = load_task(fields.pop("task", ""))
    kinds = {kind.__name__: kind for kind in fitted_kinds(task.name)}
    fitted = kinds.get(fields.pop("kind", ""))
    options = typing.get_type_hints(fitted)["options"] if fitted else None
    if not fitted or fields.keys() != _names(fitted) or fields["options"].keys() != _names(options):
        raise ValueError(f"task {task.name}: stored by another version of tfbert; train or export the model again")
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
    return fitted(**values | {"options": options(**fields["options"])})


def fitted_kinds(task: str) -> list[type[FittedTask]]:
    """Return the classes that `fit` of a task may return: the concrete fitted tasks in the task's file."""
    module = _module(task)
    kinds = [value for value in vars(module).values() if isinstance(value, type) and issubclass(value, FittedTask)]
    return [kind for kind in kinds if kind.__module__ == module.__name__ and not inspect.isabstract(kind)]


def _names(kind: type) -> set[str]:
    return {field.name for field in dataclasses.fields(kind)}


def list_tasks() -> list[str]:
    """Return the names of all tasks, sorted. Files whose names start with `base` are shared code, not tasks."""
    names = [module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)])]
    return sorted(name for name in names if not name.startswith("base"))


def load_task(name: str) -> Task:
    """Return the task with a name, which is the name of its file or an alias such as `ner`.

    Raises:
        ValueError: there is no such task; the message suggests a similar name.
    """
    known = list_tasks()
    return _module(name if name in known else task_of_alias(name, tuple(known))).TASK


@functools.cache  # so that a process logs an alias only once
def task_of_alias(name: str, known: tuple[str, ...]) -> str:
    """Return the name of the task with an alias, and log it.

    Raises:
        ValueError: no task has this alias; the message suggests a similar one.
    """
    plain = "_".join(name.casefold().replace("-", " ").replace("_", " ").split())
    names = {task: task for task in known} | {alias: task for task in known for alias in _module(task).TASK.aliases}
    if plain not in names:
        raise ValueError(f"task '{name}' is not one of {', '.join(known)}{did_you_mean(plain, names)}")
    logger.info("'%s' is another name for the task '%s'", name, names[plain])
    return names[plain]


def _name_of(kind: type) -> str:
    return kind.__module__.rpartition(".")[2]


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"tfbert.tasks.{name}")
