"""Optimizers with warm-up and decay of the learning rate and a learning-rate factor for each variable."""

import math
from collections.abc import Sequence

import keras
import tensorflow as tf
from keras import ops

from tfbert.config import OptimizationConfig
from tfbert.encoder.active_embedding import ActiveEmbedding
from tfbert.encoder.tuning import EMBEDDINGS, HEAD, POOLER, encoder_groups, layer_group

# The term that keeps Adam from dividing by zero; the original BERT's value.
_EPSILON = 1e-6
_BETA_2 = 0.999


@keras.saving.register_keras_serializable("tfbert")
class WarmupDecay(keras.optimizers.schedules.LearningRateSchedule):
    """Learning rate schedule: linear warm-up, then decay to zero or a constant.

    Args:
        peak: the highest learning rate.
        warmup_steps: updates until the peak; 0 starts at the peak.
        total_steps: updates of the whole training.
        schedule: `linear`, `cosine` or `constant` after the peak.

    Source: Devlin et al. 2019 appendix A.2 for warm-up and linear decay. Ours differs in the first update: step 0 has
    1/warmup_steps of the peak, where the original has 0.
    """

    def __init__(self, peak: float, warmup_steps: int, total_steps: int, schedule: str):
        self.peak, self.warmup_steps = peak, warmup_steps
        self.total_steps, self.schedule = total_steps, schedule

    def __call__(self, step):
        """Return the learning rate of a 0-based update: float32 scalar."""
        step = ops.cast(step, "float32")
        warmup = (step + 1) / max(self.warmup_steps, 1)
        progress = (step - self.warmup_steps) / max(self.total_steps - self.warmup_steps, 1)
        progress = ops.clip(progress, 0.0, 1.0)
        if self.schedule == "linear":
            decay = 1 - progress
        elif self.schedule == "cosine":
            decay = 0.5 * (1 + ops.cos(math.pi * progress))
        else:
            decay = ops.ones_like(progress)
        return self.peak * ops.where(step < self.warmup_steps, warmup, decay)

    def get_config(self) -> dict:
        """Return the constructor's arguments."""
        return {
            "peak": self.peak,
            "warmup_steps": self.warmup_steps,
            "total_steps": self.total_steps,
            "schedule": self.schedule,
        }


class _Layerwise:
    """Mixin that multiplies the learning rate and the decay of each variable by its own factor.

    Args:
        factors: one for each variable, in the order of `build`.
        frozen_updates: for each variable, the number of updates at the start that leave it unchanged; `None` means 0.
        **kwargs: arguments of the optimizer.

    Attributes:
        is_compiled: whether XLA compiles the update: it takes seconds to compile and saves passes over memory.
    """

    is_compiled = True

    def __init__(self, *, factors: Sequence[float], frozen_updates: Sequence[int] | None = None, **kwargs):
        super().__init__(**kwargs)
        self.factors = tuple(factors)
        self.frozen_updates = tuple(frozen_updates or [0] * len(self.factors))

    def variable_rate(self, variable, learning_rate):
        """Return the learning rate of one variable in this update."""
        index = self._get_variable_index(variable)
        factor = self.factors[index]
        rate = learning_rate * factor if factor != 1 else learning_rate
        frozen = self.frozen_updates[index]
        return ops.where(self.iterations >= frozen, rate, 0.0) if frozen else rate

    def update_step(self, gradient, variable, learning_rate):
        """Decay one variable, then apply its gradient, both with the variable's own learning rate."""
        rate = self.variable_rate(variable, learning_rate)
        if self._use_weight_decay(variable):
            self.assign_sub(variable, variable * self.weight_decay * rate)
        super().update_step(gradient, variable, rate)

    def _apply_weight_decay(self, variables):
        """Do nothing: `update_step` decays, where Keras would use one learning rate for all variables."""


class LayerwiseAdamW(_Layerwise, keras.optimizers.AdamW):
    """AdamW with a factor on the learning rate of every variable.

    The update is TensorFlow's fused Adam kernel: one pass per variable, where Keras has a dozen operations. It takes
    plain variables, not those of a strategy, which `Replicas` never creates.
    """

    is_compiled = False

    def apply(self, grads, trainable_variables=None):
        """Update all variables."""
        # Shared by all variables.
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
        rate = tf.cast(self.variable_rate(variable, learning_rate), tf.float32)
        weights, first, second = (_handle(v) for v in (variable, self._momentums[index], self._velocities[index]))
        if self._use_weight_decay(variable):
            # Decay: subtract a multiple of the weights.
            tf.raw_ops.ResourceApplyGradientDescent(
                var=weights, alpha=rate * self.weight_decay, delta=tf.convert_to_tensor(variable)
            )
        tf.raw_ops.ResourceApplyAdam(var=weights, m=first, v=second, lr=rate, grad=gradient, **self._constants)


def _handle(variable: keras.Variable | tf.Variable) -> tf.Tensor:
    return (variable.value if isinstance(variable, keras.Variable) else variable).handle


