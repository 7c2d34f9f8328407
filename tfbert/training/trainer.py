"""A model and tokenized splits in, trained weights and a history out; killed at any moment, it goes on where it was.

The loop is our own because Keras' `fit` can neither restart inside an epoch with the same batches nor weigh
accumulated batches by their examples.
"""

import itertools
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from tfbert.config import Config
from tfbert.evaluation.wording import is_gain
from tfbert.tasks.base import Task, TaskModel
from tfbert.text.datasets import TokenizedSplit, batches, plan_evaluation, plan_training
from tfbert.text.records import Record
from tfbert.text.splits import Split
from tfbert.training import checkpoint
from tfbert.training.answering import Answering, answer_all
from tfbert.training.optimizers import build_optimizer

_EVALUATION_BATCH_TOKENS = 8192
CHECKPOINT = "checkpoint.safetensors"
_BEST = "best.safetensors"
_INPUTS = ("token_ids", "segment_ids", "padding_mask")


@dataclass
class Progress:
    """What a training remembers besides its arrays; JSON-ready.

    Args:
        epoch: 0-based, the one that is running.
        update: updates done in it.
        loss_sum: of its examples' weighted losses so far, with `weight_sum` the weights.
        seconds: spent training in this epoch, over all processes.
        best_score: of the monitored metric, `None` before the first epoch ends.
        best_epoch: 1-based epoch of that score.
        history: one dict an epoch.
        losses: `[update of the run, mean loss, learning rate]` of every update.
        finished: nothing is left to do.
    """

    epoch: int = 0
    update: int = 0
    loss_sum: float = 0.0
    weight_sum: float = 0.0
    seconds: float = 0.0
    best_score: float | None = None
    best_epoch: int = 0
    history: list[dict] = field(default_factory=list)
    losses: list[list[float]] = field(default_factory=list)
    finished: bool = False


