"""Trained models in memory: a run and its SavedModel predict and evaluate alike; a run can be continued by hand."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import tensorflow as tf
from support import small

from tfbert.api.models import HuggingFaceModel, Run, SavedModel, load
from tfbert.config import override
from tfbert.files import REPORT, write_json
from tfbert.huggingface.exporting import export_huggingface
from tfbert.serving import export_run
from tfbert.serving.evaluate import evaluate
from tfbert.serving.verify import check

TEXTS = ["my card pin", "the price, with a fee", "a loan rate for the house"]
PAIRS = [("my card pin", "card"), ("the price", "fee"), ("my card was today", "fee"), ("rate", "loan")]


@pytest.fixture(scope="module")
def run():
    return load(small.finished_run()[0])


@pytest.fixture(scope="module")
def saved():
    return load(str(small.finished_run()[1]))


def assert_close(predictions, expected):
    assert [prediction["label"] for prediction in predictions] == [prediction["label"] for prediction in expected]
    probabilities, expected = ([p["probabilities"] for p in values] for values in (predictions, expected))
    np.testing.assert_allclose(probabilities, expected, atol=1e-5)


def test_a_path_is_a_run_or_a_saved_model(run, saved, tmp_path):
    assert isinstance(run, Run) and isinstance(saved, SavedModel)
    assert repr(saved) == f"SavedModel('{small.finished_run()[1] / '1'}')"
    assert repr(run) == f"Run('{small.finished_run()[0]}')"
    assert run.task == saved.task and run.config == saved.config and run.inputs == saved.inputs
    search = tmp_path / "search"
    shutil.copytree(run.path, search / "best")
    write_json(search / REPORT, {"plan": {}, "task": "classification"})
    assert load(search).path == search / "best"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "contains no finished run (report.json), SavedModel or Hugging Face model"),
        ({"config.json": {}}, "is an unfinished run; the call or the command that started it continues it"),
        ({REPORT: {"before": {}}}, "is a pretraining; expected a run of a task, with encoder={}/encoder"),
    ],
)
def test_a_path_of_something_else_is_refused(tmp_path, files, message):
    for name, content in files.items():
        write_json(tmp_path / name, content)
    with pytest.raises(ValueError) as error:
        load(tmp_path)
    assert str(error.value) == f"{tmp_path}: {message.format(tmp_path)}"


def test_a_run_predicts_what_its_saved_model_does(run, saved):
    predictions = run.predict(TEXTS, batch_size=2)
    assert len({prediction["label"] for prediction in predictions}) > 1
    assert saved.predict(TEXTS) == predictions
    # Sums have another order in batches of another size, so the last digit may differ.
    assert_close(run.predict(TEXTS[1]), predictions[1:2])
    assert run.predict(TEXTS[1]) == run.predict({"text": TEXTS[1]})
    assert_close(run.predict(np.array(TEXTS)), predictions)
    assert run.predict(np.array(TEXTS)) == run.predict({"text": text, "id": 1} for text in TEXTS)
    assert run.predict([]) == []
    json.dumps(predictions)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ([None], "texts[0]: is None (NoneType); expected a text"),
        (["a", 3.5], "texts[1]: is 3.5 (float); expected a text"),
        ([{"title": "a"}], "texts[0]: has no 'text' among 'title'; expected that key"),
        ([{"text": 3}], "texts[0]: text is 3; expected a string"),
    ],
)
def test_a_text_that_cannot_be_predicted_is_refused(run, texts, message):
    with pytest.raises(ValueError) as error:
        run.predict(texts)
    assert str(error.value) == message


def test_data_in_memory_and_in_a_file_have_equal_scores(run, saved, tmp_path, monkeypatch):
    small.write_csv(tmp_path / "test.csv", PAIRS)
    expected = evaluate(run.path, str(tmp_path / "test.csv"), {})
    assert run.evaluate(tmp_path / "test.csv") == expected
    assert run.evaluate(PAIRS) == {**expected, "data": "in memory"}
    # The settings with which the run read its own files do not apply to data in memory, except for names of columns.
    settings = {"data.encoding": "cp1252", "data.format": "csv", "data.columns": "text=review", "data.bad_rows": "skip"}
    saved_run = dataclasses.replace(run._saved, config=override(run.config, settings))
    with monkeypatch.context() as patch:
        patch.setattr(run, "_saved", saved_run)
        pairs = [(text.replace("a", "ä"), label) for text, label in PAIRS]
        small.write_csv(tmp_path / "umlauts.csv", pairs)
        file_settings = {"format": "auto", "encoding": "utf-8", "columns": None}
        assert run.evaluate(pairs)["metrics"] == run.evaluate(tmp_path / "umlauts.csv", **file_settings)["metrics"]
        with pytest.raises(ValueError, match=r"^test\.json\[0\]: text is ''"):
            run.evaluate([("", "card"), *pairs])
    rows = [{"review": text, "stars": label} for text, label in PAIRS]
    scores = saved.evaluate(rows, columns={"text": "review", "label": "stars"})
    assert scores["metrics"] == expected["metrics"] and scores["model"] == str(saved.path)


def test_labelled_data_that_cannot_be_read_is_refused(run):
    with pytest.raises(ValueError, match=r"^test\.json\[1\]: label 'cards' is not one of the 3 labels of train; did"):
        run.evaluate([("a", "card"), ("b", "cards")])
    with pytest.raises(TypeError, match=r"^evaluate\(\) got train.epochs, which has no effect; expected a field"):
        run.evaluate(PAIRS, epochs=3)


def test_a_hugging_face_model_is_loaded(run, tmp_path, monkeypatch):
    monkeypatch.setattr(export_run, "verify", check)  # in this process, which is faster
    export_huggingface(str(run.path), tmp_path / "hf")
    model = load(tmp_path / "hf")
    assert isinstance(model, HuggingFaceModel) and model.task == run.task and model.inputs == run.inputs
    assert_close(model.predict(TEXTS), run.predict(TEXTS))
    assert model.evaluate(PAIRS)["metrics"]["accuracy"] == run.evaluate(PAIRS)["metrics"]["accuracy"]
    assert load(model.export(tmp_path / "bank")).predict(TEXTS)[0]["label"] == run.predict(TEXTS)[0]["label"]
    with pytest.raises(ValueError, match="^--pairs .pairs=True in Python. does not apply to .*: its inputs are known"):
        load(tmp_path / "hf", pairs=True)
    with pytest.raises(ValueError, match="run: expected a Hugging Face model with the arguments task and pairs"):
        load(run.path, task="classification")


def test_the_batches_of_a_split(run):
    x, y = next(iter(run.dataset("test", batch_size=5)))
    assert x["token_ids"].shape == x["padding_mask"].shape == x["segment_ids"].shape and len(x["token_ids"]) == 5
    labels = [run.labels[label_id] for label_id in y["label_id"].numpy()]
    assert labels == [label for _, label in small.rows(12, 3)][:5]
    assert y["weights"].numpy().tolist() == [1] * 5
    train = run.dataset()
    assert len(train) == 6 and len(run.dataset("test", batch_size=5)) == 3
    orders = [np.concatenate([y["label_id"].numpy() for _, y in train]) for _ in range(2)]
    assert not np.array_equal(*orders) and np.array_equal(*map(np.sort, orders))
    with pytest.raises(ValueError, match="has no split 'dev'; expected one of train, validation, test"):
        run.dataset("dev")


def test_a_split_that_has_changed_is_refused(run, monkeypatch):
    monkeypatch.setitem(run.report["data"]["test"], "sha256", "0")
    with pytest.raises(ValueError, match=r"test\.csv: has changed since .*/run was trained; restore it"):
        run.dataset("test")


def test_the_model_is_a_keras_model_of_scores(run):
    x, y = next(iter(run.dataset("test", batch_size=12)))
    logits = run.model(x)
    probabilities = [prediction["probabilities"] for prediction in run.predict([text for text, _ in small.rows(12, 3)])]
    temperature = run._saved.predictor.decided_values().get("temperature", 1.0)
    np.testing.assert_allclose(tf.nn.softmax(logits / temperature), probabilities, atol=1e-5)
    loss = run.model.compute_loss(x, y, logits)
    expected = tf.keras.losses.sparse_categorical_crossentropy(y["label_id"], logits, from_logits=True)
    np.testing.assert_allclose(loss, tf.reduce_mean(expected), rtol=1e-5)


def test_a_run_continued_by_hand_predicts_evaluates_and_exports_its_new_weights(tmp_path, monkeypatch):
    monkeypatch.setattr(export_run, "verify", check)  # in this process, which is faster
    run, untouched = load(small.finished_run()[0]), small.finished_run()[0] / "best.safetensors"
    before, weights = run.predict(TEXTS), untouched.read_bytes()
    run.model.optimizer.learning_rate = 3e-3
    losses = run.model.fit(run.dataset("train", batch_size=24), epochs=3, shuffle=False, verbose=0).history["loss"]
    after = run.predict(TEXTS)
    assert losses[2] < losses[0] and after != before
    version_dir = run.export(tmp_path / "bank")
    assert version_dir == tmp_path / "bank" / "1"
    assert_close(load(version_dir).predict(TEXTS), after)
    assert untouched.read_bytes() == weights
    run.model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"], jit_compile=False)
    pairs = run.dataset("test").map(lambda x, y: (x, y["label_id"]))
    assert run.model.evaluate(pairs, return_dict=True, verbose=0).keys() == {"loss", "accuracy"}
