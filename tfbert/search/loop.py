"""An oracle in, trials out: each trained, scored, and kept so that a killed search goes on where it was."""

import logging
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from keras_tuner import Objective

from tfbert.config import Config
from tfbert.evaluation.board import Board
from tfbert.files import WriteError, is_disk_full
from tfbert.search import trials as records
from tfbert.search.hypermodel import values_of
from tfbert.search.plan import Plan
from tfbert.search.stopping import is_hopeless
from tfbert.search.trials import FAILED, STOPPED, Table, Trial
from tfbert.training import run
from tfbert.training.problem import Problem
from tfbert.training.updates import Diverged

logger = logging.getLogger(__name__)

# How long to wait before asking an oracle again that waits for other workers.
_IDLE_SECONDS = 1.0
OUT_OF_MEMORY = (tf.errors.ResourceExhaustedError, MemoryError)


@dataclass(frozen=True, kw_only=True)
class Searcher:
    """Runs the trials that an oracle gives out.

    Args:
        plan: of the search.
        problem: prepared, as `hypermodel.searchable` gives it.
        objective: of the trials.
        out_dir: of the search; trials have directories in `trials`.
        oracle: of Keras Tuner, or its client where another process has it.
        tuner_id: that tells this process from others.
        is_alone: whether no other process runs trials or has the oracle.
    """

    plan: Plan
    problem: Problem
    objective: Objective
    out_dir: Path
    oracle: Any
    tuner_id: str = "tuner0"
    is_alone: bool = True

    @property
    def is_gain(self) -> bool:
        """Whether more of the objective is better."""
        return self.objective.direction == "max"

    @property
    def table(self) -> Table:
        """The table that grows in the terminal."""
        return Table(list(self.plan.space), self.objective.name)

    def search(self) -> None:
        """Run trials until the oracle has no more.

        Raises:
            ValueError: the data or the space cannot be used, or far too many trials fail.
        """
        if self.is_alone:
            logger.info("%s", self.table.head())
        while True:
            given = self.oracle.create_trial(self.tuner_id)
            if given.status == "STOPPED":
                return
            if given.status == "IDLE":
                time.sleep(_IDLE_SECONDS)
                continue
            trial = self._run(given.trial_id, values_of(given.hyperparameters, self.plan.searched, self.plan.config))
            if trial.score is not None:
                self.oracle.update_trial(given.trial_id, {self.objective.name: trial.score})
            given.status = "FAILED" if trial.state == FAILED else "COMPLETED"
            given.message = "; ".join(trial.notes)
            self._end(given)
            known = records.read_trials(self.out_dir)
            records.free_weights(self.out_dir, known, self.plan.kept, self.is_gain)
            records.write_csv(self.out_dir, known, list(self.plan.space))
            best = records.ranked(known, self.is_gain)
            logger.info("%s", self.table.row(trial, best[0].score if best else None, self._seconds_left(known)))
            for note in trial.notes:
                logger.info("  %s: %s", trial.id, note)

    def _seconds_left(self, known: list[Trial]) -> float | None:
        """Return how long the trials will still take, as far as one can tell from those that have ended."""
        ended = [trial for trial in known if trial.state != records.RUNNING]
        found = []
        if self.plan.most_trials:
            at_once = 1 + len(known) - len(ended)
            mean = sum(trial.seconds for trial in ended) / len(ended)
            found.append(max(0, self.plan.most_trials - len(ended)) * mean / at_once)
        # Where another process has the oracle, only that one knows when the search began.
        if self.plan.hours and self.is_alone:
            found.append(max(0.0, 3600 * self.plan.hours - self.oracle.seconds))
        return min(found, default=None)

    def _end(self, given) -> None:
        try:
            self.oracle.end_trial(given)
        except RuntimeError as error:
            # Keras Tuner's word for too many failures in a row, with the message of the last one.
            raise ValueError(f"the search was given up: {error}") from error

    def _run(self, trial_id: str, values: dict[str, Any]) -> Trial:
        trial = records.read_trial(self.out_dir, trial_id)
        if trial is not None and trial.state != records.RUNNING:
            # Ended by a process that was killed before it could tell the oracle.
            return trial
        trial = trial or Trial(id=trial_id, values=values)
        records.write_trial(self.out_dir, trial)
        board = Board(self.out_dir / "tensorboard" / trial_id, values, trial_id)
        executions, was_stopped = [], False
        trial.histories = []
        try:
            for execution in range(self.plan.executions):
                scores, history, is_cut = self._execute(trial, execution, board)
                executions.append(scores)
                trial.histories.append(history)
                was_stopped |= is_cut
                if is_cut:
                    break
            trial.finish(executions, self.objective.name, was_stopped)
            board.close({f"search/{self.objective.name}": trial.score}, 0)
        except Diverged as error:
            trial.state = FAILED
            trial.notes.append(str(error))
        records.write_trial(self.out_dir, trial)
        return trial

    def _execute(self, trial: Trial, execution: int, board: Board) -> tuple[dict[str, float], list[float], bool]:
        """Return the validation metrics of one training, the objective by epoch, and whether it was stopped early."""
        folder = records.trial_dir(self.out_dir, trial.id) / str(execution)
        while True:
            config = self.config_of(trial, execution)
            folder.mkdir(parents=True, exist_ok=True)
            started = time.monotonic()
            try:
                return self._fit(trial, config, folder, board if execution == 0 else None)
            except OUT_OF_MEMORY as error:
                if is_disk_full(error):
                    raise WriteError(f"{folder}: cannot be written: the disk is full; free some space") from error
                if config.train.batch_size == 1:
                    raise Diverged(f"out of memory even with batches of 1: {error}") from None
                halve(trial, config, "out of memory")
            finally:
                trial.seconds += time.monotonic() - started
                records.write_trial(self.out_dir, trial)
                keras.backend.clear_session()
            # The checkpoint is of the larger batch.
            shutil.rmtree(folder)

    def config_of(self, trial: Trial, execution: int = 0) -> Config:
        """Return the config of one training of a trial."""
        return self.plan.config_of(self.values_of(trial), self.plan.config.train.seed + execution)

    def values_of(self, trial: Trial) -> dict[str, Any]:
        """Return what a trial was trained with: its values, with a smaller batch where memory did not suffice."""
        if not trial.halvings:
            return trial.values
        train = self.plan.config_of(trial.values).train
        batch_size = max(1, train.batch_size >> trial.halvings)
        # As many examples an update as before.
        steps = train.accumulation_steps * -(-train.batch_size // batch_size)
        return {**trial.values, "train.batch_size": batch_size, "train.accumulation_steps": steps}

    def _fit(
        self, trial: Trial, config: Config, folder: Path, board: Board | None
    ) -> tuple[dict[str, float], list[float], bool]:
        problem = self.problem.with_config(config)
        trial.epochs = config.train.num_epochs(len(problem.tokenized["train"]))
        sign = 1 if self.is_gain else -1
        others = [
            ([sign * score for score in history], other.epochs)
            for other in records.read_trials(self.out_dir)
            if other.state in (records.FINISHED, STOPPED)
            for history in other.histories
        ]

        def by_epoch(history: list[dict]) -> list[float]:
            return [entry["validation"][self.objective.name] for entry in history]

        def stops(history: list[dict]) -> bool:
            if not self.plan.stop_hopeless:
                return False
            return is_hopeless([sign * score for score in by_epoch(history)], trial.epochs, others)

        log = board.epoch if board else lambda *_: None
        _, course = run.fit(problem, config, folder, log, stops)
        # Ended before its time by its own patience, it is as good as it gets; otherwise it was stopped.
        patience = config.train.patience_epochs
        is_stale = patience and len(course.history) - course.best_epoch >= patience
        was_stopped = len(course.history) < trial.epochs and not is_stale
        return course.best_scores, by_epoch(course.history), was_stopped


def halve(trial: Trial, config: Config, why: str) -> None:
    """Let a trial go on with half its batch and twice the accumulation, and note it."""
    trial.halvings += 1
    half = max(1, config.train.batch_size // 2)
    trial.notes.append(f"{why} with batches of {config.train.batch_size}; goes on with {half}, more of them an update")
