"""Learning rates and updates, compared with values computed by hand."""

import math

import keras
import numpy as np
import pytest

from tfbert.training import optimizers
from tfbert.training.optimizers import LayerwiseAdafactor, LayerwiseAdamW, LayerwiseLamb, WarmupDecay


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        # Two of six updates are warm-up, with half of the peak and the peak; four steps of decay remain.
        ("linear", [0.5, 1.0, 1.0, 0.75, 0.5, 0.25, 0.0, 0.0]),
        ("cosine", [0.5, 1.0, 1.0, 0.5 + math.sqrt(0.125), 0.5, 0.5 - math.sqrt(0.125), 0.0, 0.0]),
        ("constant", [0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]),
    ],
)
def test_warmup_decay(schedule, expected):
    rate = WarmupDecay(0.02, 2, 6, schedule)
    rates = [float(rate(step)) for step in range(8)]
    np.testing.assert_allclose(rates, 0.02 * np.array(expected), rtol=1e-6, atol=1e-9)


def test_no_warmup_starts_at_the_peak():
    assert float(WarmupDecay(0.3, 0, 10, "linear")(0)) == pytest.approx(0.3)


def test_a_single_update_has_a_learning_rate():
    assert float(WarmupDecay(0.3, 0, 1, "linear")(0)) == pytest.approx(0.3)
    assert float(WarmupDecay(0.3, 1, 1, "cosine")(0)) == pytest.approx(0.3)


def test_a_schedule_is_restored_from_its_config():
    schedule = WarmupDecay(0.02, 2, 6, "cosine")
    restored = keras.optimizers.schedules.deserialize(keras.optimizers.schedules.serialize(schedule))
    assert [float(restored(step)) for step in range(8)] == [float(schedule(step)) for step in range(8)]


def numpy_adamw(value, gradients, rates, decay, beta_1=0.9, beta_2=0.999, epsilon=1e-6):
    """Return a value after AdamW updates in float64, by algorithm 2 of Loshchilov and Hutter 2019."""
    value, m, v = value.astype(np.float64), 0.0, 0.0
    for step, (gradient, rate) in enumerate(zip(gradients, rates, strict=True), 1):
        value = value - rate * decay * value
        m = beta_1 * m + (1 - beta_1) * gradient
        v = beta_2 * v + (1 - beta_2) * gradient**2
        # Keras adds epsilon to the root of the uncorrected second moment.
        corrected = rate * math.sqrt(1 - beta_2**step) / (1 - beta_1**step)
        value = value - corrected * m / (np.sqrt(v) + epsilon)
    return value


def test_updates_equal_adamw_by_hand():
    rng = np.random.default_rng(5)
    names, factors, shape = ["kernel", "bias", "gamma", "table"], [1.0, 0.25, 3.0, 0.5], (3, 2)
    variables = [keras.Variable(rng.normal(size=shape).astype("float32"), name=name) for name in names]
    starts = [np.asarray(variable) for variable in variables]
    schedule = WarmupDecay(0.1, 1, 4, "linear")
    optimizer = LayerwiseAdamW(factors=factors, learning_rate=schedule, weight_decay=0.2, beta_2=0.999, epsilon=1e-6)
    optimizer.exclude_from_weight_decay(var_list=variables[1:3])
    optimizer.build(variables)
    gradients = [[rng.normal(size=shape).astype(np.float32) for _ in variables] for _ in range(3)]
    for step in gradients:
        optimizer.apply([keras.ops.convert_to_tensor(g) for g in step], variables)
    rates = np.array([0.1, 0.1, 0.1 * 2 / 3])
    for index, (start, factor, decay) in enumerate(zip(starts, factors, [0.2, 0, 0, 0.2], strict=True)):
        expected = numpy_adamw(start, [step[index] for step in gradients], rates * factor, decay)
        np.testing.assert_allclose(np.asarray(variables[index]), expected, rtol=2e-5, atol=2e-6)


def numpy_lamb(value, gradients, rates, decay, is_fitted, beta_1=0.9, beta_2=0.999, epsilon=1e-6):
    """Return a value after LAMB updates in float64, by algorithm 2 of You et al. 2020.

    Args:
        is_fitted: whether the update is scaled to the norm of the value; otherwise it is that of Adam.
    """
    value, m, v = value.astype(np.float64), 0.0, 0.0
    for step, (gradient, rate) in enumerate(zip(gradients, rates, strict=True), 1):
        m = beta_1 * m + (1 - beta_1) * gradient
        v = beta_2 * v + (1 - beta_2) * gradient**2
        update = m / (1 - beta_1**step) / (np.sqrt(v / (1 - beta_2**step)) + epsilon) + decay * value
        value = value - rate * (np.linalg.norm(value) / np.linalg.norm(update) if is_fitted else 1.0) * update
    return value


