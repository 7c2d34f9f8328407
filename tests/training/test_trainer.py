"""The training loop: golden losses, repeatability, evaluation, early stopping and errors."""

import logging
import math
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from tfbert.models.predictor import predict_all
from tfbert.models.weights import load as load_weights
from tfbert.tasks.matching import FittedMatching
from tfbert.training.history import EpochHistory
from tfbert.training.objectives import Group

# Losses of the first updates of the tiny encoder with seed 3 on the data of `small.write_data`. They change with
# everything that affects training: data, initial weights, the order of batches, dropout, and the optimizer.
GOLDEN = [1.117826, 1.156896, 1.092957, 1.065117, 1.006783]
# An iterative solver initializes the head (logistic regression, until a gradient of 1e-4), and rounding determines
# where it stops, so losses vary by about 1e-4. A learning rate that is 5 % larger changes them by far more.
GOLDEN_TOLERANCE = 5e-4
# The only evaluations are those after each epoch.
BY_EPOCH = {"head__start": "random", "train__averaged_epochs": 0}
TIMES = ("seconds", "evaluation_seconds")


def losses(progress):
    return np.array([point["loss"] for point in progress.curve])


def weights(model):
    return [np.asarray(variable) for variable in model.weights]


def without_times(history):
    return [{name: value for name, value in vars(point).items() if name not in TIMES} for point in history]


def same(first, second):
    return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def count_calls(monkeypatch, owner, name, counts):
    """Count the calls of a method; a method in a graph is called once for each trace."""
    method = getattr(owner, name)

    def call(*args, **kwargs):
        counts[name] += 1
        return method(*args, **kwargs)

    monkeypatch.setattr(owner, name, call)


def test_golden_losses(make_trainer, monkeypatch):
    trainer = make_trainer("real", train__seed=3)
    traces = {"losses": 0, "decode": 0}
    (objective,) = trainer.objectives
    count_calls(monkeypatch, objective, "losses", traces)
    count_calls(monkeypatch, type(objective.task), "decode", traces)
    progress = trainer.train()
    np.testing.assert_allclose(losses(progress)[:5], GOLDEN, rtol=0, atol=GOLDEN_TOLERANCE)
    assert [point["update"] for point in progress.curve] == [1, 2, 3, 4, 5, 6]
    # A function traced again for a new shape is another graph, which rounds differently: a training that resumes after
    # a kill, and meets the shapes in another order, would diverge from an uninterrupted one.
    all_batches = list(objective.batches(objective.plan(0)))
    assert len({tuple(batch["token_ids"].shape) for batch in all_batches}) > 1
    trainer.updater.update({"task": Group(all_batches, {"loss": 24.0})})
    assert traces == {"losses": 1, "decode": 1}
    # Eager training gives the same losses, so the other tests need no tracing.
    eager = make_trainer(train__seed=3, examples=24, train__epochs=2).train()
    np.testing.assert_allclose(losses(eager), losses(progress), rtol=1e-4)
    faster = make_trainer(train__seed=3, examples=24, train__epochs=2, train__learning_rate=1.05 * 2e-3).train()
    assert np.abs(losses(faster)[:5] - GOLDEN).max() > 5 * GOLDEN_TOLERANCE


def test_sequences_of_records_are_computed_in_halves_with_the_same_scores(make_trainer, monkeypatch):
    trainer = make_trainer(encoder__dropout=0.0, head__dropout=0.0)
    (objective,) = trainer.objectives
    (batch,) = objective.batches([(np.arange(9),)]).take(1)
    assert not objective.task.by_record
    widths = []
    call = trainer.model.call
    monkeypatch.setattr(trainer.model, "call", lambda i, **k: widths.append(i["token_ids"].shape[1]) or call(i, **k))
    expected = objective.scores(batch)
    monkeypatch.setattr(type(objective.task), "by_record", True)
    np.testing.assert_allclose(objective.scores(batch), expected, atol=1e-5)
    assert len(widths) == 3 and widths[1] < widths[2] == widths[0]


