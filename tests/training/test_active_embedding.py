"""Training only the active rows of the token embedding gives the result of training all of them."""

import numpy as np

from tfbert.text.datasets import TokenizedSplit

# Without weight decay, which applies only to active rows, and without dropout, which is irrelevant here and slow.
PLAIN = {
    "head__start": "random",
    "train__weight_decay": 0.0,
    "encoder__dropout": 0.0,
    "head__dropout": 0.0,
    "train__epochs": 1,
}


def weights_after(trainer):
    trainer.train()
    return [np.asarray(variable) for variable in trainer.model.weights]


def test_training_active_rows_gives_the_result_of_training_the_whole_table(make_trainer, monkeypatch):
    trainer = make_trainer(examples=24, **PLAIN)
    table = trainer.model.backbone.token_embedding.embeddings
    before, active = np.asarray(table), trainer.objectives[0].token_ids()
    assert 0 < len(active) < len(before)
    actual = weights_after(trainer)
    inactive = np.setdiff1d(np.arange(len(before)), active)
    np.testing.assert_array_equal(np.asarray(table)[inactive], before[inactive])
    assert np.abs(np.asarray(table)[active] - before[active]).max() > 1e-3
    monkeypatch.setattr(TokenizedSplit, "token_ids", lambda split: np.arange(len(before)))
    expected = weights_after(make_trainer(examples=24, **PLAIN))
    for actual_weight, expected_weight in zip(actual, expected, strict=True):
        np.testing.assert_allclose(actual_weight, expected_weight, atol=1e-5)


def test_the_optimizer_and_the_network_only_have_the_active_rows(make_trainer):
    trainer = make_trainer(examples=8)
    num_active = len(trainer.objectives[0].token_ids())
    size = trainer.model.backbone.hidden_dim
    sizes = [tuple(variable.shape) for variable in trainer.updater.optimizer.variables]
    assert sizes.count((num_active, size)) == 2  # Adam's two moments
    assert (trainer.model.backbone.vocabulary_size, size) not in sizes


def test_moving_averages_of_rows_are_in_the_model_only_during_evaluation(make_trainer):
    trainer = make_trainer(examples=16, train__ema_momentum=0.5)
    table, active = trainer.model.backbone.token_embedding.embeddings, trainer.updater.active_embedding
    active.vectors.assign(active.vectors + 1)
    trainer.updater.complete_model()
    trained = np.asarray(table)
    with trainer.updater.averages_in_place():
        token_ids = trainer.objectives[0].token_ids()
        np.testing.assert_allclose(np.asarray(table)[token_ids], trained[token_ids] - 1, atol=1e-6)
    np.testing.assert_array_equal(table, trained)
