"""The plan of a search: a base config, a search space, an algorithm and a budget."""

import hashlib
import json
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tfbert.config import Config, override, parse_assignments
from tfbert.files import naming
from tfbert.space import (
    Choice,
    Range,
    Space,
    When,
    apply_space_options,
    check_space,
    combinations,
    read_space,
    space_to_json,
)
from tfbert.tasks.base import FittedTask, load_task
from tfbert.tasks.base_config import options_without_effect, read_config, reject_unused_options
from tfbert.tasks.base_options import Options

logger = logging.getLogger(__name__)

ALGORITHMS = ("bayesian", "hyperband", "random", "grid")
# If neither trials nor hours are given and the algorithm has no end of its own.
_DEFAULT_TRIALS = 20
_EPOCHS = "train.epochs"
# Number of trials that are trained again for confirmation.
CONFIRMED_TRIALS = 3


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The plan of one search.

    Args:
        config: base config, which the winner is compared with.
        space: dimensions by config path.
        algorithm: one of `ALGORITHMS`, each of which is an oracle of Keras Tuner.
        trials: maximum number of trials; `None` means 20, or the algorithm's own number for `grid` and `hyperband`.
        hours: no trial starts after this time of searching, before and after resuming; `None` sets no limit.
        executions: number of trainings per trial, with different seeds; the score is their mean.
        confirmations: number of fresh seeds with which the best three trials and the default config are trained again;
            0 takes the best trial without confirmation.
        kept: number of trials that keep their weights.
        stop_hopeless: whether a trial stops early if it is worse than the median of the others at the same point.
    """

    config: Config
    space: Space
    algorithm: str = "bayesian"
    trials: int | None = None
    hours: float | None = None
    executions: int = 1
    confirmations: int = 3
    kept: int = 1
    stop_hopeless: bool = False

    def check(self) -> None:
        """Refuse a plan that cannot be searched.

        Raises:
            ValueError: the space does not fit the config, a number is out of range, or the algorithm is unknown.
        """
        if self.algorithm not in ALGORITHMS:
            raise ValueError(f"--algorithm {self.algorithm}: expected one of {', '.join(ALGORITHMS)}")
        counts = {"trials": (self.trials, 1), "executions": (self.executions, 1)}
        counts |= {"confirm": (self.confirmations, 0), "keep": (self.kept, 1)}
        for name, (value, minimum) in counts.items():
            if value is not None and value < minimum:
                raise ValueError(f"--{name} {value}: expected {minimum} or more")
        if self.hours is not None and not self.hours > 0:
            raise ValueError(f"--hours {self.hours:g}: expected more than 0")
        check_search_space(self.searched, self.config)
        if "train.seed" in self.space:
            raise ValueError("search space: train.seed is not a hyperparameter; use --executions for several seeds")
        of_problem = [path for path in self.space if path == "task" or path.startswith("data.")]
        if of_problem:
            raise ValueError(f"search space: {of_problem[0]} changes the problem, so scores cannot be compared")
        if self.algorithm == "hyperband" and self.max_epochs is None:
            raise ValueError("--algorithm hyperband: expected train.epochs in the space or the config")

    @property
    def searched(self) -> Space:
        """The space of the oracle, without `train.epochs` for `hyperband`, which chooses the epochs itself."""
        if self.algorithm != "hyperband":
            return self.space
        return {path: dimension for path, dimension in self.space.items() if path != _EPOCHS}

    @property
    def max_epochs(self) -> int | None:
        """The maximum number of epochs in the space, else in the config; `None` if it depends on the data."""
        dimension = self.space.get(_EPOCHS)
        dimension = dimension.dimension if isinstance(dimension, When) else dimension
        if isinstance(dimension, Choice):
            return max((value for value in dimension.values if value is not None), default=None)
        return dimension.high if isinstance(dimension, Range) else self.config.train.epochs

    @property
    def max_trials(self) -> int | None:
        """The maximum number of trials; `None` if the algorithm or the hours limit them."""
        if self.trials is None and self.hours is None and self.algorithm in ("bayesian", "random"):
            return _DEFAULT_TRIALS
        return self.trials

    @property
    def num_confirmation_trainings(self) -> int:
        """The maximum number of trainings of the confirmation: best trials and default config, with each seed."""
        num_trials = min(self.max_trials or CONFIRMED_TRIALS, CONFIRMED_TRIALS)
        return (1 + num_trials) * self.confirmations

    def announcement(self) -> str:
        """Return one sentence with the number of trials and of the trainings that follow them."""
        trials = f"up to {count(self.max_trials, 'trial')}" if self.max_trials else "trials"
        if self.hours:
            trials += f", none of which starts after {self.hours:g} h"
        if not self.confirmations:
            return f"{trials}; no confirmation"
        seeds = count(self.confirmations, "fresh seed")
        return (
            f"{trials}; then the confirmation: the default config and the best trials are trained with {seeds} each, "
            f"up to {count(self.num_confirmation_trainings, 'training')}"
        )

    def config_of(self, values: dict[str, Any], seed: int | None = None) -> Config:
        """Return the config of a trial.

        Args:
            values: sampled values by config path.
            seed: random seed of the training; `None` means that of the base config.

        Raises:
            ValueError: the values do not fit together.
        """
        return override(self.config, values if seed is None else {**values, "train.seed": seed})

    def fingerprint(self) -> str:
        """Return 8 hexadecimal digits that identify the plan, for names of directories."""
        text = json.dumps(self.to_json(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:8]

    def to_json(self) -> dict:
        """Return the plan, ready for JSON."""
        options = {name: getattr(self, name) for name in self.__dataclass_fields__ if name not in ("config", "space")}
        return {**options, "config": self.config.to_dict(), "space": space_to_json(self.space)}


def read_plan(
    task: str | None,
    config_path: Path | None,
    space_path: Path | None,
    assignments: Sequence[str],
    values: Mapping[str, Any],
    **settings: Any,
) -> Plan:
    """Return a checked plan: the task's defaults and search space, overridden by files, then by values.

    Args:
        task: name or alias; `None` where the stored config or the values name it.
        config_path: `config.json` of an earlier run; `None` starts from the defaults of the task.
        space_path: JSON file of a search space; `None` starts from that of the task.
        assignments: `--set` options for config fields and for dimensions of the space. A field that is set is not
            searched, unless the file or another assignment gives its dimension.
        values: config paths to values, which take precedence over the assignments.
        **settings: fields of `Plan` other than `config` and `space`.

    Raises:
        ValueError: a file, an assignment or the plan cannot be used.
    """
    _, fields = apply_space_options(assignments, {})  # read the config first: its task has the search space
    assigned = parse_assignments(fields) | dict(values)
    config = read_config(task, config_path, assigned)
    space = read_space(space_path) if space_path else _without(load_task(config.task).search_space, assigned)
    space, _ = apply_space_options(assignments, space)
    if space_path:
        with naming(space_path):
            check_search_space(space, config)
    plan = Plan(config=config, space=space, **settings)
    plan.check()
    return plan


def _without(space: Space, assigned: Collection[str]) -> Space:
    """Return the task's own space without the fields that the user has set."""
    for path in space:
        if path in assigned:
            logger.info("search space: %s is left out, because it is set", path)
    return {path: dimension for path, dimension in space.items() if path not in assigned}


