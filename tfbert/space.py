"""Search spaces: config paths and what each may be in, checked against the config tree before anything is tried.

A space is data. Tasks have one each, files hold others, and what draws from it is somebody else's.
"""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfbert.config import Config, override, paths, value_at
from tfbert.files import read_json
from tfbert.nearest import did_you_mean_path


@dataclass(frozen=True)
class Choice:
    """One of some values.

    Args:
        values: two or more different ones, in the order in which they are shown.
    """

    values: tuple

    def __init__(self, *values: Any):
        object.__setattr__(self, "values", values)

    def trouble(self) -> str | None:
        """Return what was wanted, if the values are none to choose from."""
        return None if len(set(map(repr, self.values))) == len(self.values) >= 2 else "two or more different values"

    def extremes(self) -> tuple:
        """Return values such that all are fit if these are."""
        return self.values

    def to_json(self) -> list:
        """Return what `space_from_json` reads."""
        return list(self.values)


@dataclass(frozen=True)
class Range:
    """A number between two, each as likely as the other; a whole number where both ends are whole.

    Args:
        low: smallest value.
        high: largest value, included.
    """

    low: float
    high: float

    def trouble(self) -> str | None:
        """Return what was wanted, if the ends are none."""
        ends = (self.low, self.high)
        are_numbers = all(type(end) in (int, float) and math.isfinite(end) for end in ends)
        return None if are_numbers and self.low < self.high else "two numbers, the smaller one first"

    def extremes(self) -> tuple:
        """Return values such that all are fit if these are."""
        return self.low, self.high

    def to_json(self) -> dict:
        """Return what `space_from_json` reads."""
        return {"range": [self.low, self.high]}


@dataclass(frozen=True)
class LogRange(Range):
    """A number between two above 0, every order of magnitude as likely as the other."""

    def trouble(self) -> str | None:
        """Return what was wanted, if the ends are none."""
        wish = super().trouble()
        return wish or (None if self.low > 0 else "two numbers above 0, the smaller one first")

    def to_json(self) -> dict:
        """Return what `space_from_json` reads."""
        return {"log_range": [self.low, self.high]}


@dataclass(frozen=True)
class When:
    """A dimension that only matters where another field has one of some values; elsewhere the config's value stays.

    Args:
        path: of the other field.
        values: of that field.
        dimension: what is searched then.
    """

    path: str
    values: tuple
    dimension: Choice | Range

    def trouble(self) -> str | None:
        """Return what was wanted, if the condition or the dimension is none."""
        return self.dimension.trouble() if self.values else "at least one value of the other field"

    def extremes(self) -> tuple:
        """Return values such that all are fit if these are."""
        return self.dimension.extremes()

    def to_json(self) -> dict:
        """Return what `space_from_json` reads."""
        return {"when": {self.path: list(self.values)}, "is": self.dimension.to_json()}


Dimension = Choice | Range | When
# What `--set` calls the space of a search.
_SPACE = "search.space."
Space = Mapping[str, Dimension]

# What is worth searching whatever the task: the learning rate above all, then how long and how many at once.
# Source: Devlin et al. 2019, "BERT", appendix A.3 (rates, epochs, batches); small encoders take higher rates.
COMMON: Space = {
    "train.learning_rate": LogRange(2e-5, 5e-4),
    "train.epochs": Choice(2, 3, 5, 8),
    "train.batch_size": Choice(16, 32, 64),
    "train.layer_decay": Choice(0.8, 0.9, 1.0),
    "encoder.dropout": Choice(0.0, 0.1, 0.2),
}


def check_space(space: Space, config: Config) -> None:
    """Refuse a space that a config cannot take.

    Args:
        space: config paths to dimensions.
        config: that is searched around.

    Raises:
        ValueError: the space is empty; a path does not exist, in which case a similar one is named; a dimension has
            nothing to choose, or a value that the field does not take; a condition can never hold.
    """
    if not space:
        raise ValueError("the search space is empty; wanted at least one config path")
    for path, dimension in space.items():
        _check_path(path)
        if wish := dimension.trouble():
            raise ValueError(f"search space: {path}={dimension.to_json()}: wanted {wish}")
        for value in dimension.extremes():
            _check_value(config, path, value)
        if isinstance(dimension, When):
            _check_condition(path, dimension, space, config)


