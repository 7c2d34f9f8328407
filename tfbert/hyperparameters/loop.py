"""The loop over trials: each is trained, scored and stored, so that a killed search resumes where it was."""

import logging
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from keras_tuner import Objective

from tfbert.config import Config
from tfbert.evaluation.formatting import duration
from tfbert.evaluation.tensorboard_log import TensorBoardLog
from tfbert.files import WriteError, is_disk_full
from tfbert.hyperparameters import trials as trial_store
from tfbert.hyperparameters.hypermodel import metric_of, values_of
from tfbert.hyperparameters.plan import Plan
from tfbert.hyperparameters.stopping import should_stop_early
from tfbert.hyperparameters.trials import FAILED, STOPPED, Table, Trial
from tfbert.training import run
from tfbert.training.problem import Problem
from tfbert.training.trackers import open_tracker
from tfbert.training.updates import Diverged

logger = logging.getLogger(__name__)

# Interval between requests to an oracle that waits for other workers.
_IDLE_SECONDS = 1.0
OUT_OF_MEMORY = (tf.errors.ResourceExhaustedError, MemoryError)


@dataclass(frozen=True, kw_only=True)
class Searcher:
    """Runs the trials of an oracle.

    Args:
        plan: plan of the search.
        problem: result of `hypermodel.searchable`.
        objective: metric that trials are compared by, and its direction.
        out_dir: directory of the search; each trial has a directory in `trials`.
        oracle: Keras Tuner's oracle, or a client of the oracle in another process.
        tuner_id: name of this process, unique in the search.
        is_alone: whether this is the only process of the search.
    """

    plan: Plan
    problem: Problem
    objective: Objective
    out_dir: Path
    oracle: Any
    tuner_id: str = "tuner0"
    is_alone: bool = True

    @property
    def higher_is_better(self) -> bool:
        """Whether a higher score of the objective is better."""
        return self.objective.direction == "max"

    @property
    def table(self) -> Table:
        """The table of trials in the terminal."""
        return Table(list(self.plan.space), metric_of(self.problem))

    def search(self) -> None:
        """Run trials until the oracle has no more.

        Raises:
            ValueError: the data or the space cannot be used, or too many trials fail.
        """
        if self.is_alone:
            logger.info("%s", self.table.header())
        is_first = self.is_alone
        while True:
            keras_trial = self.oracle.create_trial(self.tuner_id)
            if keras_trial.status == "STOPPED":
                return
            if keras_trial.status == "IDLE":
                time.sleep(_IDLE_SECONDS)
                continue
            values = values_of(keras_trial.hyperparameters, self.plan.searched, self.plan.config)
            trial = self._run(keras_trial.trial_id, values)
            if trial.score is not None:
                self.oracle.update_trial(trial.id, {self.objective.name: trial.score})
            keras_trial.status = "FAILED" if trial.state == FAILED else "COMPLETED"
            keras_trial.message = "; ".join(trial.notes)
            self._end(keras_trial)
            trials = trial_store.read_trials(self.out_dir)
            trial_store.remove_weights(self.out_dir, trials, self.plan.kept, self.higher_is_better)
            trial_store.write_csv(self.out_dir, trials, list(self.plan.space))
            best = trial_store.ranked(trials, self.higher_is_better)
            logger.info("%s", self.table.row(trial, best[0].score if best else None, self._seconds_left(trials)))
            for note in trial.notes:
                logger.info("  %s: %s", trial.id, note)
            if is_first and (seconds := self.confirmation_seconds(trials)):
                logger.info("  of the time left, the confirmation takes about %s", duration(seconds))
                is_first = False

    def _seconds_left(self, trials: list[Trial]) -> float | None:
        """Estimate the remaining time of the search from the trials that have ended; `None` if there is no limit."""
        ended = [trial for trial in trials if trial.state != trial_store.RUNNING]
        estimates = []
        if self.plan.max_trials:
            num_parallel = 1 + len(trials) - len(ended)
            mean = sum(trial.seconds for trial in ended) / len(ended)
            estimates.append(max(0, self.plan.max_trials - len(ended)) * mean / num_parallel)
        # Only the process that has the oracle knows when the search started.
        if self.plan.hours and self.is_alone:
            estimates.append(max(0.0, 3600 * self.plan.hours - self.oracle.seconds))
        return min(estimates) + (self.confirmation_seconds(trials) or 0.0) if estimates else None

    def confirmation_seconds(self, trials: Sequence[Trial]) -> float | None:
        """Estimate the time of the confirmation from the trials that have ended; `None` before the first one."""
        per_training = [
            trial.seconds / len(trial.histories) for trial in trials if trial.state in (trial_store.FINISHED, STOPPED)
        ]
        if not per_training:
            return None
        return self.plan.num_confirmation_trainings * sum(per_training) / len(per_training)

    def _end(self, keras_trial) -> None:
        try:
            self.oracle.end_trial(keras_trial)
        except RuntimeError as error:
            # Keras Tuner raises it after too many failures in a row, with the message of the last one.
            raise ValueError(f"the search has stopped: {error}") from error

    def _run(self, trial_id: str, values: dict[str, Any]) -> Trial:
        trial = trial_store.read_trial(self.out_dir, trial_id)
        if trial is not None and trial.state != trial_store.RUNNING:
            # The process that ended the trial was killed before it told the oracle.
            return trial
        trial = trial or Trial(id=trial_id, values=values)
        trial_store.write_trial(self.out_dir, trial)
        log = TensorBoardLog(self.out_dir / "tensorboard" / trial_id, values, trial_id)
        executions, was_stopped = [], False
        trial.histories = []
        try:
            for execution in range(self.plan.executions):
                scores, history, stopped_early = self._execute(trial, execution, log)
                executions.append(scores)
                trial.histories.append(history)
                was_stopped |= stopped_early
                if stopped_early:
                    break
            trial.finish(executions, self.objective.name, was_stopped)
            log.close({f"search/{self.objective.name}": trial.score}, 0)
        except Diverged as error:
            trial.state = FAILED
            trial.notes.append(str(error))
        trial_store.write_trial(self.out_dir, trial)
        return trial

    def _execute(self, trial: Trial, execution: int, log: TensorBoardLog) -> tuple[dict[str, float], list[float], bool]:
        """Return the validation scores of one training, the objective by epoch, and whether it was stopped early."""
        folder = trial_store.trial_dir(self.out_dir, trial.id) / str(execution)
        while True:
            config = self.config_of(trial, execution)
            folder.mkdir(parents=True, exist_ok=True)
            started = time.monotonic()
            try:
                return self._fit(trial, config, folder, log if execution == 0 else None)
            except OUT_OF_MEMORY as error:
                if is_disk_full(error):
                    raise WriteError(f"{folder}: cannot be written: the disk is full; free some space") from error
                if config.train.batch_size == 1:
                    raise Diverged(f"out of memory even with batches of 1: {error}") from None
                halve_batch(trial, config, "out of memory")
            finally:
                trial.seconds += time.monotonic() - started
                trial_store.write_trial(self.out_dir, trial)
                keras.backend.clear_session()
            # The checkpoint was made with the larger batch.
            shutil.rmtree(folder)

    def config_of(self, trial: Trial, execution: int = 0) -> Config:
        """Return the config of one training of a trial."""
        return self.plan.config_of(self.values_of(trial), self.plan.config.train.seed + execution)

    def values_of(self, trial: Trial) -> dict[str, Any]:
        """Return the values that a trial was trained with, including a batch size reduced for lack of memory."""
        if not trial.halvings:
            return trial.values
        train = self.plan.config_of(trial.values).train
        batch_size = max(1, train.batch_size >> trial.halvings)
        # The same number of examples per update.
        steps = train.accumulation_steps * -(-train.batch_size // batch_size)
        return {**trial.values, "train.batch_size": batch_size, "train.accumulation_steps": steps}

    def _fit(
        self, trial: Trial, config: Config, folder: Path, log: TensorBoardLog | None
    ) -> tuple[dict[str, float], list[float], bool]:
        problem = self.problem.with_config(config)
        trial.epochs = config.train.num_epochs(len(problem.training_examples), problem.task.predicts_untrained)
        sign = 1 if self.higher_is_better else -1
        others = [
            ([sign * score for score in history], other.epochs)
            for other in trial_store.read_trials(self.out_dir)
            if other.state in (trial_store.FINISHED, STOPPED)
            for history in other.histories
        ]

        def scores_of(history: list[dict]) -> list[float]:
            return [entry["validation"][self.objective.name] for entry in history]

        was_stopped = False

        def stops(history: list[dict]) -> bool:
            nonlocal was_stopped
            if self.plan.stop_hopeless:
                was_stopped = should_stop_early([sign * score for score in scores_of(history)], trial.epochs, others)
            return was_stopped

        log_epoch = log.epoch if log else lambda *_: None
        with open_tracker(config, folder) as tracker:
            _, result = run.fit(problem, config, folder, log_epoch, stops, tracker=tracker)
        # A training that ended by its own patience counts as complete.
        return result.best_scores, scores_of(result.history), was_stopped


def halve_batch(trial: Trial, config: Config, reason: str) -> None:
    """Let a trial continue with half the batch size and twice the accumulation steps, and note it in the trial."""
    trial.halvings += 1
    batch_size = config.train.batch_size
    half = max(1, batch_size // 2)
    trial.notes.append(f"{reason} with batches of {batch_size}; continues with {half} and more accumulation steps")
