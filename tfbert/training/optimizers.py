"""Config in, optimizer out: AdamW with warm-up, decay, and a learning rate of its own for every layer."""

import math
import re
from collections.abc import Sequence

import keras
from keras import ops

from tfbert.config import TrainConfig

# Adam's own divisor guard; the original BERT's value.
_EPSILON = 1e-6
_BETA_2 = 0.999


@keras.saving.register_keras_serializable("tfbert")
class WarmupDecay(keras.optimizers.schedules.LearningRateSchedule):
    """Rise linearly from zero, then fall to zero or stay.

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


class LayerwiseAdamW(keras.optimizers.AdamW):
    """AdamW whose learning rate, and with it the decay, is multiplied by a factor that depends on the variable.

    Args:
        factors: one for each variable, in the order in which the optimizer is built with them.
        **kwargs: of `keras.optimizers.AdamW`.
    """

    def __init__(self, *, factors: Sequence[float], **kwargs):
        super().__init__(**kwargs)
        self.factors = tuple(factors)

    def update_step(self, gradient, variable, learning_rate):
        """Decay one variable, then apply its gradient, both with the variable's own learning rate."""
        rate = learning_rate * self.factors[self._get_variable_index(variable)]
        if self._use_weight_decay(variable):
            self.assign_sub(variable, variable * self.weight_decay * rate)
        super().update_step(gradient, variable, rate)

    def _apply_weight_decay(self, variables):
        """Do nothing: Keras would decay with one learning rate for all, before `update_step`."""


def learning_rate_factors(model: keras.Model, config: TrainConfig) -> list[float]:
    """Return the factor on the learning rate of each trainable variable.

    The last encoder layer has 1, every layer below `layer_decay` times the one above, the embeddings lowest of all;
    the head has `head_learning_rate_factor`.
    """
    num_layers = model.backbone.num_layers
    head = {variable.path for variable in model.head.trainable_variables}

    def factor(variable) -> float:
        if variable.path in head:
            return config.head_learning_rate_factor
        if "embedding" in variable.path:
            return config.layer_decay**num_layers
        layer = re.search(r"transformer_layer_(\d+)", variable.path)
        return config.layer_decay ** (num_layers - 1 - int(layer[1])) if layer else 1.0

    return [factor(variable) for variable in model.trainable_variables]


def build_optimizer(model: keras.Model, config: TrainConfig, total_steps: int) -> LayerwiseAdamW:
    """Return the optimizer of a run, built for the model's trainable variables.

    Args:
        model: a `TaskModel`.
        config: of training.
        total_steps: updates of the whole training, from which warm-up and decay are laid out.
    """
    warmup_steps = round(config.warmup_fraction * total_steps)
    optimizer = LayerwiseAdamW(
        factors=learning_rate_factors(model, config),
        learning_rate=WarmupDecay(config.learning_rate, warmup_steps, total_steps, config.schedule),
        weight_decay=config.weight_decay,
        beta_2=_BETA_2,
        epsilon=_EPSILON,
        global_clipnorm=config.clip_norm or None,
    )
    undecayed = [v for v in model.trainable_variables if v.path.rpartition("/")[2] in ("bias", "gamma", "beta")]
    optimizer.exclude_from_weight_decay(var_list=undecayed)
    optimizer.build(model.trainable_variables)
    return optimizer
