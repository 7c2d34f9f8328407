"""Conformance: the documented behavior of TensorFlow Serving's API, tested on a server over REST and gRPC.

Without more it is ours. `TFBERT_SERVING_ADDR=host:grpc_port,host:rest_port` names another one, such as the real server;
it has to serve the model that `tools/train.py` makes of the samples of an online bank under the name `conformance`, and
to be started with `--enable_grpc_healthcheck_service=true`.
"""

import gzip
import http.client
import json
import os

import grpc
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from grpc_health.v1 import health_pb2, health_pb2_grpc
from support import small
from tensorflow.core.example.example_pb2 import Example
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from benchmarks.processes import free_ports

NAME = "conformance"
OUTPUTS = {"label", "label_id", "probability", "probabilities", "truncated"}


@pytest.fixture(scope="module")
def addresses():
    """Return the addresses of gRPC and of REST, of a server that runs as long as this module's tests."""
    if os.environ.get("TFBERT_SERVING_ADDR"):
        yield os.environ["TFBERT_SERVING_ADDR"].split(",")
        return
    from tfbert.serving.server.flags import Options
    from tfbert.serving.server.server import Server

    ports = free_ports(2)
    _, model_dir = small.finished_run()
    server = Server(
        Options(
            port=ports[0],
            rest_api_port=ports[1],
            model_name=NAME,
            model_base_path=str(model_dir.resolve()),
            enable_grpc_healthcheck_service=True,
        )
    )
    yield [f"127.0.0.1:{port}" for port in ports]
    server.close()


@pytest.fixture(scope="module")
def channel(addresses):
    with grpc.insecure_channel(addresses[0]) as found:
        yield found


@pytest.fixture(scope="module")
def prediction(channel):
    return prediction_service_pb2_grpc.PredictionServiceStub(channel)


@pytest.fixture
def rest(addresses):
    """Return a function that asks over REST: method, path, body and headers to status and what was answered."""

    def ask(method, path, body=None, headers=()):
        connection = http.client.HTTPConnection(addresses[1], timeout=60)
        try:
            text = body if isinstance(body, bytes | None) else json.dumps(body).encode()
            connection.request(method, path, text, dict(headers))
            response = connection.getresponse()
            said = response.read()
            kind = response.headers["Content-Type"]
            return response.status, json.loads(said) if kind == "application/json" and said else said
        finally:
            connection.close()

    return ask


@pytest.fixture
def predict(rest):
    return lambda body, **more: rest("POST", f"/v1/models/{NAME}:predict", body, **more)


TEXTS = ["my card pin", "the loan rate for a house", "😀 fee 价格"]


def test_rows_and_columns_have_the_same_answers(predict):
    status, bare = predict({"instances": TEXTS})
    assert status == 200 and [set(row) for row in bare["predictions"]] == [OUTPUTS] * 3
    status, named = predict({"signature_name": "serving_default", "instances": [{"text": text} for text in TEXTS]})
    assert (status, named) == (200, bare)
    status, columns = predict({"inputs": TEXTS})
    assert status == 200 and set(columns["outputs"]) == OUTPUTS
    status, named_columns = predict({"inputs": {"text": TEXTS}})
    assert (status, named_columns) == (200, columns)
    for name, values in columns["outputs"].items():
        assert [row[name] for row in bare["predictions"]] == values
    assert all(abs(sum(row["probabilities"]) - 1) < 1e-5 for row in bare["predictions"])
    assert len({tuple(row["probabilities"]) for row in bare["predictions"]}) == 3


def test_a_signature_of_one_input_and_one_output_is_bare(predict):
    assert predict({"signature_name": "labels", "instances": [2, 0]}) == (200, {"predictions": ["loan", "card"]})
    assert predict({"signature_name": "labels", "inputs": [1]}) == (200, {"outputs": ["fee"]})


def test_bytes_are_base64(predict):
    status, encoded = predict({"instances": [{"b64": "bXkgY2FyZCBwaW4="}]})
    assert (status, encoded) == predict({"instances": ["my card pin"]})


def test_several_inputs_are_objects(predict):
    row = {"token_ids": [2, 5, 3], "segment_ids": [0, 0, 0], "padding_mask": [1, 1, 1]}
    status, said = predict({"signature_name": "token_ids", "instances": [row, row]})
    assert status == 200 and said["predictions"][0] == said["predictions"][1]
    columns = {name: [values] for name, values in row.items()}
    status, found = predict({"signature_name": "token_ids", "inputs": columns})
    assert status == 200 and found["outputs"]["label"] == [said["predictions"][0]["label"]]


