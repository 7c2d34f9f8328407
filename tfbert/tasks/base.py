"""What every task is: records in, examples, a head, a loss, decoded answers and their scores out.

A task is one file in this folder that ends with `TASK = ...`; the name of the file is the name of the task.
"""

import abc
import functools
import importlib
import logging
import pkgutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfbert.config import Config
from tfbert.nearest import did_you_mean
from tfbert.space import COMMON, Space
from tfbert.text.columns import Column
from tfbert.text.datasets import Example, TokenizedSplit, Tokens
from tfbert.text.items import Item
from tfbert.text.labels import require_known
from tfbert.text.packing import INPUTS, Packer
from tfbert.text.records import Record, Schema
from tfbert.text.rows import Row
from tfbert.text.tokenizer import Tokenizer

logger = logging.getLogger(__name__)

SAMPLES_DIR = Path(__file__).parent.parent / "samples"


@dataclass(frozen=True)
class Encoding:
    """What a task's `answer` works with inside the graph.

    Args:
        tokenizer: text to ids.
        packer: ids to rows.
        logits: packed rows (`token_ids`, `segment_ids`, `padding_mask`) to what the head gives for them.
        config: of the run.
        arrays: the task's own, as its `arrays` method gave them.
    """

    tokenizer: Tokenizer
    packer: Packer
    logits: Callable[[Mapping[str, tf.Tensor]], tf.Tensor]
    config: Config
    arrays: Mapping[str, tf.Variable] = field(default_factory=dict)


