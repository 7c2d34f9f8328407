"""The model card says how to load an export and lists everything that it does not contain, with values."""

import re

import numpy as np
import pytest
import tensorflow as tf
from support.untrained import untrained_run

from tfbert.huggingface.card import left_out, model_card
from tfbert.huggingface.heads import convert_embedding_head, convert_head

LONG_TEXTS = {"head__pooling": "max", "encoder__long_text": "max"}


@pytest.mark.parametrize(
    ("task", "values", "expected"),
    [
        ("classification", {"head__pooling": "cls"}, []),
        (
            "classification",
            {"head__pooling": "max", "encoder__long_text": "max"},
            ["windows: .* 40 tokens .* 25% .* by max"],
        ),
        (
            "entities",
            {"encoder__window_overlap_fraction": 0.5},
            ["windows: .* 50% or more$", "decoding: .*borders: "],
        ),
        ("answers", {}, ["windows: ", "the search for spans, of up to .* tokens", "no answer if .* more than 0$"]),
        ("regression", {}, ["the limits of predictions, .* to "]),
        ("multilabel", {"head__pooling": "pooler"}, ["slope and intercept of each label's logit, .* chosen: .* 0.5, "]),
    ],
)
def test_what_is_left_out(task, values, expected):
    lines = left_out(untrained_run(task, **values))
    assert len(lines) == len(expected)
    for line, pattern in zip(lines, expected, strict=True):
        assert re.match(pattern, line), line


def test_index_and_threshold_of_matching_are_left_out():
    run = untrained_run("matching")
    for name, spec in run.task.index.specs.items():
        shape = [2 if size is None else size for size in spec.shape]
        value = np.full(shape, b"a", object) if spec.dtype == tf.string else np.zeros(shape, spec.dtype.as_numpy_dtype)
        run.predictor.index[name].assign(value)
    run.predictor.decided["threshold"].assign(0.625)
    threshold, index = left_out(run)
    assert threshold == "no answer if the best similarity is below 0.625"
    assert index.startswith("the index with ") and "--vectors" in index
    card = model_card(run, convert_embedding_head(run))
    assert 'SentenceTransformer("DIR")' in card and "pipeline_tag: sentence-similarity" in card
    assert f"- {threshold}\n- {index}\n" in card


def test_the_card_of_a_classifier():
    run = untrained_run("classification", head__pooling="cls")
    card = model_card(run, convert_head(run))
    assert card.startswith("---\nlibrary_name: transformers\npipeline_tag: text-classification\n")
    assert "2 ** -12" in card and "trust_remote_code" not in card
    assert "also depend on the following" not in card and "cuts inputs to 40 tokens" in card
    assert "| test | accuracy | 0.5000 | 0.2500 to 0.7500 |" in card and "keras 3.15.1" in card


def test_the_card_of_a_model_with_code():
    run = untrained_run("multiple_choice")
    card = model_card(run, convert_head(run))
    assert "The head pools by mean" in card and 'from_pretrained("DIR", trust_remote_code=True)' in card
