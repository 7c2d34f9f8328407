"""The ops that a stock server runs, which are fewer than those that TensorFlow from pip registers."""

import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.framework import op_def_registry

from tfbert.serving.ops import OLDEST_RELEASE, list_ops, stock_ops, why_unknown


def saved(tmp_path, *names):
    """Write a SavedModel whose graph has ops with these names, half of them in a function."""
    model = saved_model_pb2.SavedModel()
    graph = model.meta_graphs.add().graph_def
    function = graph.library.function.add()
    function.signature.name = "called"
    graph.node.add(name="call", op="called")
    for index, name in enumerate(names):
        (graph.node if index % 2 else function.node_def).add(name=f"n{index}", op=name)
    (tmp_path / "saved_model.pb").write_bytes(model.SerializeToString())
    return tmp_path


# All of these are registered by pip's TensorFlow.
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("PyFunc", "calls back into the Python process that made the graph"),
        ("EagerPyFunc", "calls back into the Python process that made the graph"),
        ("_FusedMatMul", "is an internal op, which TensorFlow itself adds to a graph that it runs"),
        ("_XlaCompile", "is an internal op, which TensorFlow itself adds to a graph that it runs"),
        ("XlaDot", "is compiled by XLA, which a stock server does not support on demand"),
        ("XlaLaunch", "is compiled by XLA, which a stock server does not support on demand"),
        ("NcclAllReduce", "communicates with other devices or workers"),
        ("CollectiveReduceV2", "communicates with other devices or workers"),
        ("DTensorAllReduce", "is part of DTensor"),
        ("CopyToMesh", "is part of DTensor"),
        ("TPUExecute", "needs a TPU"),
        ("ConfigureDistributedTPU", "needs a TPU"),
        ("RiscAdd", "is one of the experimental RISC ops, which have no kernel"),
        ("DecodeJxl", "is neither among the core ops"),
        ("CudnnRNNV3", "is neither among the core ops"),
        ("BoostedTreesPredict", "is neither among the core ops"),
        ("InfeedDequeue", "is neither among the core ops"),
    ],
)
def test_ops_that_no_stock_server_runs_are_named_with_the_reason(tmp_path, name, reason):
    assert op_def_registry.get(name) is not None
    ops = list_ops(saved(tmp_path, "MatMul", name, "FastBertNormalize", "Assert"))
    assert ops.unknown == (name,)
    assert ops.core == ("Assert", "MatMul") and ops.custom == {"FastBertNormalize": "2.12.1"}
    assert why_unknown(name).startswith(reason)


def test_an_unregistered_op_is_unknown(tmp_path):
    assert list_ops(saved(tmp_path, "SimpleMLInferenceOp", "MyOwn>Op")).unknown == ("MyOwn>Op", "SimpleMLInferenceOp")


def test_the_list_is_a_subset_of_tensorflows_ops():
    names = stock_ops()
    assert len(names) > 1200
    assert [name for name in names if op_def_registry.get(name) is None] == []
    assert not names & OLDEST_RELEASE.keys()
    assert not [name for name in names if name.startswith(("_", "Xla", "Nccl", "DTensor", "Risc", "Collective"))]
    assert not [name for name in names if "TPU" in name or "PyFunc" in name]
    # Every SavedModel has these.
    assert {"NoOp", "Const", "Placeholder", "StatefulPartitionedCall", "RestoreV2", "VarHandleOp", "If"} <= names


def test_ops_of_an_ordinary_graph_are_in_the_list(tmp_path):
    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
    def lengths(text):
        tf.debugging.assert_greater(tf.size(text), 0)
        return {"length": tf.map_fn(tf.strings.length, text, tf.int32)}

    module = tf.Module()
    module.lengths = lengths
    tf.saved_model.save(module, str(tmp_path / "m"), signatures=lengths)
    ops = list_ops(tmp_path / "m")
    assert ops.unknown == () and {"Assert", "While", "StringLength"} <= {
        name.removeprefix("Stateless") for name in ops.core
    }
