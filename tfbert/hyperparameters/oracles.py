"""Keras Tuner's oracles with persistent state, so that a search can be killed at any moment and resumed.

Keras Tuner writes an oracle and its trials to several files in place, and does not store the complete state of a grid
search: after a kill between two writes, a search is broken or starts again. Here the whole state is one file that is
replaced atomically.
"""

import time
import warnings
from pathlib import Path
from typing import Any

import keras_tuner
import numpy as np
from keras_tuner import HyperParameters, Objective
from keras_tuner.engine.trial import Trial
from keras_tuner.oracles import BayesianOptimizationOracle, GridSearchOracle, HyperbandOracle, RandomSearchOracle
from sklearn.exceptions import ConvergenceWarning

from tfbert.files import read_json, write_json
from tfbert.hyperparameters.hypermodel import declare
from tfbert.hyperparameters.plan import Plan

_SECONDS_PER_HOUR = 3600
# After this number of failures in a row, the values of the trials are not the cause.
_MAX_FAILURES = 10
# One of this number of trials is drawn at random, before the Gaussian process is fitted to them.
_TRIALS_PER_RANDOM = 3
# Variance of scores between seeds relative to that between trials; fine-tuning BERT varies much with the seed.
_NOISE = 0.05


class _Persistent:
    """Mixin that stores the state of a Keras Tuner oracle in one file."""

    path: Path
    hours: float | None = None
    _seconds_before = 0.0
    _started = 0.0
    _is_changed = False

    def persist(self, path: Path, hours: float | None) -> None:
        """Restore the state from a file, if it exists, and write all changes to it.

        Args:
            path: path of the file.
            hours: no trial starts after this time of searching; `None` sets no limit.

        Raises:
            ValueError: the file is damaged.
        """
        self.path, self.hours, self._started = path, hours, time.monotonic()
        self._display.verbose = 0
        if path.exists():
            self.reload()

    @property
    def seconds(self) -> float:
        """The time spent searching, before and after resuming."""
        return self._seconds_before + time.monotonic() - self._started

    def save(self) -> None:
        """Note that the state has changed; Keras Tuner calls this in the middle of a change, too early to write."""
        self._is_changed = True

    def _write(self) -> None:
        """Write the state atomically if it has changed."""
        if self._is_changed:
            trials = {trial_id: trial.get_state() for trial_id, trial in self.trials.items()}
            state = {"state": self.get_state(), "trials": trials, "seconds": self.seconds}
            write_json(self.path, _plain(state))
            self._is_changed = False

    def reload(self) -> None:
        """Restore the state from the file; trials that were running will be issued again."""
        stored = read_json(self.path)
        self.trials = {trial_id: Trial.from_state(state) for trial_id, state in stored["trials"].items()}
        self.set_state(stored["state"])
        self._seconds_before = stored["seconds"]
        self._retry_queue += [trial.trial_id for trial in self.ongoing_trials.values()]
        self.ongoing_trials = {}

    def _save_trial(self, trial: Trial) -> None:
        """Do nothing: trials are part of the one file."""

    @keras_tuner.synchronized
    def create_trial(self, tuner_id: str) -> Trial:
        """Return a trial to run, or one whose status is that there is none left or none yet."""
        if self.hours is not None and self.trials and self.seconds > self.hours * _SECONDS_PER_HOUR:
            self.max_trials = len(self.trials)
        trial = super().create_trial(tuner_id)
        self._write()
        return trial

    @keras_tuner.synchronized
    def end_trial(self, trial: Trial) -> None:
        """Store a trial that has ended."""
        super().end_trial(trial)
        self._write()

    @keras_tuner.synchronized
    def release(self, tuner_id: str) -> str | None:
        """Make the trial of a lost worker available to others, and return its id if there is one."""
        trial = self.ongoing_trials.pop(tuner_id, None)
        self.tuner_ids.discard(tuner_id)
        if trial is None:
            return None
        self._retry_queue.append(trial.trial_id)
        self.save()
        self._write()
        return trial.trial_id


class _Random(_Persistent, RandomSearchOracle):
    pass


class _Hyperband(_Persistent, HyperbandOracle):
    pass


class _Bayesian(_Persistent, BayesianOptimizationOracle):
    def populate_space(self, trial_id: str) -> dict:
        """Return the values of the next trial."""
        with warnings.catch_warnings():
            # With few trials the length scales do not converge, and the values are almost random.
            warnings.simplefilter("ignore", ConvergenceWarning)
            return super().populate_space(trial_id)

    def get_state(self) -> dict:
        """Return the state including that of the random generator, which Keras Tuner omits."""
        return {**super().get_state(), "random_state": list(self._random_state.get_state())}

    def set_state(self, state: dict) -> None:
        """Restore the state."""
        super().set_state(state)
        name, keys, *rest = state["random_state"]
        self._random_state.set_state((name, np.asarray(keys, np.uint32), *rest))


class _Grid(_Persistent, GridSearchOracle):
    def get_state(self) -> dict:
        """Return the state including the order of the grid, which Keras Tuner omits."""
        ids, index = [], self._ordered_ids._next_index[None]
        while index is not None:
            ids.append(self._ordered_ids._memory[index])
            index = self._ordered_ids._next_index[index]
        return {**super().get_state(), "ordered_ids": ids, "populate_next": self._populate_next}

    def set_state(self, state: dict) -> None:
        """Restore the state."""
        super().set_state(state)
        for trial_id in state["ordered_ids"]:
            self._ordered_ids.insert(trial_id)
        self._populate_next = state["populate_next"]


Oracle = _Random | _Hyperband | _Bayesian | _Grid


def make_oracle(plan: Plan, objective: Objective) -> Oracle:
    """Return the oracle of a checked plan, which does not persist its state yet."""
    hyperparameters = HyperParameters()
    declare(plan.searched, plan.config, hyperparameters)
    common = {
        "objective": objective,
        "hyperparameters": hyperparameters,
        "allow_new_entries": False,
        "tune_new_entries": False,
        "seed": plan.config.train.seed + 1,  # Keras Tuner treats 0 as no seed
        "max_consecutive_failed_trials": _MAX_FAILURES,
    }
    trials = plan.max_trials
    if plan.algorithm == "hyperband":
        oracle = _Hyperband(max_epochs=plan.max_epochs, **common)
        oracle.max_trials = trials
    elif plan.algorithm == "bayesian":
        # With Keras Tuner's default, three for each dimension, all trials of a small search would be random.
        initial = len(plan.searched) + 1
        initial = max(2, min(initial, trials // _TRIALS_PER_RANDOM)) if trials else initial
        oracle = _Bayesian(max_trials=trials, num_initial_points=initial, alpha=_NOISE, **common)
    else:
        oracle = (_Random if plan.algorithm == "random" else _Grid)(max_trials=trials, **common)
    return oracle


def _plain(value: Any) -> Any:
    """Return a value in the types of JSON."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [_plain(item) for item in value]
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value
