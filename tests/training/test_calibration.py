"""Calibration: the training examples that a model keeps, with and without a domain. test_trust.py checks the rest."""

from dataclasses import replace

import numpy as np
import pytest
from support import small

from tfbert.models.predictor import Predictor
from tfbert.training import run
from tfbert.training.calibration import fit_decision
from tfbert.training.problem import prepare


@pytest.fixture(scope="module")
def untrained(tmp_path_factory):
    """A prepared problem with a calibration split, and a predictor without training."""
    data = small.write_data(tmp_path_factory.mktemp("calibration") / "data", train=30, validation=70, test=0)
    problem = prepare(small.config(data))
    _, model = run.build(problem, problem.config)
    return problem, Predictor(problem.task, model, problem.tokenizer, problem.config, run_eagerly=True)


def kept_examples(untrained, **options):
    """Return the variables of the examples that the predictor keeps with other options."""
    problem, predictor = untrained
    task = replace(problem.task, options=replace(problem.task.options, **options))
    fit_decision(replace(problem, task=task), predictor)
    return {name.removeprefix("evidence_"): variable.numpy() for name, variable in predictor.evidence.items()}


def test_training_examples_are_kept_with_their_vectors(untrained):
    problem, predictor = untrained
    kept = kept_examples(untrained)
    records = list(problem.splits["train"])
    assert kept["texts"].tolist() == [record.text.encode() for record in records]
    assert kept["labels"].tolist() == [record.target.encode() for record in records]
    assert kept["pairs"].size == 0
    vectors = predictor.vectors([{"text": record.text} for record in records])
    np.testing.assert_allclose(kept["vectors"], vectors / np.linalg.norm(vectors, axis=1, keepdims=True), atol=2e-3)


def test_fewer_examples_are_some_of_them_with_their_own_vectors(untrained):
    every, some = kept_examples(untrained), kept_examples(untrained, evidence=7)
    rows = [every["texts"].tolist().index(text) for text in some["texts"]]
    assert len(rows) == 7 and rows == sorted(rows)
    np.testing.assert_array_equal(some["vectors"], every["vectors"][rows])
    assert some["labels"].tolist() == every["labels"][rows].tolist()


def test_examples_do_not_need_a_domain(untrained):
    kept = kept_examples(untrained)
    without = kept_examples(untrained, out_of_domain="none")
    np.testing.assert_allclose(kept["vectors"], without["vectors"], atol=2e-3)


def test_no_scores_depend_on_kept_examples(untrained):
    problem, predictor = untrained
    before = kept_examples(untrained, evidence=5)["texts"].tolist()
    fit_decision(problem, predictor, with_domain=False)
    assert predictor.evidence["evidence_texts"].numpy().tolist() == before