class Task(abc.ABC):
    """A named problem on text files.

    Everything a task learns from the training records before training, such as its labels, is one JSON-ready dict, its
    `facts`: they are stored with the run and handed to every other method.

    Attributes:
        title: what it does, in a few words.
        columns: of a file that make a record; in formats that know a text and a label only, the first and the last.
        defaults: config paths and values that differ from the general ones.
        search_space: config paths and what is worth trying for each.
        monitor: metric that chooses the best epoch, higher is better.
        with_offsets: whether examples are made with the places of the tokens in the text.
        by_record: whether the loss needs all rows of a record together.
        by_batch: whether it needs all records of a batch together.
        by_token: whether there is a target for every token.
        aliases: other names that users know the task by, in lower case and with underscores.
        several_labels: whether a record may have several labels.
        label_noun: what its labels are called in messages.
    """

    title: str
    columns: tuple[Column, ...]
    defaults: Mapping[str, Any] = {}
    search_space: Space = COMMON
    monitor: str
    with_offsets = False
    by_record = False
    by_batch = False
    by_token = False
    aliases: tuple[str, ...] = ()
    several_labels = False
    label_noun = "label"

    @property
    def name(self) -> str:
        """The name of the task's file."""
        return type(self).__module__.rpartition(".")[2]

    def monitor_of(self, facts: dict) -> str:
        """Return the metric that chooses the best epoch, higher is better, where it depends on the data."""
        return self.monitor

    @property
    def samples_dir(self) -> Path:
        """Where the hand-written samples of this task are."""
        return SAMPLES_DIR / self.name

    @property
    def schema(self) -> Schema:
        """What the task wants of a file."""
        return Schema(self.columns, self.parse, labels_of=self.counted_labels_of)

    @property
    def counted_labels_of(self) -> Callable[[Record], Iterable[str]] | None:
        """The method `labels_of`, or `None` where the task does not override it and so has no labels."""
        return None if type(self).labels_of is Task.labels_of else self.labels_of

    @abc.abstractmethod
    def parse(self, row: Row) -> Record:
        """Return the record of a row.

        Raises:
            ValueError: what is wrong with the row, without its place.
        """

    def labels_of(self, record: Record) -> Iterable[str]:
        """Return the labels of a record that are learned: the data checks count them, and a cut keeps each in train."""
        return ()

    def known_labels(self, facts: dict) -> Sequence[str]:
        """Return the labels of train; a task that overrides `labels_of` overrides this as well."""
        return ()

    def require_known_labels(self, splits: Iterable[Iterable[Record]], facts: dict) -> None:
        """Check that train has every label of other splits; one error reports all labels that it lacks.

        Raises:
            ValueError: there are records with labels that train lacks.
        """
        if self.counted_labels_of is not None:
            require_known(splits, self.labels_of, self.known_labels(facts), self.label_noun)

    @abc.abstractmethod
    def read_facts(self, records: Iterable[Record]) -> dict:
        """Read the training records once and return what the other methods need to know of them.

        Raises:
            ValueError: nothing can be learned from these records, such as a single label.
        """

    @abc.abstractmethod
    def input_ranks(self, facts: dict) -> dict[str, int]:
        """Return the served inputs by name: 1 for a text of each item, 2 for several, such as choices."""

    @abc.abstractmethod
    def inputs_of(self, record: Record, facts: dict) -> Item:
        """Return what a request for a record's answer holds, by the names of the served inputs."""

    @abc.abstractmethod
    def examples(
        self, record: Record, tokens: Sequence[Tokens], packer: Packer, facts: dict, config: Config, remark: Callable
    ) -> list[Example]:
        """Return the rows that are learned from a record, one or more.

        Args:
            record: labelled.
            tokens: of each of its texts.
            packer: makes rows of them.
            facts: of the task.
            config: of the run.
            remark: called with what is to be said of the record, and where, if not at its beginning.

        Raises:
            ValueError: the target is none that can be learned, such as a label train does not have.
        """

    def cut_length(self, facts: dict, config: Config) -> int | None:
        """Return the tokens beyond which a record is cut, or `None` if all of it is read."""
        return config.encoder.sequence_length

    @abc.abstractmethod
    def build_head(self, facts: dict, config: Config) -> keras.layers.Layer:
        """Return the layer from encoder output to logits, not yet built."""

    def start_head(  # noqa: B027  (to do nothing is right for most tasks)
        self, model: "TaskModel", embed: Callable[[np.ndarray], np.ndarray], targets: np.ndarray, config: Config
    ) -> None:
        """Give a new head better weights than random ones, if the task knows any.

        Args:
            model: with the pretrained encoder, not yet trained.
            embed: row indices to the vectors the head pools, float32 `(len(indices), hidden_dim)`.
            targets: of all training rows.
            config: of the run.
        """

    def arrange(
        self, split: TokenizedSplit, embed: Callable[[np.ndarray], np.ndarray], facts: dict, config: Config
    ) -> TokenizedSplit:
        """Return the training split as it is learned from, such as with hard negatives in every unit.

        Args:
            split: of train, as `examples` made it.
            embed: as in `start_head`, by the untrained encoder.
            facts: of the task.
            config: of the run.

        Returns:
            A split with as many units. It has to be the same whenever the same run is started again.
        """
        return split

    def unit_weights(self, targets: np.ndarray, facts: dict, config: Config) -> np.ndarray | None:
        """Return a float32 weight by unit of training, mean 1, or `None` for all alike."""
        return None

    @abc.abstractmethod
    def loss(self, logits: tf.Tensor, batch: Mapping[str, tf.Tensor], config: Config) -> tf.Tensor:
        """Return the loss of each unit.

        Args:
            logits: of the head, for every row.
            batch: as `text.datasets.batches` makes it.
            config: of the run.

        Returns:
            float32 `(units,)`.
        """

    def array_specs(self, facts: dict) -> dict[str, tf.TensorSpec]:
        """Return type and shape of what `answer` needs besides model and facts, by name; any size may be `None`."""
        return {}

    def arrays(
        self,
        splits: Mapping[str, Iterable[Record]],
        embed: Callable[[Sequence[str]], np.ndarray],
        facts: dict,
        config: Config,
    ) -> dict[str, np.ndarray]:
        """Return the values of `array_specs`, made before every evaluation and kept with the model.

        Args:
            splits: all of the run; what is taken from validation and test must not give their targets away.
            embed: texts to what the head gives for a row of each, with the model as it is now.
            facts: of the task.
            config: of the run.
        """
        return {}

    @abc.abstractmethod
    def answer(self, inputs: Mapping[str, tf.Tensor], encoding: Encoding, facts: dict) -> dict[str, tf.Tensor]:
        """Return the served answers to raw texts inside the graph, each dense with the batch first.

        Args:
            inputs: by name, string `(batch,)`, or `(batch, number)` for an input of several texts, padded with "".
            encoding: tokenizer, packer and model.
            facts: of the task.
        """

    @abc.abstractmethod
    def answer_rows(self, logits: tf.Tensor, padding_mask: tf.Tensor, facts: dict) -> dict[str, tf.Tensor]:
        """Return what the `token_ids` signature answers to packed rows: dense, with the row first."""

    @abc.abstractmethod
    def gold_of(self, record: Record, facts: dict) -> Any:
        """Return what the answer should be, as `scores` wants it.

        Raises:
            ValueError: the target is none that the model can give; the message has the record's place.
        """

    @abc.abstractmethod
    def quick_scores(self, answers: Mapping[str, np.ndarray], gold: Sequence, facts: dict) -> dict[str, float]:
        """Return the metrics without intervals, for every epoch."""

    @abc.abstractmethod
    def scores(self, answers: Mapping[str, np.ndarray], gold: Sequence, facts: dict) -> dict:
        """Return `metrics` (name to `value`, `low`, `high`) and `per_label`, ready for `report.json`."""

    @abc.abstractmethod
    def details(self, answers: Mapping[str, np.ndarray], gold: Sequence, facts: dict) -> dict:
        """Return what the report page draws beyond `scores`, with `worst`: record index to a mistake's fields."""

    def settle(self, answers: Mapping[str, np.ndarray], gold: Sequence, facts: dict) -> dict:
        """Return facts with what is decided after training by the validation split, such as thresholds."""
        return facts

    def extra_signatures(self, answer: Callable[..., dict], facts: dict) -> dict[str, Any]:
        """Return the task's own serving signatures by name, besides those every task has.

        Args:
            answer: graph function from the inputs by name to what `serving_default` answers.
            facts: of the task.
        """
        return {}

    def model_signatures(self, encoding: Encoding, facts: dict) -> dict[str, Any]:
        """Return further serving signatures by name, those that need the model itself, such as a text's vector."""
        return {}


