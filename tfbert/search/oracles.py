"""A plan in, one of Keras Tuner's oracles out, which survives being killed at any moment.

Keras Tuner writes an oracle and its trials into several files, one after another and in place, and of a grid search not
all that it needs: killed between two writes, a search is broken or begins anew. Here the whole state is one file that
is replaced at once.
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
from tfbert.search.hypermodel import declare
from tfbert.search.plan import Plan

_SECONDS_PER_HOUR = 3600
# After so many failures in a row it is not the values that are wrong.
_MOST_FAILURES = 10
# Share of a Gaussian process' trials that are drawn by chance, to have something to fit.
_CHANCE = 3
# Variance of a score between seeds, relative to that between trials: BERT's fine-tuning is far from exact.
_NOISE = 0.05


class _Kept:
    """What an oracle needs to be kept in one file; the other base is an oracle of Keras Tuner."""

    path: Path
    hours: float | None = None
    _seconds_before = 0.0
    _started = 0.0
    _is_changed = False

    def keep_in(self, path: Path, hours: float | None) -> None:
        """Go on from a file, if it is there, and write to it from now on.

        Args:
            path: of the file.
            hours: after which no trial is given out any more; `None` sets no limit.

        Raises:
            ValueError: the file is damaged.
        """
        self.path, self.hours, self._started = path, hours, time.monotonic()
        self._display.verbose = 0
        if path.exists():
            self.reload()

    @property
    def seconds(self) -> float:
        """How long the search has gone on, over all its processes one after another."""
        return self._seconds_before + time.monotonic() - self._started

    def save(self) -> None:
        """Remember that there is something to write: Keras Tuner asks for it in the middle of a change."""
        self._is_changed = True

    def _write(self) -> None:
        """Write everything, whole or not at all, if anything has changed."""
        if self._is_changed:
            trials = {trial_id: trial.get_state() for trial_id, trial in self.trials.items()}
            state = {"state": self.get_state(), "trials": trials, "seconds": self.seconds}
            write_json(self.path, _plain(state))
            self._is_changed = False

    def reload(self) -> None:
        """Take back what `save` wrote; trials that were running are given out again."""
        said = read_json(self.path)
        self.trials = {trial_id: Trial.from_state(state) for trial_id, state in said["trials"].items()}
        self.set_state(said["state"])
        self._seconds_before = said["seconds"]
        self._retry_queue += [trial.trial_id for trial in self.ongoing_trials.values()]
        self.ongoing_trials = {}

    def _save_trial(self, trial: Trial) -> None:
        """Do nothing: trials are written with all else."""

    @keras_tuner.synchronized
    def create_trial(self, tuner_id: str) -> Trial:
        """Return a trial to run, or one whose status says that there is none, or none yet."""
        if self.hours is not None and self.trials and self.seconds > self.hours * _SECONDS_PER_HOUR:
            self.max_trials = len(self.trials)
        trial = super().create_trial(tuner_id)
        self._write()
        return trial

    @keras_tuner.synchronized
    def end_trial(self, trial: Trial) -> None:
        """Take a trial that has ended."""
        super().end_trial(trial)
        self._write()

    @keras_tuner.synchronized
    def give_back(self, tuner_id: str) -> str | None:
        """Take the trial of a worker that is gone, for another one, and return its id, if it had one."""
        trial = self.ongoing_trials.pop(tuner_id, None)
        self.tuner_ids.discard(tuner_id)
        if trial is None:
            return None
        self._retry_queue.append(trial.trial_id)
        self.save()
        self._write()
        return trial.trial_id


class _Random(_Kept, RandomSearchOracle):
    pass


class _Hyperband(_Kept, HyperbandOracle):
    pass


class _Bayesian(_Kept, BayesianOptimizationOracle):
    def populate_space(self, trial_id: str) -> dict:
        """Return the values of the next trial."""
        with warnings.catch_warnings():
            # Of so few trials the process cannot know its length scales; what it draws then is close to chance.
            warnings.simplefilter("ignore", ConvergenceWarning)
            return super().populate_space(trial_id)

    def get_state(self) -> dict:
        """Return the state with that of the generator, which Keras Tuner forgets."""
        return {**super().get_state(), "random_state": list(self._random_state.get_state())}

    def set_state(self, state: dict) -> None:
        """Take the state back."""
        super().set_state(state)
        name, keys, *rest = state["random_state"]
        self._random_state.set_state((name, np.asarray(keys, np.uint32), *rest))


class _Grid(_Kept, GridSearchOracle):
    def get_state(self) -> dict:
        """Return the state with the order of the grid, which Keras Tuner forgets."""
        ids, at = [], self._ordered_ids._next_index[None]
        while at is not None:
            ids.append(self._ordered_ids._memory[at])
            at = self._ordered_ids._next_index[at]
        return {**super().get_state(), "ordered_ids": ids, "populate_next": self._populate_next}

    def set_state(self, state: dict) -> None:
        """Take the state back."""
        super().set_state(state)
        for trial_id in state["ordered_ids"]:
            self._ordered_ids.insert(trial_id)
        self._populate_next = state["populate_next"]


Oracle = _Random | _Hyperband | _Bayesian | _Grid


def make_oracle(plan: Plan, objective: Objective) -> Oracle:
    """Return the oracle of a checked plan, not yet kept anywhere.

    Args:
        plan: checked.
        objective: of the trials.
    """
    hyperparameters = HyperParameters()
    declare(plan.searched, plan.config, hyperparameters)
    common = {
        "objective": objective,
        "hyperparameters": hyperparameters,
        "allow_new_entries": False,
        "tune_new_entries": False,
        "seed": plan.config.train.seed + 1,  # Keras Tuner takes 0 for none
        "max_consecutive_failed_trials": _MOST_FAILURES,
    }
    trials = plan.most_trials
    if plan.algorithm == "hyperband":
        oracle = _Hyperband(max_epochs=plan.most_epochs, **common)
        oracle.max_trials = trials
    elif plan.algorithm == "bayesian":
        # Keras Tuner's own rule, three for each dimension, would leave a small search to chance altogether.
        initial = len(plan.searched) + 1
        initial = max(2, min(initial, trials // _CHANCE)) if trials else initial
        oracle = _Bayesian(max_trials=trials, num_initial_points=initial, alpha=_NOISE, **common)
    else:
        oracle = (_Random if plan.algorithm == "random" else _Grid)(max_trials=trials, **common)
    return oracle


def _plain(value: Any) -> Any:
    """Return what JSON can hold."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [_plain(item) for item in value]
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value
