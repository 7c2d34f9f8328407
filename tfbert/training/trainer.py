"""A model and tokenized splits in, trained weights and a history out; killed at any moment, it goes on where it was.

The loop is our own because Keras' `fit` can neither restart inside an epoch with the same batches nor weigh
accumulated batches by their examples.
"""

import itertools
import logging
import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from tfbert.config import Config
from tfbert.encoder.active_embedding import ActiveEmbedding
from tfbert.encoder.weights import copy_weights
from tfbert.evaluation.formatting import score_line
from tfbert.evaluation.metric import Metric
from tfbert.models import weights
from tfbert.models.predictor import Predictor, predict_all
from tfbert.models.task_model import TaskModel
from tfbert.tasks.base import FittedTask
from tfbert.text.batches import batches, micro_batches, plan_training
from tfbert.text.datasets import TokenizedSplit
from tfbert.text.preprocessor import in_halves
from tfbert.text.records import Record
from tfbert.text.splits import Split
from tfbert.training import checkpoint, interrupts
from tfbert.training.distribution import ALONE, Replicas
from tfbert.training.optimizers import build_optimizer
from tfbert.training.updates import Updater

logger = logging.getLogger(__name__)

# On a processor more at once is no faster.
_PART_TOKENS = 2048


@dataclass
class Progress:
    """What a training remembers besides its arrays; JSON-ready.

    Args:
        epoch: 0-based, the one that is running.
        update: updates done in it.
        loss_sum: of its examples' weighted losses so far, with `weight_sum` the weights.
        seconds: spent training in this epoch, over all processes.
        best_score: of the monitored metric, `None` before anything was scored.
        best_epoch: 1-based epoch of that score; 0 where none was better than `untrained`.
        untrained: validation scores of the model as it came, where its head has nothing to learn.
        history: one dict an epoch.
        losses: `[update of the run, mean loss, learning rate]` of every update.
        start_seconds: spent before the first update on building models and starting the head.
        first_update_at: when the first update was done, in seconds since 1970; `None` before.
        finished: nothing is left to do.
    """

    epoch: int = 0
    update: int = 0
    loss_sum: float = 0.0
    weight_sum: float = 0.0
    seconds: float = 0.0
    best_score: float | None = None
    best_epoch: int = 0
    untrained: dict[str, float] | None = None
    history: list[dict] = field(default_factory=list)
    losses: list[list[float]] = field(default_factory=list)
    start_seconds: float = 0.0
    first_update_at: float | None = None
    finished: bool = False


def kept_scores(history: list[dict], best_epoch: int, untrained: dict | None = None) -> dict[str, float] | None:
    """Return the validation scores by which weights were kept, as a report or `Progress` has them.

    Args:
        history: one dict an epoch.
        best_epoch: whose weights were kept, from 1; 0 for those of the model as it came.
        untrained: the scores of the latter.

    Returns:
        Scores by name; `None` without a validation split.
    """
    return history[best_epoch - 1].get("validation") if best_epoch else untrained


def monitored(task: FittedTask, config: Config) -> Metric:
    """Return the metric that chooses the best epoch.

    Raises:
        ValueError: `train.monitor` is no metric of the task.
    """
    return task.metric(config.train.monitor) if config.train.monitor else task.monitor


