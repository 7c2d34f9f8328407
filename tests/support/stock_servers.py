"""What stock servers are made of, asked in processes of their own: TensorFlow's C API, and an older TensorFlow."""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from tfbert.text.inputs import batch_of

OLDER_PYTHON = os.environ.get("TFBERT_SERVING_PYTHON")
needs_older = pytest.mark.skipif(not OLDER_PYTHON, reason="TFBERT_SERVING_PYTHON names no Python of TensorFlow 2.20.0")
texts_of = np.vectorize(bytes.decode, otypes=[object])


def said_by(python, script, *arguments, cwd):
    """Return the last line of a script beside this file, run by a Python that finds nothing of this environment."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    command = [python, Path(__file__).with_name(script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def asked_by_loader(python, version_dir, items, folder):
    """Return what TensorFlow's C API gives for some items: `outputs` by name, and which TensorFlow it was.

    Args:
        python: whose TensorFlow it is.
        version_dir: of a SavedModel.
        items: to ask.
        folder: to work in.
    """
    # The C API hands out the graph, whose tensors the signature names.
    saved = saved_model_pb2.SavedModel.FromString((version_dir / "saved_model.pb").read_bytes())
    signature = saved.meta_graphs[0].signature_def["serving_default"]
    specs = {
        name: tf.TensorSpec(tf.TensorShape(info.tensor_shape), tf.dtypes.as_dtype(info.dtype))
        for name, info in signature.inputs.items()
    }
    tensors = batch_of(items, specs)
    inputs = {info.name: texts_of(tensors[name].numpy()).tolist() for name, info in signature.inputs.items()}
    outputs = {name: info.name for name, info in signature.outputs.items()}
    path = folder / "asked.json"
    path.write_text(json.dumps({"inputs": inputs, "outputs": outputs}), encoding="utf-8")
    return said_by(python, "c_api.py", version_dir, path, cwd=folder)


def assert_answers(outputs, expected):
    """Compare what the C API gave with what a model answers: texts exactly, numbers to 1e-5."""
    assert outputs.keys() == expected.keys()
    for name, values in expected.items():
        answer = outputs[name]
        assert (answer["dtype"], answer["shape"]) == (values.dtype.name, list(values.shape))
        if values.dtype.kind == "O":
            assert answer["values"] == texts_of(values).ravel().tolist()
        else:
            np.testing.assert_allclose(answer["values"], values.ravel(), atol=1e-5, rtol=0)
