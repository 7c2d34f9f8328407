"""Tuning methods in the ordinary trainer: they have separate learning rates and are merged afterwards."""

import numpy as np
import pytest
from support.tunings import LowRankTuning

from tfbert.encoder.tuning import EMBEDDINGS, HEAD, layer_group
from tfbert.training import optimizers

INPUTS = ("token_ids", "segment_ids", "padding_mask")


def tune(method):
    """Return a function that attaches a tuning method to a model and freezes its head."""

    def change(model):
        model.head.trainable = False
        model.backbone.tune(method)

    return change


@pytest.mark.parametrize("fast", [True, False])
def test_a_low_rank_update_is_trained_alone_and_merged(make_trainer, fast):
    method = LowRankTuning()
    values = {"train__epochs": 6, "train__learning_rate": 0.2, "encoder__dropout": 0.0, "head__dropout": 0.0}
    trainer = make_trainer(change=tune(method), encoder__fast=fast, validation=False, **values)
    model = trainer.model
    before = {weight.path: np.asarray(weight) for weight in model.weights}
    trained = {weight.path for weight in model.trainable_weights}
    assert trained == set(method.groups()) and len(trained) == 2 * 2 * 2
    losses = [point["loss"] for point in trainer.train().curve]
    assert len(losses) == 6 * 3
    # The first and the last epoch have the same examples.
    assert np.mean(losses[-3:]) < np.mean(losses[:3]) - 0.05
    changed = {weight.path for weight in model.weights if not np.array_equal(weight, before[weight.path])}
    assert changed == trained
    batch = next(iter(trainer.objectives[0].batches([(np.arange(6),)])))
    inputs = {name: batch[name] for name in INPUTS}
    unmerged = model(inputs).numpy()
    model.backbone.merge()
    assert not trained & {weight.path for weight in model.weights}
    np.testing.assert_allclose(model(inputs), unmerged, rtol=1e-4, atol=1e-4)
    query = model.backbone.transformer_layers[0].products["query"].dense.kernel
    assert np.abs(query - before[query.path]).max() > 1e-4


def test_the_evaluated_model_in_another_precision_has_the_update(make_trainer):
    values = {
        "train__epochs": 2,
        "train__learning_rate": 0.1,
        "encoder__precision": "float16",
        "examples": 12,
        "head__start": "random",
    }
    trainer = make_trainer(change=lambda model: model.backbone.tune(LowRankTuning()), **values)
    trained, evaluated = trainer.model, trainer.evaluator.model
    assert trained is not evaluated and trained.backbone.dtype_policy.name == "mixed_float16"
    trainer.train()
    updates = [[update.update for _, update in model.backbone.tuning.attached] for model in (trained, evaluated)]
    assert all(np.array_equal(*pair) and np.any(pair[0]) for pair in zip(*updates, strict=True))


def test_learning_rate_groups(make_trainer):
    model = make_trainer(examples=8).model
    groups = optimizers.learning_rate_groups(model)
    by_path = {v.path: group for v, group in zip(model.trainable_variables, groups, strict=True)}
    assert by_path["embeddings_layer_norm/gamma"] == by_path["token_embedding/embeddings"] == EMBEDDINGS
    assert by_path["transformer_layer_1/feedforward_output_dense/bias"] == layer_group(1) == "layer_1"
    heads = {path for path, group in by_path.items() if group == HEAD}
    assert heads == {variable.path for variable in model.head.trainable_variables}
    assert set(groups) == {EMBEDDINGS, HEAD, "layer_0", "layer_1"}


def test_a_method_chooses_the_group_of_its_variables(make_trainer):
    method = LowRankTuning()
    values = {"train__layer_decay": 0.5, "train__head_learning_rate_factor": 7.0}
    trainer = make_trainer(examples=8, change=tune(method), **values)
    assert set(trainer.updater.optimizer.factors) == {7.0}
    method.groups = lambda: dict.fromkeys(LowRankTuning.groups(method), layer_group(0))
    assert set(optimizers.learning_rate_factors(trainer.model, trainer.objectives[0].config.train)) == {0.5}
    method.groups = lambda: dict.fromkeys(LowRankTuning.groups(method), "adapters")
    with pytest.raises(ValueError, match="group 'adapters' is not one of head, pooler, embeddings, layer_0, layer_1"):
        optimizers.learning_rate_factors(trainer.model, trainer.objectives[0].config.train)
