"""What is asked of a search: a space around a config, an algorithm, and how much may be spent on it."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from tfbert.config import Config, override
from tfbert.space import Choice, Range, Space, When, check_space, space_to_json

ALGORITHMS = ("bayesian", "hyperband", "random", "grid")
# Where neither a number of trials nor hours were given and the algorithm would go on for ever.
_USUAL_TRIALS = 20
_EPOCHS = "train.epochs"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One search.

    Args:
        config: that is searched around; the default the winner stands next to.
        space: config paths to what each may be in.
        algorithm: one of `ALGORITHMS`, an oracle of Keras Tuner each.
        trials: most trials; `None` means 20, or for `grid` and `hyperband` as many as they have.
        hours: no trial begins after so many hours of searching, over all processes of the search; `None` sets no limit.
        executions: trainings of a trial with different seeds, whose mean score counts.
        confirmations: seeds, fresh ones, on which the best three trials and the default config are trained again; 0
            takes the best trial as it is.
        kept: how many trials keep their weights.
        stop_hopeless: whether a trial ends early that is worse than half of the others were at that point.
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
        """Refuse what cannot be searched.

        Raises:
            ValueError: the space does not fit the config, a number is out of range, or the algorithm is unknown.
        """
        if self.algorithm not in ALGORITHMS:
            raise ValueError(f"--algorithm {self.algorithm}: wanted one of {', '.join(ALGORITHMS)}")
        counts = {"trials": (self.trials, 1), "executions": (self.executions, 1)}
        counts |= {"confirm": (self.confirmations, 0), "keep": (self.kept, 1)}
        for name, (value, least) in counts.items():
            if value is not None and value < least:
                raise ValueError(f"--{name} {value}: wanted {least} or more")
        if self.hours is not None and not self.hours > 0:
            raise ValueError(f"--hours {self.hours:g}: wanted more than 0")
        check_space(self.searched, self.config)
        if "train.seed" in self.space:
            raise ValueError("search space: train.seed is no hyperparameter; --executions tries several seeds")
        elsewhere = [path for path in self.space if path == "task" or path.startswith("data.")]
        if elsewhere:
            raise ValueError(f"search space: {elsewhere[0]} changes the problem, so that scores do not compare")
        if self.algorithm == "hyperband" and self.most_epochs is None:
            raise ValueError("--algorithm hyperband: wanted train.epochs in the space or the config, which it divides")

    @property
    def searched(self) -> Space:
        """The space that the oracle draws from: `hyperband` gives out epochs itself."""
        if self.algorithm != "hyperband":
            return self.space
        return {path: dimension for path, dimension in self.space.items() if path != _EPOCHS}

    @property
    def most_epochs(self) -> int | None:
        """The most epochs of a trial that the space or else the config allows; `None` if that depends on the data."""
        dimension = self.space.get(_EPOCHS)
        dimension = dimension.dimension if isinstance(dimension, When) else dimension
        if isinstance(dimension, Choice):
            return max((value for value in dimension.values if value is not None), default=None)
        return dimension.high if isinstance(dimension, Range) else self.config.train.epochs

    @property
    def most_trials(self) -> int | None:
        """The most trials; `None` leaves it to the algorithm or the hours."""
        if self.trials is None and self.hours is None and self.algorithm in ("bayesian", "random"):
            return _USUAL_TRIALS
        return self.trials

    def config_of(self, values: dict[str, Any], seed: int | None = None) -> Config:
        """Return the config of a trial.

        Args:
            values: config paths to what was drawn.
            seed: of the training; `None` keeps the config's.

        Raises:
            ValueError: the values do not fit together.
        """
        return override(self.config, values if seed is None else {**values, "train.seed": seed})

    def fingerprint(self) -> str:
        """Return 8 hex digits that change with anything that decides the search, for directories."""
        text = json.dumps(self.to_json(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:8]

    def to_json(self) -> dict:
        """Return all that decides the search, ready for JSON."""
        said = {name: getattr(self, name) for name in self.__dataclass_fields__ if name not in ("config", "space")}
        return {**said, "config": self.config.to_dict(), "space": space_to_json(self.space)}
