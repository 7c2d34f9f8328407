"""TensorFlow graph functions that can also run eagerly."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf


def graph_function(function: Callable, *, run_eagerly: bool = False, **options: Any) -> Callable:
    """Return a function that TensorFlow traces, or the function itself.

    There is no autograph: branches and loops do not depend on tensors.

    Args:
        function: takes and returns structures of tensors.
        run_eagerly: whether to return the function itself, which for a few calls is faster than tracing and compiling.
        **options: arguments of `tf.function`.
    """
    return function if run_eagerly else tf.function(function, autograph=False, **options)
