"""The predictor: every record is predicted once, in batches of similar lengths, with outputs in order."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from support import small

from tfbert.models import predictor
from tfbert.models.build import build_model, make_tokenizer
from tfbert.models.predictor import Predictor, predict_all
from tfbert.models.saved_run import load_run
from tfbert.tasks.base_decision import Predicted
from tfbert.tasks.base_pooled import LabelOptions
from tfbert.tasks.classification import ClassificationOptions, FittedClassification
from tfbert.tasks.multilabel import FittedMultilabel
from tfbert.text.preprocessor import INPUTS
from tfbert.text.records import Record

TASK = FittedClassification(options=ClassificationOptions(), has_pair=False, labels=("even", "odd"))


def records(count):
    # Texts of very different lengths, in random order.
    return [
        Record("word " * (index * 37 % 101) + str(index), ["even", "odd"][index % 2], f"a:{index}")
        for index in range(count)
    ]


def recording(batches):
    def predict(items):
        batches.append([item["text"] for item in items])
        numbers = np.array([int(item["text"].split()[-1]) for item in items])
        width = 1 + numbers.max() % 3
        names = np.array([[f"n{number}".encode()] * width for number in numbers], dtype=object)
        return {"number": numbers, "names": names, "wide": np.repeat(numbers[:, None], width, 1).astype(np.float32)}

    return predict


@pytest.mark.parametrize("pool", [1, 7, 5000])
def test_outputs_come_back_in_order(monkeypatch, pool):
    monkeypatch.setattr(predictor, "_POOL_RECORDS", pool)
    monkeypatch.setattr(predictor, "EVALUATION_BATCH_TOKENS", 300)
    batches = []
    outputs, gold = predict_all(recording(batches), TASK, iter(records(60)))
    assert outputs["number"].tolist() == list(range(60))
    assert gold == [index % 2 for index in range(60)]
    assert sorted(text for batch in batches for text in batch) == sorted(record.text for record in records(60))
    # An output that is narrower in one batch than in another is padded.
    assert outputs["names"][7].tolist()[0] == b"n7" and outputs["wide"][7][0] == 7
    assert {value for row in outputs["names"] for value in row} == {b"", *(f"n{index}".encode() for index in range(60))}
    assert outputs["wide"].dtype == np.float32


def test_batches_have_similar_lengths_and_are_bounded(monkeypatch):
    monkeypatch.setattr(predictor, "EVALUATION_BATCH_TOKENS", 600)
    batches = []
    predict_all(recording(batches), TASK, records(200))
    longest = [max(map(len, batch)) for batch in batches]
    assert longest == sorted(longest, reverse=True)
    assert all(len(batch) == 1 or len(batch) * max(map(len, batch)) / 3.5 <= 600 for batch in batches)
    assert max(len(batch) for batch in batches) > 20 and len(batches[0]) <= 5


def test_a_record_with_an_unknown_label_is_rejected():
    with pytest.raises(ValueError, match="a:1: label 'none' is not one of the 2 labels of train"):
        predict_all(recording([]), TASK, [Record("1", "odd", "a:0"), Record("2", "none", "a:1")])


TAGS = ("a", "b", "c")
ITEMS = [{"text": text} for text in ("my card pin", "the fee", "", "a loan rate for the house " * 9, "价格 😀")]


def untrained(problem, task):
    """Return a predictor with random weights."""
    keras.utils.set_random_seed(0)
    model = build_model(task, problem.encoder.spec, problem.config)
    return Predictor(task, model, make_tokenizer(problem.encoder), problem.config)


@pytest.fixture(scope="module")
def classifier():
    return load_run(small.finished_run()[0]).predictor


def test_outputs_do_not_depend_on_the_batch(classifier):
    together = classifier(ITEMS)
    alone = [classifier([item]) for item in ITEMS]
    assert together["label"].tolist() == [outputs["label"][0] for outputs in alone]
    np.testing.assert_allclose(together["probabilities"], [outputs["probabilities"][0] for outputs in alone], atol=1e-5)


def test_packed_sequences_have_the_outputs_of_their_texts(classifier):
    texts = [item["text"].encode() for item in ITEMS]
    packed = classifier.preprocessor.pack([classifier.tokenizer(tf.constant(texts))]).dense()
    outputs = classifier.predict_sequences({name: packed[name] for name in INPUTS})
    np.testing.assert_allclose(outputs["probabilities"], classifier(ITEMS)["probabilities"], atol=1e-5)


def test_embeddings_are_the_scores_in_the_order_of_the_texts(classifier):
    texts = [item["text"] for item in ITEMS]
    scores = classifier.embed(texts)
    probabilities = tf.nn.softmax(scores).numpy()
    np.testing.assert_allclose(probabilities, classifier(ITEMS)["probabilities"], atol=1e-5)


def test_the_initial_decision_and_domain_change_nothing(problem):
    classifier = untrained(problem, FittedClassification(options=ClassificationOptions(), has_pair=False, labels=TAGS))
    decoded, served = classifier.decode(ITEMS), classifier(ITEMS)
    assert {"vector", "logits"} < decoded.keys() and not {"vector", "logits"} & served.keys()
    applied = classifier.apply_decision(decoded)
    assert applied.keys() == served.keys()
    np.testing.assert_allclose(applied["probabilities"], tf.nn.softmax(decoded["logits"]), atol=1e-6)
    np.testing.assert_array_equal(served["out_of_domain"], 1)
    classifier.fit_decision({})
    assert classifier.index == {}


@pytest.fixture(scope="module")
def tagger(problem):
    """Return an untrained multilabel predictor, whose task has a decision."""
    counts = {"counts": (9, 9, 9), "num_examples": 20}
    return untrained(problem, FittedMultilabel(options=LabelOptions(), has_pair=False, labels=TAGS, **counts))


def test_the_decision_is_fitted_applied_and_served(tagger):
    decoded = tagger.decode(ITEMS)
    gold = np.arange(len(ITEMS))[:, None] % np.array([2, 3, 4]) == 0
    initial = tagger.decided_values()
    splits = {"validation": Predicted(decoded, list(gold))}
    tagger.fit_decision(splits)
    fitted = tagger.decided_values()
    for name, value in tagger.task.decision.fit(splits).items():
        np.testing.assert_array_equal(fitted[name], value)
    assert not np.array_equal(fitted["thresholds"], initial["thresholds"])
    served, applied = tagger(ITEMS), tagger.apply_decision(decoded)
    assert served.keys() == applied.keys() and "num_labels" in served
    assert served["num_labels"].tolist() == applied["num_labels"].tolist()
    np.testing.assert_allclose(served["probabilities"], applied["probabilities"], atol=1e-6)
    chosen = (served["probabilities"] >= fitted["thresholds"]).sum(axis=1)
    assert served["num_labels"].tolist() == chosen.tolist()


def test_the_decision_is_applied_in_pools(tagger, monkeypatch):
    decoded = tagger.decode(ITEMS)
    expected = tagger.apply_decision(decoded)
    monkeypatch.setattr(predictor, "_POOL_RECORDS", 2)
    pools = tagger.apply_decision(decoded)
    for name, values in expected.items():
        assert pools[name].tolist() == values.tolist()
