"""Fine-tuning on a task: its objective, its evaluation on the validation split, and the trainer for both.

All code of the training loop that depends on tasks is in this module.
"""

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from tfbert.config import Config
from tfbert.encoder.precision import choose_precision
from tfbert.evaluation.formatting import score_line
from tfbert.evaluation.metric import Metric
from tfbert.heads.pooled import is_pooling
from tfbert.models.predictor import Predictor, predict_all
from tfbert.models.task_model import Embedder, TaskModel, embed_sequences
from tfbert.tasks.base import Embed, FittedTask
from tfbert.tasks.base_config import monitored_metric
from tfbert.tasks.base_decision import VALIDATION, Predicted
from tfbert.text.batches import batches, micro_batches, plan_training
from tfbert.text.datasets import TokenizedSplit
from tfbert.text.preprocessor import INPUTS, in_halves
from tfbert.text.records import Record
from tfbert.training.checkpoint import Checkpoints
from tfbert.training.distribution import ReplicaBatches, Replicas
from tfbert.training.history import epoch_history
from tfbert.training.mitigations import Mitigation
from tfbert.training.monitoring import Evaluator, NotFinite, Schedule
from tfbert.training.objectives import Batch, Group, Objective, PlannedBatch
from tfbert.training.problem import NOISY_COPIES, Problem
from tfbert.training.progress import Average, EvaluationPoint
from tfbert.training.resolved import max_micro_batch_tokens
from tfbert.training.trackers import UNTRACKED, Tracker
from tfbert.training.trainer import Trainer

logger = logging.getLogger(__name__)

# The metric that decides between similar scores.
_LOSS = "loss"
# Limit for the pooled vectors held in memory while only the head is trained; beyond it they are computed per batch.
_MAX_VECTOR_BYTES = 2**30


class TaskObjective(Objective):
    """The training objective of a task: its loss on the training split.

    Args:
        model: encoder and head, in training precision.
        task: defines the loss.
        config: config of the training.
        train: the result of `Problem.training_split`.
        vectors: pooled vectors of all its sequences, if only the head is trained; `None` computes them in every batch.
        mitigation: gives the records of train weights; `None` for none.

    Attributes:
        lengths: int64 `(num_examples,)`, tokens of the longest sequence of each example, after cutting.
        num_sequences: int64 `(num_examples,)`, sequences of each example.
    """

    name = "task"
    terms = ("loss",)

    def __init__(
        self,
        model: TaskModel,
        task: FittedTask,
        config: Config,
        train: TokenizedSplit,
        vectors: np.ndarray | None = None,
        mitigation: Mitigation | None = None,
    ):
        self.model, self.task, self.config, self.train, self.vectors = model, task, config, train, vectors
        self.lengths = np.minimum(train.lengths(), config.encoder.sequence_length)
        self.num_sequences = np.diff(train.examples)
        self._num_copies = NOISY_COPIES if config.train.noise else 1
        weights = task.example_weights(train)
        self.example_weights = mitigation.combined_with(weights, self._num_copies) if mitigation else weights
        self._num_per_copy = len(train) // self._num_copies
        self.num_batches = math.ceil(self._num_per_copy / config.train.batch_size)
        self.accumulation_steps = config.train.accumulation_steps
        self.num_epochs = config.train.num_epochs(self._num_per_copy, task.predicts_untrained)
        self.batch_spec = self.batches([]).element_spec

    def plan(self, epoch: int) -> list[PlannedBatch]:
        """Return the batches of an epoch, each with examples of similar length."""
        train, first = self.config.train, epoch % self._num_copies * self._num_per_copy
        plan = plan_training(self.lengths[first:][: self._num_per_copy], train.batch_size, train.seed, epoch)
        return [(first + examples,) for examples in plan]

    def micro_batches(self, planned: PlannedBatch, num_replicas: int) -> list[PlannedBatch]:
        """Split a batch into micro-batches of at most `train.part_tokens` tokens per device."""
        is_split = not self.task.by_batch and self.vectors is None
        max_tokens = max_micro_batch_tokens(self.config) if is_split else 0
        split = micro_batches(planned[0], self.lengths, self.num_sequences, max_tokens * num_replicas)
        return [(examples,) for examples in split]

    def batches(self, plan: Iterable[PlannedBatch]) -> tf.data.Dataset:
        """Return the batches of a plan in order."""
        examples = (examples for (examples,) in plan)
        return batches(self.train, examples, self.config.encoder.sequence_length, self.example_weights, self.vectors)

    def losses(self, batch: Batch) -> dict[str, tf.Tensor]:
        """Return the weighted loss summed over the examples of a batch."""
        losses = self.task.loss(self.scores(batch), batch)
        return {"loss": tf.reduce_sum(losses * batch["weights"])}

    def group(self, planned: Sequence[PlannedBatch], batches: Iterator[ReplicaBatches], replicas: Replicas) -> Group:
        """Return the group of an update; its loss is divided by the sum of its examples' weights."""
        weights = self.example_weights
        return Group(batches, {"loss": sum(float(len(i) if weights is None else weights[i].sum()) for (i,) in planned)})

    def token_ids(self) -> np.ndarray:
        """Return the ids of all tokens in the training split."""
        return self.train.token_ids()

    def scores(self, batch: Batch) -> tf.Tensor:
        """Return the scores (logits) of every sequence of a batch, with dropout."""
        if self.vectors is not None:
            assert is_pooling(self.model.head)
            return self.model.head.scores_of(batch["vectors"], training=True)
        inputs = {name: batch[name] for name in (*INPUTS, *self.train.features)}
        if not self.task.by_record:
            return self.model(inputs, training=True)
        # Records are grouped by total length, but their sequences may be a short question and a long answer.
        halves, indices = in_halves(inputs)
        return tf.gather(tf.concat([self.model(half, training=True) for half in halves], axis=0), indices)


