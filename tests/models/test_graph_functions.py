"""Graph functions and the same functions run eagerly."""

import pytest
import tensorflow as tf

from tfbert.models.graph_functions import graph_function


@pytest.mark.parametrize(("run_eagerly", "in_graph"), [(False, [True]), (True, [False, False])])
def test_a_graph_function_is_traced_once_unless_it_runs_eagerly(run_eagerly, in_graph):
    calls = []

    def double(value):
        calls.append(not tf.executing_eagerly())
        return 2 * value

    signature = [tf.TensorSpec([None], tf.float32)]
    doubled = graph_function(double, run_eagerly=run_eagerly, input_signature=signature)
    for numbers in ([1.5], [2.0, 3.5]):
        assert doubled(tf.constant(numbers)).numpy().tolist() == [2 * number for number in numbers]
    assert calls == in_graph
