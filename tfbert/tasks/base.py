"""What every task is: records in, targets, a head, a loss, scores and decoded answers out.

A task is one file in this folder that ends with `TASK = ...`; the name of the file is the name of the task.
"""

import abc
import difflib
import importlib
import pkgutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfbert.config import Config
from tfbert.text.records import Record

SAMPLES_DIR = Path(__file__).parent.parent / "samples"


class Task(abc.ABC):
    """A named problem on text files.

    Everything a task learns from the training records before training, such as its labels, is one JSON-ready dict, its
    `facts`: they are stored with the run and handed to every other method.
    """

    title: str
    defaults: Mapping[str, Any] = {}
    search_space: Mapping[str, Any] = {}
    monitor: str

    @property
    def name(self) -> str:
        """The name of the task's file."""
        return type(self).__module__.rpartition(".")[2]

    @property
    def samples_dir(self) -> Path:
        """Where the hand-written samples of this task are."""
        return SAMPLES_DIR / self.name

    @abc.abstractmethod
    def read_facts(self, records: Iterable[Record]) -> dict:
        """Read the training records once and return what the other methods need to know of them.

        Raises:
            ValueError: nothing can be learned from these records, such as a single label.
        """

    @abc.abstractmethod
    def target_of(self, facts: dict) -> Callable[[Record], int | float]:
        """Return the function that gives what the model should learn of one record."""

    @abc.abstractmethod
    def example_weights(self, targets: np.ndarray, facts: dict, config: Config) -> np.ndarray | None:
        """Return a float32 weight by example, mean 1, or `None` for all alike."""

    @abc.abstractmethod
    def build_head(self, facts: dict, config: Config) -> keras.layers.Layer:
        """Return the layer from encoder output to logits, not yet built."""

    def start_head(  # noqa: B027  (to do nothing is right for most tasks)
        self, model: "TaskModel", embed: Callable[[np.ndarray], np.ndarray], targets: np.ndarray, config: Config
    ) -> None:
        """Give a new head better weights than random ones, if the task knows any.

        Args:
            model: with the pretrained encoder, not yet trained.
            embed: example indices to the vectors the head pools, float32 `(len(indices), hidden_dim)`.
            targets: of all training examples.
            config: of the run.
        """

    @abc.abstractmethod
    def loss(self, logits: tf.Tensor, targets: tf.Tensor, config: Config) -> tf.Tensor:
        """Return the loss of each example: float32 `(batch,)`."""

    @abc.abstractmethod
    def scores(self, logits: np.ndarray, targets: np.ndarray, facts: dict) -> dict:
        """Return `metrics` (name to `value`, `low`, `high`) and `per_label`, ready for `report.json`."""

    @abc.abstractmethod
    def quick_scores(self, logits: np.ndarray, targets: np.ndarray, facts: dict) -> dict[str, float]:
        """Return the metrics without intervals, for every epoch."""

    @abc.abstractmethod
    def details(self, logits: np.ndarray, targets: np.ndarray, facts: dict) -> dict:
        """Return what the report page draws beyond `scores`, with `worst` mistakes as example indices."""

    @abc.abstractmethod
    def decode(self, logits: tf.Tensor, facts: dict) -> dict[str, tf.Tensor]:
        """Return the served answers from logits inside the graph, each dense with the batch first."""

    @abc.abstractmethod
    def logits_of(self, answers: dict[str, np.ndarray]) -> np.ndarray:
        """Return logits that would have been decoded to these served answers: the inverse of `decode`."""

    @abc.abstractmethod
    def extra_signatures(self, answer_texts, facts: dict) -> dict[str, Any]:
        """Return the task's own serving signatures by name, besides those every task has.

        Args:
            answer_texts: graph function from string `(batch,)` to what `serving_default` answers.
            facts: of the task.
        """


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
            inputs: int32 `token_ids`, `segment_ids`, `padding_mask` `(batch, length)`.
            training: whether dropout is active.
        """
        packed = {name: inputs[name] for name in ("token_ids", "segment_ids", "padding_mask")}
        return self.head(self.backbone(packed, training=training), packed["padding_mask"], training=training)


def list_tasks() -> list[str]:
    """Return the names of all tasks, sorted."""
    folder = Path(__file__).parent
    return sorted(module.name for module in pkgutil.iter_modules([str(folder)]) if module.name != "base")


def load_task(name: str) -> Task:
    """Return the task whose file has this name.

    Raises:
        ValueError: there is no such file; the nearest name is given.
    """
    known = list_tasks()
    if name not in known:
        nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
        raise ValueError(f"task '{name}' is not one of {', '.join(known)}; nearest is '{nearest}'")
    return importlib.import_module(f"tfbert.tasks.{name}").TASK