def check_search_space(space: Space, config: Config) -> None:
    """Check a search space against a config and its task.

    Raises:
        ValueError: the space does not fit the config, or the task does not use one of its options.
    """
    check_space(space, config)
    task = load_task(config.task)
    try:
        reject_unused_options(task, {path: dimension.bounds()[0] for path, dimension in space.items()})
    except ValueError as error:
        raise ValueError(f"search space: {error}") from None
    _check_combinations(space, config, task.options, lambda options: None)


def _check_combinations(
    space: Space, config: Config, options_class: type[Options], accept: Callable[[Options], Any]
) -> None:
    """Check that no trial can have options that contradict each other or the training data.

    Args:
        space: a checked space.
        config: the config with the values of all other fields.
        options_class: the options of the task.
        accept: raises a ValueError for options that do not fit the training data.
    """
    for values in combinations(space, options_class.own_paths() & space.keys(), config):
        try:
            accept(options_class.from_config(override(config, values)))
        except ValueError as error:
            raise ValueError(
                f'search space: {error} (a dimension with "when" is searched only with certain values of another field)'
            ) from None


def space_with_effect(space: Space, fitted: FittedTask, config: Config) -> Space:
    """Return a search space without those dimensions of the task's own space that have no effect with its data.

    Args:
        space: a checked space.
        fitted: the task, fitted to the training data of the search.
        config: the config with the values of all other fields.

    Raises:
        ValueError: a dimension without effect is not the one of the task's own space, or has values that contradict the
            data.
    """
    kept = dict(space)
    for path in sorted(options_without_effect(fitted) & space.keys()):
        if space[path] != fitted.definition.search_space.get(path):
            raise ValueError(f"search space: {path}: has no effect with these training data; expected no such path")
        logger.info("search space: %s is left out: it has no effect with these training data", path)
        del kept[path]
    _check_combinations(kept, config, type(fitted.options), lambda options: replace(fitted, options=options))
    return kept


def count(number: int, noun: str) -> str:
    """Return a number with a noun, such as `1 trial` or `20 trials`."""
    return f"{number:,} {noun}{'s' * (number != 1)}"
