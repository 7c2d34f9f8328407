"""Fitting the decision and the domain of a model to held-out splits, and the training examples that it keeps."""

from dataclasses import replace

import keras
import numpy as np
import pytest
from support import small

from tfbert.calibration.out_of_domain import METHODS
from tfbert.config import override
from tfbert.models.build import build_models, make_tokenizer
from tfbert.models.predictor import Predictor
from tfbert.training.calibration import decode_split, fit_decision
from tfbert.training.problem import prepare


@pytest.fixture(scope="module")
def problem(tmp_path_factory):
    data = small.write_data(tmp_path_factory.mktemp("calibration") / "data", train=60, validation=120, test=60)
    return prepare(small.config(data))


@pytest.fixture(scope="module")
def model(problem):
    keras.utils.set_random_seed(0)
    return build_models(problem.task, problem.encoder, problem.config)[1]


def predictor_of(problem, model):
    return Predictor(problem.task, model, make_tokenizer(problem.encoder), problem.config, run_eagerly=True)


@pytest.mark.parametrize("method", ["auto", *METHODS])
def test_few_new_texts_are_out_of_domain(problem, model, method):
    problem = problem.with_config(override(problem.config, {"decision.out_of_domain": method}))
    predictor = predictor_of(problem, model)
    calibration = fit_decision(problem, predictor)["calibration"]
    number = len(calibration.gold)
    assert number == len(problem.tokenized["calibration"]) == len(predictor.domain["calibration_scores"].numpy())
    p_values = predictor.apply_decision(decode_split(problem, predictor, "test").outputs)["out_of_domain"]
    assert (p_values < 0.05).mean() <= 0.2 and p_values.max() > 0.5 and p_values.min() >= 1 / (number + 1)
    assert (predictor.domain["energy_weight"].numpy() == 1) == (method == "energy") or method == "auto"


def test_without_the_domain_the_decision_is_the_same(problem, model):
    whole, part = predictor_of(problem, model), predictor_of(problem, model)
    fit_decision(problem, whole)
    decoded = fit_decision(problem, part, with_domain=False)
    assert decoded.keys() == {"calibration"} and len(part.domain["calibration_scores"].numpy()) == 0
    assert part.decided_values() == whole.decided_values()


def test_a_split_is_decoded_in_the_order_of_its_records(problem, model):
    predictor = predictor_of(problem, model)
    decoded = decode_split(problem, predictor, "test")
    records = list(problem.splits["test"])
    assert decoded.gold == [problem.task.gold(record) for record in records]
    alone = predictor.decode([problem.task.inputs_of(records[3])])
    np.testing.assert_allclose(decoded.outputs["logits"][3], alone["logits"][0], atol=1e-5)


def kept_examples(problem, model, **options):
    """Return the variables of the examples that a predictor keeps with other options of the task, and the predictor."""
    problem = replace(problem, task=replace(problem.task, options=replace(problem.task.options, **options)))
    predictor = predictor_of(problem, model)
    fit_decision(problem, predictor)
    return {
        name.removeprefix("evidence_"): variable.numpy() for name, variable in predictor.evidence.items()
    }, predictor


def test_training_examples_are_kept_with_their_vectors_with_and_without_a_domain(problem, model):
    records = list(problem.splits["train"])
    for method in ("mahalanobis", "none"):
        kept, predictor = kept_examples(problem, model, out_of_domain=method)
        assert kept["texts"].tolist() == [record.text.encode() for record in records]
        assert kept["labels"].tolist() == [record.target.encode() for record in records]
        assert kept["pairs"].size == 0
        vectors = predictor.vectors([{"text": record.text} for record in records])
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        np.testing.assert_allclose(kept["vectors"], vectors / norms, atol=2e-3)


def test_fewer_examples_are_some_of_them_with_their_own_vectors(problem, model):
    every, some = (kept_examples(problem, model, out_of_domain="none", evidence=number)[0] for number in (5000, 7))
    rows = [every["texts"].tolist().index(text) for text in some["texts"]]
    assert len(rows) == 7 and rows == sorted(rows)
    np.testing.assert_allclose(some["vectors"], every["vectors"][rows], atol=2e-3)
    assert some["labels"].tolist() == every["labels"][rows].tolist()
    assert kept_examples(problem, model, out_of_domain="none", evidence=0)[0] == {}


def test_without_the_domain_no_examples_are_kept(problem, model):
    predictor = predictor_of(problem, model)
    fit_decision(problem, predictor, with_domain=False)
    assert all(variable.numpy().size == 0 for variable in predictor.evidence.values())