def numpy_adafactor(value, gradients, rates, decay, beta_2_decay=-0.8, epsilon_1=1e-30, epsilon_2=1e-3):
    """Return a value after Adafactor updates in float64, by algorithms 4 and 5 of Shazeer and Stern 2018.

    Weight decay is decoupled, and learning rates are given instead of computed.
    """
    value = value.astype(np.float64)
    rows = columns = second = 0.0
    for step, (gradient, rate) in enumerate(zip(gradients, rates, strict=True), 1):
        value = value - rate * decay * value
        decay_rate, squared = 1 - step**beta_2_decay, gradient.astype(np.float64) ** 2 + epsilon_1
        if value.ndim == 1:
            second = decay_rate * second + (1 - decay_rate) * squared
        else:
            rows = decay_rate * rows + (1 - decay_rate) * squared.sum(-1)
            columns = decay_rate * columns + (1 - decay_rate) * squared.sum(-2)
            # Sums over a matrix as in the paper; the optimizer uses means.
            second = rows[..., :, None] * columns[..., None, :] / rows.sum(-1)[..., None, None]
        update = gradient / np.sqrt(second)
        update = update / max(1.0, np.sqrt((update**2).mean()))
        value = value - max(epsilon_2, np.sqrt((value**2).mean())) * rate * update
    return value


SHAPES = {"kernel": (3, 4), "bias": (5,), "deep": (2, 3, 4)}


@pytest.mark.parametrize("kind", [LayerwiseLamb, LayerwiseAdafactor])
def test_updates_equal_the_papers_by_hand(kind):
    rng = np.random.default_rng(6)
    variables = [keras.Variable(rng.normal(size=shape).astype("float32"), name=name) for name, shape in SHAPES.items()]
    starts = [np.asarray(variable) for variable in variables]
    options = {"beta_2": 0.999, "epsilon": 1e-6} if kind is LayerwiseLamb else {}
    factors, schedule = [1.0, 0.25, 3.0], WarmupDecay(0.1, 1, 4, "linear")
    optimizer = kind(factors=factors, learning_rate=schedule, weight_decay=0.2, **options)
    optimizer.exclude_from_weight_decay(var_list=variables[1:2])
    optimizer.build(variables)
    gradients = [[rng.normal(size=v.shape).astype(np.float32) for v in variables] for _ in range(3)]
    for step in gradients:
        optimizer.apply([keras.ops.convert_to_tensor(g) for g in step], variables)
    rates = np.array([0.1, 0.1, 0.1 * 2 / 3])
    for index, (start, factor, decay) in enumerate(zip(starts, factors, [0.2, 0, 0.2], strict=True)):
        steps = [step[index] for step in gradients]
        if kind is LayerwiseLamb:
            expected = numpy_lamb(start, steps, rates * factor, decay, is_fitted=index != 1)
        else:
            expected = numpy_adafactor(start, steps, rates * factor, decay)
        np.testing.assert_allclose(np.asarray(variables[index]), expected, rtol=2e-5, atol=2e-6)


def test_adafactor_keeps_no_second_moment_of_a_matrix():
    variables = [keras.Variable(np.ones(shape, "float32"), name=name) for name, shape in SHAPES.items()]
    optimizer = LayerwiseAdafactor(factors=[1.0] * 3, learning_rate=0.1)
    optimizer.build(variables)
    num_values = sum(int(np.prod(v.shape)) for v in optimizer.variables) - 2  # the step and the learning rate
    assert num_values == (3 + 4) + 5 + (2 * 3 + 2 * 4)


@pytest.mark.parametrize("kind", [LayerwiseAdamW, LayerwiseLamb, LayerwiseAdafactor])
def test_frozen_updates_leave_a_variable_unchanged(kind):
    variables = [keras.Variable(np.ones((2, 2), "float32"), name=name) for name in ("still", "moving")]
    optimizer = kind(factors=[1.0, 1.0], frozen_updates=[2, 0], learning_rate=0.1, weight_decay=0.1)
    optimizer.build(variables)
    values = []
    for _ in range(3):
        optimizer.apply([keras.ops.ones((2, 2))] * 2, variables)
        values.append([float(np.asarray(variable)[0, 0]) for variable in variables])
    assert [still for still, _ in values[:2]] == [1.0, 1.0]
    assert values[2][0] < 1.0 and values[0][1] < 1.0


