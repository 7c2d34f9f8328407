"""Fine-tuning on a task: its objective, its evaluation on the validation split, and the trainer made of both.

Everything in the training loop that calls a task is in this module.
"""

import itertools
import logging
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from tfbert.config import Config
from tfbert.encoder.precision import choose_precision
from tfbert.evaluation.wording import is_gain, score_line
from tfbert.heads.pooled import Embedder, PooledHead
from tfbert.tasks.base import Task, TaskModel
from tfbert.text.datasets import TokenizedSplit, batches, cut_batch, plan_evaluation, plan_training
from tfbert.text.packing import INPUTS, in_halves
from tfbert.text.records import Record
from tfbert.training.answering import Answering, answer_all
from tfbert.training.checkpoint import Checkpoints
from tfbert.training.distribution import ReplicaBatches, Replicas
from tfbert.training.monitoring import Evaluation, Monitor, NotFinite, Schedule
from tfbert.training.objectives import Batch, Group, Objective, PlannedBatch
from tfbert.training.problem import Problem
from tfbert.training.progress import EvaluationPoint, Progress
from tfbert.training.trainer import Trainer

logger = logging.getLogger(__name__)

_EVALUATION_BATCH_TOKENS = 8192
# On a processor larger micro-batches are no faster.
_MICRO_BATCH_TOKENS = 2048
# Limit for the pooled vectors that are held while a head alone is trained; more are computed when they are needed.
_MAX_VECTOR_BYTES = 2**30


class TaskObjective(Objective):
    """The loss of a task on its training split.

    Args:
        model: encoder and head, in training precision.
        task: defines the loss.
        facts: belong to the task.
        config: of the run.
        train: split to learn from.
        vectors: pooled vectors of all its rows, where no layer below the head is trained; `None` computes them for
            every batch.
    """

    name = "task"
    terms = ("loss",)

    def __init__(
        self,
        model: TaskModel,
        task: Task,
        facts: dict,
        config: Config,
        train: TokenizedSplit,
        vectors: np.ndarray | None = None,
    ):
        self.model, self.task, self.config, self.train, self.vectors = model, task, config, train, vectors
        self.unit_weights = task.unit_weights(train.targets, facts, config)
        self._lengths = np.minimum(train.lengths(), config.encoder.sequence_length)
        self._num_rows = np.diff(train.units)
        self.num_batches = math.ceil(len(train) / config.train.batch_size)
        self.accumulation_steps = config.train.accumulation_steps
        self.num_epochs = config.train.num_epochs(len(train))
        self.batch_spec = self.batches([]).element_spec

    def plan(self, epoch: int) -> list[PlannedBatch]:
        """Return the batches of an epoch, each with units of similar length."""
        train = self.config.train
        return [(units,) for units in plan_training(self._lengths, train.batch_size, train.seed, epoch)]

    def micro_batches(self, planned: PlannedBatch, num_replicas: int) -> list[PlannedBatch]:
        """Return a batch in parts of at most `train.part_tokens` tokens per device."""
        max_tokens = self.config.train.part_tokens
        if max_tokens is None:
            max_tokens = 0 if tf.config.list_physical_devices("GPU") else _MICRO_BATCH_TOKENS
        if self.task.by_batch or self.vectors is not None:
            max_tokens = 0
        parts = cut_batch(planned[0], self._lengths, self._num_rows, max_tokens * num_replicas)
        return [(units,) for units in parts]

    def batches(self, plan: Iterable[PlannedBatch]) -> tf.data.Dataset:
        """Return packed batches in the order of a plan."""
        units = (units for (units,) in plan)
        return batches(self.train, units, self.config.encoder.sequence_length, self.unit_weights, self.vectors)

    def losses(self, batch: Batch) -> dict[str, tf.Tensor]:
        """Return the weighted loss summed over the units of a batch."""
        losses = self.task.loss(self.logits(batch), batch, self.config)
        return {"loss": tf.reduce_sum(losses * batch["weights"])}

    def group(self, planned: Sequence[PlannedBatch], batches: Iterator[ReplicaBatches], replicas: Replicas) -> Group:
        """Return the group of an update, whose loss is divided by the weights of its units."""
        weights = self.unit_weights
        return Group(batches, {"loss": sum(float(len(i) if weights is None else weights[i].sum()) for (i,) in planned)})

    def token_ids(self) -> np.ndarray:
        """Return the ids of all tokens in the training split."""
        return self.train.token_ids()

    def logits(self, batch: Batch) -> tf.Tensor:
        """Return the logits of every row of a batch, with dropout."""
        if self.vectors is not None:
            return self.model.head.logits_of(batch["vectors"], training=True)
        if not self.task.by_record:
            return self.model(batch, training=True)
        # Only whole records are planned by length: their rows may be a short question and a long answer.
        halves, places = in_halves(batch)
        return tf.gather(tf.concat([self.model(half, training=True) for half in halves], axis=0), places)


