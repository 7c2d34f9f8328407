"""Keras Tuner's hyperparameters in, configs and trained models out.

`HyperModel` is for a tuner of one's own, such as `keras_tuner.BayesianOptimization(HyperModel(config), ...)`;
`tools/search.py` uses the same translation with a loop that survives being killed.
"""

import contextlib
import json
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import keras_tuner
from keras_tuner import HyperParameters

from tfbert.config import Config, override, value_at
from tfbert.evaluation.metric import Metric
from tfbert.models.task_model import TaskModel
from tfbert.space import Choice, Dimension, LogRange, Space, When, active_values, check_space
from tfbert.tasks.base import load_task
from tfbert.training import run
from tfbert.training.fine_tuning import monitored
from tfbert.training.problem import Problem, prepare

# Hyperband's own word for how long a trial is trained.
_RESOURCE = "tuner/epochs"


def declare(space: Space, config: Config, hyperparameters: HyperParameters) -> None:
    """Tell Keras Tuner of every dimension of a space.

    Args:
        space: checked.
        config: whose values are the defaults, where a dimension has them.
        hyperparameters: to tell.
    """
    conditional = {path: dimension for path, dimension in space.items() if isinstance(dimension, When)}
    for path, dimension in space.items():
        if path not in conditional:
            _declare(path, dimension, config, hyperparameters)
    for path, dimension in conditional.items():
        if dimension.path in space:
            known = [_to_keras(space[dimension.path], value) for value in dimension.values]
            scope = hyperparameters.conditional_scope(dimension.path, known)
        else:
            scope = contextlib.nullcontext()
        with scope:
            _declare(path, dimension.dimension, config, hyperparameters)


def values_of(hyperparameters: HyperParameters, space: Space, config: Config) -> dict[str, Any]:
    """Return the config values that a trial stands for, without those whose condition does not hold.

    Args:
        hyperparameters: of a trial.
        space: that was declared.
        config: that is searched around.
    """
    drawn = hyperparameters.values
    values = {path: _from_keras(dimension, drawn[path]) for path, dimension in space.items() if path in drawn}
    values = active_values(space, values, config)
    return values | ({"train.epochs": int(drawn[_RESOURCE])} if _RESOURCE in drawn else {})


class HyperModel(keras_tuner.HyperModel):
    """A task on data, with a search space, for any tuner of Keras Tuner.

    Args:
        config: of a run: task, data, encoder and everything else that is not searched.
        space: config paths to dimensions; `None` takes the task's own.

    Attributes:
        objective: what to give to the tuner: the task's metric on validation, and its direction.

    Raises:
        ValueError: the space does not fit the config, the data cannot be used, or there is no validation split.
    """

    def __init__(self, config: Config, space: Space | None = None):
        super().__init__(name="tfbert")
        self.config = config
        self.space = load_task(config.task).search_space if space is None else space
        check_space(self.space, config)
        self.problem = searchable(prepare(config))
        self.objective = objective_of(self.problem)

    def build(self, hp: HyperParameters) -> TaskModel:
        """Return the untrained model of a trial.

        Raises:
            ValueError: the values do not fit together.
        """
        declare(self.space, self.config, hp)
        config = override(self.config, values_of(hp, self.space, self.config))
        self._models = run.build(self.problem.with_config(config), config)
        return self._models[0]

    def fit(self, hp: HyperParameters, model: TaskModel, *args, callbacks: Sequence = (), **kwargs) -> dict[str, float]:
        """Train, and return the validation metrics of the best epoch, whose weights the model has then.

        Args:
            hp: of the trial.
            model: as `build` gave it.
            *args: are not used; the data are the config's.
            callbacks: Keras' own; they are told the beginning and end of training and of each epoch.
            **kwargs: are not used.

        Raises:
            Diverged: the numbers of the training are none any more.
        """
        config = override(self.config, values_of(hp, self.space, self.config))
        assert model is self._models[0], "a tuner trains the model that was built last"
        told = keras.callbacks.CallbackList(list(callbacks), model=model)
        told.on_train_begin()
        with tempfile.TemporaryDirectory(prefix="tfbert-trial-") as folder:
            _, course = run.fit(
                self.problem.with_config(config),
                config,
                Path(folder),
                lambda entry, _: told.on_epoch_end(entry["epoch"] - 1, dict(entry["validation"])),
                models=self._models,
            )
        told.on_train_end()
        return course.best_scores


def searchable(problem: Problem) -> Problem:
    """Return a problem whose trainings share what they can.

    Raises:
        ValueError: there is no validation split, by which trials are compared, or several processes share a training.
    """
    if problem.replicas.num_workers > 1:
        raise ValueError("a trial is trained by one process, and TF_CONFIG names several; wanted --workers or none")
    if "validation" not in problem.splits:
        raise ValueError("trials are compared on validation, but there is none; wanted data.validation_fraction > 0")
    return replace(problem, vectors={})


def objective_of(problem: Problem) -> keras_tuner.Objective:
    """Return the metric by which trials are compared, with its direction."""
    metric = metric_of(problem)
    return keras_tuner.Objective(metric.name, "max" if metric.better == "higher" else "min")


def metric_of(problem: Problem) -> Metric:
    """Return the metric by which trials are compared.

    Raises:
        ValueError: `train.monitor` is no metric of the task.
    """
    return monitored(problem.task, problem.config)


def _declare(path: str, dimension: Dimension, config: Config, hyperparameters: HyperParameters) -> None:
    default = value_at(config, path)
    if isinstance(dimension, Choice):
        known = [_to_keras(dimension, value) for value in dimension.values]
        is_ordered = not isinstance(known[0], str)
        given = _to_keras(dimension, default) if default in dimension.values else known[0]
        hyperparameters.Choice(path, known, default=given, ordered=is_ordered)
        return
    is_whole = isinstance(dimension.low, int) and isinstance(dimension.high, int)
    add = hyperparameters.Int if is_whole else hyperparameters.Float
    inside = default is not None and dimension.low <= default <= dimension.high
    sampling = "log" if isinstance(dimension, LogRange) else "linear"
    add(path, dimension.low, dimension.high, sampling=sampling, default=default if inside else dimension.low)


def _to_keras(dimension: Dimension, value: Any) -> Any:
    """Return what stands for a value in Keras Tuner, whose choices are numbers of one kind, or texts."""
    if not isinstance(dimension, Choice):
        return value
    kinds = set(map(type, dimension.values))
    if kinds <= {int} or kinds <= {str}:
        return value
    return float(value) if kinds <= {int, float} else json.dumps(value)


def _from_keras(dimension: Dimension, value: Any) -> Any:
    dimension = dimension.dimension if isinstance(dimension, When) else dimension
    if isinstance(dimension, Choice):
        return next(known for known in dimension.values if _to_keras(dimension, known) == value)
    return int(value) if isinstance(dimension.low, int) and isinstance(dimension.high, int) else float(value)
