"""The plan of a search: a base config, a search space, an algorithm and a budget."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from tfbert.config import Config, override
from tfbert.space import Choice, Range, Space, When, check_space, space_to_json

ALGORITHMS = ("bayesian", "hyperband", "random", "grid")
# If neither trials nor hours are given and the algorithm has no end of its own.
_DEFAULT_TRIALS = 20
_EPOCHS = "train.epochs"


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
        check_space(self.searched, self.config)
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
