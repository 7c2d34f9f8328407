"""Values that a task can use in the graph: for decoding (Context) and for its own serving signatures (Served)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import tensorflow as tf

from tfbert.text.preprocessor import Preprocessor


@dataclass(frozen=True)
class Context:
    """The values that decoding may need besides scores and sequences.

    Args:
        inputs: the inputs of the batch, by name.
        vocabulary: the word piece of each token id.
        index: the variables of the task's index, by name.
    """

    inputs: Mapping[str, tf.Tensor]
    vocabulary: Sequence[str]
    index: Mapping[str, tf.Variable]


@dataclass(frozen=True)
class Served:
    """The parts of a predictor from which a task builds its own serving signatures.

    Args:
        predict: graph function from the inputs, as keyword arguments, to the outputs.
        preprocessor: the preprocessor that tokenizes and packs texts.
        model: graph function from packed sequences to scores.
        decided: the variables of the task's decision, by name.
    """

    predict: Callable[..., dict[str, tf.Tensor]]
    preprocessor: Preprocessor
    model: Callable[[Mapping[str, tf.Tensor]], tf.Tensor]
    decided: Mapping[str, tf.Variable]