def test_gzipped_bodies(predict):
    body = json.dumps({"instances": TEXTS}).encode()
    plain = predict(body)
    assert predict(gzip.compress(body), headers={"Content-Encoding": "gzip"}) == plain


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "JSON Parse error: The document is empty"),
        (b"{", "JSON Parse error: "),
        (b"[1]", "Is not object"),
        ({}, "Missing 'inputs' or 'instances' key"),
        ({"instances": ["a"], "inputs": ["a"]}, "expecting only one of 'inputs' or 'instances' keys to exist"),
        ({"instances": "a"}, "Expecting 'instances' to be an list/array"),
        ({"instances": []}, "No values in 'instances' array"),
        ({"signature_name": 3, "instances": ["a"]}, "'signature_name' key must be a string value."),
        ({"signature_name": "X", "instances": ["a"]}, 'Serving signature name: "X" not found in signature def'),
        ({"instances": [{"text": "a"}, "b"]}, "Expecting object but got"),
        ({"instances": ["a", {"text": "b"}]}, "Expecting value/list but got object at item 1 of input list"),
        ({"signature_name": "labels", "instances": ["a"]}, "is not of expected type"),
        (
            {"signature_name": "token_ids", "instances": [[1]]},
            "instances is a plain list, but expecting list of objects",
        ),
        ({"signature_name": "token_ids", "inputs": [[1]]}, "inputs is a plain value/list, but expecting an object"),
        ({"signature_name": "token_ids", "inputs": {"token_ids": [[1]]}}, "Missing named input: "),
        ({"instances": [{"b64": "%%"}]}, "base64"),
    ],
)
def test_bad_bodies(predict, body, message):
    status, said = predict(body)
    assert status == 400 and message in said["error"], said


@pytest.mark.parametrize(
    ("method", "path", "status", "message"),
    [
        ("GET", "/v1/models", 400, "Missing model name in request."),
        ("GET", "/v1/model", 400, "Malformed request: GET /v1/model"),
        ("PUT", f"/v1/models/{NAME}", 400, f"Malformed request: PUT /v1/models/{NAME}"),
        ("POST", f"/v1/models/{NAME}:run", 400, f"Malformed request: POST /v1/models/{NAME}:run"),
        ("GET", "/v1/models/nobody", 404, "Could not find any versions of model nobody"),
        ("GET", f"/v1/models/{NAME}/versions/99", 404, f"Could not find version 99 of model {NAME}"),
        ("GET", "/v1/models/nobody/metadata", 404, "Servable not found for request: Latest(nobody)"),
        ("GET", f"/v1/models/{NAME}/versions/99999999999999999999", 400, "Failed to convert version: 9999"),
        ("POST", "/v1/models/nobody:predict", 404, "Servable not found for request: Latest(nobody)"),
        (
            "POST",
            f"/v1/models/{NAME}/versions/99:predict",
            404,
            f"Servable not found for request: Specific({NAME}, 99)",
        ),
        ("POST", f"/v1/models/{NAME}/labels/stable:predict", 400, "Unrecognized servable version label: stable"),
    ],
)
def test_bad_addresses(rest, method, path, status, message):
    found, said = rest(method, path, {"instances": ["a"]} if method == "POST" else None)
    assert found == status and message in said["error"], said


def test_what_is_not_of_the_api_is_a_page(rest):
    status, said = rest("GET", "/")
    assert status == 404 and b"<html" in said.lower()


