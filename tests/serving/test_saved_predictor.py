"""The predictor of a SavedModel: versions, order, batches, and constant memory."""

import itertools
import json
import os

import numpy as np
import pytest
import tensorflow as tf

from tfbert.config import DataConfig
from tfbert.serving.input_spec import InputSpec
from tfbert.serving.requests import read_requests
from tfbert.serving.saved_predictor import SavedPredictor, find_version


@pytest.fixture(scope="module")
def predictor(model_dir):
    return SavedPredictor(model_dir)


def empty_versions(folder, *names):
    for name in names:
        (folder / name).mkdir(parents=True)
        (folder / name / "saved_model.pb").touch()
    return folder


def test_the_highest_number_is_the_newest(tmp_path):
    folder = empty_versions(tmp_path / "m", "9", "10", "2", ".writing-11", "notes")
    (folder / "12").mkdir()  # not a model
    assert find_version(folder).name == "10"
    assert find_version(folder, 2).name == "2"
    assert find_version(folder / "9").name == "9"
    with pytest.raises(ValueError, match=r"m: has no version 3; existing versions: 2, 9, 10"):
        find_version(folder, 3)


@pytest.mark.parametrize("name", ["missing", "empty"])
def test_no_model(tmp_path, name):
    (tmp_path / "empty").mkdir()
    problem = "does not exist" if name == "missing" else "contains no SavedModel"
    with pytest.raises(ValueError, match=rf"{name}: {problem}; expected saved_models/NAME or a version"):
        find_version(tmp_path / name)


@pytest.mark.parametrize("num_pooled", [1, 2, 16])
def test_predictions_are_in_order_and_ready_for_json(predictor, monkeypatch, num_pooled):
    monkeypatch.setattr(predictor, "num_pooled", num_pooled)
    texts = [f"my {word} {index}" for index, word in enumerate(["card", "fee", "loan", "", "pin", "价格", "rate"])]
    predictions = list(predictor.predict(({"text": text} for text in texts), batch_size=3))
    assert [item["text"] for item, _ in predictions] == texts
    together = predictor([{"text": text} for text in texts])
    for row, (_, prediction) in enumerate(json.loads(json.dumps(predictions))):
        assert prediction["label"] == together["label"][row].decode()
        assert prediction["label_id"] == together["label_id"][row]
        assert prediction["truncated"] is False
        np.testing.assert_allclose(prediction["probabilities"], together["probabilities"][row], atol=1e-5)


def test_texts_of_similar_length_share_a_batch(predictor, monkeypatch):
    batches = []
    monkeypatch.setattr(predictor, "num_pooled", 2)
    monkeypatch.setattr(
        predictor, "signature", lambda text: batches.append([len(t) for t in text.numpy()]) or {"n": text}
    )
    texts = ["a" * length for length in (1, 9, 2, 8, 3, 7, 4, 6, 30)]
    predictions = list(predictor.predict(({"text": text} for text in texts), batch_size=4))
    assert batches == [[9, 8, 7, 6], [4, 3, 2, 1], [30]]
    assert [prediction["n"] for _, prediction in predictions] == texts


def test_items_are_read_lazily(predictor):
    read_numbers = []
    endless = (read_numbers.append(number) or {"text": f"text {number}"} for number in itertools.count())
    predictions = predictor.predict(endless, batch_size=4)
    for _ in range(9):
        next(predictions)
    assert len(read_numbers) == 12


def test_a_lone_surrogate(predictor):
    # As a JSON escape can produce it.
    assert len(list(predictor.predict([{"text": "a \ud83d b"}]))) == 1


def test_inputs_of_the_signature(predictor):
    assert predictor.inputs == {"text": InputSpec("string")}


def test_numeric_inputs(tmp_path):
    def predict(title, price, sizes):
        total = price + tf.reduce_sum(sizes, axis=1) + tf.cast(tf.strings.length(title), tf.float32)
        return {"total": total}

    specs = {
        "title": tf.TensorSpec([None], tf.string, name="title"),
        "price": tf.TensorSpec([None], tf.float32, name="price"),
        "sizes": tf.TensorSpec([None, None], tf.float32, name="sizes"),
    }
    module = tf.Module()
    module.function = tf.function(predict, input_signature=list(specs.values()))
    tf.saved_model.save(module, str(tmp_path / "1"), signatures={"serving_default": module.function})
    predictor = SavedPredictor(tmp_path)
    assert predictor.inputs == {
        "price": InputSpec("float32"),
        "sizes": InputSpec("float32", many=True),
        "title": InputSpec("string"),
    }
    (tmp_path / "a.csv").write_text('title,price,sizes\nabc,2.5,"[1, 2]"\nd,3,"[10, 0.5]"\n')
    requests = read_requests([], str(tmp_path / "a.csv"), predictor.inputs, DataConfig())
    items = (request.item for request in requests)
    assert [outputs["total"] for _, outputs in predictor.predict(items)] == [8.5, 14.5]


def test_memory_does_not_grow_with_the_input(predictor):
    def peak(count):
        before = resident()
        for _ in predictor.predict(({"text": "the fee for a loan " * 3} for _ in range(count)), batch_size=256):
            pass
        return resident() - before

    peak(2048)
    # Keeping 16,384 predictions would take more than 16 MiB.
    assert peak(16384) < 12 * 2**20


def resident():
    with open("/proc/self/statm") as stream:
        return int(stream.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
