"""Warm-up requests: written as TensorFlow Serving reads them, and read back."""

import pytest
import tensorflow as tf
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

from tfbert.serving.warmup import WARMUP_FILE, read_warmup, write_warmup
from tfbert.text.inputs import Number, Text, specs_of


def values(request):
    return {name: tf.make_ndarray(proto).tolist() for name, proto in request.inputs.items()}


def test_one_request_has_the_first_item_and_one_has_all(tmp_path):
    items = [{"question": "a", "choices": ("b", "c")}, {"question": "ü", "choices": ("d",)}]
    write_warmup(tmp_path, items, specs_of([Text("question"), Text("choices", many=True)]))
    single, batch = read_warmup(tmp_path)
    assert values(single) == {"question": [b"a"], "choices": [[b"b", b"c"]]}
    assert values(batch) == {"question": [b"a", "ü".encode()], "choices": [[b"b", b"c"], [b"d", b""]]}
    assert {request.model_spec.signature_name for request in (single, batch)} == {"serving_default"}


def test_the_file_has_the_path_that_servers_read(tmp_path):
    write_warmup(tmp_path, [{"text": "a"}], specs_of([Text("text")]))
    path = tmp_path / "assets.extra" / "tf_serving_warmup_requests"
    assert path == tmp_path / WARMUP_FILE
    logs = [PredictionLog.FromString(record) for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator()]
    assert [log.WhichOneof("log_type") for log in logs] == ["predict_log"] * 2


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(tf.errors.NotFoundError, match="tf_serving_warmup_requests"):
        list(read_warmup(tmp_path))


def test_numbers_are_float32(tmp_path):
    items = [{"title": "a", "price": 2.5, "sizes": (1.0, 2.0)}, {"title": "b", "price": 3.0, "sizes": (4.0,)}]
    write_warmup(tmp_path, items, specs_of([Text("title"), Number("price"), Number("sizes", many=True)]))
    _, batch = read_warmup(tmp_path)
    assert tf.make_ndarray(batch.inputs["price"]).dtype == "float32"
    assert values(batch)["price"] == [2.5, 3.0] and values(batch)["sizes"][0] == [1.0, 2.0]


def test_the_shortest_item_is_explained_by_each_method(tmp_path):
    items = [{"text": "a long text"}, {"text": "b"}]
    write_warmup(tmp_path, items, specs_of([Text("text")]), explains=True)
    *_, request = read_warmup(tmp_path)
    assert request.model_spec.signature_name == "explain"
    assert values(request) == {"text": [b"b"] * 2, "label": [b""] * 2, "method": [b"occlusion", b"gradients"]}
