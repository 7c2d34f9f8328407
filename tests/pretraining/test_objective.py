"""Pretraining objective under the trainer: learning, reproducibility, accumulation, evaluation, and stopping."""

import collections
import dataclasses
import itertools
import math
import os
import signal

import keras
import numpy as np
import pytest
import tensorflow as tf
from support import packed

from tfbert.config import override
from tfbert.encoder.backbone import load_encoder
from tfbert.interrupts import Stopped
from tfbert.pretraining.config import PretrainConfig
from tfbert.pretraining.heads import PretrainingHead, PretrainingModel
from tfbert.pretraining.objective import HeldOutEvaluator, PretrainingObjective
from tfbert.training.checkpoint import Checkpoints
from tfbert.training.trainer import Trainer

tf.config.experimental.enable_op_determinism()
BASE = {
    "encoder.name": "tiny",
    "encoder.dropout": 0.0,
    "encoder.precision": "float32",
    "examples.sequence_length": 32,
    "train.batch_size": 8,
    "train.epochs": 2,
    "train.evaluations": 2,
    "train.learning_rate": 3e-3,
    "train.warmup_fraction": 0.0,
}
HELD_OUT = packed.batcher(12, seed=9)


@pytest.fixture(scope="module")
def make_trainer(tmp_path_factory):
    """Return a function from config paths to a trainer that runs eagerly, which is faster for a few updates."""

    def make(count=24, is_traced=False, held_out=HELD_OUT, has_new_head=False, log=lambda *_: None, **values):
        config = override(PretrainConfig(), BASE | {name.replace("__", "."): value for name, value in values.items()})
        keras.utils.set_random_seed(config.train.seed)
        backbone = load_encoder("tiny", dropout=config.encoder.dropout).backbone
        pairs = config.examples.pairs != "none"
        head = PretrainingHead(backbone, activation="gelu", layer_norm_epsilon=1e-12, with_pairs=pairs)
        model = PretrainingModel(backbone, head)
        run_dir = tmp_path_factory.mktemp("run")
        train = dataclasses.replace(packed.batcher(count), masker=packed.masker(seed=config.train.seed))
        objective = PretrainingObjective(model, config, train, has_new_head)
        evaluator = HeldOutEvaluator(model, objective, held_out, log, run_eagerly=not is_traced)
        checkpoints = Checkpoints(run_dir, "fingerprint", config.train.checkpoint_seconds)
        return Trainer(model, [objective], evaluator, config.train, checkpoints, run_eagerly=not is_traced)

    return make


def weights(trainer):
    return [np.asarray(variable) for variable in trainer.model.weights]


def same(first, second):
    return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def losses(progress):
    return np.array([point["masked_word_loss"] for point in progress.curve])


def test_losses_fall_and_one_graph_serves_all_shapes(make_trainer):
    # Evaluated on the training sequences with other masks, because this few sequences do not generalize.
    trainer = make_trainer(is_traced=True, held_out=packed.batcher(24), train__epochs=12, train__evaluations=1)
    num_traces, sums = collections.Counter(), trainer.model.sums

    def counted(batch, training):
        num_traces["training" if training else "evaluation"] += 1
        return sums(batch, training=training)

    trainer.model.sums = counted
    progress = trainer.train()
    before, after = (point.scores for point in progress.history)
    assert before["masked_word_loss"] == pytest.approx(math.log(len(packed.VOCABULARY)), abs=0.1)
    assert after["masked_word_loss"] < before["masked_word_loss"] - 0.15
    assert losses(progress)[-5:].mean() < losses(progress)[:5].mean() - 0.15
    (objective,) = trainer.objectives
    widths = {batch["token_ids"].shape[1] for batch in objective.batches(objective.plan(0))}
    assert len(widths) > 1
    assert num_traces == {"training": 1, "evaluation": 1}


def test_equal_seeds_give_equal_bits_and_other_seeds_other_losses(make_trainer):
    trainers = [make_trainer(train__epochs=1, encoder__dropout=0.1, train__seed=seed) for seed in (3, 3, 4)]
    first, repeated, other = [trainer.train() for trainer in trainers]
    assert same(weights(trainers[0]), weights(trainers[1]))
    assert first.curve == repeated.curve
    assert not np.allclose(losses(first), losses(other), atol=1e-3)


def test_masks_are_drawn_again_in_every_epoch(make_trainer):
    (objective,) = make_trainer().objectives
    plan = list(itertools.chain(*objective.groups(0, 6)))
    assert [draw for _, draw, _ in plan] == [1, 1, 1, 2, 2, 2]
    for epoch in (plan[:3], plan[3:]):
        assert sorted(np.concatenate([indices for indices, _, _ in epoch])) == list(range(24))
    # A plan that starts at a later update is the rest of the whole plan.
    for update in (1, 3, 4):
        remaining = list(itertools.chain(*objective.groups(update, 6)))
        assert len(remaining) == 6 - update
        assert all((a[0] == b[0]).all() and a[1:] == b[1:] for a, b in zip(remaining, plan[update:], strict=True))


