"""A loaded version of a SavedModel, whose graph TensorFlow's session runs.

Nothing of the model is Python here. What an export needs of Python, or of an op that TensorFlow Serving lacks, fails.
"""

import gc
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef
from tensorflow.python.client import pywrap_tf_session
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

from tfbert.serving.ops import load_text_ops
from tfbert.serving.server.failures import as_serving_errors
from tfbert.serving.server.status import Code, ServingError
from tfbert.serving.server.tensor_protos import to_array, type_name
from tfbert.serving.warmup import WARMUP_FILE

logger = logging.getLogger(__name__)

DEFAULT_SIGNATURE = "serving_default"
_TAG = "serve"
_MOST_RECORDS = 1000


class Servable:
    """A loaded version. Thread-safe.

    Args:
        name: of the model.
        version: its number.
        directory: with `saved_model.pb`.
        session_config: threads, and what else a session can be told; `None` leaves that to TensorFlow.

    Raises:
        ServingError: the directory contains no SavedModel that can be loaded.

    Source: TensorFlow Serving 2.20.0, `servables/tensorflow/predict_util.cc`, for what is checked and said. Ours checks
        types before the session does, names the inputs whenever they differ and not only when their number does, and
        leaves the names of graph nodes out of messages. As there, shapes are not compared with the signature.
    """

    def __init__(
        self, name: str, version: int, directory: Path, session_config: tf.compat.v1.ConfigProto | None = None
    ):
        self.name, self.version, self.directory = name, version, directory
        load_text_ops()
        graph = tf.Graph()
        self._session = tf.compat.v1.Session(graph=graph, config=session_config)
        try:
            with as_serving_errors():
                loaded = tf.compat.v1.saved_model.loader.load(self._session, [_TAG], str(directory))
        except BaseException:
            self.close()
            raise
        # A graph that could still grow could not be shared by threads.
        graph.finalize()
        # Copies: a part of the message would keep the whole graph in memory.
        self.signatures: Mapping[str, SignatureDef] = {
            key: SignatureDef.FromString(signature.SerializeToString())
            for key, signature in loaded.signature_def.items()
        }

    def signature(self, key: str) -> SignatureDef:
        """Return a signature.

        Args:
            key: "" for the default one.

        Raises:
            ServingError: there is none of that key.
        """
        key = key or DEFAULT_SIGNATURE
        if key not in self.signatures:
            raise ServingError(Code.FAILED_PRECONDITION, f'Serving signature key "{key}" not found.')
        return self.signatures[key]

    def check(self, signature_key: str, inputs: Mapping[str, np.ndarray], output_names: Sequence[str] = ()) -> None:
        """Reject inputs that `run` would reject, without running anything.

        Args:
            signature_key: "" for the default one.
            inputs: by name.
            output_names: that are wanted; empty means all.

        Raises:
            ServingError: there is no such signature, or names or types do not fit it.
        """
        dtypes = {name: tf.as_dtype(value.dtype).as_datatype_enum for name, value in inputs.items()}
        self.check_types(signature_key, dtypes, output_names)

    def check_types(self, signature_key: str, dtypes: Mapping[str, int], output_names: Sequence[str] = ()) -> None:
        """Check inputs like `check` before they are converted to arrays.

        Args:
            signature_key: "" for the default one.
            dtypes: number of the DataType of each input by name.
            output_names: that are wanted; empty means all.

        Raises:
            ServingError: there is no such signature, or names or types do not fit it.
        """
        signature = self.signature(signature_key)
        _check_input_names(signature, set(dtypes))
        # The session numbers what it is fed by the names of the tensors.
        by_tensor = sorted(dtypes, key=lambda name: signature.inputs[name].name)
        for index, name in enumerate(by_tensor):
            wanted, given = signature.inputs[name].dtype, dtypes[name]
            if wanted != given:
                message = f"Expects arg[{index}] to be {type_name(wanted)} but {type_name(given)} is provided"
                raise ServingError(Code.INVALID_ARGUMENT, message)
        seen = set()
        for name in output_names:
            if name not in signature.outputs:
                message = f"output tensor alias not found in signature: {name} Outputs expected to be in the set "
                raise ServingError(Code.INVALID_ARGUMENT, f"{message}{_names(set(signature.outputs))}.")
            if name in seen:
                raise ServingError(Code.INVALID_ARGUMENT, f"duplicate output tensor alias: {name}")
            seen.add(name)

    def run(
        self,
        signature_key: str,
        inputs: Mapping[str, np.ndarray],
        output_names: Sequence[str] = (),
        timeout_seconds: float | None = None,
    ) -> dict[str, np.ndarray]:
        """Return the outputs of a signature.

        Args:
            signature_key: "" for the default one.
            inputs: by name, of the signature's types; texts as bytes or str.
            output_names: that are wanted, and computed; empty means all.
            timeout_seconds: after which the run is given up; `None` waits.

        Returns:
            Arrays by output name; texts as object arrays of bytes.

        Raises:
            ServingError: the inputs do not fit, time is up, or an op fails, with the code and the message of the op.
        """
        signature = self.signature(signature_key)
        self.check(signature_key, inputs, output_names)
        options = None
        if timeout_seconds is not None:
            if timeout_seconds <= 0:
                raise ServingError(Code.DEADLINE_EXCEEDED, "Timed out waiting for notification")
            # To the session, 0 would mean to wait for ever.
            options = tf.compat.v1.RunOptions(timeout_in_ms=max(1, int(1000 * timeout_seconds)))
        fed = {
            info.name: np.asarray(inputs[name], tf.as_dtype(info.dtype).as_numpy_dtype)
            for name, info in signature.inputs.items()
        }
        tensors = {name: signature.outputs[name].name for name in output_names or signature.outputs}
        # A session cannot fetch what it is fed, where an output is an input that is handed back.
        found = {name: fed[tensor] for name, tensor in tensors.items() if tensor in fed}
        fetches = {name: tensor for name, tensor in tensors.items() if tensor not in fed}
        with as_serving_errors({info.name.partition(":")[0]: name for name, info in signature.inputs.items()}):
            found |= zip(fetches, self._run(list(fetches.values()), fed, options), strict=True)
        # A scalar comes as a number or as bytes.
        return {
            name: np.asarray(value, tf.as_dtype(signature.outputs[name].dtype).as_numpy_dtype)
            for name, value in found.items()
        }

    def warm_up(self, num_iterations: int = 1, other: Callable[["Servable", PredictionLog], None] | None = None) -> int:
        """Replay the model's warm-up requests, so that the first client does not have to wait.

        Args:
            num_iterations: how often each is answered.
            other: answers a record that is not of `Predict`, or raises; without it there may be no such record.

        Returns:
            The number of records; 0 where there is no file.

        Raises:
            ServingError: a record cannot be read or answered, or there are more than 1000.

        Source: TensorFlow Serving 2.20.0, `servables/tensorflow/saved_model_warmup_util.cc`. Ours does not repeat a
            record in the message that says it cannot be read.
        """
        path = self.directory / WARMUP_FILE
        if not path.exists():
            return 0
        count = 0
        for count, record in enumerate(_records(path), 1):
            if count > _MOST_RECORDS:
                message = f"Number of warmup records exceeds the maximum ({_MOST_RECORDS}) at {path}"
                raise ServingError(Code.INVALID_ARGUMENT, message)
            try:
                log = PredictionLog.FromString(record)
            except DecodeError:
                message = f"Failed to parse warmup record {count} from {path}"
                raise ServingError(Code.INVALID_ARGUMENT, message) from None
            for _ in range(num_iterations):
                self._replay(log, other)
        logger.info("model %s version %d: answered %d warm-up records", self.name, self.version, count)
        return count

    def close(self) -> None:
        """Release the resources of the version, which must not be used any more."""
        self._session.close()
        # The session's devices have the weights; they go with the session itself, which Python's own objects hold in
        # circles until it happens to look for such.
        self._session = None
        gc.collect()

    def _run(self, fetches: Sequence[str], fed: Mapping[str, np.ndarray], options) -> list:
        """Do what `Session.run` does once it has compared what is fed with the static shapes in the graph.

        TensorFlow Serving's session does not compare them: its own tests feed `(3,)` for `(None, 1)`. Nor can nodes
        without a static shape be put in between, as signatures may feed tensors that also have a value of their own.

        Args:
            fetches: names of tensors, none of them fed.
            fed: by the name of the tensor.
            options: a `RunOptions`, or `None`.

        Returns:
            What was fetched, in order.
        """
        tensor_of = self._session.graph.get_tensor_by_name
        feeds = {tensor_of(name).ref(): value for name, value in fed.items()}
        buffer = None if options is None else pywrap_tf_session.TF_NewBufferFromString(options.SerializeToString())
        try:
            return self._session._do_run(None, [], [tensor_of(name) for name in fetches], feeds, buffer, None)
        finally:
            if buffer is not None:
                pywrap_tf_session.TF_DeleteBuffer(buffer)

    def _replay(self, log: PredictionLog, other: Callable[["Servable", PredictionLog], None] | None) -> None:
        kind = log.WhichOneof("log_type")
        if kind == "predict_log":
            request = log.predict_log.request
            inputs = {name: to_array(name, proto) for name, proto in request.inputs.items()}
            self.run(request.model_spec.signature_name, inputs, list(request.output_filter))
        elif kind is not None and other is not None:
            other(self, log)
        elif kind is not None:
            number = PredictionLog.DESCRIPTOR.fields_by_name[kind].number
            raise ServingError(Code.UNIMPLEMENTED, f"Unsupported log_type for warmup: {number}")