class LayerwiseLamb(_Layerwise, keras.optimizers.Lamb):
    """LAMB with a factor on the learning rate of every variable.

    Source: You et al. 2020, "Large Batch Optimization for Deep Learning", algorithm 2. Ours follows it where Keras does
        not: decay is part of the step that is scaled to the norm of the weights. As in the authors' code, variables
        without decay (biases and LayerNorm) get Adam's step, unscaled.
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
        rate = self.variable_rate(variable, learning_rate)
        if self._use_weight_decay(variable):
            update = update + self.weight_decay * variable
            norms = ops.sqrt(ops.sum(ops.square(variable))), ops.sqrt(ops.sum(ops.square(update)))
            is_safe = ops.logical_and(norms[0] > 0, norms[1] > 0)
            rate = rate * ops.where(is_safe, norms[0] / ops.where(is_safe, norms[1], 1.0), 1.0)
        self.assign_sub(variable, rate * update)


class LayerwiseAdafactor(_Layerwise, keras.optimizers.Adafactor):
    """Adafactor with a factor on the learning rate of every variable.

    Of the second moment of a matrix it keeps only the means of the rows and columns.

    Source: Shazeer and Stern 2018, "Adafactor", algorithms 4 and 5. Ours differs in that the run's schedule is the
        relative step size, without the upper bound of one over the root of the step, and in decoupled weight decay.
        Keras computes what the paper does but also holds a full second moment for every matrix, which defeats the
        purpose of Adafactor; ours does not.
    """

    def build(self, variables):
        """Create row and column means for matrices, and second moments for all other variables."""
        if self.built:
            return
        # Not Adafactor's own `build`, which would create the full second moments.
        keras.optimizers.Optimizer.build(self, variables)
        self._means = []
        for v in variables:
            shapes = [v.shape[:-1], (*v.shape[:-2], v.shape[-1])] if len(v.shape) > 1 else [v.shape]
            names = ("row", "column") if len(shapes) > 1 else ("second",)
            means = [self.add_variable(shape, name=f"{v.name}_{n}") for shape, n in zip(shapes, names, strict=True)]
            self._means.append(means)

    def update_step(self, gradient, variable, learning_rate):
        """Decay one variable, then apply its gradient."""
        index = self._get_variable_index(variable)
        rate = self.variable_rate(variable, learning_rate)
        if self._use_weight_decay(variable):
            self.assign_sub(variable, variable * self.weight_decay * rate)
        squared, means = ops.square(gradient) + self.epsilon_1, self._means[index]
        axes = (-1, -2) if len(means) > 1 else (None,)
        beta_2 = 1 - ops.power(ops.cast(self.iterations + 1, "float32"), self.beta_2_decay)
        for mean, axis in zip(means, axes, strict=True):
            new = squared if axis is None else ops.mean(squared, axis=axis)
            self.assign(mean, beta_2 * mean + (1 - beta_2) * new)
        second = means[0]
        if len(means) > 1:
            relative = means[0] / ops.mean(means[0], axis=-1, keepdims=True)
            second = ops.expand_dims(relative, -1) * ops.expand_dims(means[1], -2)
        update = gradient / ops.sqrt(second)
        update = update / ops.maximum(1.0, self._rms(update) / self.clip_threshold)
        self.assign_sub(variable, ops.maximum(self.epsilon_2, self._rms(variable)) * rate * update)


def learning_rate_groups(model: keras.Model) -> list[str]:
    """Return the learning-rate group of each trainable variable, in the order of the variables.

    A variable of the encoder is in the group of its layer, of the embeddings or of the pooler, unless the encoder's
    tuning method assigns it to another one. All other variables are in the group of the head.

    Args:
        model: built, with a `backbone`.
    """
    # Looked up among the encoder's variables: a head that is tied to the token embedding has that variable too.
    groups = encoder_groups(model.backbone)
    return [groups.get(variable.path, HEAD) for variable in model.trainable_variables]


def learning_rate_factors(model: keras.Model, config: OptimizationConfig) -> list[float]:
    """Return the factor on the learning rate of each trainable variable.

    The factor of the last encoder layer is 1, that of every other layer `layer_decay` times that of the layer above,
    and likewise for the embeddings below the first layer. The factor of the head is `head_learning_rate_factor`.

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
        model: built, with a `backbone`; all other layers are the head.
        config: settings of the optimizer.
        total_steps: updates of the whole training, which warm-up and decay depend on.
        head_steps: number of updates at the start that change only the head.
        active_embedding: rows that replace the token embedding; `None` trains the whole table.
    """
    warmup_steps = round(config.warmup_fraction * total_steps)
    peak = config.peak_learning_rate(model.backbone.hidden_dim)
    kind, options = _OPTIMIZERS[config.optimizer]
    optimizer = kind(
        factors=learning_rate_factors(model, config),
        frozen_updates=[0 if group == HEAD else head_steps for group in learning_rate_groups(model)],
        learning_rate=WarmupDecay(peak, warmup_steps, total_steps, config.schedule),
        weight_decay=config.weight_decay,
        global_clipnorm=config.clip_norm or None,
        **options,
    )
    variables = list(model.trainable_variables)
    undecayed = [v for v in variables if v.path.endswith(("bias", "gamma", "beta"))]
    optimizer.exclude_from_weight_decay(var_list=undecayed)
    optimizer.build(active_embedding.substitute(variables) if active_embedding else variables)
    return optimizer


_ADAM = {"beta_2": _BETA_2, "epsilon": _EPSILON}
_OPTIMIZERS = {"adamw": (LayerwiseAdamW, _ADAM), "lamb": (LayerwiseLamb, _ADAM), "adafactor": (LayerwiseAdafactor, {})}