def test_accumulated_batches_equal_one_large_batch(make_trainer):
    # The batches have different numbers of masked words and pairs; means are over all batches of an update.
    values = {"train__schedule": "constant", "train__epochs": 2}
    large = make_trainer(count=20, train__batch_size=32, **values)
    small = make_trainer(count=20, train__batch_size=8, train__accumulation_steps=4, **values)
    large_progress, small_progress = large.train(), small.train()
    assert large_progress.update == small_progress.update == 2
    np.testing.assert_allclose(losses(small_progress), losses(large_progress), rtol=1e-5)
    for name in ("pair_loss", "pair_accuracy", "masked_word_accuracy"):
        np.testing.assert_allclose(
            [p[name] for p in small_progress.curve], [p[name] for p in large_progress.curve], rtol=1e-5
        )
    for a, b in zip(weights(large), weights(small), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-4)


def test_the_frequency_baseline_equals_its_definition(make_trainer):
    trainer = make_trainer()
    train, special = trainer.objectives[0].train.sequences.token_ids.tolist(), set(vars(packed.SPECIAL).values())
    counts = {token: 1 + train.count(token) for token in range(len(packed.VOCABULARY)) if token not in special}
    batch = HELD_OUT.batch(np.arange(12), 0, 32)
    targets = batch["targets"][batch["weights"] > 0].tolist()
    most_frequent = max(counts, key=counts.get)
    assert trainer.evaluator.by_frequency() == pytest.approx(
        {
            "masked_word_loss": -sum(math.log(counts[t] / sum(counts.values())) for t in targets) / len(targets),
            "masked_word_accuracy": targets.count(most_frequent) / len(targets),
        }
    )


def test_scores_are_means_over_the_held_out_words_and_pairs(make_trainer):
    trainer = make_trainer(train__epochs=1)
    scores = trainer.evaluator.measure()
    batch = {name: tf.constant(v) for name, v in HELD_OUT.batch(np.arange(12), 0, 32).items()}
    sums = {name: float(value) for name, value in trainer.model.sums(batch, training=False).items()}
    masked, pairs = float(tf.reduce_sum(batch["weights"])), (batch["pair_labels"].numpy() >= 0).sum()
    assert scores == pytest.approx(
        {
            "masked_word_loss": sums["masked_words"] / masked,
            "masked_word_accuracy": sums["masked_words_right"] / masked,
            "pair_loss": sums["pairs"] / pairs,
            "pair_accuracy": sums["pairs_right"] / pairs,
            "perplexity": math.exp(sums["masked_words"] / masked),
            "num_masked_words": masked,
        },
        rel=1e-5,
    )
    assert trainer.evaluator.measure() == scores


def test_a_sample_of_the_held_out_sequences_is_evaluated(make_trainer):
    trainer = make_trainer(train__held_out_rows=4)
    lengths = HELD_OUT.lengths()[[0, 3, 7, 11]]
    assert trainer.evaluator.measure()["num_masked_words"] == sum(max(1, round(0.15 * (n - 3))) for n in lengths)


def test_evaluations_are_evenly_spread_and_logged(make_trainer):
    logged = []
    trainer = make_trainer(count=20, train__epochs=2, train__evaluations=4, log=lambda *args: logged.append(args))
    progress = trainer.train()
    assert [point.update for point in progress.history] == [0, 2, 3, 4, 6]
    assert [entry["update"] for entry, _ in logged] == [0, 2, 3, 4, 6]
    assert [[point["update"] for point in points] for _, points in logged] == [[], [1, 2], [3], [4], [5, 6]]
    assert progress.num_tokens == 2 * trainer.objectives[0].train.lengths().sum()


def set_scores(trainer, losses):
    remaining = iter(losses)
    trainer.evaluator.measure = lambda check: {"masked_word_loss": next(remaining)}


def test_early_stopping_restores_the_best_weights(make_trainer):
    trainer = make_trainer(count=8, train__epochs=6, train__evaluations=6, train__patience_evaluations=2)
    set_scores(trainer, [3.0, 2.0, 2.0, 2.5, 1.0])
    evaluated = []
    measure = trainer.evaluator.measure
    trainer.evaluator.measure = lambda check: evaluated.append(weights(trainer)) or measure(check)
    progress = trainer.train()
    assert (progress.update, progress.best_update, progress.best_score) == (3, 1, 2.0)
    assert same(weights(trainer), evaluated[1])
    assert not same(evaluated[1], evaluated[3])


def test_an_encoder_that_only_gets_worse_does_not_change(make_trainer):
    trainer = make_trainer(train__epochs=1)
    set_scores(trainer, [1.0, 2.0, 3.0])
    start = weights(trainer)
    assert trainer.train().best_update == 0
    assert same(weights(trainer), start)