def active(space: Space, values: Mapping[str, Any], config: Config) -> dict[str, Any]:
    """Return those of a trial's values that matter: the others belong to conditions that do not hold.

    Args:
        space: checked.
        values: path to value for some or all paths of the space.
        config: gives the value of every other field.
    """
    kept: dict[str, Any] = {}
    for path, value in values.items():
        dimension = space[path]
        if isinstance(dimension, When):
            other = values.get(dimension.path, value_at(config, dimension.path))
            if other not in dimension.values:
                continue
        kept[path] = value
    return kept


def space_to_json(space: Space) -> dict:
    """Return the space as plain lists and dicts."""
    return {path: dimension.to_json() for path, dimension in space.items()}


def space_from_json(tree: Mapping[str, Any], where: str = "search space") -> dict[str, Dimension]:
    """Read a space: a list is a choice, `{"range": [low, high]}` and `{"log_range": [low, high]}` are numbers.

    `{"when": {path: [values]}, "is": ...}` makes any of these depend on another field.

    Args:
        tree: config paths to such values.
        where: it stands, for messages.

    Raises:
        ValueError: a value is none of these.
    """
    return {path: _dimension(said, f"{where}: {path}") for path, said in tree.items()}


def read_space(path: Path) -> dict[str, Dimension]:
    """Read a space from a JSON file, as `space_from_json` does.

    Raises:
        ValueError: the file is missing or damaged, or a value is no dimension.
    """
    return space_from_json(read_json(path), str(path))


def space_of(assignments: Iterable[str], space: Space) -> tuple[Space, list[str]]:
    """Take what is said of a space out of `--set` options.

    Args:
        assignments: `search.space.PATH=JSON` adds a dimension, in the place of one that is there, `null` removes one;
            anything else is not looked at.
        space: to change; it stays as it is.

    Returns:
        The space, and the other assignments.

    Raises:
        ValueError: no `=`, no JSON, or no dimension.
    """
    changed, rest = dict(space), []
    for assignment in assignments:
        if not assignment.startswith(_SPACE):
            rest.append(assignment)
            continue
        path, equals, text = assignment.removeprefix(_SPACE).partition("=")
        try:
            said = json.loads(text)
        except ValueError:
            said = text
        if said is None and equals:
            changed.pop(path, None)
        else:
            changed[path] = _dimension(said, f"--set {_SPACE}{path}")
    return changed, rest


def _dimension(said: Any, where: str) -> Dimension:
    if isinstance(said, list):
        return Choice(*(tuple(value) if isinstance(value, list) else value for value in said))
    if isinstance(said, dict) and set(said) == {"when", "is"}:
        condition = said["when"]
        is_condition = isinstance(condition, dict) and len(condition) == 1
        if is_condition and all(isinstance(values, list) for values in condition.values()):
            ((path, values),) = condition.items()
            inner = _dimension(said["is"], where)
            if not isinstance(inner, When):
                return When(path, tuple(values), inner)
    if isinstance(said, dict) and len(said) == 1:
        ((kind, ends),) = said.items()
        if kind in _RANGES and isinstance(ends, list) and len(ends) == 2:
            return _RANGES[kind](*ends)
    raise ValueError(
        f'{where}={said!r}: wanted [value, value, ...], {{"range": [low, high]}}, {{"log_range": [low, high]}}, or '
        f'{{"when": {{path: [value, ...]}}, "is": one of these}}'
    )


_RANGES = {"range": Range, "log_range": LogRange}


def _check_path(path: str) -> None:
    known = paths()
    if path not in known:
        raise ValueError(f"search space: config has no field '{path}'{did_you_mean_path(path, known)}")


def _check_value(config: Config, path: str, value: Any) -> None:
    try:
        override(config, {path: value})
    except ValueError as error:
        raise ValueError(f"search space: {error}") from None


def _check_condition(path: str, dimension: When, space: Space, config: Config) -> None:
    _check_path(dimension.path)
    if isinstance(space.get(dimension.path), When):
        raise ValueError(
            f"search space: {path} depends on {dimension.path}, which depends on another field itself; wanted one step"
        )
    for value in dimension.values:
        _check_value(config, dimension.path, value)
    other = space.get(dimension.path)
    possible = other.values if isinstance(other, Choice) else None
    if other is None:
        possible = (value_at(config, dimension.path),)
    if possible is not None and not set(possible) & set(dimension.values):
        raise ValueError(
            f"search space: {path} is for {dimension.path} in {list(dimension.values)}, but that is always in "
            f"{list(possible)}; wanted a value in common"
        )
