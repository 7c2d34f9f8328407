"""What tasks are given in the graph: by decoding, and for their own serving signatures."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import tensorflow as tf

from tfbert.text.preprocessor import Preprocessor


@dataclass(frozen=True)
class Context:
    """What the decoding of a batch may need besides scores and sequences.

    Args:
        inputs: of the batch, by name.
        vocabulary: the piece of each token id.
        index: the variables of the task's index, by name.
    """

    inputs: Mapping[str, tf.Tensor]
    vocabulary: Sequence[str]
    index: Mapping[str, tf.Variable]


@dataclass(frozen=True)
class Served:
    """What serving signatures are made of.

    Args:
        predict: graph function from the inputs by name to the outputs.
        preprocessor: makes sequences of texts.
        model: packed sequences to scores, in the graph.
        decided: the variables of the task's decision, by name.
    """

    predict: Callable[..., dict[str, tf.Tensor]]
    preprocessor: Preprocessor
    model: Callable[[Mapping[str, tf.Tensor]], tf.Tensor]
    decided: Mapping[str, tf.Variable]