def test_new_heads_learn_before_the_encoder(make_trainer):
    trainer = make_trainer(train__epochs=2, train__head_updates_fraction=0.5, train__evaluations=2, has_new_head=True)
    start, evaluated = weights(trainer), {}
    measure = trainer.evaluator.measure

    def measure_and_store(check):
        evaluated[trainer.progress.update] = weights(trainer)
        return measure(check)

    trainer.evaluator.measure = measure_and_store
    progress = trainer.train()
    assert list(evaluated) == [0, 3, 6]
    num_encoder = len(trainer.model.backbone.weights)
    assert same(evaluated[3][:num_encoder], start[:num_encoder])
    assert not any(np.array_equal(a, b) for a, b in zip(evaluated[3][num_encoder:], start[num_encoder:], strict=True))
    assert not any(np.array_equal(a, b) for a, b in zip(evaluated[6][:num_encoder], start[:num_encoder], strict=True))
    assert make_trainer(train__head_updates_fraction=0.5).num_head_updates == 0
    assert progress.finished


def test_short_sequences_come_first(make_trainer):
    trainer = make_trainer(train__epochs=2, train__short_updates_fraction=0.5)
    (objective,) = trainer.objectives
    plan = itertools.chain(*objective.groups(0, objective.num_updates))
    assert [limit for _, _, limit in plan] == [8, 8, 8, 32, 32, 32]
    progress = trainer.train()
    lengths = objective.train.lengths()
    assert progress.num_tokens == np.minimum(lengths, 8).sum() + lengths.sum()


def test_moving_averages_are_evaluated_and_kept(make_trainer):
    trainer = make_trainer(held_out=packed.batcher(24), train__epochs=1, train__evaluations=1, train__ema_momentum=0.5)
    averages = [np.asarray(v, np.float64) for v in trainer.model.trainable_variables]
    update = trainer.updater.update

    def update_and_average(groups):
        nonlocal averages
        sums = update(groups)
        values = [np.asarray(v, np.float64) for v in trainer.model.trainable_variables]
        averages = [0.5 * average + 0.5 * value for average, value in zip(averages, values, strict=True)]
        return sums

    trainer.updater.update = update_and_average
    progress = trainer.train()
    assert progress.best_update == 3
    for variable, average in zip(trainer.model.trainable_variables, averages, strict=True):
        np.testing.assert_allclose(np.asarray(variable), average, atol=1e-6)
    assert trainer.evaluator.measure()["masked_word_loss"] == pytest.approx(progress.best_score, rel=1e-6)


def test_divergence_is_explained(make_trainer):
    with pytest.raises(ValueError, match="at update .*Lower train.learning_rate=1e.30.*clip_norm=1"):
        make_trainer(train__learning_rate=1e30, train__schedule="constant").train()


def test_sequences_without_pairs_have_no_pair_scores(make_trainer):
    held_out = packed.batcher(6, pairs=False)
    progress = make_trainer(held_out=held_out, examples__pairs="none", train__epochs=1).train()
    assert not any("pair" in name for name in [*progress.curve[0], *progress.history[0].scores])


@pytest.fixture(scope="module")
def make_interruptible(make_trainer):
    """Return a function that makes the same trainer as in a separate process."""

    def make():
        keras.backend.clear_session()  # so that layers have the same names
        return make_trainer(count=16, train__checkpoint_seconds=1e9, train__ema_momentum=0.5)

    return make


@pytest.fixture(scope="module")
def uninterrupted(make_interruptible):
    """Return a trainer that was not stopped."""
    trainer = make_interruptible()
    trainer.train()
    return trainer


# 16 sequences are two updates per epoch; updates 2 and 4 are evaluated.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("during", "count", "point"),
    [
        ("update", 1, "update 1"),
        ("update", 2, "update 2"),
        ("evaluation", 2, "update 2, during evaluation"),
        ("update", 4, "update 4"),
        ("evaluation", 3, "update 4, during evaluation"),
    ],
)
def test_after_a_signal_training_resumes_to_the_same_bits(make_interruptible, uninterrupted, during, count, point):
    trainer = make_interruptible()
    owner, name = (trainer.updater, "update") if during == "update" else (trainer.evaluator, "measure")
    function, calls = getattr(owner, name), itertools.count(1)

    def interrupted(*args):
        if next(calls) == count:
            os.kill(os.getpid(), signal.SIGINT)
        return function(*args)

    setattr(owner, name, interrupted)
    with pytest.raises(Stopped) as stopped:
        trainer.train()
    checkpoint = trainer.checkpoints.run_dir / "checkpoint.safetensors"
    assert (stopped.value.message, stopped.value.exit_code) == (f"stopped after {point}; saved {checkpoint}", 130)
    resumed = make_interruptible()
    resumed.checkpoints.run_dir = trainer.checkpoints.run_dir
    progress = resumed.train()
    best = [finished.checkpoints.run_dir / "best.safetensors" for finished in (trainer, uninterrupted)]
    assert best[0].read_bytes() == best[1].read_bytes()
    assert same(weights(resumed), weights(uninterrupted))
    histories = [[(entry.update, entry.scores) for entry in p.history] for p in (progress, uninterrupted.progress)]
    assert histories[0] == histories[1] and progress.curve == uninterrupted.progress.curve
