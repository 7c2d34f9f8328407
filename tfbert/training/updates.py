"""Groups of batches and a loss in, updated weights out: gradients, accumulation, loss scale and moving averages.

Fine-tuning and pretraining share it: neither knows how an update is done, and nothing else changes weights.
"""

import contextlib
import functools
import math
import operator
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfbert.config import OptimizationConfig
from tfbert.encoder.active_embedding import ActiveEmbedding
from tfbert.models import weights
from tfbert.training import interrupts
from tfbert.training.distribution import ALONE, Parts, Replicas, watched
from tfbert.training.memory import keep_memory

Batch = Mapping[str, tf.Tensor]


class Diverged(ValueError):
    """The numbers of a training are none any more; other settings may do better."""


# Between the dropout seeds of two processes; a prime, so that seeds that lie side by side stay apart.
_SEED_STRIDE = 15_485_863


class Updater:
    """Changes the weights of a model by the gradient of its mean losses over a group of batches.

    Args:
        model: built, with a `backbone` whose dtype policy tells the precision.
        losses: called with a batch inside a gradient tape, training; gives float32 scalars by name, each summed over
            the batch.
        terms: the names of those that are trained on; the others are summed up and handed back.
        optimizer: built for the model's trainable variables, with the rows of `active_embedding` in place of the table.
        config: how many batches make an update, the moving average, and what the message about divergence names.
        batch_spec: `element_spec` of the batches.
        replicas: that share every batch.
        active_embedding: the rows of the token embedding that the batches read, if only these are learned. The table
            of the model gets their values only in the methods that say so.

    Attributes:
        request: of a signal that asks this process to stop. Several processes stop after the same update.

    One graph serves every shape of batch, whichever comes first: graphs of their own would round differently, and a
    training that goes on after a kill meets the shapes in another order.
    """

    def __init__(
        self,
        *,
        model: keras.Model,
        losses: Callable[[Batch], Mapping[str, tf.Tensor]],
        terms: Sequence[str],
        optimizer: keras.optimizers.Optimizer,
        config: OptimizationConfig,
        batch_spec: Any,
        replicas: Replicas = ALONE,
        active_embedding: ActiveEmbedding | None = None,
    ):
        keep_memory()
        self.request, self._others_stop = interrupts.Request(), False
        self.model, self.losses, self.terms = model, losses, tuple(terms)
        self.optimizer, self.config, self.replicas = optimizer, config, replicas
        self.active_embedding, self._learned = active_embedding, list(model.trainable_variables)
        if active_embedding:
            self._learned = active_embedding.substitute(self._learned)
        self.loss_scale = keras.optimizers.LossScaleOptimizer(optimizer) if "float16" in self.precision else None
        if self.loss_scale is not None:
            self.loss_scale.build(self._learned)
        averaged = self._learned if config.ema_momentum else []
        self._averages = [tf.Variable(v.value, trainable=False) for v in averaged]
        signature = [replicas.signature(batch_spec), dict.fromkeys(self.terms, tf.TensorSpec([], tf.float32))]
        # None of them has branches or loops that depend on tensors, which is what autograph takes its time to look for.
        self._gradients = tf.function(self._gradients_here, input_signature=signature, autograph=False)
        self._add = tf.function(functools.partial(tf.nest.map_structure, tf.add), autograph=False)
        self._total = tf.function(replicas.total, autograph=False)
        # XLA cannot compile the branch that float16's loss scale needs.
        is_compiled = optimizer.is_compiled and self.loss_scale is None
        self._update = tf.function(self._apply, jit_compile=is_compiled, autograph=False)

    @property
    def precision(self) -> str:
        """Keras' name of the policy that the encoder computes in."""
        return self.model.backbone.dtype_policy.name

    @property
    def learning_rate(self) -> float:
        """The learning rate of the next update, before the factors of the layers."""
        return float(self.optimizer.learning_rate)

    def update(self, batches: Iterable[Parts], weights: Mapping[str, float]) -> dict[str, float]:
        """Do one update, together with the other processes.

        Args:
            batches: of the group, as `Replicas.stream` gives them.
            weights: by term, what its sum over the whole group is divided by, such as the number of its examples in all
                processes; so accumulated batches equal one large batch even where the last is smaller.

        Returns:
            What `losses` gave, summed over the group in all processes.

        Raises:
            ConnectionError: another process is gone.
        """
        scales = {name: tf.constant(1.0 / weights[name], tf.float32) for name in self.terms}
        with watched():
            # By the one graph for every batch of a group: another for sums would take seconds to trace.
            found = (self._gradients(batch, scales) for batch in batches)
            sums, gradients = functools.reduce(self._add, found)
            if self.replicas.num_workers > 1:
                # Once for the whole group: what goes over the wire is as much as for a single batch.
                asked = tf.constant(float(bool(self.request)))
                sums, gradients, asked = self._total([sums, gradients, asked])
                self._others_stop = float(asked) > 0
            self._update(gradients)
            return {name: float(value) for name, value in sums.items()}

    @property
    def must_stop(self) -> bool:
        """Whether training has to stop after the last update: all processes agree on it."""
        return self._others_stop if self.replicas.num_workers > 1 else bool(self.request)

    def stopped(self, message: str) -> interrupts.Stopped:
        """Return the error to stop with.

        Args:
            message: what the chief has saved.
        """
        return interrupts.Stopped(message, self.request.number or signal.SIGTERM)

    def complete_model(self) -> None:
        """Let the model have the rows of its token embedding as they were learned."""
        if self.active_embedding:
            self.active_embedding.write_table()

    @contextlib.contextmanager
    def averages_in_place(self) -> Iterator[None]:
        """Let the model have what was learned inside a `with` block: moving averages of it, if there are any."""
        averaged = self._learned if self._averages else []
        trained = [np.asarray(v) for v in averaged]
        for average, variable in zip(self._averages, averaged, strict=True):
            variable.assign(average)
        self.complete_model()
        try:
            yield
        finally:
            for value, variable in zip(trained, averaged, strict=True):
                variable.assign(value)
            self.complete_model()

    def has_finite_weights(self) -> bool:
        """Say whether all weights are numbers; the loss of an update tells only of the weights before it."""
        self.complete_model()
        return all(np.isfinite(np.asarray(v)).all() for v in self.model.weights)

    def divergence(self, what: str, rate: float) -> Diverged:
        """Return the error that says what a user can do where numbers are none any more.

        Args:
            what: happened, and where.
            rate: the learning rate then.
        """
        config = self.config
        return Diverged(
            f"{what} (learning rate {rate:.2g}, precision {self.precision}); wanted finite numbers. Lower "
            f"train.learning_rate={config.learning_rate:g}, raise train.warmup_fraction={config.warmup_fraction:g}, "
            f"set train.clip_norm=1, or encoder.precision=float32"
        )

    def check_loss(self, loss: float, where: str, rate: float) -> None:
        """Refuse a loss that is not a number.

        Args:
            loss: of an update.
            where: it happened.
            rate: the learning rate of the update.

        Raises:
            Diverged: the loss is infinite or NaN.
        """
        if not math.isfinite(loss):
            raise self.divergence(f"loss became {loss} at {where}", rate)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return all that decides how training goes on, for a checkpoint; the model has what was learned then."""
        self.complete_model()
        found = {f"average/{index:04d}": average.numpy() for index, average in enumerate(self._averages)}
        for prefix, variables in self._state_variables().items():
            found |= weights.gather(prefix, variables)
        return found

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """Take back what `arrays` gave.

        Raises:
            ValueError: they are of another model or optimizer.
        """
        for prefix, variables in self._state_variables().items():
            weights.scatter(prefix, variables, arrays)
        if self.active_embedding:
            self.active_embedding.read_table()
        for index, average in enumerate(self._averages):
            average.assign(arrays[f"average/{index:04d}"])

    def share(self) -> None:
        """Give every process the chief's state, as `arrays` has it, but dropout of its own; before the first update.

        Raises:
            ConnectionError: another process is gone.
        """
        if self.replicas.num_workers == 1:
            return
        self.restore(self.replicas.from_chief(self.arrays()))
        for variable in self.model.variables:
            if variable.path.endswith("seed_generator_state"):
                seed, count = np.asarray(variable)
                variable.assign([(seed + self.replicas.worker * _SEED_STRIDE) % 2**31, count])

    def _state_variables(self) -> dict[str, list]:
        # Beyond the weights `variables` holds the dropout generators' states.
        optimizer = self.loss_scale or self.optimizer
        return {"model": self.model.variables, "optimizer": optimizer.variables}

    def _gradients_here(self, batch, scales):
        def of_part(part, share):
            with tf.GradientTape() as tape:
                sums = {name: value * share for name, value in self.losses(part).items()}
                objective = functools.reduce(operator.add, [sums[name] * scales[name] for name in self.terms])
                if self.loss_scale is not None:
                    objective = self.loss_scale.scale_loss(objective)
            variables = [v.value for v in self._learned]
            return sums, [tf.convert_to_tensor(g) for g in tape.gradient(objective, variables)]

        with self.active_embedding.in_use() if self.active_embedding else contextlib.nullcontext():
            return self.replicas.locally(of_part, batch)

    def _apply(self, gradients):
        optimizer = self.loss_scale or self.optimizer
        optimizer.apply(gradients, self._learned)
        momentum = self.config.ema_momentum
        for average, variable in zip(self._averages, self._learned, strict=False):
            average.assign(momentum * average + (1 - momentum) * variable.value)
