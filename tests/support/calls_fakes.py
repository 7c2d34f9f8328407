"""A fake model manager with one model computed in Python, for tests of request handling."""

import contextlib

import numpy as np
import tensorflow as tf
from tensorflow.core.example.example_pb2 import Example
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef
from tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusResponse, ModelVersionStatus

from tfbert.serving.server.status import Code, ServingError


def _signature(inputs, outputs):
    """Return a signature from the dtypes of its inputs and outputs by name."""
    signature = SignatureDef()
    for side, names in ((signature.inputs, inputs), (signature.outputs, outputs)):
        for name, dtype in names.items():
            side[name].dtype = dtype.as_datatype_enum
    return signature


class FakeServable:
    """Version 3 of the model `m`.

    `serving_default` doubles floats and fails like a graph for negative ones. `classify` and `regress` read the
    features `x` (a float) and `name` (bytes) of examples. The inputs of every run are recorded in `ran`.
    """

    name, version = "m", 3
    signatures = {
        "serving_default": _signature({"x": tf.float32}, {"y": tf.float32}),
        "classify": _signature({"inputs": tf.string}, {"classes": tf.string, "scores": tf.float32}),
        "regress": _signature({"inputs": tf.string}, {"outputs": tf.float32}),
    }

    def __init__(self):
        self.ran = []

    def signature(self, key):
        key = key or "serving_default"
        if key not in self.signatures:
            raise ServingError(Code.FAILED_PRECONDITION, f'Serving signature key "{key}" not found.')
        return self.signatures[key]

    def check(self, key, inputs, output_names=()):
        if inputs.keys() != self.signature(key).inputs.keys():
            raise ServingError(Code.INVALID_ARGUMENT, "wrong inputs")

    def check_types(self, key, dtypes, output_names=()):
        self.check(key, dtypes)

    def run(self, key, inputs, output_names=(), seconds=None):
        self.check(key, inputs)
        self.ran.append(inputs)
        if not key or key == "serving_default":
            if (inputs["x"] < 0).any():
                raise ServingError(Code.INVALID_ARGUMENT, "a negative number") from ValueError("in the graph")
            return {"y": 2 * inputs["x"]}
        examples = [Example.FromString(text).features.feature for text in inputs["inputs"]]
        values = np.array([features["x"].float_list.value[0] for features in examples], np.float32)
        if key == "regress":
            return {"outputs": values[:, None]}
        names = np.array([[features["name"].bytes_list.value[0], b"other"] for features in examples], object)
        return {"classes": names, "scores": np.stack([values, 1 - values], axis=1)}


class FakeManager:
    """A manager with one servable, which records the configs that it is told to load."""

    def __init__(self):
        self.servable, self.reloaded = FakeServable(), []

    @contextlib.contextmanager
    def use(self, name, version=None, label=None):
        if name != "m" or version not in (None, 3) or label not in (None, "stable"):
            raise ServingError(Code.NOT_FOUND, f"Servable not found for request: {name} {version} {label}")
        yield self.servable

    def status(self, name, version=None):
        with self.use(name, version):
            state = ModelVersionStatus(version=3, state=ModelVersionStatus.AVAILABLE)
            return GetModelStatusResponse(model_version_status=[state])

    def reload(self, config, seconds=None):
        self.reloaded.append((config, seconds))
