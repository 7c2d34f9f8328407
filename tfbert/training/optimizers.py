"""Optimizers with a learning rate schedule of warm-up and decay, and a factor on the learning rate of each variable."""

import math
from collections.abc import Sequence

import keras
import tensorflow as tf
from keras import ops

from tfbert.config import OptimizationConfig
from tfbert.encoder.active_embedding import ActiveEmbedding
from tfbert.encoder.tuning import EMBEDDINGS, HEAD, POOLER, encoder_groups, layer_group

# Adam's own divisor guard; the original BERT's value.
_EPSILON = 1e-6
_BETA_2 = 0.999


@keras.saving.register_keras_serializable("tfbert")
class WarmupDecay(keras.optimizers.schedules.LearningRateSchedule):
    """Learning rate schedule: linear warm-up, then decay to zero or a constant.

    Args:
        peak: the highest learning rate.
        warmup_steps: updates until the peak; 0 starts at it.
        total_steps: updates of the whole training.
        schedule: `linear`, `cosine` or `constant` after the peak.

    Source: Devlin et al. 2019 appendix A.2 for warm-up and linear decay. The first update already moves: step 0 has
    1/warmup_steps of the peak where the original has 0.
    """

    def __init__(self, peak: float, warmup_steps: int, total_steps: int, schedule: str):
        self.peak, self.warmup_steps = peak, warmup_steps
        self.total_steps, self.schedule = total_steps, schedule

    def __call__(self, step):
        """Return the learning rate of a 0-based update: float32 scalar."""
        step = ops.cast(step, "float32")
        warmup = (step + 1) / max(self.warmup_steps, 1)
        done = (step - self.warmup_steps) / max(self.total_steps - self.warmup_steps, 1)
        done = ops.clip(done, 0.0, 1.0)
        if self.schedule == "linear":
            decay = 1 - done
        elif self.schedule == "cosine":
            decay = 0.5 * (1 + ops.cos(math.pi * done))
        else:
            decay = ops.ones_like(done)
        return self.peak * ops.where(step < self.warmup_steps, warmup, decay)

    def get_config(self) -> dict:
        """Return the arguments."""
        return {
            "peak": self.peak,
            "warmup_steps": self.warmup_steps,
            "total_steps": self.total_steps,
            "schedule": self.schedule,
        }


class _Layerwise:
    """Multiplies learning rate and decay of an optimizer by a factor that depends on the variable.

    Args:
        factors: one for each variable, in the order in which the optimizer is built with them.
        still_updates: for each variable, the number of updates at the start that leave it unchanged; `None` means 0.
        **kwargs: of the optimizer.

    Attributes:
        is_compiled: whether an update of all variables is worth XLA's time to compile: some seconds, for one pass over
            memory instead of many.
    """

    is_compiled = True

    def __init__(self, *, factors: Sequence[float], still_updates: Sequence[int] | None = None, **kwargs):
        super().__init__(**kwargs)
        self.factors = tuple(factors)
        self.still_updates = tuple(still_updates or [0] * len(self.factors))

    def rate_of(self, variable, learning_rate):
        """Return the learning rate of one variable in this update."""
        index = self._get_variable_index(variable)
        factor = self.factors[index]
        rate = learning_rate * factor if factor != 1 else learning_rate
        still = self.still_updates[index]
        return ops.where(self.iterations >= still, rate, 0.0) if still else rate

    def update_step(self, gradient, variable, learning_rate):
        """Decay one variable, then apply its gradient, both with the variable's own learning rate."""
        rate = self.rate_of(variable, learning_rate)
        if self._use_weight_decay(variable):
            self.assign_sub(variable, variable * self.weight_decay * rate)
        super().update_step(gradient, variable, rate)

    def _apply_weight_decay(self, variables):
        """Do nothing: Keras would decay with one learning rate for all, before `update_step`."""


