"""Translation between search spaces over config paths and Keras Tuner's hyperparameters, and a `HyperModel`.

`HyperModel` is for users' own tuners, such as `keras_tuner.BayesianOptimization(HyperModel(config), ...)`;
`tfbert search` uses the same translation in a loop that can be killed and resumed.
"""

import contextlib
import json
import math
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
from tfbert.hyperparameters.plan import check_search_space, space_with_effect
from tfbert.models.task_model import TaskModel
from tfbert.space import Choice, Dimension, LogRange, Space, When, active_values
from tfbert.tasks.base import load_task
from tfbert.training import run
from tfbert.training.fine_tuning import monitored
from tfbert.training.problem import Problem, prepare

# Hyperband's name for the number of epochs of a trial.
_RESOURCE = "tuner/epochs"


def declare(space: Space, config: Config, hyperparameters: HyperParameters) -> None:
    """Declare every dimension of a space to Keras Tuner.

    Args:
        space: a checked space.
        config: config whose values are the defaults of the dimensions that contain them; others start in the middle.
        hyperparameters: receives the dimensions.
    """
    conditional = {path: dimension for path, dimension in space.items() if isinstance(dimension, When)}
    for path, dimension in space.items():
        if path not in conditional:
            _declare(path, dimension, config, hyperparameters)
    for path, dimension in conditional.items():
        if dimension.path in space:
            values = [_to_keras(space[dimension.path], value) for value in dimension.values]
            scope = hyperparameters.conditional_scope(dimension.path, values)
        else:
            scope = contextlib.nullcontext()
        with scope:
            _declare(path, dimension.dimension, config, hyperparameters)


def values_of(hyperparameters: HyperParameters, space: Space, config: Config) -> dict[str, Any]:
    """Return the config values of a trial, without those whose condition does not hold.

    Args:
        hyperparameters: the hyperparameters of the trial.
        space: the declared space.
        config: the base config of the search.
    """
    sampled = hyperparameters.values
    values = {path: _from_keras(dimension, sampled[path]) for path, dimension in space.items() if path in sampled}
    values = active_values(space, values, config)
    return values | ({"train.epochs": int(sampled[_RESOURCE])} if _RESOURCE in sampled else {})


class HyperModel(keras_tuner.HyperModel):
    """A task, its data and a search space, for any tuner of Keras Tuner.

    Args:
        config: base config of the search: task, data, encoder and everything that is not searched.
        space: dimensions by config path; `None` means the task's own space.

    Attributes:
        space: the space that is searched, without dimensions of the task's own space that its data make ineffective.
        objective: objective for the tuner: the monitored metric on validation and its direction.

    Raises:
        ValueError: the space does not fit the config or the task, the data cannot be used, or there is no validation
            split.
    """

    def __init__(self, config: Config, space: Space | None = None):
        super().__init__(name="tfbert")
        self.config = config
        space = load_task(config.task).search_space if space is None else space
        check_search_space(space, config)
        self.problem = searchable(prepare(config))
        self.space = space_with_effect(space, self.problem.task, config)
        check_search_space(self.space, config)
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
        """Train, give the model the weights of the best epoch, and return its validation scores.

        Args:
            hp: the hyperparameters of the trial.
            model: the result of the last `build`.
            *args: ignored; the data are those of the config.
            callbacks: Keras callbacks; only the start and end of training and the end of epochs are reported to them.
            **kwargs: ignored.

        Raises:
            Diverged: the loss, a weight or an output became NaN or infinite.
        """
        config = override(self.config, values_of(hp, self.space, self.config))
        assert model is self._models[0], "a tuner trains the model that was built last"
        callbacks = keras.callbacks.CallbackList(list(callbacks), model=model)
        callbacks.on_train_begin()
        with tempfile.TemporaryDirectory(prefix="tfbert-trial-") as folder:
            _, history = run.fit(
                self.problem.with_config(config),
                config,
                Path(folder),
                lambda entry, _: callbacks.on_epoch_end(entry["epoch"] - 1, dict(entry["validation"])),
                models=self._models,
            )
        callbacks.on_train_end()
        return history.best_scores


def searchable(problem: Problem) -> Problem:
    """Return a problem whose trainings share cached vectors, after checking that it can be searched.

    Raises:
        ValueError: there is no validation split, or TF_CONFIG names several processes.
    """
    if problem.replicas.num_workers > 1:
        raise ValueError("TF_CONFIG names several processes, but one process trains a trial; use --workers instead")
    if "validation" not in problem.splits:
        raise ValueError("trials are compared on a validation split; expected data.validation_fraction > 0")
    return replace(problem, vectors={})


def objective_of(problem: Problem) -> keras_tuner.Objective:
    """Return Keras Tuner's objective: the monitored metric and its direction."""
    metric = metric_of(problem)
    return keras_tuner.Objective(metric.name, "max" if metric.better == "higher" else "min")


def metric_of(problem: Problem) -> Metric:
    """Return the metric by which trials are compared.

    Raises:
        ValueError: `train.monitor` is not a metric of the task.
    """
    return monitored(problem.task, problem.config)


def _declare(path: str, dimension: Dimension, config: Config, hyperparameters: HyperParameters) -> None:
    default = value_at(config, path)
    if isinstance(dimension, Choice):
        values = [_to_keras(dimension, value) for value in dimension.values]
        is_ordered = not isinstance(values[0], str)
        default = _to_keras(dimension, default) if default in dimension.values else values[0]
        hyperparameters.Choice(path, values, default=default, ordered=is_ordered)
        return
    is_integer = isinstance(dimension.low, int) and isinstance(dimension.high, int)
    add = hyperparameters.Int if is_integer else hyperparameters.Float
    is_inside = default is not None and dimension.low <= default <= dimension.high
    is_log = isinstance(dimension, LogRange)
    if not is_inside:
        default = math.sqrt(dimension.low * dimension.high) if is_log else (dimension.low + dimension.high) / 2
        default = round(default) if is_integer else default
    add(path, dimension.low, dimension.high, sampling="log" if is_log else "linear", default=default)


def _to_keras(dimension: Dimension, value: Any) -> Any:
    """Return the representation of a value in Keras Tuner, whose choices are numbers of one type or strings."""
    if not isinstance(dimension, Choice):
        return value
    types = set(map(type, dimension.values))
    if types <= {int} or types <= {str}:
        return value
    return float(value) if types <= {int, float} else json.dumps(value)


def _from_keras(dimension: Dimension, value: Any) -> Any:
    dimension = dimension.dimension if isinstance(dimension, When) else dimension
    if isinstance(dimension, Choice):
        return next(choice for choice in dimension.values if _to_keras(dimension, choice) == value)
    return int(value) if isinstance(dimension.low, int) and isinstance(dimension.high, int) else float(value)
