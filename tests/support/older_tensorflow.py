"""Load a SavedModel with another version of TensorFlow, as a server built from it does, and compare its outputs.

The Python of another environment runs `older_tensorflow.py VERSION_DIR EXPECTED.json`. The last line of the output is a
JSON object with the largest differences.
"""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf


def load_text_ops():
    """Register the ops of tensorflow-text without its Python package, which would import Keras."""
    folder = Path(importlib.util.find_spec("tensorflow_text").origin).parent
    for library in sorted(folder.glob("python/ops/*.so")):
        tf.load_op_library(str(library))


def difference(outputs, expected):
    """Return the largest difference between numbers; texts must be equal."""
    largest = 0.0
    for name, values in expected.items():
        actual = outputs[name]
        if actual.dtype == object:
            assert [value.decode() for value in actual.ravel()] == list(np.array(values, object).ravel()), name
        else:
            largest = max(largest, float(np.abs(actual.astype(float) - np.array(values, float)).max()))
    return largest


def run_in_session(version_dir, inputs):
    """Return the outputs of a session on the graph, which is how a server runs it, without TensorFlow 2."""
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        loaded = tf.compat.v1.saved_model.load(session, ["serve"], version_dir)
        signature = loaded.signature_def["serving_default"]
        outputs = {name: info.name for name, info in signature.outputs.items()}
        return session.run(outputs, {signature.inputs[name].name: values for name, values in inputs.items()})


def warmup_batches(version_dir, inputs):
    """Return the recorded batches, or the inputs if tensorflow-serving-api cannot be imported."""
    try:
        from tensorflow_serving.apis import prediction_log_pb2
    except ImportError:
        return "inputs", [inputs]
    path = str(Path(version_dir) / "assets.extra" / "tf_serving_warmup_requests")
    logs = [prediction_log_pb2.PredictionLog.FromString(r.numpy()) for r in tf.data.TFRecordDataset(path)]
    requests = [log.predict_log.request.inputs for log in logs]
    return "records", [{name: tf.make_ndarray(value) for name, value in request.items()} for request in requests]


def padded(values):
    """Return texts, or lists of texts of different lengths, as an array."""
    if isinstance(values[0], str):
        return np.array([text.encode() for text in values], object)
    width = max(map(len, values))
    return np.array([[text.encode() for text in [*texts, *[""] * (width - len(texts))]] for texts in values], object)


def call(served, inputs):
    return served(**{name: tf.constant(values) for name, values in inputs.items()})


def main():
    version_dir, task = sys.argv[1], json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))
    load_text_ops()
    inputs = {name: padded([item[name] for item in task["items"]]) for name in task["items"][0]}
    session_outputs = run_in_session(version_dir, inputs)
    model = tf.saved_model.load(version_dir)
    served = model.signatures["serving_default"]
    function_outputs = {name: value.numpy() for name, value in call(served, inputs).items()}
    kind, batches = warmup_batches(version_dir, inputs)
    for batch in batches:
        call(served, batch)
    outputs = {"session": session_outputs, "function": function_outputs}
    largest = {name: difference(actual, task["expected"]) for name, actual in outputs.items()}
    print(json.dumps(largest | {"tensorflow": tf.__version__, "warmup": kind, "num_batches": len(batches)}))


if __name__ == "__main__":
    main()