class LayerwiseAdamW(_Layerwise, keras.optimizers.AdamW):
    """AdamW with a factor on the learning rate of every variable.

    What Keras computes by a dozen operations a variable, TensorFlow's own step of Adam does in one pass. It takes
    plain variables only, not those of a strategy, which `Replicas` never makes.
    """

    is_compiled = False

    def apply(self, grads, trainable_variables=None):
        """Update all variables."""
        # The same for all of them.
        step = tf.cast(self.iterations + 1, tf.float32)
        self._constants = {
            "beta1_power": tf.pow(self.beta_1, step),
            "beta2_power": tf.pow(self.beta_2, step),
            "beta1": tf.constant(self.beta_1),
            "beta2": tf.constant(self.beta_2),
            "epsilon": tf.constant(self.epsilon),
        }
        super().apply(grads, trainable_variables)

    def update_step(self, gradient, variable, learning_rate):
        """Decay one variable, then apply its gradient, both with the variable's own learning rate."""
        index = self._get_variable_index(variable)
        rate = tf.cast(self.rate_of(variable, learning_rate), tf.float32)
        weights, first, second = (_handle(v) for v in (variable, self._momentums[index], self._velocities[index]))
        if self._use_weight_decay(variable):
            # Weights less a multiple of themselves.
            tf.raw_ops.ResourceApplyGradientDescent(
                var=weights, alpha=rate * self.weight_decay, delta=tf.convert_to_tensor(variable)
            )
        tf.raw_ops.ResourceApplyAdam(var=weights, m=first, v=second, lr=rate, grad=gradient, **self._constants)


def _handle(variable: keras.Variable | tf.Variable) -> tf.Tensor:
    return (variable.value if isinstance(variable, keras.Variable) else variable).handle


class LayerwiseLamb(_Layerwise, keras.optimizers.Lamb):
    """LAMB with a factor on the learning rate of every variable.

    Source: You et al. 2020, "Large Batch Optimization for Deep Learning", algorithm 2, which ours follows where Keras
        does not: decay is part of the step whose length is fitted to the weights, and what is not decayed (biases and
        LayerNorm) is not fitted either but moved as Adam would, as in the authors' code.
    """

    def update_step(self, gradient, variable, learning_rate):
        """Apply the gradient and the decay of one variable."""
        index = self._get_variable_index(variable)
        first, second = self._momentums[index], self._velocities[index]
        self.assign_add(first, (gradient - first) * (1 - self.beta_1))
        self.assign_add(second, (ops.square(gradient) - second) * (1 - self.beta_2))
        step = ops.cast(self.iterations + 1, "float32")
        corrected = first / (1 - ops.power(self.beta_1, step))
        update = corrected / (ops.sqrt(second / (1 - ops.power(self.beta_2, step))) + self.epsilon)
        rate = self.rate_of(variable, learning_rate)
        if self._use_weight_decay(variable):
            update = update + self.weight_decay * variable
            lengths = ops.sqrt(ops.sum(ops.square(variable))), ops.sqrt(ops.sum(ops.square(update)))
            is_safe = ops.logical_and(lengths[0] > 0, lengths[1] > 0)
            rate = rate * ops.where(is_safe, lengths[0] / ops.where(is_safe, lengths[1], 1.0), 1.0)
        self.assign_sub(variable, rate * update)


class LayerwiseAdafactor(_Layerwise, keras.optimizers.Adafactor):
    """Adafactor with a factor on the learning rate of every variable: of a matrix it keeps row and column means only.

    Source: Shazeer and Stern 2018, "Adafactor", algorithms 4 and 5. Ours differs in that the schedule of the run is
        the relative step size, without a ceiling of one over the root of the step, and in decoupled weight decay.
        Keras follows the paper in what is computed, but holds a second moment of full size for every matrix too,
        which is what Adafactor is there to save; ours does not.
    """

    def build(self, variables):
        """Make the row and column means of matrices, and second moments of all else."""
        if self.built:
            return
        # Keras' own `build` is passed over: it makes what this class is there to avoid.
        keras.optimizers.Optimizer.build(self, variables)
        self._means = []
        for v in variables:
            shapes = [v.shape[:-1], (*v.shape[:-2], v.shape[-1])] if len(v.shape) > 1 else [v.shape]
            names = ("row", "column") if len(shapes) > 1 else ("second",)
            made = [self.add_variable(shape, name=f"{v.name}_{n}") for shape, n in zip(shapes, names, strict=True)]
            self._means.append(made)

    def update_step(self, gradient, variable, learning_rate):
        """Decay one variable, then apply its gradient."""
        index = self._get_variable_index(variable)
        rate = self.rate_of(variable, learning_rate)
        if self._use_weight_decay(variable):
            self.assign_sub(variable, variable * self.weight_decay * rate)
        squared, means = ops.square(gradient) + self.epsilon_1, self._means[index]
        axes = (-1, -2) if len(means) > 1 else (None,)
        kept = 1 - ops.power(ops.cast(self.iterations + 1, "float32"), self.beta_2_decay)
        for mean, axis in zip(means, axes, strict=True):
            new = squared if axis is None else ops.mean(squared, axis=axis)
            self.assign(mean, kept * mean + (1 - kept) * new)
        second = means[0]
        if len(means) > 1:
            share = means[0] / ops.mean(means[0], axis=-1, keepdims=True)
            second = ops.expand_dims(share, -1) * ops.expand_dims(means[1], -2)
        update = gradient / ops.sqrt(second)
        update = update / ops.maximum(1.0, self._rms(update) / self.clip_threshold)
        self.assign_sub(variable, ops.maximum(self.epsilon_2, self._rms(variable)) * rate * update)


