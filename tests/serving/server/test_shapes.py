"""Inputs with another shape than the signature, sent to `half_plus_two` as in TensorFlow Serving's own tests."""

import http.client
import json

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import inference_pb2, predict_pb2, prediction_service_pb2_grpc

from benchmarks.processes import free_ports
from tfbert.serving.server.flags import Options
from tfbert.serving.server.servable import Servable
from tfbert.serving.server.server import Server


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory):
    """Return a model of TensorFlow 1, stored as text: y is half of x, plus two; x has the static shape (None, 1)."""
    base = tmp_path_factory.mktemp("half_plus_two")
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        serialized = v1.placeholder(tf.string, [None], name="tf_example")
        parsed = tf.io.parse_example(serialized, {"x": tf.io.FixedLenFeature([1], tf.float32)})
        # Clients feed a tensor that has a value without them, too.
        x = tf.identity(parsed["x"], name="x")
        assert x.shape.as_list() == [None, 1]
        a, b = (v1.get_variable(name, initializer=value) for name, value in (("a", 0.5), ("b", 2.0)))
        y = tf.add(a * x, b, name="y")
        session.run(v1.global_variables_initializer())
        infos = {t.op.name: v1.saved_model.build_tensor_info(t) for t in (serialized, x, y)}
        make, examples = v1.saved_model.build_signature_def, {"inputs": infos["tf_example"]}
        signatures = {
            "serving_default": make({"x": infos["x"]}, {"y": infos["y"]}, "tensorflow/serving/predict"),
            "echo": make({"x": infos["x"]}, {"x": infos["x"], "y": infos["y"]}, "tensorflow/serving/predict"),
            "regress_x_to_y": make(examples, {"outputs": infos["y"]}, "tensorflow/serving/regress"),
            "classify_x_to_y": make(examples, {"scores": infos["y"]}, "tensorflow/serving/classify"),
        }
        builder = v1.saved_model.Builder(str(base / "123"))
        builder.add_meta_graph_and_variables(session, ["serve"], signature_def_map=signatures)
        builder.save(as_text=True)
    assert (base / "123" / "saved_model.pbtxt").exists()
    return base


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "batching"])
def server(request, model_dir):
    ports = free_ports(2)
    found = Server(
        Options(
            port=ports[0],
            rest_api_port=ports[1],
            model_base_path=str(model_dir),
            enable_batching=request.param,
            max_num_load_retries=0,
        )
    )
    yield found
    found.close()


def rest(server, api, body):
    connection = http.client.HTTPConnection("127.0.0.1", server.options.rest_api_port, timeout=60)
    try:
        connection.request("POST", f"/v1/models/default:{api}", json.dumps(body))
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"instances": [2.0, 3.0, 4.0]}, {"predictions": [3.0, 3.5, 4.0]}),
        ({"instances": [{"x": 2.0}, {"x": 3.0}]}, {"predictions": [3.0, 3.5]}),
        ({"inputs": [2.0, 3.0, 4.0]}, {"outputs": [3.0, 3.5, 4.0]}),
        ({"inputs": {"x": [2.0]}}, {"outputs": [3.0]}),
        ({"instances": [[2.0], [4.0]]}, {"predictions": [[3.0], [4.0]]}),
        ({"instances": [[2.0, 4.0]]}, {"predictions": [[3.0, 4.0]]}),
        ({"instances": [[[2.0]]]}, {"predictions": [[[3.0]]]}),
    ],
)
def test_predict_over_rest(server, body, expected):
    assert rest(server, "predict", body) == (200, expected)


def test_predict_over_grpc(server):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "default"
    request.inputs["x"].CopyFrom(tf.make_tensor_proto([2.0], tf.float32))
    with grpc.insecure_channel(f"127.0.0.1:{server.options.port}") as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        for output_filter in (["y"], []):
            del request.output_filter[:]
            request.output_filter.extend(output_filter)
            answer = stub.Predict(request, timeout=60)
            assert tf.make_ndarray(answer.outputs["y"]).tolist() == [3.0]


def test_examples(server):
    examples = [{"x": 2.0}, {"x": 4.0}]
    body = {"signature_name": "regress_x_to_y", "examples": examples}
    assert rest(server, "regress", body) == (200, {"results": [3.0, 4.0]})
    body = {"signature_name": "classify_x_to_y", "examples": examples}
    assert rest(server, "classify", body) == (200, {"results": [[["", 3.0]], [["", 4.0]]]})
    request = inference_pb2.MultiInferenceRequest()
    for name in ("regress", "classify"):
        task = request.tasks.add(method_name=f"tensorflow/serving/{name}")
        task.model_spec.name, task.model_spec.signature_name = "default", f"{name}_x_to_y"
    example = request.input.example_list.examples.add()
    example.features.feature["x"].float_list.value.append(2.0)
    with grpc.insecure_channel(f"127.0.0.1:{server.options.port}") as channel:
        results = prediction_service_pb2_grpc.PredictionServiceStub(channel).MultiInference(request).results
    assert results[0].regression_result.regressions[0].value == 3.0
    assert results[1].classification_result.classifications[0].classes[0].score == 3.0


def test_an_input_that_is_handed_back(model_dir):
    servable = Servable("m", 123, model_dir / "123")
    found = servable.run("echo", {"x": np.array([2.0, 4.0], np.float32)})
    assert {name: value.tolist() for name, value in found.items()} == {"x": [2.0, 4.0], "y": [3.0, 4.0]}
    assert servable.run("", {"x": np.float32(2)})["y"] == 3.0
    servable.close()
