"""The calls of TensorFlow Serving's API, shared by gRPC and REST."""

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import tensorflow as tf
from tensorflow.core.example.example_pb2 import Example
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef
from tensorflow_serving.apis import get_model_metadata_pb2, inference_pb2, input_pb2, model_management_pb2, model_pb2
from tensorflow_serving.apis.classification_pb2 import ClassificationRequest, ClassificationResponse
from tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusRequest, GetModelStatusResponse
from tensorflow_serving.apis.predict_pb2 import PredictRequest, PredictResponse
from tensorflow_serving.apis.regression_pb2 import RegressionRequest, RegressionResponse

from tfbert.serving.server.batching import Batcher
from tfbert.serving.server.metrics import Metrics
from tfbert.serving.server.models import ModelManager
from tfbert.serving.server.servable import DEFAULT_SIGNATURE, Servable
from tfbert.serving.server.status import Code, ServingError
from tfbert.serving.server.tensor_protos import to_array

_EXAMPLES = "inputs"
_CLASSES, _SCORES, _VALUES = "classes", "scores", "outputs"
_CLASSIFY, _REGRESS = "tensorflow/serving/classify", "tensorflow/serving/regress"
SIGNATURES = "signature_def"


@dataclass(frozen=True)
class Calls:
    """Answers requests with the models of a server.

    Args:
        manager: knows which versions are loaded.
        metrics: count what is done.
        batcher: joins requests, if they are to be joined.
    """

    manager: ModelManager
    metrics: Metrics = field(default_factory=Metrics)
    batcher: Batcher | None = None

    @contextlib.contextmanager
    def counted(self, model: str, api: str, entrypoint: str) -> Iterator[None]:
        """Count a request that is answered inside a `with` block."""
        started, status = time.monotonic(), Code.OK
        try:
            yield
        except ServingError as error:
            status = error.code
            raise
        except Exception:
            status = Code.INTERNAL
            raise
        finally:
            self.metrics.request(model, api, entrypoint, status.name, time.monotonic() - started)

    @contextlib.contextmanager
    def servable(self, spec: model_pb2.ModelSpec) -> Iterator[Servable]:
        """Hold the version that a request asks for inside a `with` block.

        Raises:
            ServingError: there is none.
        """
        version = spec.version.value if spec.HasField("version") else None
        with self.manager.use(spec.name, version, spec.version_label or None) as found:
            yield found

    def run(
        self,
        servable: Servable,
        signature: str,
        inputs: Mapping[str, np.ndarray],
        output_names: Sequence[str] = (),
        seconds: float | None = None,
    ) -> dict[str, np.ndarray]:
        """Return what a signature answers.

        Args:
            servable: held.
            signature: its key, "" for the default.
            inputs: by name.
            output_names: that are wanted; empty means all.
            seconds: until the request is given up; `None` waits.

        Raises:
            ServingError: the inputs do not fit, or the graph says so.
        """
        started = time.monotonic()
        try:
            if self.batcher is None:
                return servable.run(signature, inputs, output_names, seconds)
            # Before they are joined with other requests, which must not fail because of them.
            servable.check(signature, inputs, output_names)
            key = (servable.name, servable.version, signature, tuple(output_names))
            execute: Callable = lambda joined: servable.run(signature, joined, output_names)  # noqa: E731
            try:
                return self.batcher.run(key, execute, inputs, seconds)
            except ServingError as error:
                # The graph rejected the batch because of one row, maybe of another request: run this request alone.
                if error.code is not Code.INVALID_ARGUMENT or error.__cause__ is None:
                    raise
                left = None if seconds is None else seconds - (time.monotonic() - started)
                return servable.run(signature, inputs, output_names, left)
        finally:
            self.metrics.run(servable.name, "Predict", time.monotonic() - started)

    def predict(self, request: PredictRequest, seconds: float | None = None) -> PredictResponse:
        """Answer `Predict`.

        Raises:
            ServingError: it cannot be answered.
        """
        _check_spec(request)
        spec = request.model_spec
        with self.servable(spec) as servable:
            dtypes = {name: proto.dtype for name, proto in request.inputs.items()}
            servable.check_types(spec.signature_name, dtypes, list(request.output_filter))
            inputs = {name: to_array(name, proto) for name, proto in request.inputs.items()}
            outputs = self.run(servable, spec.signature_name, inputs, list(request.output_filter), seconds)
            response = PredictResponse(model_spec=_resolved(spec, servable))
            for name, value in outputs.items():
                response.outputs[name].CopyFrom(tf.make_tensor_proto(value, _dtype_of(value)))
            return response

    def classify(self, request: ClassificationRequest, seconds: float | None = None) -> ClassificationResponse:
        """Answer `Classify`.

        Raises:
            ServingError: it cannot be answered, or the signature is none that classifies.
        """
        _check_spec(request)
        with self.servable(request.model_spec) as servable:
            response = ClassificationResponse(model_spec=_resolved(request.model_spec, servable))
            self._classify(servable, request.model_spec.signature_name, request.input, response.result, seconds)
            return response

    def regress(self, request: RegressionRequest, seconds: float | None = None) -> RegressionResponse:
        """Answer `Regress`.

        Raises:
            ServingError: it cannot be answered, or the signature is none that regresses.
        """
        _check_spec(request)
        with self.servable(request.model_spec) as servable:
            response = RegressionResponse(model_spec=_resolved(request.model_spec, servable))
            self._regress(servable, request.model_spec.signature_name, request.input, response.result, seconds)
            return response

    def multi_inference(
        self, request: inference_pb2.MultiInferenceRequest, seconds: float | None = None
    ) -> inference_pb2.MultiInferenceResponse:
        """Answer `MultiInference`: several signatures of one model for the same examples.

        Raises:
            ServingError: it cannot be answered, the tasks are of several models, or one is neither to classify nor to
                regress.
        """
        if not request.tasks:
            raise ServingError(Code.INVALID_ARGUMENT, "Inference request must contain at least one task.")
        names = {task.model_spec.name for task in request.tasks}
        if len(names) > 1:
            raise ServingError(
                Code.INVALID_ARGUMENT, "All ModelSpecs in a MultiInferenceRequest must access the same model name."
            )
        response = inference_pb2.MultiInferenceResponse()
        with self.servable(request.tasks[0].model_spec) as servable:
            for task in request.tasks:
                spec = task.model_spec
                result = response.results.add(model_spec=_resolved(spec, servable))
                if task.method_name == _CLASSIFY:
                    self._classify(servable, spec.signature_name, request.input, result.classification_result, seconds)
                elif task.method_name == _REGRESS:
                    self._regress(servable, spec.signature_name, request.input, result.regression_result, seconds)
                else:
                    raise ServingError(Code.UNIMPLEMENTED, f"Unsupported signature method_name: {task.method_name}")
        return response

    def metadata(self, request: get_model_metadata_pb2.GetModelMetadataRequest):
        """Answer `GetModelMetadata`.

        Raises:
            ServingError: there is no such model, or something else than signatures is asked for.
        """
        _check_spec(request)
        if not request.metadata_field:
            raise ServingError(
                Code.INVALID_ARGUMENT, "GetModelMetadataRequest must specify at least one metadata_field"
            )
        for name in request.metadata_field:
            if name != SIGNATURES:
                raise ServingError(Code.INVALID_ARGUMENT, f"Metadata field {name} is not supported")
        with self.servable(request.model_spec) as servable:
            response = get_model_metadata_pb2.GetModelMetadataResponse()
            response.model_spec.name = servable.name
            response.model_spec.version.value = servable.version
            signatures = get_model_metadata_pb2.SignatureDefMap()
            for key, signature in servable.signatures.items():
                signatures.signature_def[key].CopyFrom(signature)
            response.metadata[SIGNATURES].Pack(signatures)
            return response

    def status(self, request: GetModelStatusRequest) -> GetModelStatusResponse:
        """Answer `GetModelStatus`.

        Raises:
            ServingError: there is no such model or version.
        """
        _check_spec(request)
        spec = request.model_spec
        return self.manager.status(spec.name, spec.version.value if spec.HasField("version") else None)

    def reload(self, request: model_management_pb2.ReloadConfigRequest, seconds: float | None = None):
        """Answer `HandleReloadConfigRequest`.

        Raises:
            ServingError: the config cannot be taken.
        """
        if not request.config.HasField("model_config_list"):
            raise ServingError(Code.INVALID_ARGUMENT, "Request does not contain a model_config_list.")
        self.manager.reload(request.config, seconds)
        return model_management_pb2.ReloadConfigResponse()

    def _classify(self, servable, signature, given, result, seconds: float | None) -> None:
        definition = servable.signature(signature)
        _check_examples(definition, "classification")
        wanted = [name for name in (_CLASSES, _SCORES) if name in definition.outputs]
        if not wanted:
            raise ServingError(
                Code.INVALID_ARGUMENT, f"Expected classification signature outputs to contain {_CLASSES} or {_SCORES}"
            )
        examples = _serialized(given)
        outputs = self.run(servable, signature, {_EXAMPLES: examples}, wanted, seconds)
        for row in range(len(examples)):
            found = result.classifications.add()
            width = outputs[wanted[0]].shape[1]
            for column in range(width):
                one = found.classes.add()
                if _CLASSES in outputs:
                    one.label = outputs[_CLASSES][row, column].decode("utf-8", "replace")
                if _SCORES in outputs:
                    one.score = float(outputs[_SCORES][row, column])

    def _regress(self, servable, signature, given, result, seconds: float | None) -> None:
        definition = servable.signature(signature)
        _check_examples(definition, "regression")
        if list(definition.outputs) != [_VALUES]:
            raise ServingError(Code.INVALID_ARGUMENT, f"Expected regression signature outputs to be {_VALUES} alone")
        examples = _serialized(given)
        values = self.run(servable, signature, {_EXAMPLES: examples}, [_VALUES], seconds)[_VALUES]
        for value in np.reshape(values, [len(examples)]):
            result.regressions.add(value=float(value))