def test_equal_seeds_give_equal_bits_and_other_seeds_other_losses(make_trainer):
    trainers = [make_trainer(train__seed=seed, examples=12) for seed in (3, 3, 4)]
    first, repeated, other = [trainer.train() for trainer in trainers]
    assert same(weights(trainers[0].model), weights(trainers[1].model))
    assert without_times(first.history) == without_times(repeated.history)
    assert first.curve == repeated.curve
    assert not np.allclose(losses(first), losses(other), atol=1e-3)


def test_the_fast_computation_of_the_encoder_can_be_disabled(make_trainer):
    values = {"encoder__dropout": 0.0, "head__dropout": 0.0, "examples": 12}
    trainers = [make_trainer(encoder__fast=fast, **values) for fast in (True, False)]
    layers = [trainer.model.backbone.transformer_layers[0] for trainer in trainers]
    assert [layer.fast for layer in layers] == [True, False]
    batches = [next(iter(trainer.objectives[0].batches([(np.arange(12),)]))) for trainer in trainers]
    logits = [trainer.objectives[0].scores(batch).numpy() for trainer, batch in zip(trainers, batches, strict=True)]
    assert not np.array_equal(*logits)  # the two computations round differently
    fast, plain = (losses(trainer.train()) for trainer in trainers)
    np.testing.assert_allclose(fast, plain, rtol=1e-3)


@pytest.mark.parametrize("weighted", ["none", "balanced"])
def test_accumulated_batches_equal_one_large_batch(make_trainer, weighted):
    values = {
        "encoder__dropout": 0.0,
        "head__dropout": 0.0,
        "train__epochs": 2,
        "train__schedule": "constant",
        "train__class_weights": weighted,
    }
    # One pool of batches sorted by length, so that four small batches and the large one hold the same examples.
    large = make_trainer(examples=20, train__batch_size=32, **values)
    small = make_trainer(examples=20, train__batch_size=8, train__accumulation_steps=4, **values)
    large_progress, small_progress = large.train(), small.train()
    assert len(large_progress.curve) == len(small_progress.curve) == 2
    np.testing.assert_allclose(losses(small_progress), losses(large_progress), rtol=1e-5)
    for a, b in zip(weights(large.model), weights(small.model), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-5)


@pytest.mark.parametrize("mode", ["eager", "real"])
def test_micro_batches_give_the_update_of_the_whole_batch(make_trainer, mode):
    values = {"encoder__dropout": 0.0, "head__dropout": 0.0, "train__epochs": 2, "train__accumulation_steps": 1}
    trainers = [
        make_trainer(mode, examples=20, train__batch_size=12, train__part_tokens=part_tokens, **values)
        for part_tokens in (0, 40)
    ]
    shapes_by_trainer = []
    for trainer in trainers:
        shapes = []
        (objective,) = trainer.objectives
        make = objective.batches
        objective.batches = lambda plan, make=make, shapes=shapes: record_shapes(make(plan), shapes)
        shapes_by_trainer.append(shapes)
    whole, split = [trainer.train() for trainer in trainers]
    assert len(whole.curve) == len(split.curve) == 4
    np.testing.assert_allclose(losses(split), losses(whole), rtol=1e-4)
    for a, b in zip(weights(trainers[0].model), weights(trainers[1].model), strict=True):
        np.testing.assert_allclose(a, b, atol=5e-5)
    assert (
        max(np.prod(shape) for shape in shapes_by_trainer[0])
        > 40
        >= max(np.prod(shape) for shape in shapes_by_trainer[1])
    )
    assert sum(rows for rows, _ in shapes_by_trainer[0]) == sum(rows for rows, _ in shapes_by_trainer[1]) == 40


@pytest.mark.parametrize(("num_layers", "learned"), [(0, {"head"}), (1, {"head", "transformer_layer_1"})])
def test_only_the_top_layers_are_trained(make_trainer, num_layers, learned):
    trainer = make_trainer(examples=16, train__trainable_layers=num_layers, train__ema_momentum=0.5)
    paths, before = [weight.path for weight in trainer.model.weights], weights(trainer.model)
    trainer.train()
    pairs = zip(paths, before, weights(trainer.model), strict=True)
    assert {path.split("/")[0] for path, old, new in pairs if not np.array_equal(old, new)} == learned