@dataclass(frozen=True)
class Callbacks:
    """Functions called during a fine-tuning, with entries of its history as `report.json` has them.

    Args:
        log: called after every epoch with its entry and `[update, loss, learning rate]` of its updates.
        should_stop_early: called after every epoch with the history; training ends there if it returns true.
    """

    log: Callable[[dict, list], None] = lambda *_: None
    should_stop_early: Callable[[list[dict]], bool] = lambda history: False


class TaskEvaluation(Evaluation):
    """Evaluation of a task on the validation split after every epoch.

    A model whose head has no weights to train is evaluated before training as well: training has to improve on it.

    Args:
        problem: without a validation split the weights of the last epoch are kept.
        config: of the run.
        answering: holds the model that is evaluated.
        objective: determines the length of an epoch.
        callbacks: called after every epoch.
    """

    title = "validation"

    def __init__(
        self, problem: Problem, config: Config, answering: Answering, objective: TaskObjective, callbacks: Callbacks
    ):
        self.problem, self.answering, self.callbacks, self.model = problem, answering, callbacks, answering.model
        self.validation = problem.splits.get("validation")
        self.monitor = monitor_of(problem, config)
        self._is_chosen_by_user = bool(config.train.monitor)
        per_epoch = objective.updates_per_epoch
        starts_trained = self.validation is not None and not objective.model.head.trainable_weights
        first = 0 if starts_trained else per_epoch
        self.schedule = Schedule(
            updates=frozenset(range(first, objective.num_updates + 1, per_epoch)),
            updates_per_epoch=per_epoch,
            by_epoch=True,
            patience=config.train.patience_epochs,
        )

    def check_monitor(self) -> None:
        """Evaluate two examples, because a misspelt `train.monitor` should not cost an epoch.

        Raises:
            ValueError: the task has no metric of this name.
        """
        if self.validation is None or not self._is_chosen_by_user:
            return
        known = self.scores(list(itertools.islice(self.validation, 2)), lambda: None)
        if self.monitor.name not in known:
            raise ValueError(f"train.monitor={self.monitor.name}: wanted one of {', '.join(known)}")

    def measure(self, check: Callable[[], None]) -> dict[str, float] | None:
        """Return the metrics of the validation split without confidence intervals."""
        if self.validation is None:
            return None
        self.answering.refresh(self.problem.splits)
        return self.scores(self.validation, check, self.title)

    def scores(self, records: Iterable[Record], check: Callable[[], None], title: str = "") -> dict[str, float]:
        """Return the metrics of some records.

        Args:
            records: labelled.
            check: called before every batch.
            title: of the progress bar; empty for none.

        Raises:
            NotFinite: an output is NaN or infinite.
        """

        def ask(items):
            check()
            return self.answering(items)

        task, facts = self.problem.task, self.problem.facts
        outputs, gold = answer_all(ask, task, facts, records, None, title)
        for name, values in outputs.items():
            if values.dtype.kind == "f" and not np.isfinite(values).all():
                raise NotFinite(f"validation {name} is not finite")
        return task.quick_scores(outputs, gold, facts)

    def log(self, history: Sequence[EvaluationPoint], points: Sequence[dict]) -> None:
        """Log the untrained model's scores, or call the callback with an epoch."""
        if history[-1].update == 0:
            logger.info("before training  validation: %s", score_line(history[-1].scores))
        else:
            updates = [[point["update"], point["loss"], point["learning_rate"]] for point in points]
            self.callbacks.log(epoch_history(history)[-1], updates)

    def should_stop_early(self, history: Sequence[EvaluationPoint]) -> bool:
        """Return the answer of the callback."""
        return self.callbacks.should_stop_early(epoch_history(history))


def monitor_of(problem: Problem, config: Config) -> Monitor:
    """Return the metric that chooses the best epoch, with its direction."""
    name = config.train.monitor or problem.task.monitor_of(problem.facts)
    return Monitor(name, "higher" if is_gain(name) else "lower")


def epoch_history(history: Sequence[EvaluationPoint]) -> list[dict]:
    """Return one dict per epoch, as `report.json` has them, from the evaluations of a fine-tuning."""
    entries, num_examples, seconds = [], 0, 0.0
    for point in history:
        if point.update:
            entry = {
                "epoch": round(point.epoch),
                "loss": point.loss,
                "learning_rate": point.learning_rate,
                "seconds": point.seconds - seconds,
                "examples_per_second": (point.num_examples - num_examples) / (point.seconds - seconds),
            }
            if point.scores is not None:
                entry |= {"validation": point.scores, "validation_seconds": point.evaluation_seconds}
            entries.append(entry)
        num_examples, seconds = point.num_examples, point.seconds
    return entries


