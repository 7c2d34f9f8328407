"""Updates: weighted losses of several objectives, accumulation, moving averages, float16, and stopping."""

import math
import signal
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfbert.config import OptimizationConfig
from tfbert.training.distribution import ALONE
from tfbert.training.objectives import Group, Objective
from tfbert.training.updates import Diverged, Updater


class Toy(keras.Model):
    """A model with one weight; its backbone only has a dtype policy and a width."""

    def __init__(self, precision="float32"):
        super().__init__(name="toy")
        self.backbone = SimpleNamespace(dtype_policy=keras.DTypePolicy(precision), hidden_dim=8)
        self.weight = self.add_weight(shape=(), initializer=keras.initializers.Constant(2.0), name="weight")
        self.built = True

    def call(self, inputs):
        return inputs * self.weight


class Proportional(Objective):
    """The loss `weight * value`, summed over a batch of values: its gradient is the sum of the values."""

    terms = ("loss",)
    batch_spec = tf.TensorSpec([None], tf.float32)
    num_batches = num_epochs = 1

    def __init__(self, model, name="toy", weight=1.0):
        self.model, self.name, self.weight = model, name, weight

    def plan(self, epoch):
        return [([0],)]

    def batches(self, plan):
        return []

    def losses(self, batch):
        return {"loss": tf.reduce_sum(self.model(batch)), "count": tf.cast(tf.size(batch), tf.float32)}

    def group(self, planned, batches, replicas):
        return Group(batches, {"loss": 1.0})


def values(*numbers):
    return tf.constant(numbers, tf.float32)


def updater_of(model, *objectives, rate=0.1, **config):
    optimizer = keras.optimizers.SGD(rate, name="sgd")
    optimizer.is_compiled = False
    optimizer.build(model.trainable_variables)
    config = OptimizationConfig(**config)
    return Updater(model, objectives or [Proportional(model)], optimizer, config)


def test_an_update_minimizes_the_mean_over_a_group():
    updater = updater_of(model := Toy())
    sums = updater.update({"toy": Group([values(1.0, 2.0), values(6.0)], {"loss": 3.0})})
    # The weight is 2, and the gradient (1 + 2 + 6) / 3 = 3.
    assert sums == {"toy": {"loss": 18.0, "count": 3.0}}
    assert float(model.weight) == pytest.approx(2.0 - 0.1 * 3.0)
    assert updater.learning_rate == pytest.approx(0.1)


def test_objectives_are_weighted_and_have_their_own_groups():
    model = Toy()
    updater = updater_of(model, Proportional(model, "one"), Proportional(model, "two", weight=0.5))
    groups = {"one": Group([values(1.0)], {"loss": 1.0}), "two": Group([values(8.0, 4.0)], {"loss": 2.0})}
    sums = updater.update(groups)
    assert {name: terms["loss"] for name, terms in sums.items()} == {"one": 2.0, "two": 24.0}
    assert float(model.weight) == pytest.approx(2.0 - 0.1 * (1.0 + 0.5 * 6.0))


def test_a_term_that_does_not_apply_to_a_group_changes_nothing():
    updater = updater_of(model := Toy())
    updater.update({"toy": Group([values()], {"loss": 0.0})})
    assert float(model.weight) == 2.0


def test_moving_averages_replace_the_weights_only_inside_the_block():
    updater = updater_of(model := Toy(), ema_momentum=0.75)
    updater.update({"toy": Group([values(4.0)], {"loss": 1.0})})
    trained, average = 2.0 - 0.4, 0.75 * 2.0 + 0.25 * 1.6
    with updater.averages_in_place():
        assert float(model.weight) == pytest.approx(average)
    assert float(model.weight) == pytest.approx(trained)
    # A checkpoint restores the averages too.
    restored = updater_of(other := Toy(), ema_momentum=0.75)
    restored.restore(updater.arrays())
    assert float(other.weight) == pytest.approx(trained)
    with restored.averages_in_place():
        assert float(other.weight) == pytest.approx(average)


def test_float16_scales_the_loss_and_the_update_does_not_change():
    updater = updater_of(model := Toy("mixed_float16"))
    assert updater.precision == "mixed_float16" and updater.loss_scale is not None
    updater.update({"toy": Group([values(3.0)], {"loss": 1.0})})
    assert float(model.weight) == pytest.approx(2.0 - 0.1 * 3.0)
    # A gradient that overflows is skipped, and the scale is reduced.
    scale = float(updater.loss_scale.dynamic_scale)
    updater.update({"toy": Group([values(math.inf)], {"loss": 1.0})})
    assert float(model.weight) == pytest.approx(1.7) and float(updater.loss_scale.dynamic_scale) == scale / 2


def test_broken_weights_and_losses_are_errors_with_advice():
    updater = updater_of(model := Toy(), learning_rate=0.25)
    assert updater.has_finite_weights()
    updater.check_loss(1.0, "update 1 of epoch 1", 0.1)
    with pytest.raises(Diverged, match=r"loss became inf at update 1 .*0\.1, precision float32.*learning_rate=0\.25"):
        updater.check_loss(math.inf, "update 1 of epoch 1", 0.1)
    model.weight.assign(np.nan)
    assert not updater.has_finite_weights()


def test_a_signal_stops_after_the_update():
    updater = updater_of(Toy())
    assert not updater.must_stop
    updater.request.handle(signal.SIGINT)
    assert updater.must_stop
    stopped = updater.stopped("saved it")
    assert (stopped.message, stopped.number) == ("saved it", signal.SIGINT)


def test_a_single_process_keeps_its_state():
    updater = updater_of(model := Toy())
    model.weight.assign(5.0)
    updater.broadcast()
    assert float(model.weight) == 5.0 and updater.replicas is ALONE
