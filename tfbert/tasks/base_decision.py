"""Decisions and indexes: model variables that turn raw outputs into answers, fitted to data instead of learned."""

import abc
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import tensorflow as tf

from tfbert.text.records import Record


class Decision(abc.ABC):
    """What validation decides after training, such as thresholds.

    Attributes:
        specs: type and shape of its variables, by name.
    """

    specs: Mapping[str, tf.TensorSpec]

    @abc.abstractmethod
    def initial(self) -> Mapping[str, np.ndarray]:
        """Return the values of the variables before anything is decided."""

    @abc.abstractmethod
    def fit(self, outputs: Mapping[str, np.ndarray], gold: Sequence) -> Mapping[str, np.ndarray]:
        """Return the values that are best for a split.

        Args:
            outputs: as `FittedTask.decode` returns them, with the record first.
            gold: the truth for each record.
        """

    @abc.abstractmethod
    def apply(self, outputs: Mapping[str, tf.Tensor], decided: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Return the served outputs, in the graph.

        Args:
            outputs: as `FittedTask.decode` returns them.
            decided: the variables by name.
        """


class Index(abc.ABC):
    """What a model searches to answer; it is built again whenever the weights have changed.

    Attributes:
        specs: type and shape of its variables, by name; any size may be `None`.
    """

    specs: Mapping[str, tf.TensorSpec]

    @abc.abstractmethod
    def build(
        self, splits: Mapping[str, Iterable[Record]], embed: Callable[[Sequence[str]], np.ndarray]
    ) -> Mapping[str, np.ndarray]:
        """Return the values of the variables.

        Args:
            splits: all splits of the run. What is taken from validation and test must not give their targets away.
            embed: texts to what the head returns for each, with the model as it is now.
        """
