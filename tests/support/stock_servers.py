"""The TensorFlow of stock servers, run in separate processes: its C API, and an older version."""

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


def run_script(python, script, *arguments, cwd):
    """Run a script of this directory with a Python isolated from this environment, and return its last line of JSON."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    command = [python, Path(__file__).with_name(script), *arguments]
    result = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=cwd)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


def predict_with_c_api(python, version_dir, items, folder, signature_name="serving_default"):
    """Return the outputs of a SavedModel for some items, computed by TensorFlow's C API, and its version.

    Args:
        python: the Python whose installed TensorFlow is used.
        version_dir: the directory of a SavedModel.
        items: the items to predict.
        folder: the directory for temporary files.
        signature_name: the signature that is called.
    """
    # The C API addresses tensors of the graph, whose names are in the signature.
    saved = saved_model_pb2.SavedModel.FromString((version_dir / "saved_model.pb").read_bytes())
    signature = saved.meta_graphs[0].signature_def[signature_name]
    specs = {
        name: tf.TensorSpec(tf.TensorShape(info.tensor_shape), tf.dtypes.as_dtype(info.dtype))
        for name, info in signature.inputs.items()
    }
    tensors = batch_of(items, specs)
    inputs = {info.name: texts_of(tensors[name].numpy()).tolist() for name, info in signature.inputs.items()}
    outputs = {name: info.name for name, info in signature.outputs.items()}
    path = folder / "request.json"
    path.write_text(json.dumps({"inputs": inputs, "outputs": outputs}), encoding="utf-8")
    return run_script(python, "c_api.py", version_dir, path, cwd=folder)


def assert_outputs(outputs, expected):
    """Check that the outputs of the C API equal those of a model: texts exactly, numbers to 1e-5."""
    assert outputs.keys() == expected.keys()
    for name, values in expected.items():
        output = outputs[name]
        assert (output["dtype"], output["shape"]) == (values.dtype.name, list(values.shape))
        if values.dtype.kind == "O":
            assert output["values"] == texts_of(values).ravel().tolist()
        else:
            np.testing.assert_allclose(output["values"], values.ravel(), atol=1e-5, rtol=0)
