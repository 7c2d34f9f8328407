"""Training examples that a model keeps: their variables, and the nearest neighbours of a text."""

import numpy as np
import pytest
import tensorflow as tf

from tfbert.models import evidence, variables

VECTORS = np.array([[3, 4], [1, 0], [0, -2], [0, 0]], np.float32)
TEXTS = [("a",), ("é 😀",), ("c",), ("",)]


def stored(vectors=VECTORS, texts=TEXTS):
    created = variables.empty_variables(evidence.SPECS)
    labels = ["x", "y", "z", "w", "v", "u"][: len(texts)]
    for name, value in evidence.values(vectors, texts, labels).items():
        created[name].assign(value)
    return created


def nearest(queries, kept):
    run = tf.function(lambda vectors: evidence.nearest(vectors, kept), autograph=False)
    return {name: value.numpy() for name, value in run(tf.constant(queries, tf.float32)).items()}


def test_the_nearest_examples_come_first():
    outputs = nearest([[30, 40], [0, -1]], stored())
    assert outputs.keys() == {"evidence", "evidence_label", "evidence_similarity"}
    assert [text.decode() for text in outputs["evidence"][0]] == ["a", "é 😀", "", "c"]
    assert [label.decode() for label in outputs["evidence_label"][1]] == ["z", "y", "w", "x"]
    np.testing.assert_allclose(outputs["evidence_similarity"], [[1, 0.6, 0, -0.8], [1, 0, 0, -0.8]], atol=1e-3)
    assert outputs["evidence_similarity"].max() <= 1


def test_five_examples_of_pairs_are_shown_and_a_zero_vector_resembles_nothing():
    outputs = nearest([[0, 0]], stored(np.eye(6, 2, dtype=np.float32), [(str(n), f"pair {n}") for n in range(6)]))
    assert outputs["evidence_pair"][0].tolist() == [f"pair {n}".encode() for n in range(5)]
    assert outputs["evidence_similarity"].tolist() == [[0.0] * 5]


def test_stored_examples_are_counted():
    assert evidence.num_stored({}) == 0
    assert evidence.num_stored(variables.empty_variables(evidence.SPECS)) == 0
    assert evidence.num_stored(stored()) == 4


@pytest.mark.parametrize(
    ("truth", "words"),
    [
        ("fee", "fee"),
        (("card", "fee"), "card, fee"),
        ((), ""),
        (2.50, "2.5"),
        ([{"text": "Leeds", "start": 0, "end": 5, "label": "location"}], "Leeds: location"),
    ],
)
def test_targets_in_words(truth, words):
    assert evidence.describe(truth) == words
