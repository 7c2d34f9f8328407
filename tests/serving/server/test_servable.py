"""A version in a session: outputs, rejected inputs and their messages, warm-up, and closing."""

import shutil
import threading
import time
import weakref

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

from tfbert.serving.server.models import ModelManager
from tfbert.serving.server.servable import Servable, load
from tfbert.serving.server.status import Code, ServingError
from tfbert.serving.server.versions import config_of

TEXTS = ["my card is lost", "the fee 12", "loan? rate!", "", "价格 of the house"]


class Small(tf.Module):
    """Signatures with two inputs, with an op that may fail, and one that takes its time."""

    def __init__(self):
        super().__init__()
        self.weights = tf.Variable([[1.0], [2.0]])

    @tf.function(
        input_signature=[tf.TensorSpec([None, 2], tf.float32, name="x"), tf.TensorSpec([], tf.float32, name="by")]
    )
    def scale(self, x, by):
        rows = tf.shape(x)[0]
        return {"y": x @ self.weights * by, "total": tf.reduce_sum(x), "word": tf.fill([rows], "naïve")}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
    def number(self, text):
        return {"number": tf.strings.to_number(text), "first": text[0]}

    @tf.function(input_signature=[tf.TensorSpec([], tf.int64, name="rounds")])
    def slow(self, rounds):
        start = tf.constant(0, tf.int64), tf.ones([64, 64]) / 64
        _, found = tf.while_loop(lambda i, _: i < rounds, lambda i, t: (i + 1, tf.tanh(t @ t)), start)
        return {"sum": tf.reduce_sum(found)}


@pytest.fixture(scope="module")
def small_dir(tmp_path_factory):
    directory = tmp_path_factory.mktemp("small") / "3"
    module = Small()
    signatures = {"serving_default": module.scale, "number": module.number, "slow": module.slow}
    tf.saved_model.save(module, str(directory), signatures=signatures)
    return directory


@pytest.fixture(scope="module")
def small(small_dir):
    servable = Servable("small", 3, small_dir)
    yield servable
    servable.close()


def inputs(by=3.0, rows=2):
    return {"x": np.arange(2 * rows, dtype=np.float32).reshape(rows, 2), "by": np.float32(by)}


def refused(function, *args, **kwargs):
    """Return code and message of the error that a call ends with."""
    with pytest.raises(ServingError) as caught:
        function(*args, **kwargs)
    return caught.value.code, caught.value.message


def write_records(small_dir, tmp_path, records):
    """Return a copy of the model with warm-up records."""
    directory = shutil.copytree(small_dir, tmp_path / "3")
    (directory / "assets.extra").mkdir()
    with tf.io.TFRecordWriter(str(directory / "assets.extra" / "tf_serving_warmup_requests")) as writer:
        for record in records:
            writer.write(record if isinstance(record, bytes) else record.SerializeToString())
    return directory


def predict_log(signature, **values):
    log = PredictionLog()
    log.predict_log.request.model_spec.signature_name = signature
    for name, value in values.items():
        log.predict_log.request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    return log


def test_a_signature_answers(small):
    assert sorted(small.signatures) == ["__saved_model_init_op", "number", "serving_default", "slow"]
    assert small.signature("").SerializeToString() == small.signatures["serving_default"].SerializeToString()
    found = small.run("", inputs())
    assert {name: value.dtype for name, value in found.items()} == {"y": "f4", "total": "f4", "word": "O"}
    np.testing.assert_array_equal(found["y"], [[6.0], [24.0]])
    assert found["total"].shape == () and found["total"] == 6
    assert found["word"].tolist() == 2 * ["naïve".encode()]
    assert list(small.run("serving_default", inputs(), ["y"])) == ["y"]


@pytest.mark.parametrize("dtype", [object, None, bytes])
def test_texts_come_as_they_are(small, dtype):
    texts = np.array([b"5", b"7"] if dtype is bytes else ["5", "7"], dtype)
    found = small.run("number", {"text": texts})
    assert found["number"].tolist() == [5.0, 7.0]
    assert found["first"].shape == () and found["first"].item() == b"5"