@pytest.mark.parametrize("name", ["adamw", "lamb", "adafactor"])
def test_every_optimizer_lowers_the_loss_of_a_run(make_trainer, name):
    rate = {"adamw": 2e-3, "lamb": 2e-2, "adafactor": 5e-2}[name]
    values = {"train__optimizer": name, "train__learning_rate": rate, "train__epochs": 6}
    trainer = make_trainer(examples=8, encoder__dropout=0.0, head__dropout=0.0, head__start="random", **values)
    losses = [point["loss"] for point in trainer.train().curve]
    assert losses[-1] < losses[0] - 0.02


@pytest.fixture(scope="module")
def model(base_problem):
    from tfbert.models.build import build_models

    return build_models(base_problem.task, base_problem.encoder, base_problem.config)[0]


def train_config(base_problem, **values):
    import dataclasses

    return dataclasses.replace(base_problem.config.train, **values)


def test_factors_decrease_with_the_distance_from_the_head(base_problem, model):
    config = train_config(base_problem, layer_decay=0.5, head_learning_rate_factor=7.0)
    factors = optimizers.learning_rate_factors(model, config)
    by_part = {}
    for variable, factor in zip(model.trainable_variables, factors, strict=True):
        name = next((p for p in ("layer_0", "layer_1", "embedding", "head") if p in variable.path), variable.path)
        by_part.setdefault(name, set()).add(factor)
    # The factor is 1 for the last of two layers, 0.5 for the first, and 0.25 for the embeddings.
    assert by_part == {"layer_1": {1.0}, "layer_0": {0.5}, "embedding": {0.25}, "head": {7.0}}


def test_biases_and_norms_are_not_decayed(base_problem, model):
    optimizer = optimizers.build_optimizer(model, train_config(base_problem, weight_decay=0.5), 10)
    variables = model.trainable_variables
    before = [variable.numpy() for variable in variables]
    decayed, unchanged = set(), set()
    for variable in variables:
        variable.assign(keras.ops.ones_like(variable))
    # With gradients of zero, only weight decay changes the values.
    optimizer.apply([keras.ops.zeros_like(variable) for variable in variables], variables)
    for variable, value in zip(variables, before, strict=True):
        (unchanged if np.all(variable.numpy() == 1) else decayed).add(variable.path.rpartition("/")[2])
        variable.assign(value)
    assert decayed == {"kernel", "embeddings"}
    assert unchanged == {"bias", "gamma", "beta"}


def test_warmup_is_a_fraction_of_all_updates(base_problem, model):
    config = train_config(base_problem, learning_rate=0.01, warmup_fraction=0.2)
    optimizer = optimizers.build_optimizer(model, config, 20)
    rates = []
    for step in (0, 3, 4, 12, 20):
        optimizer.iterations.assign(step)
        rates.append(float(optimizer.learning_rate))
    np.testing.assert_allclose(rates, [0.0025, 0.01, 0.01, 0.005, 0.0], rtol=1e-6, atol=1e-9)


def test_the_default_learning_rate_depends_on_the_width_of_the_encoder(base_problem, model):
    config = train_config(base_problem, learning_rate=None, warmup_fraction=0.0)
    assert float(optimizers.build_optimizer(model, config, 20).learning_rate) == pytest.approx(2e-4)
    assert [config.peak_learning_rate(width) for width in (384, 512, 768)] == [2e-4, 2e-4, 5e-5]
    assert train_config(base_problem, learning_rate=0.01).peak_learning_rate(768) == 0.01


@pytest.mark.parametrize(("clip_norm", "factor"), [(1.0, 1 / 13), (26.0, 1.0), (0.0, 1.0)])
def test_clip_norm_is_over_all_gradients_together(base_problem, model, clip_norm, factor):
    optimizer = optimizers.build_optimizer(model, train_config(base_problem, clip_norm=clip_norm), 10)
    variables = model.trainable_variables
    before = [variable.numpy() for variable in variables]
    gradients = [np.zeros(variable.shape, np.float32) for variable in variables]
    gradients[1].flat[0], gradients[-1].flat[0] = 5.0, 12.0
    optimizer.apply([keras.ops.convert_to_tensor(gradient) for gradient in gradients], variables)
    for variable, value in zip(variables, before, strict=True):
        variable.assign(value)
    # The first moments of the first update are a tenth of the clipped gradient.
    moments = [np.asarray(v) for v in optimizer.variables if v.path.endswith("_momentum")]
    for moment, gradient in zip(moments, gradients, strict=True):
        np.testing.assert_allclose(moment, 0.1 * factor * gradient, rtol=1e-5)