def test_status_and_metadata(rest):
    expected = {
        "model_version_status": [
            {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
        ]
    }
    for path in (f"/v1/models/{NAME}", f"/V1/Models/{NAME}/versions/1", f"/v1/models/{NAME}/labels/any"):
        assert rest("GET", path) == (200, expected)
    status, said = rest("GET", f"/v1/models/{NAME}/metadata")
    assert status == 200
    assert said["model_spec"] == {"name": NAME, "signature_name": "", "version": "1"}
    signatures = said["metadata"]["signature_def"]["signature_def"]
    assert {"serving_default", "token_ids", "labels", "classify"} <= set(signatures)
    text = signatures["serving_default"]["inputs"]["text"]
    assert (text["dtype"], text["tensor_shape"]["dim"][0]["size"]) == ("DT_STRING", "-1")


def test_classify_and_regress(rest):
    path = f"/v1/models/{NAME}:classify"
    body = {"signature_name": "classify", "examples": [{"text": text} for text in TEXTS]}
    status, said = rest("POST", path, body)
    assert status == 200 and len(said["results"]) == 3
    assert [label for label, _ in said["results"][0]] == ["card", "fee", "loan"]
    assert sum(score for _, score in said["results"][1]) == pytest.approx(1, abs=1e-5)
    context = {"signature_name": "classify", "context": {"text": TEXTS[0]}, "examples": [{}, {"text": TEXTS[1]}]}
    status, with_context = rest("POST", path, context)
    assert status == 200 and len(with_context["results"]) == 2
    for ours, alone in zip(with_context["results"], said["results"], strict=False):
        assert [label for label, _ in ours] == [label for label, _ in alone]
        # Padded to another length, the same text has other digits at the end.
        assert [score for _, score in ours] == pytest.approx([score for _, score in alone], abs=1e-5)
    assert rest("POST", path, {"examples": [{"text": "a"}]})[0] == 400
    assert rest("POST", f"/v1/models/{NAME}:regress", body)[0] == 400


def request(texts=TEXTS, name=NAME, signature="", version=None):
    made = predict_pb2.PredictRequest()
    made.model_spec.name, made.model_spec.signature_name = name, signature
    if version is not None:
        made.model_spec.version.value = version
    made.inputs["text"].CopyFrom(tf.make_tensor_proto([text.encode() for text in texts], tf.string))
    return made


def test_grpc_predict_answers_as_rest_does(prediction, predict):
    answer = prediction.Predict(request(), timeout=60)
    spec = answer.model_spec
    assert (spec.name, spec.signature_name, spec.version.value) == (NAME, "serving_default", 1)
    _, said = predict({"inputs": TEXTS})
    assert set(answer.outputs) == OUTPUTS
    for name, proto in answer.outputs.items():
        values = tf.make_ndarray(proto).reshape(-1)
        expected = np.array(said["outputs"][name]).reshape(-1)
        if values.dtype == object:
            assert [value.decode() for value in values] == expected.tolist()
        else:
            np.testing.assert_allclose(values.astype(float), expected.astype(float), rtol=1e-5)


def test_grpc_output_filter(prediction):
    wanted = request()
    wanted.output_filter.extend(["label"])
    assert list(prediction.Predict(wanted, timeout=60).outputs) == ["label"]


def changed(**changes):
    made = request()
    for name, value in changes.items():
        if name == "inputs":
            made.ClearField("inputs")
            for key, array in value.items():
                made.inputs[key].CopyFrom(tf.make_tensor_proto(array))
        elif name == "output_filter":
            made.output_filter.extend(value)
    return made


@pytest.mark.parametrize(
    ("made", "code", "message"),
    [
        (predict_pb2.PredictRequest(), "INVALID_ARGUMENT", "Missing ModelSpec"),
        (request(name=""), "INVALID_ARGUMENT", "ModelSpec has no name specified."),
        (request(name="nobody"), "NOT_FOUND", "Servable not found for request: Latest(nobody)"),
        (request(version=9), "NOT_FOUND", f"Servable not found for request: Specific({NAME}, 9)"),
        (request(signature="X"), "FAILED_PRECONDITION", 'Serving signature key "X" not found.'),
        (changed(inputs={}), "INVALID_ARGUMENT", "input size does not match signature: 0!=1 len({}) != len({text})."),
        (changed(inputs={"text": [1.5]}), "INVALID_ARGUMENT", "to be string but float is provided"),
        (changed(output_filter=["X"]), "INVALID_ARGUMENT", "output tensor alias not found in signature: X"),
        (changed(output_filter=["label", "label"]), "INVALID_ARGUMENT", "duplicate output tensor alias: label"),
    ],
)
def test_grpc_errors(prediction, made, code, message):
    with pytest.raises(grpc.RpcError) as caught:
        prediction.Predict(made, timeout=60)
    assert caught.value.code() is grpc.StatusCode[code]
    assert message in caught.value.details()


def examples(*texts):
    return [
        text_format.Parse(
            f'features {{ feature {{ key: "text" value {{ bytes_list {{ value: "{t}" }} }} }} }}', Example()
        )
        for t in texts
    ]


def test_grpc_classify_and_multi_inference(prediction):
    asked = classification_pb2.ClassificationRequest()
    asked.model_spec.name, asked.model_spec.signature_name = NAME, "classify"
    asked.input.example_list.examples.extend(examples("my card pin", "the loan rate"))
    answer = prediction.Classify(asked, timeout=60)
    assert [one.label for one in answer.result.classifications[0].classes] == ["card", "fee", "loan"]
    assert len(answer.result.classifications) == 2
    several = inference_pb2.MultiInferenceRequest(input=asked.input)
    several.tasks.add(model_spec=asked.model_spec, method_name="tensorflow/serving/classify")
    found = prediction.MultiInference(several, timeout=60)
    assert found.results[0].classification_result == answer.result
    regress = regression_pb2.RegressionRequest(model_spec=asked.model_spec, input=asked.input)
    with pytest.raises(grpc.RpcError) as caught:
        prediction.Regress(regress, timeout=60)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_grpc_metadata_and_status(prediction, channel):
    asked = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    asked.model_spec.name = NAME
    answer = prediction.GetModelMetadata(asked, timeout=60)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert answer.metadata["signature_def"].Unpack(signatures)
    assert "serving_default" in signatures.signature_def and answer.model_spec.version.value == 1
    asked.metadata_field.append("weights")
    with pytest.raises(grpc.RpcError, match="Metadata field weights is not supported"):
        prediction.GetModelMetadata(asked, timeout=60)
    stub = model_service_pb2_grpc.ModelServiceStub(channel)
    status = get_model_status_pb2.GetModelStatusRequest()
    status.model_spec.name = NAME
    (version,) = stub.GetModelStatus(status, timeout=60).model_version_status
    assert (version.version, version.state) == (1, get_model_status_pb2.ModelVersionStatus.AVAILABLE)


@pytest.mark.parametrize("name", ["", "PredictionService", "ModelService"])
def test_grpc_health(channel, name):
    asked = health_pb2.HealthCheckRequest(service=name)
    answer = health_pb2_grpc.HealthStub(channel).Check(asked, timeout=60)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING
