"""A model and packed rows in, pretrained weights and a history out; killed at any moment, it goes on where it was."""

import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from tfbert.encoder.weights import copy_weights
from tfbert.pretraining.batches import SPEC, Batcher
from tfbert.pretraining.config import PretrainConfig
from tfbert.pretraining.heads import PretrainingModel
from tfbert.pretraining.masking import HELD_OUT_DRAW
from tfbert.text.datasets import plan_evaluation, plan_training
from tfbert.training import checkpoint, interrupts
from tfbert.training.distribution import ALONE, Parts, Replicas
from tfbert.training.optimizers import build_optimizer
from tfbert.training.updates import Updater

_EVALUATION_BATCH_TOKENS = 8192
# The loss curve of the report has at most about so many points, whatever the length of the training.
_MAX_POINTS = 1000
# Rows of a quarter of the sequence length need at least the special tokens and something between them.
_SHORTEST_LIMIT = 8
LOSS = "masked_word_loss"


@dataclass
class Progress:
    """What a pretraining remembers besides its arrays; JSON-ready.

    Args:
        update: updates done.
        sums: of the losses' sums since the last point of the curve, `counts` with what they are divided by.
        num_tokens: learned from so far, padding not counted.
        seconds: spent on updates, over all processes.
        best_loss: lowest loss of masked words on held-out rows, `None` before the first evaluation.
        best_update: where that was.
        evaluations: one dict each: `update`, `epoch`, `num_tokens`, `seconds`, `held_out`.
        curve: one dict a point: `update`, the mean losses since the one before, `learning_rate`.
        finished: nothing is left to do.
    """

    update: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    counts: dict[str, float] = field(default_factory=dict)
    num_tokens: int = 0
    seconds: float = 0.0
    best_loss: float | None = None
    best_update: int = 0
    evaluations: list[dict] = field(default_factory=list)
    curve: list[dict] = field(default_factory=list)
    finished: bool = False