@dataclass(frozen=True)
class Callbacks:
    """Functions called during fine-tuning, with entries of the history as in `report.json`.

    Args:
        log: called after every epoch with its entry and one `[update, loss, learning rate]` per update.
        should_stop_early: called after every epoch with the history; true stops training.
        logs: whether the other messages about the training are logged, such as its early stop.
    """

    log: Callable[[dict, list], None] = lambda *_: None
    should_stop_early: Callable[[list[dict]], bool] = lambda history: False
    logs: bool = True


class TaskEvaluator(Evaluator):
    """Evaluates a task on the validation split after every epoch.

    A model that predicts before training is also evaluated then.

    Args:
        problem: without a validation split, the weights of the last epoch are kept.
        config: config of the training.
        predictor: has the model that is evaluated.
        objective: determines the length of an epoch.
        callbacks: called after every epoch.
    """

    title = "validation"

    def __init__(
        self, problem: Problem, config: Config, predictor: Predictor, objective: TaskObjective, callbacks: Callbacks
    ):
        self.problem, self.predictor, self.callbacks, self.model = problem, predictor, callbacks, predictor.model
        self.validation, self.logs = problem.splits.get("validation"), callbacks.logs
        self._info = logger.info if self.logs else lambda *_: None
        self.monitor = monitored(problem.task, config)
        self.loss = next((metric for metric in problem.task.metrics if metric.name == _LOSS), None)
        self.num_records = len(problem.tokenized["validation"]) if self.validation is not None else 0
        self.num_averaged = config.train.averaged_epochs if self.validation is not None else 0
        per_epoch = objective.updates_per_epoch
        first = 0 if self.validation is not None and problem.task.predicts_untrained else per_epoch
        self.schedule = Schedule(
            updates=frozenset(range(first, objective.num_updates + 1, per_epoch)),
            updates_per_epoch=per_epoch,
            by_epoch=True,
            patience=config.train.patience_epochs,
        )

    def measure(self, check: Callable[[], None]) -> dict[str, float] | None:
        """Return the scores on the validation split, without confidence intervals.

        Raises:
            ValueError: the monitored metric is not defined on this split.
        """
        if self.validation is None:
            return None
        self.predictor.refresh(self.problem.splits)
        total = len(self.problem.tokenized["validation"].num_tokens)
        scores = self.scores(self.validation, check, self.title, total)
        if self.monitor.name not in scores:
            raise ValueError(f"train.monitor={self.monitor.name}: validation has only {', '.join(scores)}")
        return scores

    def scores(
        self, records: Iterable[Record], check: Callable[[], None], title: str = "", total: int | None = None
    ) -> dict[str, float]:
        """Return the scores on labelled records.

        Args:
            records: labelled records.
            check: called before every batch.
            title: title of the progress bar; empty for no bar.
            total: number of records, for the bar; `None` if unknown.

        Raises:
            NotFinite: an output is NaN or infinite.
        """

        def decode(items):
            check()
            return self.predictor.decode(items)

        task, predictor = self.problem.task, self.predictor
        outputs, gold = predict_all(decode, task, records, total, title)
        for name, values in outputs.items():
            if values.dtype.kind == "f" and not np.isfinite(values).all():
                raise NotFinite(f"validation {name} is not finite")
        if task.decision is not None and task.decision.fitted_every_epoch:
            predictor.fit_decision({VALIDATION: Predicted(outputs, gold)})
        return task.evaluate(predictor.apply_decision(outputs), gold, predictor.decided_values()).values()

    def log(self, history: Sequence[EvaluationPoint], points: Sequence[dict]) -> None:
        """Log the untrained model's scores, or call the callback after an epoch."""
        if history[-1].update == 0:
            self._info("before training  validation: %s", score_line(history[-1].scores))
        else:
            updates = [[point["update"], point["loss"], point["learning_rate"]] for point in points]
            self.callbacks.log(epoch_history(history)[-1], updates)

    def log_average(self, history: Sequence[EvaluationPoint], average: Average) -> None:
        """Log the epochs and the scores of the average."""
        self._info("average of %s  validation: %s", average.describe(history), score_line(average.scores))

    def log_early_stop(self, history: Sequence[EvaluationPoint], num_stale: int) -> None:
        """Log the last epoch and for how long validation has not improved."""
        epoch, epochs = round(history[-1].epoch), "1 epoch" if num_stale == 1 else f"{num_stale} epochs"
        names = dict.fromkeys(metric.name for metric in (self.monitor, self.loss) if metric is not None)
        self._info(
            "stopped early after epoch %d: validation %s has not improved for %s", epoch, " or ".join(names), epochs
        )

    def should_stop_early(self, history: Sequence[EvaluationPoint]) -> bool:
        """Return the result of the callback."""
        return self.callbacks.should_stop_early(epoch_history(history))


