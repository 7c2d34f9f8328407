"""Updates of a model's weights: gradient accumulation, mixed-precision loss scaling and moving averages."""

import contextlib
import functools
import math
import operator
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from tfbert import interrupts
from tfbert.config import OptimizationConfig
from tfbert.encoder.active_embedding import ActiveEmbedding
from tfbert.models import weights
from tfbert.models.graph_functions import graph_function
from tfbert.training.distribution import ALONE, Replicas, translated_worker_errors
from tfbert.training.memory import keep_memory
from tfbert.training.objectives import Group, Objective
from tfbert.training.progress import Sums


class Diverged(ValueError):
    """Training diverged: the loss, a weight or an output became NaN or infinite."""


# Distance between the dropout seeds of two processes; a prime, so that runs with consecutive seeds share none.
_SEED_STRIDE = 15_485_863


class Updater:
    """Changes the weights of a model by the gradient of its objectives' mean losses over groups of batches.

    Args:
        model: built, with a `backbone` whose dtype policy is the training precision.
        objectives: their weighted losses are added.
        optimizer: built for the model's trainable variables, with the rows of `active_embedding` in place of the table.
        config: settings of the moving average, and those that the message about divergence names.
        replicas: devices that share every batch.
        active_embedding: the rows of the token embedding that the batches read, if only these are trained. Only
            `complete_model` and the methods that call it write them into the table of the model.
        run_eagerly: whether to run without traced graphs, which for a few updates is faster; on a single device only.

    Attributes:
        request: whether a signal has asked this process to stop.

    One graph per objective serves every shape of batch: separate graphs would round differently, and a training that
    resumes after a kill meets the shapes in another order.
    """

    def __init__(
        self,
        model: keras.Model,
        objectives: Sequence[Objective],
        optimizer: keras.optimizers.Optimizer,
        config: OptimizationConfig,
        replicas: Replicas = ALONE,
        active_embedding: ActiveEmbedding | None = None,
        *,
        run_eagerly: bool = False,
    ):
        keep_memory()
        self.request, self._others_stop = interrupts.Request(), False
        self.model, self.objectives, self.optimizer, self.config = model, tuple(objectives), optimizer, config
        self.replicas, self.active_embedding = replicas, active_embedding
        self._trained = list(model.trainable_variables)
        if active_embedding:
            self._trained = active_embedding.substitute(self._trained)
        self.loss_scale = keras.optimizers.LossScaleOptimizer(optimizer) if "float16" in self.precision else None
        if self.loss_scale is not None:
            self.loss_scale.build(self._trained)
        averaged = self._trained if config.ema_momentum else []
        self._averages = [tf.Variable(v.value, trainable=False) for v in averaged]
        self._gradients = {o.name: self._gradient_function(o, run_eagerly) for o in self.objectives}
        self._add = graph_function(functools.partial(tf.nest.map_structure, tf.add), run_eagerly=run_eagerly)
        self._sum = graph_function(replicas.sum_over_processes, run_eagerly=run_eagerly)
        # XLA cannot compile the branch of float16's loss scaling.
        is_compiled = optimizer.is_compiled and self.loss_scale is None
        self._apply = graph_function(self._apply_gradients, run_eagerly=run_eagerly, jit_compile=is_compiled)

    @property
    def precision(self) -> str:
        """The name of the encoder's Keras dtype policy."""
        return self.model.backbone.dtype_policy.name

    @property
    def learning_rate(self) -> float:
        """The learning rate of the next update, before the factors of the variables."""
        return float(self.optimizer.learning_rate)

    def update(self, groups: Mapping[str, Group]) -> Sums:
        """Do one update, together with the other processes.

        The loss of a term is its sum over the whole group divided by the group's count, so accumulated batches equal
        one large batch even where the last is smaller.

        Args:
            groups: one group by the name of each objective.

        Returns:
            By the name of each objective, the results of `Objective.losses` summed over its group in all processes.

        Raises:
            ConnectionError: another process was lost.
        """
        with translated_worker_errors():
            sums, gradients = self.gradients(groups)
            self._apply(gradients)
            return {name: {term: float(value) for term, value in values.items()} for name, values in sums.items()}

    def gradients(self, groups: Mapping[str, Group]) -> tuple[dict[str, dict[str, tf.Tensor]], list[tf.Tensor]]:
        """Return what `update` returns and the gradient that it applies, which float16 multiplies by the loss scale."""
        results = [self._accumulated(objective, groups[objective.name]) for objective in self.objectives]
        sums = {objective.name: sums for objective, (sums, _) in zip(self.objectives, results, strict=True)}
        gradients = functools.reduce(self._add, [gradients for _, gradients in results])
        if self.replicas.num_workers > 1:
            # Once for the whole group, so that accumulation adds no network traffic.
            must_stop = tf.constant(float(bool(self.request)))
            sums, gradients, must_stop = self._sum([sums, gradients, must_stop])
            self._others_stop = float(must_stop) > 0
        return sums, gradients

    def _accumulated(self, objective: Objective, group: Group) -> tuple[dict[str, tf.Tensor], list[tf.Tensor]]:
        """Return the sums of losses and gradients over a group."""
        scales = {
            term: tf.constant(objective.weight / (group.counts[term] or 1.0), tf.float32) for term in objective.terms
        }
        gradients_of = self._gradients[objective.name]
        # One graph for every batch of the group: another one that also sums would take seconds to trace.
        return functools.reduce(self._add, (gradients_of(batch, scales) for batch in group.batches))

    @property
    def must_stop(self) -> bool:
        """Whether training has to stop after this update; the same in all processes."""
        return self._others_stop if self.replicas.num_workers > 1 else bool(self.request)

    def stopped(self, message: str) -> interrupts.Stopped:
        """Return the exception that stops this process, with the message for the user."""
        return interrupts.Stopped(message, self.request.number or signal.SIGTERM)

    def complete_model(self) -> None:
        """Write the trained rows of the token embedding into the model's table."""
        if self.active_embedding:
            self.active_embedding.write_table()

    @contextlib.contextmanager
    def averages_in_place(self) -> Iterator[None]:
        """Replace the model's weights by their moving averages, if any, inside a `with` block."""
        averaged = self._trained if self._averages else []
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
        """Return whether all weights are finite; the loss of an update does not show whether the update broke them."""
        self.complete_model()
        return all(np.isfinite(np.asarray(v)).all() for v in self.model.weights)

    def divergence(self, problem: str, rate: float) -> Diverged:
        """Return the error for a training that diverged, with advice for the user.

        Args:
            problem: which value is not finite, and where in training.
            rate: learning rate of the last update.
        """
        config, peak = self.config, self.config.peak_learning_rate(self.model.backbone.hidden_dim)
        return Diverged(
            f"{problem} (learning rate {rate:.2g}, precision {self.precision}); expected finite numbers. Lower "
            f"train.learning_rate={peak:g}, raise train.warmup_fraction={config.warmup_fraction:g}, "
            f"set train.clip_norm=1, or encoder.precision=float32"
        )

    def check_loss(self, loss: float, where: str, rate: float) -> None:
        """Refuse a loss that is NaN or infinite.

        Args:
            loss: mean loss of an update.
            where: position of the update in training, for the message.
            rate: learning rate of the update.

        Raises:
            Diverged: the loss is infinite or NaN.
        """
        if not math.isfinite(loss):
            raise self.divergence(f"loss became {loss} at {where}", rate)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays of a checkpoint; completes the model."""
        self.complete_model()
        arrays = {f"average/{index:04d}": average.numpy() for index, average in enumerate(self._averages)}
        for prefix, variables in self._state_variables().items():
            arrays |= weights.gather(prefix, variables)
        return arrays

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """Restore the state from the result of `arrays`.

        Raises:
            ValueError: it belongs to another model or optimizer.
        """
        for prefix, variables in self._state_variables().items():
            weights.scatter(prefix, variables, arrays)
        if self.active_embedding:
            self.active_embedding.read_table()
        for index, average in enumerate(self._averages):
            average.assign(arrays[f"average/{index:04d}"])

    def broadcast(self) -> None:
        """Give every process the chief's state and its own dropout seeds; to be called before the first update.

        Raises:
            ConnectionError: another process was lost.
        """
        if self.replicas.num_workers == 1:
            return
        self.restore(self.replicas.broadcast(self.arrays()))
        for variable in self.model.variables:
            if variable.path.endswith("seed_generator_state"):
                seed, count = np.asarray(variable)
                variable.assign([(seed + self.replicas.worker * _SEED_STRIDE) % 2**31, count])

    def _state_variables(self) -> dict[str, list]:
        # `variables` includes the states of the dropout generators.
        optimizer = self.loss_scale or self.optimizer
        return {"model": self.model.variables, "optimizer": optimizer.variables}

    def _gradient_function(self, objective: Objective, run_eagerly: bool) -> Callable:
        """Return the function that computes the sums of losses and gradients of a batch."""
        # Of several objectives, each leaves the heads of the others without a gradient.
        unconnected = tf.UnconnectedGradients.ZERO if len(self.objectives) > 1 else tf.UnconnectedGradients.NONE

        def shard_gradients(batch, factor, scales):
            with tf.GradientTape() as tape:
                sums = {name: value * factor for name, value in objective.losses(batch).items()}
                loss = functools.reduce(operator.add, [sums[name] * scales[name] for name in objective.terms])
                if self.loss_scale is not None:
                    loss = self.loss_scale.scale_loss(loss)
            gradients = tape.gradient(loss, [v.value for v in self._trained], unconnected_gradients=unconnected)
            return sums, [tf.convert_to_tensor(gradient) for gradient in gradients]

        def gradients_of(batches, scales):
            with self.active_embedding.in_use() if self.active_embedding else contextlib.nullcontext():
                return self.replicas.sum_local(functools.partial(shard_gradients, scales=scales), batches)

        scales = dict.fromkeys(objective.terms, tf.TensorSpec([], tf.float32))
        signature = [self.replicas.signature(objective.batch_spec), scales]
        return graph_function(gradients_of, run_eagerly=run_eagerly, input_signature=signature)

    def _apply_gradients(self, gradients):
        optimizer = self.loss_scale or self.optimizer
        optimizer.apply(gradients, self._trained)
        momentum = self.config.ema_momentum
        for average, variable in zip(self._averages, self._trained, strict=False):
            average.assign(momentum * average + (1 - momentum) * variable.value)
