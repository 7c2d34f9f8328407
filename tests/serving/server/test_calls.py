"""API calls with a fake model: checks, merging, metrics and retries."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from support.calls_fakes import FakeManager
from tensorflow.core.example.example_pb2 import Example
from tensorflow_serving.apis.classification_pb2 import ClassificationRequest
from tensorflow_serving.apis.get_model_metadata_pb2 import GetModelMetadataRequest, SignatureDefMap
from tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusRequest
from tensorflow_serving.apis.inference_pb2 import MultiInferenceRequest
from tensorflow_serving.apis.model_management_pb2 import ReloadConfigRequest
from tensorflow_serving.apis.predict_pb2 import PredictRequest
from tensorflow_serving.apis.regression_pb2 import RegressionRequest

from tfbert.serving.server.batching import Batcher
from tfbert.serving.server.batching_parameters import BatchingParameters
from tfbert.serving.server.calls import Calls, example_of
from tfbert.serving.server.status import Code, ServingError


@pytest.fixture
def calls():
    return Calls(FakeManager())


def predict_request(values, **spec):
    request = PredictRequest(model_spec={"name": "m", **spec})
    request.inputs["x"].CopyFrom(tf.make_tensor_proto(values, tf.float32))
    return request


def example(x=None, name=None):
    given = {"x": [x] if x is not None else [], "name": [name] if name is not None else []}
    return example_of({key: np.array(values, np.float32 if key == "x" else object) for key, values in given.items()})


def refused(function, *args):
    with pytest.raises(ServingError) as caught:
        function(*args)
    return caught.value.code, caught.value.message


def test_predict_says_which_version_and_signature_answered(calls):
    response = calls.predict(predict_request([1.5, 2]))
    spec = response.model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == ("m", 3, "serving_default")
    assert tf.make_ndarray(response.outputs["y"]).tolist() == [3, 4]
    assert response.outputs["y"].dtype == tf.float32.as_datatype_enum


@pytest.mark.parametrize("spec", [{"version": {"value": 3}}, {"version_label": "stable"}])
def test_a_version_is_asked_for_by_number_or_label(calls, spec):
    assert tf.make_ndarray(calls.predict(predict_request([4], **spec)).outputs["y"]).tolist() == [8]


def test_a_version_that_is_not_there_is_refused(calls):
    assert refused(calls.predict, predict_request([4], version={"value": 5}))[0] is Code.NOT_FOUND


@pytest.mark.parametrize(
    ("method", "request_class"),
    [
        ("predict", PredictRequest),
        ("classify", ClassificationRequest),
        ("regress", RegressionRequest),
        ("metadata", GetModelMetadataRequest),
        ("status", GetModelStatusRequest),
    ],
)
def test_a_request_without_a_model_is_refused(calls, method, request_class):
    assert refused(getattr(calls, method), request_class()) == (Code.INVALID_ARGUMENT, "Missing ModelSpec")


def test_examples_are_classified(calls):
    request = ClassificationRequest(model_spec={"name": "m", "signature_name": "classify"})
    request.input.example_list.examples.extend([example(0.25, b"a"), example(0.75, "é".encode() + b"\xff")])
    response = calls.classify(request)
    assert response.model_spec.signature_name == "classify"
    found = [[(one.label, one.score) for one in each.classes] for each in response.result.classifications]
    assert found == [[("a", 0.25), ("other", 0.75)], [("é\ufffd", 0.75), ("other", 0.25)]]


def test_a_context_holds_for_all_examples_that_do_not_say_otherwise(calls):
    request = RegressionRequest(model_spec={"name": "m", "signature_name": "regress"})
    given = request.input.example_list_with_context
    given.context.CopyFrom(example(0.5, b"context"))
    given.examples.extend([example(0.125), example(name=b"own")])
    # An empty feature of an example counts as given, so the second one must not have any.
    del given.examples[1].features.feature["x"]
    assert [each.value for each in calls.regress(request).result.regressions] == [0.125, 0.5]
    seen = [Example.FromString(text).features.feature for text in calls.manager.servable.ran[0]["inputs"]]
    assert [list(each["name"].bytes_list.value) for each in seen] == [[], [b"own"]]


@pytest.mark.parametrize(
    ("method", "request_class", "signature", "message"),
    [
        ("classify", ClassificationRequest, "", "Expected one classification signature input, with the name inputs"),
        (
            "classify",
            ClassificationRequest,
            "regress",
            "Expected classification signature outputs to contain",
        ),
        ("regress", RegressionRequest, "", "Expected one regression signature input, with the name inputs"),
        ("regress", RegressionRequest, "classify", "Expected regression signature outputs to be outputs alone"),
        ("classify", ClassificationRequest, "classify", "Input is empty."),
        ("regress", RegressionRequest, "regress", "Input is empty."),
    ],
)
def test_signatures_of_another_kind_and_no_examples_are_refused(calls, method, request_class, signature, message):
    request = request_class(model_spec={"name": "m", "signature_name": signature})
    code, said = refused(getattr(calls, method), request)
    assert code is Code.INVALID_ARGUMENT and said.startswith(message)


def inference(*tasks):
    request = MultiInferenceRequest()
    request.input.example_list.examples.append(example(0.25, b"a"))
    for name, signature, method in tasks:
        spec = {"name": name, "signature_name": signature}
        request.tasks.add(model_spec=spec, method_name=f"tensorflow/serving/{method}")
    return request


def test_several_signatures_answer_for_the_same_examples(calls):
    response = calls.multi_inference(inference(("m", "classify", "classify"), ("m", "regress", "regress")))
    classified, regressed = response.results
    assert [one.label for one in classified.classification_result.classifications[0].classes] == ["a", "other"]
    assert regressed.regression_result.regressions[0].value == 0.25
    assert [each.model_spec.signature_name for each in response.results] == ["classify", "regress"]


@pytest.mark.parametrize(
    ("tasks", "code", "message"),
    [
        ([], Code.INVALID_ARGUMENT, "must contain at least one task"),
        ([("m", "classify", "classify"), ("n", "classify", "classify")], Code.INVALID_ARGUMENT, "the same model name"),
        ([("m", "", "predict")], Code.UNIMPLEMENTED, "Unsupported signature method_name: tensorflow/serving/predict"),
    ],
)
def test_inferences_that_cannot_be_answered_are_refused(calls, tasks, code, message):
    found, said = refused(calls.multi_inference, inference(*tasks))
    assert found is code and message in said


def test_metadata_are_the_signatures(calls):
    response = calls.metadata(GetModelMetadataRequest(model_spec={"name": "m"}, metadata_field=["signature_def"]))
    signatures = SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signatures)
    assert (response.model_spec.name, response.model_spec.version.value) == ("m", 3)
    assert dict(signatures.signature_def) == calls.manager.servable.signatures


@pytest.mark.parametrize(
    ("fields", "message"),
    [([], "must specify at least one metadata_field"), (["graph"], "Metadata field graph is not supported")],
)
def test_other_metadata_are_refused(calls, fields, message):
    request = GetModelMetadataRequest(model_spec={"name": "m"}, metadata_field=fields)
    code, said = refused(calls.metadata, request)
    assert code is Code.INVALID_ARGUMENT and message in said


def test_a_config_is_handed_to_the_manager(calls):
    request = ReloadConfigRequest()
    assert refused(calls.reload, request)[0] is Code.INVALID_ARGUMENT
    request.config.model_config_list.config.add(name="m", base_path="/m")
    calls.reload(request, 7.0)
    assert calls.manager.reloaded == [(request.config, 7.0)]


def test_requests_are_counted_by_how_they_end(calls):
    with calls.counted("m", "predict", "REST"):
        pass
    with pytest.raises(ServingError), calls.counted("m", "predict", "REST"):
        raise ServingError(Code.NOT_FOUND, "none")
    with pytest.raises(ZeroDivisionError), calls.counted("m", "predict", "REST"):
        1 / 0  # noqa: B018
    text = calls.metrics.text()
    for status in ("OK", "NOT_FOUND", "INTERNAL"):
        assert f':tensorflow:serving:request_count{{model_name="m",status="{status}"}} 1' in text


def test_a_request_that_fails_in_a_batch_is_asked_again_without_the_others(calls):
    batcher = Batcher(BatchingParameters(max_batch_size=8, num_batch_threads=1))
    batched = dataclasses.replace(calls, batcher=batcher)
    try:
        assert refused(batched.predict, predict_request([-1]))[0] is Code.INVALID_ARGUMENT
        # Once in a batch of its own, once alone.
        assert [run["x"].tolist() for run in calls.manager.servable.ran] == [[-1], [-1]]
        # What does not fit the signature never reaches a batch that others are in.
        request = predict_request([1])
        request.inputs["z"].CopyFrom(request.inputs["x"])
        assert refused(batched.predict, request) == (Code.INVALID_ARGUMENT, "wrong inputs")
        assert tf.make_ndarray(batched.predict(predict_request([3])).outputs["y"]).tolist() == [6]
        assert len(calls.manager.servable.ran) == 3
    finally:
        batcher.close()


def test_features_become_an_example():
    features = {
        "a": np.array([3, 4]),
        "b": np.array([0.5], np.float32),
        "c": np.array([b"x", b""], object),
        "d": np.array([], object),
    }
    found = example_of(features).features.feature
    assert found["a"].int64_list.value == [3, 4]
    assert found["b"].float_list.value == [0.5]
    assert found["c"].bytes_list.value == [b"x", b""]
    assert found["d"].WhichOneof("kind") is None