def record_shapes(batches, shapes):
    for batch in batches:
        shapes.append(tuple(batch["token_ids"].shape))
        yield batch


def test_a_batch_is_not_split_if_its_examples_are_compared_with_each_other(make_trainer, monkeypatch):
    (objective,) = make_trainer(train__part_tokens=1).objectives
    assert len(objective.micro_batches((np.arange(5),), 1)) == 5
    monkeypatch.setattr(type(objective.task), "by_batch", True)
    assert len(objective.micro_batches((np.arange(5),), 1)) == 1
    assert FittedMatching.by_batch


@pytest.mark.parametrize(("gpus", "num_parts"), [([], 4), (["GPU:0"], 1)])
def test_on_a_gpu_batches_are_not_split_by_default(make_trainer, monkeypatch, gpus, num_parts):
    (objective,) = make_trainer().objectives
    monkeypatch.setattr(objective, "lengths", np.full(64, 128))
    monkeypatch.setattr(objective, "num_sequences", np.ones(64, int))
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: gpus)
    micro_batches = objective.micro_batches((np.arange(64),), 1)
    assert [len(micro_batch) for (micro_batch,) in micro_batches] == [64 // num_parts] * num_parts
    # A batch shared by several devices may be larger.
    assert len(objective.micro_batches((np.arange(64),), 2)) == max(1, num_parts // 2)


def test_a_last_group_with_fewer_batches_is_an_update(make_trainer):
    progress = make_trainer(examples=20, train__batch_size=8, train__accumulation_steps=2).train()
    assert [point["update"] for point in progress.curve] == [1, 2, 3, 4]


def test_averaged_weights_are_evaluated_and_kept(make_trainer, monkeypatch):
    trainer = make_trainer(examples=20, train__ema_momentum=0.5, train__epochs=1, **BY_EPOCH)
    averages = [np.asarray(v, np.float64) for v in trainer.model.trainable_variables]
    update, evaluated = trainer.updater.update, []

    def follow(groups):
        nonlocal averages
        sums = update(groups)
        trainer.updater.complete_model()
        now = [np.asarray(v, np.float64) for v in trainer.model.trainable_variables]
        averages = [0.5 * average + 0.5 * value for average, value in zip(averages, now, strict=True)]
        return sums

    trainer.updater.update = follow
    (objective,), evaluator = trainer.objectives, trainer.evaluator
    evaluate = type(objective.task).evaluate
    monkeypatch.setattr(
        type(objective.task),
        "evaluate",
        lambda self, outputs, *args: evaluated.append(outputs["probabilities"]) or evaluate(self, outputs, *args),
    )
    trainer.train()
    for variable, average in zip(trainer.model.trainable_variables, averages, strict=True):
        np.testing.assert_allclose(np.asarray(variable), average, atol=1e-6)
    # The model now has the restored weights, which the outputs of the best epoch were computed with.
    outputs, _ = predict_all(evaluator.predictor, objective.task, evaluator.validation)
    np.testing.assert_allclose(evaluated[-1], outputs["probabilities"], atol=1e-6)


def script_scores(monkeypatch, trainer, scores, name="accuracy"):
    """Replace the scores on validation, one per epoch."""
    remaining = iter(scores)
    trainer.evaluator.loss = None
    evaluation = SimpleNamespace(values=lambda: {name: next(remaining)})
    monkeypatch.setattr(type(trainer.objectives[0].task), "evaluate", lambda *_: evaluation)


def weights_by_epoch(trainer):
    weights_of_epochs = []
    measure = trainer.evaluator.measure
    trainer.evaluator.measure = lambda check: weights_of_epochs.append(weights(trainer.model)) or measure(check)
    return weights_of_epochs


def test_patience_stops_training_and_the_best_weights_are_restored(make_trainer, monkeypatch, caplog):
    caplog.set_level(logging.INFO, "tfbert")
    trainer = make_trainer(examples=8, train__epochs=8, train__patience_epochs=2, **BY_EPOCH)
    script_scores(monkeypatch, trainer, [0.3, 0.6, 0.6, 0.5, 0.9])
    by_epoch = weights_by_epoch(trainer)
    progress = trainer.train()
    # An equal score is no improvement: epoch 2 stays the best, and epochs 3 and 4 use up the patience.
    assert (len(progress.history), progress.best.epoch, progress.best_score) == (4, 2, 0.6)
    assert caplog.messages[-1] == "stopped early after epoch 4: validation accuracy has not improved for 2 epochs"
    assert same(weights(trainer.model), by_epoch[1])
    assert not same(by_epoch[1], by_epoch[3])
    assert same(weights(trainer.evaluator.model), by_epoch[1])


def test_a_monitored_loss_is_better_when_lower(make_trainer, monkeypatch):
    trainer = make_trainer(examples=8, train__epochs=3, train__monitor="loss", **BY_EPOCH)
    script_scores(monkeypatch, trainer, [0.7, 0.2, 0.5], name="loss")
    assert trainer.train().best.epoch == 2


def mean_of(weights_of_epochs):
    return [
        np.mean(values, axis=0, dtype=np.float64).astype(values[0].dtype)
        for values in zip(*weights_of_epochs, strict=True)
    ]


@pytest.mark.parametrize(
    ("scores", "averaged"),
    [
        # After three epochs: the average.
        ([0.3, 0.6, 0.5, 0.7], [2, 3, 1]),
        ([0.3, 0.6, 0.5, 0.6], None),
    ],
)
def test_the_average_of_the_best_epochs_is_kept_if_it_is_better(make_trainer, monkeypatch, scores, averaged):
    trainer = make_trainer(examples=8, train__epochs=3, head__start="random", encoder__dropout=0.0, head__dropout=0.0)
    script_scores(monkeypatch, trainer, scores)
    by_epoch = weights_by_epoch(trainer)
    progress = trainer.train()
    assert (progress.average and progress.average.updates) == averaged
    assert progress.best_score == max(scores) and progress.best.epoch == 2
    kept = mean_of([by_epoch[epoch - 1] for epoch in averaged]) if averaged else by_epoch[1]
    assert same(weights(trainer.model), kept) and same(weights(trainer.evaluator.model), kept)
    history = EpochHistory.of(progress)
    assert history.best_scores == {"accuracy": max(scores)}
    assert (history.average or {}).get("epochs") == (sorted(averaged) if averaged else None)
    assert not list(trainer.checkpoints.run_dir.glob("evaluated-*"))


def test_averaging_is_repeated_after_a_kill(make_trainer, monkeypatch, tmp_path):
    values = {"examples": 8, "train__epochs": 3, "head__start": "random", "train__checkpoint_seconds": 0}
    whole = make_trainer(**values)
    script_scores(monkeypatch, whole, [0.3, 0.6, 0.5, 0.7])
    whole.train()
    killed = make_trainer(run_dir=tmp_path, **values)
    script_scores(monkeypatch, killed, [0.3, 0.6, 0.5])  # then an error
    with pytest.raises(RuntimeError, match="StopIteration"):
        killed.train()
    assert len(list(tmp_path.glob("evaluated-*"))) == 3
    again = make_trainer(run_dir=tmp_path, **values)
    script_scores(monkeypatch, again, [0.7])
    assert again.train().average.updates == [2, 3, 1]
    assert same(weights(again.model), weights(whole.model))
    assert not list(tmp_path.glob("evaluated-*"))


def script_scores_and_losses(monkeypatch, trainer, values):
    """Replace accuracy and loss on validation, one pair per evaluation."""
    remaining = iter(values)
    scores = SimpleNamespace(values=lambda: dict(zip(("accuracy", "loss"), next(remaining), strict=True)))
    monkeypatch.setattr(type(trainer.objectives[0].task), "evaluate", lambda *_: scores)


def test_an_epoch_with_the_score_of_the_untrained_model_is_kept_if_its_loss_is_lower(make_trainer, monkeypatch):
    trainer = make_trainer(examples=8)
    trained = weights_by_epoch(trainer)
    script_scores_and_losses(monkeypatch, trainer, [(0.6, 0.9), (0.6, 0.3), (0.5, 0.5), (0.1, 0.1), (0.1, 0.1)])
    history = EpochHistory.of(trainer.train())
    assert (history.best_epoch, history.average) == (1, None)
    assert same(weights(trainer.model), trained[1])


@pytest.mark.parametrize(
    ("last", "epochs"),
    [
        ([(0.60, 0.5), (0.62, 0.4)], [0, 1, 2]),
        ([(0.60, 0.2), (0.62, 0.4)], [1, 2]),
        # The epoch and the model before training have similar scores, so that the loss decides.
        ([(0.2, 0.1), (0.2, 0.1)], None),
    ],
)
def test_the_loss_decides_between_similar_scores(make_trainer, monkeypatch, caplog, last, epochs):
    caplog.set_level(logging.INFO, "tfbert")
    trainer = make_trainer(examples=8, encoder__dropout=0.0, head__dropout=0.0)
    trained = weights_by_epoch(trainer)
    script_scores_and_losses(monkeypatch, trainer, [(0.61, 0.6), (0.63, 0.7), (0.62, 0.7), *last])
    progress = trainer.train()
    history = EpochHistory.of(progress)
    assert (history.average or {}).get("epochs") == epochs
    if epochs:
        order = sorted(epochs, key=lambda epoch: epoch or 9)
        assert same(weights(trainer.model), mean_of([trained[epoch] for epoch in order]))
        words = "epochs 1, 2 and the model before training" if 0 in epochs else "epochs 1 and 2"
        assert caplog.messages[-1].startswith(f"average of {words}  validation: accuracy")
    else:
        assert history.best_epoch == 0 and same(weights(trainer.model), trained[0])
    assert not list(trainer.checkpoints.run_dir.glob("evaluated-*"))


def test_a_model_that_was_clearly_worse_before_training_is_not_averaged(make_trainer, monkeypatch):
    trainer = make_trainer(examples=8, encoder__dropout=0.0, head__dropout=0.0)
    script_scores_and_losses(monkeypatch, trainer, [(0.2, 0.1), (0.8, 0.7), (0.8, 0.8), (0.8, 0.6), (0.8, 0.1)])
    assert EpochHistory.of(trainer.train()).average["epochs"] == [1, 2]


def test_training_goes_on_while_the_loss_improves(make_trainer, monkeypatch, caplog):
    caplog.set_level(logging.INFO, "tfbert")
    trainer = make_trainer(examples=8, train__epochs=8, train__averaged_epochs=0)
    script_scores_and_losses(monkeypatch, trainer, [(0.6, 0.9), (0.5, 0.8), (0.5, 0.7), (0.6, 0.7), (0.5, 0.8)])
    assert len(trainer.train().history) == 5
    message = "stopped early after epoch 4: validation accuracy or loss has not improved for 2 epochs"
    assert caplog.messages[-1] == message


def test_the_model_before_training_is_kept_unless_an_epoch_is_better(make_trainer, monkeypatch):
    trainer = make_trainer(examples=8, train__averaged_epochs=0)
    before = weights(trainer.model)
    script_scores(monkeypatch, trainer, [0.6, 0.5, 0.6])
    history = EpochHistory.of(trainer.train())
    assert (history.best_epoch, history.untrained, history.best_scores) == (0, {"accuracy": 0.6}, {"accuracy": 0.6})
    assert same(weights(trainer.model), before)


def test_without_validation_the_last_epoch_is_kept(make_trainer):
    trainer = make_trainer(examples=8, validation=False, train__patience_epochs=1)
    by_epoch = weights_by_epoch(trainer)
    progress = trainer.train()
    assert EpochHistory.of(progress).best_epoch == 2 and EpochHistory.of(progress).untrained is None
    assert same(weights(trainer.model), by_epoch[1])
    assert "validation" not in EpochHistory.of(progress).history[0]


def test_the_loss_of_an_epoch_is_the_weighted_mean(make_trainer):
    trainer = make_trainer(examples=20, train__class_weights="balanced", train__epochs=1, **BY_EPOCH)
    progress = trainer.train()
    (objective,) = trainer.objectives
    by_batch = [objective.example_weights[examples].sum() for (examples,) in objective.plan(0)]
    assert progress.history[0].loss == pytest.approx(np.average(losses(progress), weights=by_batch), rel=1e-6)


@pytest.mark.parametrize("values", [{"train__learning_rate": 1e30}, {"train__learning_rate": 1e30, "train__epochs": 1}])
def test_divergence_is_explained(make_trainer, values):
    with pytest.raises(ValueError, match="of epoch .*Lower train.learning_rate=1e.30.*clip_norm=1"):
        make_trainer(examples=8, train__schedule="constant", **values).train()


def test_a_loss_of_nan_stops_training(make_trainer, monkeypatch):
    trainer = make_trainer(examples=12)
    task = trainer.objectives[0].task
    loss = task.loss
    calls = iter(range(100))
    monkeypatch.setattr(type(task), "loss", lambda self, *args: loss(*args) * (math.nan if next(calls) == 3 else 1.0))
    with pytest.raises(ValueError, match="loss became nan at update 2 of epoch 2 .*float32"):
        trainer.train()


def test_weights_broken_by_the_last_update_are_not_kept(make_trainer):
    trainer = make_trainer(examples=20, train__epochs=1)
    optimizer = trainer.updater.optimizer
    apply, calls = optimizer.apply, iter(range(100))

    def break_last(gradients, variables):
        apply([g * math.inf for g in gradients] if next(calls) == 2 else gradients, variables)

    optimizer.apply = break_last
    with pytest.raises(ValueError, match="weights are not finite after update 3 of epoch 1"):
        trainer.train()
    assert not (trainer.checkpoints.run_dir / "best.safetensors").exists()


def test_a_misspelt_monitor_is_refused_before_training(make_trainer):
    with pytest.raises(ValueError, match="train.monitor=acuracy: .* one of accuracy, macro_f1, mcc, loss"):
        make_trainer(train__monitor="acuracy")


@pytest.mark.parametrize(
    ("precision", "fast", "policy"),
    [("bfloat16", True, "float32"), ("bfloat16", False, "mixed_bfloat16"), ("float16", True, "mixed_float16")],
)
def test_low_precision_trains_and_evaluates_in_float32(make_trainer, precision, fast, policy):
    values = {"encoder__precision": precision, "encoder__fast": fast, "train__epochs": 2}
    values["train__checkpoint_seconds"] = 0.0
    trainer = make_trainer(examples=8, **values, **BY_EPOCH)
    assert trainer.model.backbone.dtype_policy.name == policy
    assert trainer.evaluator.model.backbone.dtype_policy.name == "float32"
    saved, run_dir = [], trainer.checkpoints.run_dir
    save = trainer.checkpoints.save
    trainer.checkpoints.save = lambda *args: (
        save(*args) or saved.append((run_dir / "checkpoint.safetensors").read_bytes())
    )
    progress = trainer.train()
    assert np.isfinite(losses(progress)).all()
    assert all(weight.dtype == np.float32 for weight in weights(trainer.model))
    assert same(weights(trainer.model), weights(trainer.evaluator.model))
    # Epoch 2 is identical if resumed from the checkpoint of epoch 1, which includes the optimizer and its loss scale.
    resumed = make_trainer(examples=8, **values, **BY_EPOCH)
    resumed_dir = resumed.checkpoints.run_dir
    (resumed_dir / "checkpoint.safetensors").write_bytes(saved[0])
    (resumed_dir / "best.safetensors").write_bytes((run_dir / "best.safetensors").read_bytes())
    arrays, _ = load_weights(resumed_dir / "checkpoint.safetensors")
    assert resumed.train().curve == progress.curve
    assert any("optimizer/" in name and "momentum" in name for name in arrays)