def predict_rows(model: keras.Model, split: TokenizedSplit, sequence_length: int, rows: np.ndarray) -> np.ndarray:
    """Return what a model gives for some rows, in their order: float32 `(len(rows), ...)`.

    Args:
        model: packed rows to one array a row.
        split: that has the rows.
        sequence_length: longest row in tokens.
        rows: indices.
    """
    by_row = replace(split, units=np.arange(len(split.starts)))
    lengths = by_row.lengths()[rows]
    batch_size = max(1, _EVALUATION_BATCH_TOKENS // int(max(lengths.max(), 8)))
    plan = plan_evaluation(lengths, batch_size)
    forward = tf.function(
        lambda inputs: model(inputs, training=False),
        input_signature=[{name: tf.TensorSpec([None, None], tf.int32) for name in _INPUTS}],
    )
    found = None
    for order, batch in zip(plan, batches(by_row, [rows[part] for part in plan], sequence_length), strict=True):
        part = forward({name: batch[name] for name in _INPUTS}).numpy()
        if found is None:
            found = np.zeros((len(rows), *part.shape[1:]), np.float32)
        found[order] = part
    return found


class Trainer:
    """Trains one model on one split.

    Args:
        task: gives loss and scores.
        facts: of the task.
        model: in training precision.
        answering: with the same architecture in float32, maybe the very same model.
        config: of the run.
        train: to learn from.
        validation: to choose the best epoch by; `None` keeps the last.
        run_dir: existing directory for checkpoints.
        identity: text that says which data and config this is; a checkpoint of another one is refused.
        log: called at the end of every epoch with its history entry and its part of `Progress.losses`.
        refresh: called before each validation, when `answering` has the weights that are to be evaluated.
    """

    def __init__(
        self,
        *,
        task: Task,
        facts: dict,
        model: TaskModel,
        answering: Answering,
        config: Config,
        train: TokenizedSplit,
        validation: Split | None,
        run_dir: Path,
        identity: str,
        log: Callable[[dict, list], None] = lambda *_: None,
        refresh: Callable[[], None] = lambda: None,
    ):
        self.task, self.facts, self.config = task, facts, config
        self.model, self.answering = model, answering
        self.train_split, self.validation = train, validation
        self.run_dir, self.identity, self.log, self.refresh = run_dir, identity, log, refresh
        self.monitor = config.train.monitor or task.monitor_of(facts)
        self.weights = task.unit_weights(train.targets, facts, config)
        self.epochs = config.train.num_epochs(len(train))
        num_batches = math.ceil(len(train) / config.train.batch_size)
        self.updates_per_epoch = math.ceil(num_batches / config.train.accumulation_steps)
        self.optimizer = build_optimizer(model, config.train, self.updates_per_epoch * self.epochs)
        self.loss_scale = keras.optimizers.LossScaleOptimizer(self.optimizer) if "float16" in _policy(model) else None
        if self.loss_scale is not None:
            self.loss_scale.build(model.trainable_variables)
        summed = model.trainable_variables if config.train.accumulation_steps > 1 else []
        self.sums = [tf.Variable(tf.zeros_like(v.value), trainable=False) for v in summed]
        self.averages = self._start_averages()
        self.progress = Progress()
        self.best: dict[str, np.ndarray] | None = None  # weights not yet on disk
        self.checkpoint_time = time.monotonic()
        # One graph for every shape, whichever comes first: graphs of their own would round differently, and a training
        # that goes on after a kill meets the shapes in another order.
        spec = batches(train, [], config.encoder.sequence_length, self.weights).element_spec
        signature = [spec, tf.TensorSpec([], tf.float32)]
        self._accumulate = tf.function(self._accumulate_batch, input_signature=signature)
        self._single = tf.function(self._gradients, input_signature=signature)
        # XLA fuses Adam's passes over all weights into one. float16 needs the branch of its loss scale instead.
        self._update = tf.function(self._apply, jit_compile=self.loss_scale is None)

    def train(self) -> Progress:
        """Train to the end or to early stopping, and leave the best weights in both models.

        Returns:
            The progress, finished.

        Raises:
            ValueError: the loss is no longer a number, a checkpoint of another run is in the way, or the task has no
                metric of the name to monitor.
        """
        self._resume()
        self._check_monitor()
        while not self.progress.finished:
            self._train_epoch()
            self._end_epoch()
            p, patience = self.progress, self.config.train.patience_epochs
            is_stale = patience and self.validation is not None and p.epoch - p.best_epoch >= patience
            p.finished = p.epoch >= self.epochs or bool(is_stale)
            if p.finished or self._is_checkpoint_due():
                self._save_checkpoint()
        arrays, _ = checkpoint.load(self.run_dir / _BEST)
        checkpoint.scatter("model", self.model.weights, arrays)
        self._copy_weights()
        return self.progress

    def _train_epoch(self) -> None:
        p, config = self.progress, self.config.train
        lengths = np.minimum(self.train_split.lengths(), self.config.encoder.sequence_length)
        plan = plan_training(lengths, config.batch_size, config.seed, p.epoch)
        done_batches = p.update * config.accumulation_steps
        rest = plan[done_batches:]
        stream = iter(batches(self.train_split, rest, self.config.encoder.sequence_length, self.weights))
        bar = tqdm(
            total=len(self.train_split),
            initial=sum(len(indices) for indices in plan[:done_batches]),
            desc=f"epoch {p.epoch + 1}/{self.epochs}",
            unit="ex",
            leave=False,
            mininterval=0.5,
            disable=None,  # None: shown on a terminal only, so that log files stay readable
        )
        for start in range(0, len(rest), config.accumulation_steps):
            started = time.monotonic()
            group = rest[start : start + config.accumulation_steps]
            loss = self._train_group(stream, group)
            p.seconds += time.monotonic() - started
            bar.update(sum(len(indices) for indices in group))
            bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
            if self._is_checkpoint_due() and start + len(group) < len(rest):
                self._save_checkpoint()
        bar.close()

    def _train_group(self, stream, group: list[np.ndarray]) -> float:
        p = self.progress
        rate = float(self.optimizer.learning_rate)
        weight = sum(float(len(i) if self.weights is None else self.weights[i].sum()) for i in group)
        scale = tf.constant(1.0 / weight, tf.float32)
        if self.config.train.accumulation_steps == 1:
            loss_sum, gradients = self._single(next(stream), scale)
            self._update(gradients)
            loss_sum = float(loss_sum)
        else:
            loss_sum = sum(float(self._accumulate(next(stream), scale)) for _ in group)
            self._update([total.value() for total in self.sums])
            for total in self.sums:
                total.assign(tf.zeros_like(total))
        loss = loss_sum / weight
        if not math.isfinite(loss):
            self._explain_divergence(f"loss became {loss} at update {p.update + 1}", rate)
        p.update += 1
        p.loss_sum += loss_sum
        p.weight_sum += weight
        p.losses.append([p.epoch * self.updates_per_epoch + p.update, loss, rate])
        return loss

    def _gradients(self, batch, scale):
        # Of the summed loss times `scale`, one over the weights of the whole update: so accumulated batches equal one
        # large batch even where the last is smaller.
        with tf.GradientTape() as tape:
            logits = self.model(batch, training=True)
            losses = self.task.loss(logits, batch, self.config)
            loss_sum = tf.reduce_sum(losses * batch["weights"])
            objective = loss_sum * scale
            if self.loss_scale is not None:
                objective = self.loss_scale.scale_loss(objective)
        variables = [v.value for v in self.model.trainable_variables]
        return loss_sum, [tf.convert_to_tensor(g) for g in tape.gradient(objective, variables)]

    def _accumulate_batch(self, batch, scale):
        loss_sum, gradients = self._gradients(batch, scale)
        for total, gradient in zip(self.sums, gradients, strict=True):
            total.assign_add(gradient)
        return loss_sum

    def _apply(self, gradients):
        optimizer = self.loss_scale or self.optimizer
        optimizer.apply(gradients, self.model.trainable_variables)
        momentum = self.config.train.ema_momentum
        for average, variable in zip(self.averages, self.model.trainable_variables, strict=False):
            average.assign(momentum * average + (1 - momentum) * variable.value)

    def _start_averages(self) -> list[tf.Variable]:
        if not self.config.train.ema_momentum:
            return []
        return [tf.Variable(v.value, trainable=False) for v in self.model.trainable_variables]

    def _explain_divergence(self, what: str, rate: float) -> None:
        p, config = self.progress, self.config.train
        raise ValueError(
            f"{what} of epoch {p.epoch + 1} (learning rate {rate:.2g}, precision "
            f"{_policy(self.model)}); wanted finite numbers. Lower train.learning_rate={config.learning_rate:g}, "
            f"raise train.warmup_fraction={config.warmup_fraction:g}, "
            f"set train.clip_norm=1, or encoder.precision=float32"
        )

    def _check_monitor(self) -> None:
        # Before training, on one example: a misspelt name should not cost an epoch.
        if self.validation is None or self.progress.finished:
            return
        known = self._validate(list(itertools.islice(self.validation, 2)))
        if self.monitor not in known:
            raise ValueError(f"train.monitor={self.monitor}: wanted one of {', '.join(known)}")

    def _end_epoch(self) -> None:
        p = self.progress
        # The last update of all has no loss after it that would tell.
        if not all(np.isfinite(np.asarray(v)).all() for v in self.model.weights):
            self._explain_divergence(f"weights are not finite after update {p.update}", p.losses[-1][2])
        trained = self._swap_in_averages()
        entry = {
            "epoch": p.epoch + 1,
            "loss": p.loss_sum / p.weight_sum,
            "learning_rate": float(self.optimizer.learning_rate),
            "seconds": p.seconds,
            "examples_per_second": len(self.train_split) / p.seconds,
        }
        score = None
        if self.validation is not None:
            self._copy_weights()
            self.refresh()
            entry["validation"] = self._validate(self.validation, "validation")
            score = entry["validation"][self.monitor]
        p.history.append(entry)
        # Without validation every epoch is the best so far.
        better = score if score is None or is_gain(self.monitor) else -score
        if better is None or p.best_score is None or better > p.best_score:
            p.best_score, p.best_epoch = better, p.epoch + 1
            self.best = checkpoint.gather("model", self.model.weights)
        self._restore(trained)
        self.log(entry, p.losses[p.epoch * self.updates_per_epoch :])
        p.epoch, p.update, p.loss_sum, p.weight_sum, p.seconds = p.epoch + 1, 0, 0.0, 0.0, 0.0

    def _validate(self, records: Iterable[Record], title: str = "") -> dict[str, float]:
        answers, gold = answer_all(self.answering, self.task, self.facts, records, None, title)
        for name, values in answers.items():
            if values.dtype.kind == "f" and not np.isfinite(values).all():
                p = self.progress
                rate = p.losses[-1][2] if p.losses else 0.0
                self._explain_divergence(f"validation {name} is not finite after update {p.update}", rate)
        return self.task.quick_scores(answers, gold, self.facts)

    def _swap_in_averages(self) -> list[np.ndarray]:
        trained = [np.asarray(v) for v in self.model.trainable_variables] if self.averages else []
        for average, variable in zip(self.averages, self.model.trainable_variables, strict=False):
            variable.assign(average)
        return trained

    def _restore(self, trained: list[np.ndarray]) -> None:
        for value, variable in zip(trained, self.model.trainable_variables, strict=False):
            variable.assign(value)

    def _copy_weights(self) -> None:
        if self.answering.model is not self.model:
            for source, copy in zip(self.model.weights, self.answering.model.weights, strict=True):
                copy.assign(source.value)

    def _state_variables(self) -> dict[str, list]:
        # Beyond the weights `variables` holds the dropout generators' states.
        optimizer = self.loss_scale or self.optimizer
        return {"model": self.model.variables, "optimizer": optimizer.variables}

    def _is_checkpoint_due(self) -> bool:
        return time.monotonic() - self.checkpoint_time >= self.config.train.checkpoint_seconds

    def _save_checkpoint(self) -> None:
        arrays = {f"average/{index:04d}": average.numpy() for index, average in enumerate(self.averages)}
        for prefix, variables in self._state_variables().items():
            arrays |= checkpoint.gather(prefix, variables)
        if self.best is not None:
            # First, so that a checkpoint never speaks of best weights that are not there.
            checkpoint.save(self.run_dir / _BEST, self.best, {})
            self.best = None
        state = {"identity": self.identity, "progress": vars(self.progress)}
        checkpoint.save(self.run_dir / CHECKPOINT, arrays, state)
        self.checkpoint_time = time.monotonic()

    def _resume(self) -> None:
        path = self.run_dir / CHECKPOINT
        checkpoint.remove_parts(self.run_dir)
        if not path.exists():
            return
        arrays, state = checkpoint.load(path)
        if state["identity"] != self.identity:
            raise ValueError(f"{path}: is of another run (other data, config or seed); wanted an empty --out directory")
        for prefix, variables in self._state_variables().items():
            checkpoint.scatter(prefix, variables, arrays)
        for index, average in enumerate(self.averages):
            average.assign(arrays[f"average/{index:04d}"])
        self.progress = Progress(**state["progress"])


def _policy(model: TaskModel) -> str:
    return model.backbone.dtype_policy.name
