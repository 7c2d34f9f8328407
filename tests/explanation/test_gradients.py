"""Integrated gradients: contributions add up, whatever the number of windows and the size of micro-batches."""

import numpy as np
import pytest
from support.untrained import untrained_run

from tfbert.explanation import gradients
from tfbert.explanation.explainer import Explainer

ITEMS = [{"text": " ".join(["please send the invoices to London today"] * 9)}, {"text": "my card"}]


@pytest.mark.parametrize(
    ("task", "values"),
    [("classification", {}), ("classification", {"encoder__long_text": "mean"}), ("multilabel", {}), ("entities", {})],
)
def test_contributions_add_up(task, values):
    run = untrained_run(task, **values)
    outputs = Explainer(run.predictor, run_eagerly=True)(ITEMS, method="gradients")
    assert (outputs["gap"] >= 0).all() and outputs["gap"].max() < 0.02
    assert np.abs(outputs["contribution"].sum(axis=1)).min() > 1e-3


def test_a_window_is_differentiated_like_a_whole_text(monkeypatch):
    text = [{"text": "please send the invoices"}, {"text": "my card"}]
    whole, windows = (
        Explainer(untrained_run("classification", **values).predictor, run_eagerly=True)(text, method="gradients")
        for values in ({}, {"encoder__long_text": "max"})
    )
    np.testing.assert_allclose(windows["contribution"], whole["contribution"], atol=1e-5)
    monkeypatch.setattr(gradients, "_MICRO_BATCH_TOKENS", 60)
    predictor = untrained_run("classification").predictor
    split = Explainer(predictor, run_eagerly=True)(text, method="gradients")
    np.testing.assert_allclose(split["contribution"], whole["contribution"], atol=1e-5)
    assert predictor.model.backbone.token_lookup is None


def test_layers_below_frozen_ones_are_differentiated_too():
    run = untrained_run("classification")
    encoder = run.predictor.model.backbone
    explainer = Explainer(run.predictor, run_eagerly=True)
    before = explainer(ITEMS[1:], method="gradients")["contribution"]
    encoder.num_frozen_layers = encoder.num_layers
    try:
        np.testing.assert_allclose(explainer(ITEMS[1:], method="gradients")["contribution"], before, atol=1e-6)
        assert encoder.num_frozen_layers == encoder.num_layers
    finally:
        encoder.num_frozen_layers = None