def test_what_is_refused(small):
    def of(*args):
        code, message = refused(small.run, *args)
        # Nothing that `run` refuses by itself gets past `check`.
        assert refused(small.check, *args) == (code, message)
        return code, message

    x, by = inputs().values()
    invalid = Code.INVALID_ARGUMENT
    assert of("X", {}) == (Code.FAILED_PRECONDITION, 'Serving signature key "X" not found.')
    sizes = "input size does not match signature: "
    missing = f"{sizes}1!=2 len({{x}}) != len({{by,x}}). Sent extra: {{}}. Missing but required: {{by}}."
    assert of("", {"x": x}) == (invalid, missing)
    extra = f"{sizes}3!=2 len({{by,x,z}}) != len({{by,x}}). Sent extra: {{z}}. Missing but required: {{}}."
    assert of("", {"x": x, "by": by, "z": x}) == (invalid, extra)
    other = f"{sizes}1!=1 len({{x}}) != len({{text}}). Sent extra: {{x}}. Missing but required: {{text}}."
    assert of("number", {"x": x}) == (invalid, other)
    strings = np.array([["1", "2"]], object)
    assert of("", {"by": by, "x": strings}) == (invalid, "Expects arg[1] to be float but string is provided")
    double = "Expects arg[0] to be float but double is provided"
    assert of("", {"x": x, "by": np.float64(1)}) == (invalid, double)
    assert of("number", {"text": np.array([5])}) == (invalid, "Expects arg[0] to be string but int64 is provided")
    known = "output tensor alias not found in signature: Y Outputs expected to be in the set {total,word,y}."
    assert of("", inputs(), ["y", "Y"]) == (invalid, known)
    assert of("", inputs(), ["y", "y"]) == (invalid, "duplicate output tensor alias: y")


def test_what_an_op_says(small):
    code, message = refused(small.run, "number", {"text": np.array(["1", "two"], object)})
    assert code is Code.INVALID_ARGUMENT
    assert message.startswith("StringToNumberOp could not correctly convert string: two")
    # Neither files of the machine that made the model, nor nodes of its graph.
    assert ".py" not in message and "node" not in message and "[[" not in message
    sizes = "Matrix size-incompatible: In[0]: [2,3], In[1]: [2,1]"
    assert refused(small.run, "", inputs() | {"x": np.ones([2, 3], np.float32)}) == (Code.INVALID_ARGUMENT, sizes)
    # The op quotes what is no text.
    code, message = refused(small.run, "number", {"text": np.array([b"\xff"], object)})
    assert (code, message) == (Code.INVALID_ARGUMENT, "StringToNumberOp could not correctly convert string: \ufffd")


def test_time_is_up(small):
    rounds = {"rounds": np.int64(10**8)}
    started = time.monotonic()
    assert refused(small.run, "slow", rounds, (), 0.05) == (
        Code.DEADLINE_EXCEEDED,
        "Timed out waiting for notification",
    )
    assert refused(small.run, "slow", rounds, (), -1.0)[0] is Code.DEADLINE_EXCEEDED
    assert time.monotonic() - started < 10
    assert small.run("slow", {"rounds": np.int64(3)}, (), 20.0)["sum"].shape == ()


def test_threads_get_their_own_answers(small):
    wrong = []

    def ask(seed):
        for row in range(20):
            by = 100 * seed + row
            found = small.run("", inputs(by, rows=seed + 1))["y"][:, 0]
            wrong.extend(found[found != by * np.array([2.0 + 6.0 * index for index in range(seed + 1)])])

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_no_model(tmp_path, small_dir):
    code, message = refused(Servable, "m", 1, tmp_path)
    assert code is Code.NOT_FOUND and message.startswith(f"SavedModel file does not exist at: {tmp_path}")
    broken = shutil.copytree(small_dir, tmp_path / "broken")
    shutil.rmtree(broken / "variables")
    code, message = refused(Servable, "m", 1, broken)
    assert code is Code.INVALID_ARGUMENT and "variables" in message
    (broken / "saved_model.pb").write_bytes(b"no proto")
    assert "Cannot parse file" in refused(Servable, "m", 1, broken)[1]