class Trainer:
    """Trains one model on one split.

    Args:
        task: gives loss and scores.
        model: in training precision.
        answering: with the same architecture in float32, maybe the very same model.
        config: of the run.
        train: to learn from.
        vectors: of all its rows, as the head pools them, where nothing below the head is learned; `None` computes them
            for every batch.
        validation: to choose the best epoch by; `None` keeps the last.
        run_dir: existing directory for checkpoints.
        identity: text that says which data and config this is; a checkpoint of another one is refused.
        log: called at the end of every epoch with its history entry and its part of `Progress.losses`.
        refresh: called before each validation, when `answering` has the weights that are to be evaluated.
        is_hopeless: called after each epoch with the history; where it says so, training ends there.
        replicas: that share every batch. The chief alone validates, decides and writes; the others have its weights at
            the start, and after the last update their own, which are the same.
    """

    def __init__(
        self,
        *,
        task: FittedTask,
        model: TaskModel,
        answering: Predictor,
        config: Config,
        train: TokenizedSplit,
        vectors: np.ndarray | None = None,
        validation: Split | None,
        run_dir: Path,
        identity: str,
        log: Callable[[dict, list], None] = lambda *_: None,
        refresh: Callable[[], None] = lambda: None,
        is_hopeless: Callable[[list[dict]], bool] = lambda history: False,
        replicas: Replicas = ALONE,
    ):
        replicas.check_batch_size(config.train.batch_size)
        self.replicas = replicas
        self.task, self.config = task, config
        self.model, self.answering = model, answering
        self.train_split, self.vectors, self.validation = train, vectors, validation
        self.run_dir, self.log, self.refresh, self.is_hopeless = run_dir, log, refresh, is_hopeless
        self.metric = monitored(task, config)
        self.weights = task.example_weights(train)
        self._lengths = np.minimum(train.lengths(), config.encoder.sequence_length)
        self._num_rows = np.diff(train.examples)
        self.epochs = config.train.num_epochs(len(train))
        num_batches = math.ceil(len(train) / config.train.batch_size)
        self.updates_per_epoch = math.ceil(num_batches / config.train.accumulation_steps)
        rows = ActiveEmbedding(model, train.token_ids()) if model.backbone.token_embedding.trainable else None
        self.updater = Updater(
            model=model,
            losses=self._losses,
            terms=["loss"],
            optimizer=build_optimizer(model, config.train, self.updates_per_epoch * self.epochs, active_embedding=rows),
            config=config.train,
            batch_spec=self._batches([]).element_spec,
            replicas=replicas,
            active_embedding=rows,
        )
        self.progress = Progress()
        self.keeper = checkpoint.Keeper(run_dir, identity, config.train.checkpoint_seconds)

    def train(self) -> Progress:
        """Train to the end or to early stopping, and leave the best weights in both models.

        Returns:
            The progress, finished.

        Raises:
            Diverged: the loss is no longer a number.
            ValueError: a checkpoint of another run is in the way, or the task has no metric of the name to monitor.
            ConnectionError: another process is gone.
            Stopped: a signal stopped the process, after a checkpoint was saved.
        """
        self._start()
        p = self.progress
        with interrupts.deferred() as self.updater.request:
            while not p.finished:
                self._train_epoch()
                self._end_epoch()
                patience = self.config.train.patience_epochs
                is_stale = patience and self.validation is not None and p.epoch - p.best_epoch >= patience
                is_over = p.epoch >= self.epochs or bool(is_stale)
                p.finished = self.replicas.told(is_over or (self.replicas.is_chief and self.is_hopeless(p.history)))
                if p.finished or self.keeper.is_due():
                    self._save_checkpoint()
            self.updater.request.check(self.keeper.message(f"epoch {p.epoch}, the last"))
        if not self.replicas.is_chief:
            return p
        weights.scatter("model", self.model.weights, weights.load_best(self.run_dir))
        self._copy_weights()
        return self.progress

    def _start(self) -> None:
        """Begin, or go on, where the chief stands."""
        self.replicas.check_same(self.keeper.identity)
        if self.replicas.is_chief:
            self._resume()
            self._score_untrained()
        self.updater.share()
        p = self.progress
        said = {name: np.float64(getattr(p, name)) for name in ("epoch", "update", "finished")}
        said = self.replicas.from_chief(said)
        p.epoch, p.update, p.finished = int(said["epoch"]), int(said["update"]), bool(said["finished"])

    def _train_epoch(self) -> None:
        p, config = self.progress, self.config.train
        plan = plan_training(self._lengths, config.batch_size, config.seed, p.epoch)
        done_batches = p.update * config.accumulation_steps
        rest = plan[done_batches:]
        parts = [self._cut(indices) for indices in rest]
        stream = self.replicas.stream(((part,) for part in itertools.chain(*parts)), self._batches)
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
            num_parts = sum(map(len, parts[start : start + len(group)]))
            loss = self._train_group(itertools.islice(stream, num_parts), group)
            p.seconds += time.monotonic() - started
            bar.update(sum(len(indices) for indices in group))
            bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
            if self.updater.must_stop:
                self._save_checkpoint()
                self.replicas.leave()
                raise self.updater.stopped(self.keeper.message(self._place(p.update)))
            if self.keeper.is_due() and start + len(group) < len(rest):
                self._save_checkpoint()
        bar.close()

    def _cut(self, indices: np.ndarray) -> list[np.ndarray]:
        """Return a batch in parts that are learned from one after the other."""
        most = self.config.train.part_tokens
        if most is None:
            most = 0 if tf.config.list_physical_devices("GPU") else _PART_TOKENS
        if self.task.by_batch or self.vectors is not None:
            most = 0
        return micro_batches(indices, self._lengths, self._num_rows, most * self.replicas.count)

    def _train_group(self, stream: Iterable, group: list[np.ndarray]) -> float:
        p = self.progress
        rate = self.updater.learning_rate
        weight = sum(float(len(i) if self.weights is None else self.weights[i].sum()) for i in group)
        loss_sum = self.updater.update(stream, {"loss": weight})["loss"]
        loss = loss_sum / weight
        self.updater.check_loss(loss, self._place(p.update + 1), rate)
        p.update += 1
        p.loss_sum += loss_sum
        p.weight_sum += weight
        p.losses.append([p.epoch * self.updates_per_epoch + p.update, loss, rate])
        p.first_update_at = p.first_update_at or time.time()
        return loss

    def _batches(self, plan: Iterable[tuple[np.ndarray]]) -> tf.data.Dataset:
        plan = (indices for (indices,) in plan)
        return batches(self.train_split, plan, self.config.encoder.sequence_length, self.weights, self.vectors)

    def _losses(self, batch) -> dict[str, tf.Tensor]:
        losses = self.task.loss(self._logits(batch), batch)
        return {"loss": tf.reduce_sum(losses * batch["weights"])}

    def _logits(self, batch) -> tf.Tensor:
        if self.vectors is not None:
            return self.model.head.scores_of(batch["vectors"], training=True)
        if not self.task.by_record:
            return self.model(batch, training=True)
        # Only whole records are planned by length: their rows may be a short question and a long answer.
        halves, places = in_halves(batch)
        return tf.gather(tf.concat([self.model(half, training=True) for half in halves], axis=0), places)

    def _place(self, update: int) -> str:
        return f"update {update} of epoch {self.progress.epoch + 1}"

    def _score_untrained(self) -> None:
        """Score the model as it came, if it can answer already: training has to do better than that."""
        p = self.progress
        if self.validation is None or self.model.head.trainable_weights or p.history or p.untrained:
            return
        self._copy_weights()
        self.refresh()
        p.untrained = self._validate(self.validation, "untrained")
        logger.info("before training  validation: %s", score_line(p.untrained))
        self._keep_if_best(p.untrained, 0)

    def _keep_if_best(self, scores: Mapping[str, float] | None, epoch: int) -> None:
        """Keep the weights if their scores are better than all before; without validation, always."""
        p = self.progress
        better = None
        if scores is not None:
            better = self.metric.sign * scores[self.metric.name]
        if better is None or p.best_score is None or better > p.best_score:
            p.best_score, p.best_epoch = better, epoch
            self.keeper.keep_best(weights.gather("model", self.model.weights))

    def _end_epoch(self) -> None:
        p = self.progress
        # The last update of all has no loss after it that would tell.
        if not self.updater.has_finite_weights():
            raise self.updater.divergence(f"weights are not finite after {self._place(p.update)}", p.losses[-1][2])
        if self.replicas.is_chief:
            try:
                with self.updater.averages_in_place():
                    entry = self._close_epoch()
            except interrupts.Stopped:
                # Between two batches of validation, which has changed nothing: it is repeated from this checkpoint.
                self._save_checkpoint()
                raise self.updater.stopped(self.keeper.message(f"{self._place(p.update)}, during validation")) from None
            self.log(entry, p.losses[p.epoch * self.updates_per_epoch :])
        p.epoch, p.update, p.loss_sum, p.weight_sum, p.seconds = p.epoch + 1, 0, 0.0, 0.0, 0.0

    def _close_epoch(self) -> dict:
        """Return the epoch's entry in the history, and keep the weights if they are the best."""
        p = self.progress
        entry = {
            "epoch": p.epoch + 1,
            "loss": p.loss_sum / p.weight_sum,
            "learning_rate": self.updater.learning_rate,
            "seconds": p.seconds,
            "examples_per_second": len(self.train_split) / p.seconds,
        }
        if self.validation is not None:
            started = time.monotonic()
            self._copy_weights()
            self.refresh()
            entry["validation"] = self._validate(self.validation, "validation")
            entry["validation_seconds"] = time.monotonic() - started
        p.history.append(entry)
        self._keep_if_best(entry.get("validation"), p.epoch + 1)
        return entry

    def _validate(self, records: Iterable[Record], title: str = "") -> dict[str, float]:
        def ask(items):
            self.updater.request.check()
            return self.answering.decode(items)

        outputs, gold = predict_all(ask, self.task, records, None, title)
        for name, values in outputs.items():
            if values.dtype.kind == "f" and not np.isfinite(values).all():
                p = self.progress
                rate = p.losses[-1][2] if p.losses else 0.0
                raise self.updater.divergence(f"validation {name} is not finite after {self._place(p.update)}", rate)
        decided = self.answering.decided_values()
        return self.task.evaluate(self.answering.apply_decision(outputs), gold, decided).values()

    def _copy_weights(self) -> None:
        if self.answering.model is not self.model:
            copy_weights(self.model.backbone, self.answering.model.backbone)
            copy_weights(self.model.head, self.answering.model.head)

    def _save_checkpoint(self) -> None:
        if self.replicas.is_chief:
            # Nothing is learned any more after the last, so that the best weights beside it are all that counts.
            arrays = {} if self.progress.finished else self.updater.arrays()
            self.keeper.save(arrays, vars(self.progress))

    def _resume(self) -> None:
        if (found := self.keeper.resume()) is not None:
            arrays, progress = found
            self.progress = Progress(**progress)
            if not self.progress.finished:
                self.updater.restore(arrays)