def example_of(features: Mapping[str, np.ndarray]) -> Example:
    """Return an example with features of int64, float32 or bytes."""
    example = Example()
    for name, values in features.items():
        feature = example.features.feature[name]
        if not len(values):
            continue  # of no kind, as the real server has it
        if values.dtype == object:
            feature.bytes_list.value.extend(values.tolist())
        elif values.dtype.kind == "f":
            feature.float_list.value.extend(values.tolist())
        else:
            feature.int64_list.value.extend(values.tolist())
    return example


def _check_spec(request) -> None:
    if not request.HasField("model_spec"):
        raise ServingError(Code.INVALID_ARGUMENT, "Missing ModelSpec")


def _check_examples(definition: SignatureDef, what: str) -> None:
    if list(definition.inputs) != [_EXAMPLES]:
        raise ServingError(Code.INVALID_ARGUMENT, f"Expected one {what} signature input, with the name {_EXAMPLES}")


def _serialized(given: input_pb2.Input) -> np.ndarray:
    """Return the examples of a request, serialized, each with what its context says of all."""
    examples: Iterable[Example] = given.example_list.examples
    if given.HasField("example_list_with_context"):
        context = given.example_list_with_context.context
        merged = []
        for example in given.example_list_with_context.examples:
            whole = Example()
            whole.CopyFrom(context)
            for name, feature in example.features.feature.items():
                whole.features.feature[name].CopyFrom(feature)
            merged.append(whole)
        examples = merged
    found = [example.SerializeToString() for example in examples]
    if not found:
        raise ServingError(Code.INVALID_ARGUMENT, "Input is empty.")
    return np.array(found, object)


def _dtype_of(value: np.ndarray) -> tf.DType:
    return tf.string if value.dtype == object or value.dtype.kind == "S" else tf.as_dtype(value.dtype)


def _resolved(spec: model_pb2.ModelSpec, servable: Servable) -> model_pb2.ModelSpec:
    """Return which model, version and signature answered."""
    found = model_pb2.ModelSpec(name=servable.name, signature_name=spec.signature_name or DEFAULT_SIGNATURE)
    found.version.value = servable.version
    return found
