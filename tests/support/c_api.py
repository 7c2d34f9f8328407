"""Run a SavedModel through TensorFlow's C API: the loader of TensorFlow Serving, without TensorFlow's Python.

`c_api.py VERSION_DIR REQUEST.json` needs only the standard library. In the request, `inputs` maps names of tensors to
strings, and `outputs` maps names of outputs to names of tensors. The last line of the output is a JSON object with the
dtype, shape and flat values of each output.
"""

import ctypes
import importlib.util
import json
import sys
from itertools import chain
from pathlib import Path

P, INT, INT64, SIZE, TEXT = ctypes.c_void_p, ctypes.c_int, ctypes.c_int64, ctypes.c_size_t, ctypes.c_char_p


class Output(ctypes.Structure):
    """`TF_Output`: an operation and the index of one of its outputs."""

    _fields_ = [("operation", P), ("index", INT)]


# Return type and argument types of each function. Source: `tensorflow/c/c_api.h`, `tf_tensor.h`, `tf_tstring.h`.
FUNCTIONS = {
    "TF_Version": [TEXT],
    "TF_NewStatus": [P],
    "TF_GetCode": [INT, P],
    "TF_Message": [TEXT, P],
    "TF_LoadLibrary": [P, TEXT, P],
    "TF_NewSessionOptions": [P],
    "TF_NewGraph": [P],
    "TF_LoadSessionFromSavedModel": [P, P, P, TEXT, ctypes.POINTER(TEXT), INT, P, P, P],
    "TF_GraphOperationByName": [P, P, TEXT],
    "TF_AllocateTensor": [P, INT, ctypes.POINTER(INT64), INT, SIZE],
    "TF_TensorData": [P, P],
    "TF_TensorType": [INT, P],
    "TF_NumDims": [INT, P],
    "TF_Dim": [INT64, P, INT],
    "TF_TensorElementCount": [INT64, P],
    "TF_StringInit": [None, P],
    "TF_StringCopy": [None, P, TEXT, SIZE],
    "TF_StringGetDataPointer": [P, P],
    "TF_StringGetSize": [SIZE, P],
    "TF_SessionRun": [
        None, P, P, ctypes.POINTER(Output), ctypes.POINTER(P), INT, ctypes.POINTER(Output), ctypes.POINTER(P), INT, P,
        INT, P, P,
    ],
}  # fmt: skip
STRING, STRING_BYTES = 7, 24
# `TF_DataType` to the C type and the name of the dtype.
NUMBERS = {
    1: (ctypes.c_float, "float32"),
    3: (ctypes.c_int32, "int32"),
    9: (ctypes.c_int64, "int64"),
    10: (ctypes.c_bool, "bool"),
}


def folder_of(package):
    """Return the directory of a package without importing it."""
    return Path(importlib.util.find_spec(package).origin).parent


class Library:
    """The functions of TensorFlow's C API, which are in two shared libraries."""

    def __init__(self, folder):
        # The op libraries need symbols of both.
        names = ("libtensorflow_framework.so.2", "libtensorflow_cc.so.2")
        loaded = [ctypes.CDLL(str(folder / name), ctypes.RTLD_GLOBAL) for name in names]
        for name, (result, *arguments) in FUNCTIONS.items():
            function = next(getattr(library, name) for library in loaded if hasattr(library, name))
            function.restype, function.argtypes = result, arguments
            setattr(self, name, function)

    def checked(self, function, *arguments):
        """Call a function whose last argument is a status, and return its result if the status is OK."""
        status = self.TF_NewStatus()
        result = function(*arguments, status)
        if self.TF_GetCode(status):
            raise RuntimeError(f"{function.__name__}: {self.TF_Message(status).decode()}")
        return result


class Model:
    """A SavedModel loaded into a session."""

    def __init__(self, tf, version_dir):
        self.tf, self.graph = tf, tf.TF_NewGraph()
        directory, tags = str(version_dir).encode(), (TEXT * 1)(b"serve")
        load, options = tf.TF_LoadSessionFromSavedModel, tf.TF_NewSessionOptions()
        self.session = tf.checked(load, options, None, directory, tags, 1, self.graph, None)

    def __call__(self, inputs, names):
        """Return the tensors with these names."""
        feeds, tensors = list(inputs), [self._tensor(values) for values in inputs.values()]
        results = (P * len(names))()
        fed = self._outputs(feeds), (P * len(feeds))(*tensors), len(feeds)
        self.tf.checked(
            self.tf.TF_SessionRun, self.session, None, *fed, self._outputs(names), results, len(names), None, 0, None
        )
        return list(results)

    def _outputs(self, names):
        """Return an array of `TF_Output` for names such as `PartitionedCall:1`."""
        outputs = []
        for operation, _, index in (name.partition(":") for name in names):
            pointer = self.tf.TF_GraphOperationByName(self.graph, operation.encode())
            if pointer is None:
                raise RuntimeError(f"the graph has no operation {operation}")
            outputs.append(Output(pointer, int(index)))
        return (Output * len(outputs))(*outputs)

    def _tensor(self, values):
        """Return a string tensor from a list of texts, or from lists of texts of equal length."""
        is_flat = isinstance(values[0], str)
        shape = [len(values)] if is_flat else [len(values), len(values[0])]
        texts = [text.encode() for text in (values if is_flat else chain.from_iterable(values))]
        dimensions = (INT64 * len(shape))(*shape)
        tensor = self.tf.TF_AllocateTensor(STRING, dimensions, len(shape), STRING_BYTES * len(texts))
        start = self.tf.TF_TensorData(tensor)
        for index, text in enumerate(texts):
            self.tf.TF_StringInit(start + STRING_BYTES * index)
            self.tf.TF_StringCopy(start + STRING_BYTES * index, text, len(text))
        return tensor


def contents(tf, tensor):
    """Return the dtype, shape and values of a tensor as JSON values."""
    kind, count, start = tf.TF_TensorType(tensor), tf.TF_TensorElementCount(tensor), tf.TF_TensorData(tensor)
    shape = [tf.TF_Dim(tensor, axis) for axis in range(tf.TF_NumDims(tensor))]
    if kind != STRING:
        number, name = NUMBERS[kind]
        return {"dtype": name, "shape": shape, "values": list((number * count).from_address(start))}
    addresses = [start + STRING_BYTES * index for index in range(count)]
    spans = [(tf.TF_StringGetDataPointer(address), tf.TF_StringGetSize(address)) for address in addresses]
    return {"dtype": "object", "shape": shape, "values": [ctypes.string_at(*span).decode() for span in spans]}


def main():
    version_dir, request = sys.argv[1], json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))
    tf = Library(folder_of("tensorflow"))
    for library in sorted(folder_of("tensorflow_text").glob("python/ops/*.so")):
        tf.checked(tf.TF_LoadLibrary, str(library).encode())
    tensors = Model(tf, version_dir)(request["inputs"], request["outputs"].values())
    outputs = {name: contents(tf, tensor) for name, tensor in zip(request["outputs"], tensors, strict=True)}
    has_python = any(name.partition(".")[0].startswith("tensorflow") for name in sys.modules)
    print(json.dumps({"tensorflow": tf.TF_Version().decode(), "has_python": has_python, "outputs": outputs}))


if __name__ == "__main__":
    main()