class TaskModel(keras.Model):
    """An encoder with a head.

    Args:
        backbone: KerasNLP's BERT.
        head: from its output to logits.
    """

    def __init__(self, backbone: keras.Model, head: keras.layers.Layer):
        super().__init__(name="task_model")
        self.backbone = backbone
        self.head = head
        head.build(backbone.hidden_dim)
        # Without influence on the logits there is no gradient, and an optimizer slot would be wasted on it.
        backbone.pooled_dense.trainable = head.uses_pooler
        self.built = True

    def call(self, inputs: Mapping[str, tf.Tensor], training: bool = False):
        """Return logits.

        Args:
            inputs: int32 `token_ids`, `segment_ids`, `padding_mask` `(rows, length)`.
            training: whether dropout is active.
        """
        packed = {name: inputs[name] for name in INPUTS}
        return self.head(self.backbone(packed, training=training), packed["padding_mask"], training=training)


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


@functools.cache  # so that a process says only once which task is meant
def _task_of_alias(name: str, known: tuple[str, ...]) -> str:
    plain = "_".join(name.casefold().replace("-", " ").replace("_", " ").split())
    names = {task: task for task in known} | {alias: task for task in known for alias in _module(task).TASK.aliases}
    if plain not in names:
        raise ValueError(f"task '{name}' is not one of {', '.join(known)}{did_you_mean(plain, names)}")
    logger.info("task '%s' is '%s'", name, names[plain])
    return names[plain]


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"tfbert.tasks.{name}")