@dataclass(frozen=True)
class EpochHistory:
    """The course of a fine-tuning by epoch, as `report.json` has it.

    Args:
        history: one dict per epoch.
        best_epoch: 1-based epoch whose weights were kept; 0 where none was better than the untrained model.
        untrained: validation scores before training, where the untrained model can be evaluated.
    """

    history: list[dict]
    best_epoch: int
    untrained: dict[str, float] | None = None

    @classmethod
    def of(cls, progress: Progress) -> "EpochHistory":
        """Return the history of a finished training."""
        first = progress.history[0]
        untrained = first.scores if first.update == 0 else None
        return cls(epoch_history(progress.history), round(progress.best.epoch), untrained)

    @property
    def best_scores(self) -> dict[str, float] | None:
        """The validation scores of the weights that were kept; `None` without a validation split."""
        return self.history[self.best_epoch - 1].get("validation") if self.best_epoch else self.untrained


def task_trainer(
    problem: Problem,
    config: Config,
    model: TaskModel,
    answering: Answering,
    checkpoints: Checkpoints,
    callbacks: Callbacks = Callbacks(),
) -> Trainer:
    """Return the trainer of a fine-tuning.

    Args:
        problem: prepared.
        config: of this training.
        model: in training precision.
        answering: holds the model that is evaluated: the same architecture in float32, or the trained model itself.
        checkpoints: where the state is saved.
        callbacks: called after every epoch.
    """
    embed = _embedder(problem, model, config)
    train = problem.task.arrange(problem.tokenized["train"], embed, problem.facts, config)
    vectors = _fixed_vectors(model, train, embed)
    objective = TaskObjective(model, problem.task, problem.facts, config, train, vectors)
    evaluation = TaskEvaluation(problem, config, answering, objective, callbacks)
    return Trainer(model, [objective], evaluation, config.train, checkpoints, problem.replicas)


def initialize_head(problem: Problem, model: TaskModel, config: Config) -> None:
    """Give a new head better weights than random ones, if the task knows any."""
    # They need not be more exact than the training that follows.
    products = choose_precision(config.encoder.precision, config.encoder.fast).product_dtype
    embed = _embedder(problem, model, config, products)
    problem.task.start_head(model, embed, problem.tokenized["train"].targets, config)


def predict_rows(model: keras.Model, split: TokenizedSplit, sequence_length: int, rows: np.ndarray) -> np.ndarray:
    """Return a model's outputs for some rows, in their order: float32 `(len(rows), ...)`.

    Args:
        model: maps packed rows to one array per row.
        split: holds the rows.
        sequence_length: maximum length of a row in tokens.
        rows: indices.
    """
    by_row = replace(split, units=np.arange(len(split.starts)))
    lengths = by_row.lengths()[rows]
    batch_size = max(1, _EVALUATION_BATCH_TOKENS // int(max(lengths.max(), 8)))
    plan = plan_evaluation(lengths, batch_size)
    bar = tqdm(total=len(rows), desc="vectors", unit="row", leave=False, disable=None)
    forward = tf.function(
        lambda inputs: model(inputs, training=False),
        input_signature=[{name: tf.TensorSpec([None, None], tf.int32) for name in INPUTS}],
        autograph=False,
    )
    outputs = None
    for order, batch in zip(plan, batches(by_row, [rows[part] for part in plan], sequence_length), strict=True):
        values = forward({name: batch[name] for name in INPUTS}).numpy()
        if outputs is None:
            outputs = np.zeros((len(rows), *values.shape[1:]), np.float32)
        outputs[order] = values
        bar.update(len(order))
    bar.close()
    return outputs


def _embedder(
    problem: Problem, model: TaskModel, config: Config, products: str | None = None
) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function from rows of train to the vectors that the head pools; `products` is the dtype of products."""
    split, length = problem.tokenized["train"], config.encoder.sequence_length

    def embed(rows: np.ndarray) -> np.ndarray:
        with model.backbone.kernels_copied(products):
            return predict_rows(Embedder(model.backbone, model.head), split, length, rows)

    return problem.remembered(embed, f"{config.head.pooling} {model.backbone.dtype_policy.name} {products}")


def _fixed_vectors(
    model: TaskModel, train: TokenizedSplit, embed: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray | None:
    """Return the pooled vectors of all rows of train, if training does not change them and they are not too large."""
    num_rows = len(train.starts) - 1
    is_fixed = isinstance(model.head, PooledHead) and not model.backbone.trainable_weights
    if not is_fixed or 4 * num_rows * model.backbone.hidden_dim > _MAX_VECTOR_BYTES:
        return None
    return embed(np.arange(num_rows))
