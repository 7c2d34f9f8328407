"""Training only the active rows of the token embedding gives the result of training all of them."""

import numpy as np

from tfbert.text.datasets import TokenizedSplit

# Without decay, which only active rows have, and without dropout, which is irrelevant here but slow.
PLAIN = {"train__weight_decay": 0.0, "encoder__dropout": 0.0, "head__dropout": 0.0, "train__epochs": 1}


def weights_after(trainer):
    trainer.train()
    return [np.asarray(variable) for variable in trainer.model.weights]


def test_training_active_rows_gives_the_result_of_training_the_whole_table(make_trainer, monkeypatch):
    trainer = make_trainer(examples=24, **PLAIN)
    table = trainer.model.backbone.token_embedding.embeddings
    before, read = np.asarray(table), trainer.objectives[0].token_ids()
    assert 0 < len(read) < len(before)
    found = weights_after(trainer)
    unread = np.setdiff1d(np.arange(len(before)), read)
    np.testing.assert_array_equal(np.asarray(table)[unread], before[unread])
    assert np.abs(np.asarray(table)[read] - before[read]).max() > 1e-3
    monkeypatch.setattr(TokenizedSplit, "token_ids", lambda split: np.arange(len(before)))
    expected = weights_after(make_trainer(examples=24, **PLAIN))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_the_optimizer_and_the_network_only_have_the_active_rows(make_trainer):
    trainer = make_trainer(examples=8)
    read = len(trainer.objectives[0].token_ids())
    size = trainer.model.backbone.hidden_dim
    sizes = [tuple(variable.shape) for variable in trainer.updater.optimizer.variables]
    assert sizes.count((read, size)) == 2  # Adam's two moments
    assert (trainer.model.backbone.vocabulary_size, size) not in sizes


def test_moving_averages_of_the_rows_are_in_the_model_as_long_as_the_others(make_trainer):
    trainer = make_trainer(examples=16, train__ema_momentum=0.5)
    table, active = trainer.model.backbone.token_embedding.embeddings, trainer.updater.active_embedding
    active.vectors.assign(active.vectors + 1)
    trainer.updater.complete_model()
    trained = np.asarray(table)
    with trainer.updater.averages_in_place():
        read = trainer.objectives[0].token_ids()
        np.testing.assert_allclose(np.asarray(table)[read], trained[read] - 1, atol=1e-6)
    np.testing.assert_array_equal(table, trained)
