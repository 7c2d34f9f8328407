"""The training loop: updates, evaluation, early stopping, checkpoints and resuming, for any list of objectives.

It replaces Keras' `fit`, which can neither resume inside an epoch with the same batches nor weight accumulated batches
by their examples.
"""

import collections
import contextlib
import functools
import itertools
import logging
import time
from collections.abc import Iterator, Mapping, Sequence

import keras
import numpy as np

from tfbert import interrupts
from tfbert.config import OptimizationConfig
from tfbert.encoder.active_embedding import ActiveEmbedding
from tfbert.encoder.weights import copy_weights
from tfbert.evaluation.metric import Metric
from tfbert.models import weights
from tfbert.training.checkpoint import Checkpoints
from tfbert.training.display import Display
from tfbert.training.distribution import ALONE, ReplicaBatches, Replicas
from tfbert.training.monitoring import Evaluator, NotFinite, choose, improves, is_similar
from tfbert.training.objectives import Objective, PlannedBatch
from tfbert.training.optimizers import build_optimizer
from tfbert.training.progress import Average, EvaluationPoint, Progress, Sums, add
from tfbert.training.trackers import UNTRACKED, Tracker
from tfbert.training.updates import Updater

logger = logging.getLogger(__name__)


class Trainer:
    """Trains a model on the weighted sum of its objectives.

    Args:
        model: in training precision, with a `backbone`.
        objectives: one or more; the first determines the length of the training.
        evaluator: used by the chief alone.
        config: settings of the optimizer.
        checkpoints: where the chief saves the state; the other processes write nothing.
        replicas: devices that share every batch. All processes have the same weights, at the start those of the chief.
        tracker: receives the progress after every evaluation.
        run_eagerly: as for `Updater`.

    Attributes:
        updater: applies the updates.
        progress: state of the training besides weights and optimizer.
    """

    def __init__(
        self,
        model: keras.Model,
        objectives: Sequence[Objective],
        evaluator: Evaluator,
        config: OptimizationConfig,
        checkpoints: Checkpoints,
        replicas: Replicas = ALONE,
        *,
        tracker: Tracker = UNTRACKED,
        run_eagerly: bool = False,
    ):
        replicas.check_batch_size(config.batch_size)
        self.model, self.objectives, self.evaluator = model, tuple(objectives), evaluator
        self.checkpoints, self.replicas, self.tracker = checkpoints, replicas, tracker
        first = self.objectives[0]
        self.num_updates = first.num_updates
        self.num_head_updates = max(objective.num_head_updates for objective in self.objectives)
        embedding = _active_embedding(model, self.objectives)
        optimizer = build_optimizer(model, config, self.num_updates, self.num_head_updates, embedding)
        self.updater = Updater(model, self.objectives, optimizer, config, replicas, embedding, run_eagerly=run_eagerly)
        self.progress = Progress()
        self._display = Display(first, evaluator, self.num_updates, evaluator.logs and replicas.is_chief)

    def train(self) -> Progress:
        """Train to the end or until early stopping, then give the trained and the evaluated model the best weights.

        Returns:
            The progress, finished.

        Raises:
            Diverged: the loss, a weight or an output became NaN or infinite.
            ValueError: the directory holds the checkpoint of another run, or the monitored metric does not exist.
            ConnectionError: another process was lost.
            Stopped: a signal stopped the process, after a checkpoint was saved.
        """
        self._start()
        p = self.progress
        with interrupts.deferred() as self.updater.request:
            if not p.ended:
                self._run()
            if not p.finished:
                self._finish_or_stop()
            self.updater.request.check(self.checkpoints.message(self.evaluator.schedule.end(p.update)))
        if self.replicas.is_chief:
            weights.scatter("model", self.model.weights, weights.load_best(self.checkpoints.run_dir))
            self._copy_weights()
        return p

    def _start(self) -> None:
        """Start, or resume from the chief's checkpoint."""
        self.replicas.check_same(self.checkpoints.fingerprint)
        if self.replicas.is_chief and (saved := self.checkpoints.resume()) is not None:
            arrays, progress = saved
            self.progress = Progress.from_dict(progress)
            if not self.progress.ended:
                self.updater.restore(arrays)
            place = self.evaluator.schedule.place(self.progress.update)
            logger.info("resuming after %s, from %s", place, self.checkpoints.run_dir)
        self.updater.broadcast()
        p = self.progress
        state = {name: np.float64(getattr(p, name)) for name in ("update", "evaluated_update", "ended")}
        state = self.replicas.broadcast(state)
        p.update, p.evaluated_update = int(state["update"]), int(state["evaluated_update"])
        p.ended = bool(state["ended"])

    def _run(self) -> None:
        p = self.progress
        updates = {objective.name: self._batches_by_update(objective) for objective in self.objectives}
        while not p.ended:
            if not self._is_evaluation_due():
                self._display.open(p.update)
                self._update(updates)
                if self.updater.must_stop:
                    self._save_checkpoint()
                    self.replicas.barrier()
                    place = self.evaluator.schedule.place(p.update)
                    raise self.updater.stopped(self.checkpoints.message(place))
            if self._is_evaluation_due():
                if self.evaluator.schedule.by_epoch:
                    self._display.close()
                self._evaluate_or_stop()
                p.ended = self.replicas.broadcast_decision(self.replicas.is_chief and self._is_over())
                if p.update < self.num_updates and self.replicas.is_chief and self._is_out_of_patience():
                    self.evaluator.log_early_stop(p.history, self._num_stale())
            if p.ended or self.checkpoints.is_due():
                self._save_checkpoint()
        self._display.close()

    def _batches_by_update(
        self, objective: Objective
    ) -> Iterator[tuple[Sequence[PlannedBatch], Iterator[ReplicaBatches]]]:
        """Yield the planned batches of each remaining update and an iterator over their micro-batches.

        Each iterator has to be exhausted before the next update.
        """
        planned: collections.deque[tuple[Sequence[PlannedBatch], int]] = collections.deque()

        def plan() -> Iterator[PlannedBatch]:
            for batches in objective.groups(self.progress.update, self.num_updates):
                micro_batches = [m for batch in batches for m in objective.micro_batches(batch, self.replicas.count)]
                planned.append((batches, len(micro_batches)))
                yield from micro_batches

        stream = self.replicas.stream(plan(), objective.batches)
        # The plan may be read ahead in another thread, but never behind the first micro-batch of an update.
        for first in stream:
            batches, count = planned.popleft()
            yield batches, itertools.chain([first], itertools.islice(stream, count - 1))

    def _update(self, updates: Mapping[str, Iterator]) -> None:
        p, schedule = self.progress, self.evaluator.schedule
        started, rate = time.monotonic(), self.updater.learning_rate
        groups, num_examples = {}, {}
        for objective in self.objectives:
            batches, micro_batches = next(updates[objective.name])
            groups[objective.name] = objective.group(batches, micro_batches, self.replicas)
            num_examples[objective.name] = sum(len(indices) for indices, *_ in batches)
        sums = self.updater.update(groups)
        counts = {name: dict(group.counts) for name, group in groups.items()}
        loss = self._loss(sums, counts)
        self.updater.check_loss(loss, schedule.place(p.update + 1), rate)
        num_tokens = sum(group.num_tokens for group in groups.values())
        p.update += 1
        p.num_examples += num_examples[self.objectives[0].name]
        p.num_tokens += num_tokens
        add(p.sums, sums)
        add(p.counts, counts)
        add(p.point_sums, sums)
        add(p.point_counts, counts)
        if p.update % schedule.updates_per_point == 0 or p.update == self.num_updates:
            means = self._means(p.point_sums, p.point_counts)
            p.curve.append({"update": p.update, **means, "learning_rate": rate})
            p.point_sums, p.point_counts = {}, {}
        p.first_update_at = p.first_update_at or time.time()
        seconds = time.monotonic() - started
        p.seconds += seconds
        self._display.update(p, num_examples[self.objectives[0].name], num_tokens, loss, seconds)

    def _loss(self, sums: Sums, counts: Sums) -> float:
        return sum(objective.loss(sums[objective.name], counts[objective.name]) for objective in self.objectives)

    def _means(self, sums: Sums, counts: Sums) -> dict[str, float]:
        means = {o.name: o.means(sums[o.name], counts[o.name]) for o in self.objectives}
        if len(means) == 1:
            return means[self.objectives[0].name]
        named = {f"{name}/{term}": value for name, values in means.items() for term, value in values.items()}
        return {"loss": self._loss(sums, counts), **named}

    def _is_evaluation_due(self) -> bool:
        p = self.progress
        return p.update in self.evaluator.schedule.updates and p.evaluated_update < p.update

    def _is_over(self) -> bool:
        is_over = self.progress.update >= self.num_updates or self._is_out_of_patience()
        return is_over or self.evaluator.should_stop_early(self.progress.history)

    def _is_out_of_patience(self) -> bool:
        return 0 < self.evaluator.schedule.patience <= self._num_stale()

    def _num_stale(self) -> int:
        """Return the number of evaluations since the score or the loss improved."""
        metrics = [metric for metric in (self.evaluator.monitor, self.evaluator.loss) if metric is not None]
        num_stale, best = 0, {}
        for point in self.progress.history:
            better = [metric for metric in metrics if self._is_better(metric, point, best)]
            best |= {metric.name: point.scores[metric.name] for metric in better if point.scores}
            # Patience starts after the updates that train only the new head.
            num_stale = 0 if better else num_stale + (point.update > self.num_head_updates)
        return num_stale

    @staticmethod
    def _is_better(metric: Metric, point: EvaluationPoint, best: Mapping[str, float]) -> bool:
        return point.scores is None or improves(metric, point.scores[metric.name], best.get(metric.name))

    def _evaluate_or_stop(self) -> None:
        try:
            self._evaluate()
        except interrupts.Stopped:
            # The evaluation has not changed any state, so it is repeated after resuming from this checkpoint.
            self._save_checkpoint()
            place = f"{self.evaluator.schedule.place(self.progress.update)}, during {self.evaluator.title}"
            raise self.updater.stopped(self.checkpoints.message(place)) from None

    def _evaluate(self) -> None:
        """Evaluate the model in the chief and keep its weights if they are the best so far."""
        p, evaluator = self.progress, self.evaluator
        place = evaluator.schedule.place(p.update)
        rate = p.curve[-1]["learning_rate"] if p.curve else self.updater.learning_rate
        # After the last update there is no further loss that would become NaN.
        if not self.updater.has_finite_weights():
            raise self.updater.divergence(f"weights are not finite after {place}", rate)
        if self.replicas.is_chief:
            since = p.evaluated_update
            with self.updater.averages_in_place():
                try:
                    point = self._measure()
                except NotFinite as error:
                    raise self.updater.divergence(f"{error} after {place}", rate) from None
                self._keep_if_best(point)
                p.history.append(point)
                if point.update in self._needed_evaluations():
                    arrays = weights.gather("model", self.model.weights)
                    self.checkpoints.keep_evaluated(point.update, arrays, self._needed_evaluations())
            evaluator.log(p.history, [entry for entry in p.curve if entry["update"] > since])
            self.tracker.update(p)
        p.evaluated_update, p.sums, p.counts = p.update, {}, {}

    def _measure(self) -> EvaluationPoint:
        p, started = self.progress, time.monotonic()
        self._copy_weights()
        scores = self.evaluator.measure(self.updater.request.check)
        return EvaluationPoint(
            update=p.update,
            epoch=p.update / self.objectives[0].updates_per_epoch,
            num_examples=p.num_examples,
            num_tokens=p.num_tokens,
            seconds=p.seconds,
            loss=self._loss(p.sums, p.counts) if p.sums else None,
            learning_rate=self.updater.learning_rate,
            scores=scores,
            evaluation_seconds=time.monotonic() - started,
        )

    def _keep_if_best(self, point: EvaluationPoint) -> None:
        """Keep the weights if their score is the best so far, or if there are no scores."""
        p, metric = self.progress, self.evaluator.monitor
        score = None if point.scores is None else point.scores[metric.name]
        if score is None or improves(metric, score, p.best_score):
            p.best_score, p.best_update = score, point.update
            self.checkpoints.keep_best(weights.gather("model", self.model.weights))

    def _best_evaluations(self) -> list[int]:
        """Return the updates of the evaluations after the first update whose weights may be averaged, best first."""
        sign, name = self.evaluator.monitor.sign, self.evaluator.monitor.name
        points = [point for point in self.progress.history if point.update and point.scores is not None]
        points.sort(key=lambda point: -sign * point.scores[name])
        return [point.update for point in points[: self.evaluator.num_averaged]]

    def _scored_start(self) -> list[int]:
        """Return the update of the evaluation before training, 0, if its weights may be averaged; otherwise nothing."""
        first = self.progress.history[:1] if self.evaluator.num_averaged else []
        return [point.update for point in first if point.update == 0 and point.scores is not None]

    def _needed_evaluations(self) -> list[int]:
        """Return the updates of the evaluations whose weights may be averaged: the best, then that before training."""
        return [*self._best_evaluations(), *self._scored_start()]

    def _finish_or_stop(self) -> None:
        try:
            self._finish()
        except interrupts.Stopped:
            # The checkpoint of the end of training is unchanged, so this is repeated after resuming.
            place = f"{self.evaluator.schedule.place(self.progress.update)}, during {self.evaluator.title} of averages"
            raise self.updater.stopped(self.checkpoints.message(place)) from None

    def _finish(self) -> None:
        """Keep the best weights: those before training, of the best evaluation, or an average.

        Source: Wortsman et al. 2022, "Model soups", section 2, uniform soup, here of evaluations of one training; and
            Wortsman et al. 2022, "Robust fine-tuning of zero-shot models", section 3, averages with the weights before
            training. Ours averages only few of the evaluations, and chooses between averages on held-out data.
        """
        p, evaluator = self.progress, self.evaluator
        if self.replicas.is_chief and p.best.scores is not None and evaluator.num_averaged:
            candidates = list(self._candidates())
            scores = [candidate.scores for candidate in candidates]
            kept = candidates[choose(evaluator.monitor, evaluator.loss, scores, evaluator.num_records)]
            p.best_score = kept.scores[evaluator.monitor.name]
            if len(kept.updates) > 1:
                p.average = kept
                weights.scatter("model", self.model.weights, self._mean_weights(kept.updates))
                self.checkpoints.keep_best(weights.gather("model", self.model.weights))
                evaluator.log_average(p.history, kept)
            elif kept.updates != [p.best_update]:
                [p.best_update] = kept.updates
                self.checkpoints.keep_best(self.checkpoints.evaluated(p.best_update))
        p.finished = True
        self._save_checkpoint()

    def _candidates(self) -> Iterator[Average]:
        """Yield the weights that may be kept: those of single evaluations, then averages, which are measured."""
        best, start, monitor = self._best_evaluations(), self._scored_start(), self.evaluator.monitor
        scores = {point.update: point.scores for point in self.progress.history}
        best_score = scores[best[0]][monitor.name]
        # A model that was clearly worse before training would impair the average.
        start = [
            update
            for update in start
            if is_similar(monitor, scores[update][monitor.name], best_score, self.evaluator.num_records)
        ]
        for update in [*start, best[0]]:
            yield Average(updates=[update], scores=scores[update])
        for updates in [best, [*best, *start]] if start else [best]:
            if len(updates) > 1:
                weights.scatter("model", self.model.weights, self._mean_weights(updates))
                self._copy_weights()
                with contextlib.suppress(NotFinite):
                    yield Average(updates=updates, scores=self.evaluator.measure(self.updater.request.check))

    def _mean_weights(self, updates: Sequence[int]) -> dict[str, np.ndarray]:
        """Return the mean of the weights of evaluations; weights that are no floats are those of the first."""
        first, *others = (self.checkpoints.evaluated(update) for update in updates)
        return {
            name: np.mean([values, *(arrays[name] for arrays in others)], axis=0, dtype=np.float64).astype(values.dtype)
            if np.issubdtype(values.dtype, np.floating)
            else values
            for name, values in first.items()
        }

    def _copy_weights(self) -> None:
        if self.evaluator.model is not self.model:
            copy_weights(self.model, self.evaluator.model)

    def _save_checkpoint(self) -> None:
        if self.replicas.is_chief:
            # After its last update a training needs only weights of evaluations, and finally only the best.
            arrays = {} if self.progress.ended else self.updater.arrays()
            needed = () if self.progress.finished else self._needed_evaluations()
            self.checkpoints.save(arrays, self.progress.to_dict(), needed)


def _active_embedding(model: keras.Model, objectives: Sequence[Objective]) -> ActiveEmbedding | None:
    """Return the rows of the token embedding that the objectives read; `None` if all or none of them are trained."""
    if not model.backbone.token_embedding.trainable:
        return None
    token_ids = [objective.token_ids() for objective in objectives]
    if any(ids is None for ids in token_ids):
        return None
    return ActiveEmbedding(model, functools.reduce(np.union1d, token_ids))