def monitored(task: FittedTask, config: Config) -> Metric:
    """Return the metric that chooses the best epoch.

    Raises:
        ValueError: `train.monitor` is not a metric of the task.
    """
    return monitored_metric(task, config.train.monitor)


def task_trainer(
    problem: Problem,
    config: Config,
    model: TaskModel,
    predictor: Predictor,
    checkpoints: Checkpoints,
    callbacks: Callbacks = Callbacks(),
    tracker: Tracker = UNTRACKED,
) -> Trainer:
    """Return the trainer of a fine-tuning.

    Args:
        problem: prepared.
        config: config of this training.
        model: in training precision.
        predictor: has the model that is evaluated: a float32 copy, or the trained model itself. If it runs eagerly, so
            do the updates.
        checkpoints: where the state is saved.
        callbacks: called after every epoch.
        tracker: as for `Trainer`.
    """
    embed = _embedder(problem, model, config)
    train = problem.task.augment(problem.training_split(config), embed, config.train.seed)
    vectors = None if config.train.noise else _fixed_vectors(model, train, embed)
    objective = TaskObjective(model, problem.task, config, train, vectors, problem.mitigation)
    evaluator = TaskEvaluator(problem, config, predictor, objective, callbacks)
    return Trainer(
        model,
        [objective],
        evaluator,
        config.train,
        checkpoints,
        problem.replicas,
        tracker=tracker,
        run_eagerly=predictor.run_eagerly,
    )


def initialize_head(problem: Problem, model: TaskModel, config: Config) -> tuple[np.ndarray, np.ndarray] | None:
    """Let the task initialize a new head better than at random, if it can.

    Returns:
        The sequences of train that the head was fitted to, by index, and their pooled vectors; `None` if it is random.
    """
    fitted_to: list[tuple[np.ndarray, np.ndarray]] = []
    # The vectors need not be more precise than the training that follows.
    products = choose_precision(config.encoder.precision, config.encoder.fast).product_dtype
    embed = _embedder(problem, model, config, products)

    def recorded(sequences: np.ndarray) -> np.ndarray:
        fitted_to.append((sequences, embed(sequences)))
        return fitted_to[-1][1]

    problem.task.initialize_head(model.head, recorded, problem.training_examples, config.train.seed)
    return fitted_to[-1] if fitted_to else None


def _embedder(problem: Problem, model: TaskModel, config: Config, products: str | None = None) -> Embed:
    """Return a function that computes the head's pooled vectors of sequences of train.

    Args:
        problem: prepared.
        model: built.
        config: config of this training.
        products: dtype of the matrix products; `None` means that of the model.
    """
    split, length = problem.training_examples, config.encoder.sequence_length

    def embed(sequences: np.ndarray) -> np.ndarray:
        backbone, head = model.backbone, model.head
        assert is_pooling(head)

        def pooled(indices: np.ndarray) -> np.ndarray:
            with backbone.kernels_copied(products):
                return embed_sequences(Embedder(backbone, head), split, length, indices)

        return problem.embedded(sequences, pooled, f"{head.pooling} {backbone.dtype_policy.name} {products}")

    return embed


def _fixed_vectors(model: TaskModel, train: TokenizedSplit, embed: Embed) -> np.ndarray | None:
    """Return the pooled vectors of train if training does not change them and they fit the limit, else `None`."""
    is_fixed = is_pooling(model.head) and not model.backbone.trainable_weights
    if not is_fixed or 4 * train.num_sequences * model.backbone.hidden_dim > _MAX_VECTOR_BYTES:
        return None
    return embed(np.arange(train.num_sequences))