class PretrainingTrainer:
    """Trains one encoder with its heads.

    Args:
        model: in training precision.
        evaluation_model: the same architecture in float32, maybe the very same model.
        config: of the run.
        train: to learn from.
        held_out: to measure on.
        run_dir: existing directory for checkpoints.
        identity: text that says which rows and config this is; a checkpoint of another one is refused.
        has_new_head: whether the encoder has learned something and its heads have not.
        log: called with every entry of `Progress.evaluations` and the points of the curve since the one before.
        replicas: that share every batch. The chief alone measures, decides and writes.
    """

    def __init__(
        self,
        *,
        model: PretrainingModel,
        evaluation_model: PretrainingModel,
        config: PretrainConfig,
        train: Batcher,
        held_out: Batcher,
        run_dir: Path,
        identity: str,
        has_new_head: bool = False,
        log: Callable[[dict, list[dict]], None] = lambda *_: None,
        replicas: Replicas = ALONE,
    ):
        replicas.check_batch_size(config.train.batch_size)
        self.replicas = replicas
        self.model, self.evaluation_model, self.config = model, evaluation_model, config
        self.train_rows, self.held_out, self.log = train, held_out, log
        self.run_dir, self.keeper = run_dir, checkpoint.Keeper(run_dir, identity, config.train.checkpoint_seconds)
        self.terms = ["masked_words", "pairs"] if model.head.pairs is not None else ["masked_words"]
        self.num_batches = math.ceil(len(train.lengths()) / config.train.batch_size)
        self.updates_per_epoch = math.ceil(self.num_batches / config.train.accumulation_steps)
        self.epochs = config.train.num_epochs(len(train.rows))
        self.num_updates = self.updates_per_epoch * self.epochs
        self.head_updates = round(config.train.head_updates_fraction * self.num_updates) if has_new_head else 0
        self.updater = Updater(
            model=model,
            losses=lambda batch: model.sums(batch, training=True),
            terms=self.terms,
            optimizer=build_optimizer(model, config.train, self.num_updates, self.head_updates),
            config=config.train,
            batch_spec=SPEC,
            replicas=replicas,
        )
        self._measure = tf.function(
            lambda batch: evaluation_model.sums(batch, training=False), input_signature=[SPEC], autograph=False
        )
        points = range(1, config.train.evaluations + 1)
        self._evaluated_at = {round(point * self.num_updates / len(points)) for point in points} | {self.head_updates}
        self._updates_a_point = math.ceil(self.num_updates / _MAX_POINTS)
        self.progress = Progress()

    def train(self) -> Progress:
        """Train to the end or to early stopping, and leave the best weights in both models.

        Returns:
            The progress, finished.

        Raises:
            ValueError: the loss is no longer a number, a checkpoint of another run is in the way, or a process has
                other rows than the chief.
            ConnectionError: another process is gone.
            Stopped: a signal stopped the process, after a checkpoint was saved.
        """
        self._start()
        if not self.progress.finished:
            with interrupts.deferred() as self.updater.request:
                self._train()
        if self.replicas.is_chief:
            checkpoint.scatter("model", self.model.weights, checkpoint.load_best(self.run_dir))
            self._copy_weights()
        return self.progress

    def _start(self) -> None:
        """Begin, or go on, where the chief stands."""
        self.replicas.check_same(self.keeper.identity)
        if self.replicas.is_chief:
            if (found := self.keeper.resume()) is not None:
                arrays, progress = found
                self.updater.restore(arrays)
                self.progress = Progress(**progress)
            evaluations = self.progress.evaluations
            # A signal may have stopped the process between an update and the evaluation after it.
            if not evaluations or (self._is_evaluated_now() and evaluations[-1]["update"] < self.progress.update):
                self._evaluate()
                if self.progress.finished:
                    self.keeper.save(self.updater.arrays(), vars(self.progress))
        self.updater.share()
        p = self.progress
        said = self.replicas.from_chief({name: np.float64(getattr(p, name)) for name in ("update", "finished")})
        p.update, p.finished = int(said["update"]), bool(said["finished"])

    def _train(self) -> None:
        p = self.progress
        stream = self.replicas.stream(self._plan(p.update), self.train_rows.stream)
        bar = tqdm(
            total=self.num_updates,
            initial=p.update,
            desc="pretraining",
            unit="update",
            mininterval=0.5,
            disable=None,  # None: shown on a terminal only, so that log files stay readable
        )
        while not p.finished:
            started, tokens = time.monotonic(), p.num_tokens
            loss = self._update(list(itertools.islice(stream, self._group_size(p.update))))
            seconds = time.monotonic() - started
            p.seconds += seconds
            bar.update()
            rate = f"{(p.num_tokens - tokens) / seconds:,.0f}"
            bar.set_postfix({"loss": f"{loss:.3f}", "tokens/s": rate}, refresh=False)
            if self.updater.must_stop:
                self._stop(f"update {p.update:,}")
            if self._is_evaluated_now():
                if self.replicas.is_chief:
                    self._evaluate_or_stop()
                p.finished = self.replicas.told(p.finished)
            if self.replicas.is_chief and (p.finished or self.keeper.is_due()):
                self.keeper.save(self.updater.arrays(), vars(p))
        bar.close()
        self.updater.request.check(self.keeper.message(f"update {p.update:,}, the last"))

    def _is_evaluated_now(self) -> bool:
        return self.progress.update in self._evaluated_at

    def _evaluate_or_stop(self) -> None:
        try:
            self._evaluate()
        except interrupts.Stopped:
            # Between two batches of the evaluation, which has changed nothing: it is repeated from this checkpoint.
            self.keeper.save(self.updater.arrays(), vars(self.progress))
            place = f"update {self.progress.update:,}, during evaluation"
            raise self.updater.stopped(self.keeper.message(place)) from None

    def _stop(self, place: str) -> None:
        """Save a checkpoint in the chief, and stop all processes.

        Raises:
            Stopped: always.
        """
        if self.replicas.is_chief:
            self.keeper.save(self.updater.arrays(), vars(self.progress))
        self.replicas.leave()
        raise self.updater.stopped(self.keeper.message(place))

    def _plan(self, update: int) -> Iterator[tuple[np.ndarray, int, int]]:
        """Yield rows, draw and length limit of every batch from an update on."""
        config = self.config.train
        longest = self.config.examples.sequence_length
        short_updates = round(config.short_updates_fraction * self.num_updates)
        epoch, within = divmod(update, self.updates_per_epoch)
        lengths = self.train_rows.lengths()
        while epoch < self.epochs:
            plan = plan_training(lengths, config.batch_size, config.seed, epoch)
            for index in range(within * config.accumulation_steps, len(plan)):
                done = epoch * self.updates_per_epoch + index // config.accumulation_steps
                limit = max(_SHORTEST_LIMIT, longest // 4) if done < short_updates else longest
                yield plan[index], epoch + 1, limit
            epoch, within = epoch + 1, 0

    def _group_size(self, update: int) -> int:
        steps = self.config.train.accumulation_steps
        return min(steps, self.num_batches - update % self.updates_per_epoch * steps)

    def _update(self, group: list[Parts]) -> float:
        p, rate = self.progress, self.updater.learning_rate
        here = self.replicas.counted(group)
        num_tokens = float(sum(int(tf.reduce_sum(batch["padding_mask"])) for batch in here))
        counts = self.replicas.summed({**_counts(here, self.terms), "tokens": num_tokens})
        # An update without a single pair has no loss of pairs, whatever it would be divided by.
        sums = self.updater.update(group, {name: max(counts[name], 1.0) for name in self.terms})
        loss = sum(sums[name] / max(counts[name], 1.0) for name in self.terms)
        self.updater.check_loss(loss, f"update {p.update + 1}", rate)
        p.update += 1
        p.num_tokens += int(counts.pop("tokens"))
        p.sums, p.counts = _added(p.sums, sums), _added(p.counts, counts)
        if p.update % self._updates_a_point == 0 or p.update == self.num_updates:
            point = {"update": p.update, **_means(p.sums, p.counts), "learning_rate": rate}
            p.curve.append(point)
            p.sums, p.counts = {}, {}
        return loss

    def _evaluate(self) -> None:
        p, config = self.progress, self.config.train
        # The last update of all has no loss after it that would tell.
        if not self.updater.has_finite_weights():
            raise self.updater.divergence(f"weights are not finite after update {p.update}", self.updater.learning_rate)
        since = p.evaluations[-1]["update"] if p.evaluations else -1
        with self.updater.averages_in_place():
            self._copy_weights()
            entry = {
                "update": p.update,
                "epoch": p.update / self.updates_per_epoch,
                "num_tokens": p.num_tokens,
                "seconds": p.seconds,
                "held_out": self.measure(),
            }
            loss = entry["held_out"][LOSS]
            if p.best_loss is None or loss < p.best_loss:
                p.best_loss, p.best_update = loss, p.update
                self.keeper.keep_best(checkpoint.gather("model", self.model.weights))
        p.evaluations.append(entry)
        self.log(entry, [point for point in p.curve if point["update"] > since])
        stale = sum(evaluation["update"] > max(p.best_update, self.head_updates) for evaluation in p.evaluations)
        p.finished = p.update == self.num_updates or 0 < config.patience_evaluations <= stale

    def measure(self) -> dict[str, float]:
        """Return losses, accuracies and perplexity on the held-out rows, whose masks are always the same ones."""
        sums: dict[str, float] = {}
        counts: dict[str, float] = {}
        for batch in self._measured():
            self.updater.request.check()
            sums = _added(sums, {name: float(value) for name, value in self._measure(batch).items()})
            counts = _added(counts, _counts([batch], self.terms))
        found = _means(sums, counts)
        return {**found, "perplexity": math.exp(min(found[LOSS], 700.0)), "num_masked_words": counts["masked_words"]}

    def by_frequency(self) -> dict[str, float]:
        """Return loss and accuracy of guesses that see no context: how often train has each word, the same everywhere.

        What is measured has learned to read only as far as it is better than this.
        """
        masker = self.train_rows.masker
        seen = np.bincount(self.train_rows.rows.token_ids, minlength=masker.vocabulary_size) + 1.0
        seen[list(vars(masker.special).values())] = 0  # these are never asked for
        losses = -np.log(np.maximum(seen, 1) / seen.sum())
        sums, count = np.zeros(2), 0.0
        for batch in self._measured():
            targets, weights = batch["targets"].numpy(), batch["weights"].numpy()
            sums += (losses[targets] * weights).sum(), ((targets == seen.argmax()) * weights).sum()
            count += weights.sum()
        return dict(zip((LOSS, "masked_word_accuracy"), (sums / count).tolist(), strict=True))

    def _measured(self) -> Iterable[dict[str, tf.Tensor]]:
        """Return batches of the held-out rows that are measured on."""
        lengths, limit = self.held_out.lengths(), self.config.examples.sequence_length
        wanted = self.config.train.held_out_rows or len(lengths)
        # Evenly spread, so that it is the same sample whenever it is taken.
        rows = np.linspace(0, len(lengths) - 1, min(wanted, len(lengths))).astype(np.int64)
        batch_size = max(1, _EVALUATION_BATCH_TOKENS // min(int(lengths[rows].max()), limit))
        plan = plan_evaluation(lengths[rows], batch_size)
        return self.held_out.stream([(rows[part], HELD_OUT_DRAW, limit) for part in plan])

    def _copy_weights(self) -> None:
        if self.evaluation_model is not self.model:
            copy_weights(self.model.backbone, self.evaluation_model.backbone)
            copy_weights(self.model.head, self.evaluation_model.head)


def _counts(group: list[dict], terms: list[str]) -> dict[str, float]:
    """Return how many masked words and pairs there are in some batches."""
    found = {"masked_words": sum(float(tf.reduce_sum(batch["weights"])) for batch in group)}
    if "pairs" in terms:
        found["pairs"] = float(sum(np.count_nonzero(batch["pair_labels"].numpy() >= 0) for batch in group))
    return found


def _added(sums: dict[str, float], more: dict[str, float]) -> dict[str, float]:
    return {name: sums.get(name, 0.0) + value for name, value in more.items()}


def _means(sums: dict[str, float], counts: dict[str, float]) -> dict[str, float]:
    """Return `masked_word_loss` and `..._accuracy`, and the same of pairs where there were any."""
    found = {}
    for term, name in (("masked_words", "masked_word"), ("pairs", "pair")):
        if counts.get(term):
            found[f"{name}_loss"] = sums[term] / counts[term]
            found[f"{name}_accuracy"] = sums[f"{term}_right"] / counts[term]
    return found