def test_a_version_without_warm_up(small):
    assert small.warm_up() == 0


def test_warm_up_answers_each_record(small_dir, tmp_path, monkeypatch):
    other = PredictionLog()
    other.classify_log.request.model_spec.name = "any"
    log = predict_log("number", text=["8", "9"])
    log.predict_log.request.output_filter.append("number")
    records = [predict_log("", **inputs()), log, other, PredictionLog()]
    directory = write_records(small_dir, tmp_path, records)
    asked, others, run = [], [], Servable.run

    def noted(self, signature, *args):
        asked.append((signature, sorted(run(self, signature, *args))))

    monkeypatch.setattr(Servable, "run", noted)
    servable = load("m", 3, directory, num_warmup_iterations=2, other=lambda *args: others.append(args))
    assert asked == 2 * [("", ["total", "word", "y"])] + 2 * [("number", ["number"])]
    assert [(by, record.WhichOneof("log_type")) for by, record in others] == 2 * [(servable, "classify_log")]
    assert servable.warm_up(other=lambda *_: None) == 4
    servable.close()


@pytest.mark.parametrize(
    ("records", "code", "message"),
    [
        ([predict_log("number", text=["1"]), predict_log("number", text=["x"])], Code.INVALID_ARGUMENT, "StringToNum"),
        ([predict_log("gone", text=["1"])], Code.FAILED_PRECONDITION, 'Serving signature key "gone" not found.'),
        ([PredictionLog(regress_log={})], Code.UNIMPLEMENTED, "Unsupported log_type for warmup: 3"),
        ([b"\xff"], Code.INVALID_ARGUMENT, "Failed to parse warmup record 1 from "),
        (1001 * [PredictionLog()], Code.INVALID_ARGUMENT, "Number of warmup records exceeds the maximum (1000) at "),
    ],
)
def test_a_record_that_fails_fails_the_load(small_dir, tmp_path, records, code, message):
    directory = write_records(small_dir, tmp_path, records)
    assert refused(load, "m", 3, directory)[0] is code
    assert refused(load, "m", 3, directory)[1].startswith(message)
    load("m", 3, directory, num_warmup_iterations=0).close()


def test_a_file_of_records_that_is_none(small_dir, tmp_path):
    directory = write_records(small_dir, tmp_path, [])
    (directory / "assets.extra" / "tf_serving_warmup_requests").write_bytes(b"these are no records at all")
    code, message = refused(load, "m", 3, directory)
    assert code is Code.DATA_LOSS
    assert message.endswith("Please verify your warmup data is in TFRecord format.")


def test_closing_frees_the_session(small_dir):
    servable = Servable("m", 3, small_dir, tf.compat.v1.ConfigProto(intra_op_parallelism_threads=1))
    session = weakref.ref(servable._session)
    servable.close()
    assert session() is None


def test_a_trained_model_answers_as_it_does_in_python(model_dir, model):
    manager = ModelManager(config_of("topics", model_dir), max_load_retries=0)
    manager.wait_until_available(120)
    texts = np.array([text.encode() for text in TEXTS], object)
    with manager.use("topics") as servable:
        assert (servable.name, servable.version) == ("topics", 1)
        # Two requests for predictions and one for explanations.
        assert servable.warm_up() == 3
        found = servable.run("", {"text": texts}, (), 60.0)
    expected = model.signatures["serving_default"](text=tf.constant(texts))
    assert found.keys() == expected.keys()
    assert found["label"].tolist() == expected["label"].numpy().tolist()
    np.testing.assert_allclose(found["probabilities"], expected["probabilities"], atol=1e-6)
    manager.close(60)