def learning_rate_groups(model: keras.Model) -> list[str]:
    """Return the learning-rate group of each trainable variable, in their order.

    A variable of the encoder is in the group of its layer, in that of the embeddings or in that of the pooler, unless
    the encoder's tuning method puts it into another one. All other variables are in the group of the head.

    Args:
        model: built, with a `backbone`.
    """
    # By the encoder's variables, not by the head's: a head that is tied to the token embedding has that too.
    groups = encoder_groups(model.backbone)
    return [groups.get(variable.path, HEAD) for variable in model.trainable_variables]


def learning_rate_factors(model: keras.Model, config: OptimizationConfig) -> list[float]:
    """Return the factor on the learning rate of each trainable variable.

    The last encoder layer has 1, every layer below `layer_decay` times the one above, the embeddings lowest of all;
    the head has `head_learning_rate_factor`.

    Raises:
        ValueError: the tuning method of the encoder names a group that does not exist.
    """
    num_layers = model.backbone.num_layers
    factors = {HEAD: config.head_learning_rate_factor, POOLER: 1.0, EMBEDDINGS: config.layer_decay**num_layers}
    factors |= {layer_group(index): config.layer_decay ** (num_layers - 1 - index) for index in range(num_layers)}
    groups = learning_rate_groups(model)
    if unknown := set(groups) - factors.keys():
        raise ValueError(f"learning-rate group {min(unknown)!r} is not one of {', '.join(factors)}")
    return [factors[group] for group in groups]


def build_optimizer(
    model: keras.Model,
    config: OptimizationConfig,
    total_steps: int,
    head_steps: int = 0,
    active_embedding: ActiveEmbedding | None = None,
) -> LayerwiseAdamW | LayerwiseLamb | LayerwiseAdafactor:
    """Return the optimizer of a run, built for the model's trainable variables.

    Args:
        model: with a `backbone`; what is not in it is the head.
        config: of training.
        total_steps: updates of the whole training, from which warm-up and decay are laid out.
        head_steps: the first updates, in which only the head moves.
        active_embedding: its rows take the place of the token embedding; `None` trains the whole table.
    """
    warmup_steps = round(config.warmup_fraction * total_steps)
    kind, own = _OPTIMIZERS[config.optimizer]
    optimizer = kind(
        factors=learning_rate_factors(model, config),
        still_updates=[0 if group == HEAD else head_steps for group in learning_rate_groups(model)],
        learning_rate=WarmupDecay(config.learning_rate, warmup_steps, total_steps, config.schedule),
        weight_decay=config.weight_decay,
        global_clipnorm=config.clip_norm or None,
        **own,
    )
    variables = list(model.trainable_variables)
    undecayed = [v for v in variables if v.path.endswith(("bias", "gamma", "beta"))]
    optimizer.exclude_from_weight_decay(var_list=undecayed)
    optimizer.build(active_embedding.substitute(variables) if active_embedding else variables)
    return optimizer


_ADAM = {"beta_2": _BETA_2, "epsilon": _EPSILON}
_OPTIMIZERS = {"adamw": (LayerwiseAdamW, _ADAM), "lamb": (LayerwiseLamb, _ADAM), "adafactor": (LayerwiseAdafactor, {})}