def load(
    name: str,
    version: int,
    directory: Path,
    session_config: tf.compat.v1.ConfigProto | None = None,
    num_warmup_iterations: int = 1,
    other: Callable[[Servable, PredictionLog], None] | None = None,
) -> Servable:
    """Return a version that is loaded and warmed up.

    Args:
        name: of the model.
        version: its number.
        directory: with `saved_model.pb`.
        session_config: as of `Servable`.
        num_warmup_iterations: how often each warm-up record is answered; 0 for no warm-up.
        other: as of `Servable.warm_up`.

    Raises:
        ServingError: it cannot be loaded, or a warm-up record fails.
    """
    servable = Servable(name, version, directory, session_config)
    try:
        if num_warmup_iterations:
            servable.warm_up(num_warmup_iterations, other)
    except BaseException:
        servable.close()
        raise
    return servable


def _check_input_names(signature: SignatureDef, given: set[str]) -> None:
    wanted = set(signature.inputs)
    if given != wanted:
        message = f"input size does not match signature: {len(given)}!={len(wanted)} len({_names(given)}) != len("
        message += f"{_names(wanted)}). Sent extra: {_names(given - wanted)}. "
        message += f"Missing but required: {_names(wanted - given)}."
        raise ServingError(Code.INVALID_ARGUMENT, message)


def _names(names: set[str]) -> str:
    return "{" + ",".join(sorted(names)) + "}"


def _records(path: Path) -> Iterator[bytes]:
    with as_serving_errors():
        try:
            for record in tf.data.TFRecordDataset(str(path)):
                yield record.numpy()
        except tf.errors.DataLossError as error:
            message = f"{error.message}. Please verify your warmup data is in TFRecord format."
            raise ServingError(Code.DATA_LOSS, message) from None
