"""Search spaces for hyperparameters: config paths with the dimension to search, checked against the config.

A space is plain data. Each task has one and files may contain others; sampling is done elsewhere.
"""

import itertools
import json
import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfbert.config import Config, override, paths, value_at
from tfbert.files import read_json
from tfbert.nearest import did_you_mean_path


@dataclass(frozen=True)
class Choice:
    """One of several values.

    Args:
        values: two or more different values, in the order in which they are shown.
    """

    values: tuple

    def __init__(self, *values: Any):
        object.__setattr__(self, "values", values)

    def validation_error(self) -> str | None:
        """Return what was expected, or `None` if the values are valid."""
        return None if len(set(map(repr, self.values))) == len(self.values) >= 2 else "two or more different values"

    def bounds(self) -> tuple:
        """Return the values to check: if a config field accepts these, it accepts every value of the dimension."""
        return self.values

    def to_json(self) -> list:
        """Return the value that `space_from_json` reads."""
        return list(self.values)


@dataclass(frozen=True)
class Range:
    """A uniformly distributed number; an integer if both ends are integers.

    Args:
        low: the smallest value.
        high: the largest value, inclusive.
    """

    low: float
    high: float

    def validation_error(self) -> str | None:
        """Return what was expected, or `None` if the ends are valid."""
        ends = (self.low, self.high)
        are_numbers = all(type(end) in (int, float) and math.isfinite(end) for end in ends)
        return None if are_numbers and self.low < self.high else "two numbers, the smaller one first"

    def bounds(self) -> tuple:
        """Return the values to check: if a config field accepts these, it accepts every value of the dimension."""
        return self.low, self.high

    def to_json(self) -> dict:
        """Return the value that `space_from_json` reads."""
        return {"range": [self.low, self.high]}


@dataclass(frozen=True)
class LogRange(Range):
    """A log-uniformly distributed number above 0."""

    def validation_error(self) -> str | None:
        """Return what was expected, or `None` if the ends are valid."""
        error = super().validation_error()
        return error or (None if self.low > 0 else "two numbers above 0, the smaller one first")

    def to_json(self) -> dict:
        """Return the value that `space_from_json` reads."""
        return {"log_range": [self.low, self.high]}


@dataclass(frozen=True)
class When:
    """A conditional dimension, searched only if another field has one of the given values.

    Otherwise the field keeps its value from the config.

    Args:
        path: the config path of the other field.
        values: the values of that field for which the dimension is searched.
        dimension: the dimension to search.
    """

    path: str
    values: tuple
    dimension: Choice | Range

    def validation_error(self) -> str | None:
        """Return what was expected, or `None` if the condition and the dimension are valid."""
        return self.dimension.validation_error() if self.values else "at least one value of the other field"

    def bounds(self) -> tuple:
        """Return the values to check: if a config field accepts these, it accepts every value of the dimension."""
        return self.dimension.bounds()

    def to_json(self) -> dict:
        """Return the value that `space_from_json` reads."""
        return {"when": {self.path: list(self.values)}, "is": self.dimension.to_json()}


Dimension = Choice | Range | When
# Prefix of `--set` options that change the search space.
_SPACE = "search.space."
Space = Mapping[str, Dimension]

# Worth searching for every task: above all the learning rate, then the number of epochs and the batch size.
# Source: Devlin et al. 2019, "BERT", appendix A.3 (rates, epochs, batches); small encoders need higher rates.
COMMON: Space = {
    "train.learning_rate": LogRange(2e-5, 5e-4),
    "train.epochs": Choice(2, 3, 5, 8),
    "train.batch_size": Choice(16, 32, 64),
    "train.layer_decay": Choice(0.8, 0.9, 1.0),
    "encoder.dropout": Choice(0.0, 0.1, 0.2),
}


def check_space(space: Space, config: Config) -> None:
    """Check a search space against a config.

    Args:
        space: config path to dimension.
        config: the config whose fields are searched.

    Raises:
        ValueError: the space is empty; a path does not exist; a dimension is invalid or has a value that the field does
            not accept; or a condition can never hold.
    """
    if not space:
        raise ValueError("the search space is empty; expected at least one config path")
    for path, dimension in space.items():
        _check_path(path)
        if expected := dimension.validation_error():
            raise ValueError(f"search space: {path}={dimension.to_json()}: expected {expected}")
        for value in dimension.bounds():
            _check_value(config, path, value)
        if isinstance(dimension, When):
            _check_condition(path, dimension, space, config)


def active_values(space: Space, values: Mapping[str, Any], config: Config) -> dict[str, Any]:
    """Return a trial's values without those of dimensions whose condition does not hold.

    Args:
        space: a search space that passed `check_space`.
        values: config path to value, for some or all paths of the space.
        config: the config with the values of all other fields.
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


def combinations(space: Space, paths: Collection[str], config: Config) -> Iterator[dict[str, Any]]:
    """Yield all combinations of the bounds of some dimensions, each without those whose condition does not hold.

    Args:
        space: a search space that passed `check_space`.
        paths: the dimensions; the fields that they depend on are combined with them.
        config: the config with the values of all other fields.
    """
    conditions = {space[path].path for path in paths if isinstance(space[path], When)}
    bounds = {path: space[path].bounds() for path in space if path in paths or path in conditions}
    for values in itertools.product(*bounds.values()):
        yield active_values(space, dict(zip(bounds, values, strict=True)), config)


def space_to_json(space: Space) -> dict:
    """Return the space as plain lists and dicts."""
    return {path: dimension.to_json() for path, dimension in space.items()}


def space_from_json(tree: Mapping[str, Any], where: str = "search space") -> dict[str, Dimension]:
    """Return the search space that JSON values describe.

    A list is a choice; `{"range": [low, high]}` and `{"log_range": [low, high]}` are ranges of numbers;
    `{"when": {path: [values]}, "is": ...}` makes any of these depend on another field.

    Args:
        tree: config path to such a value.
        where: the source of the values, for messages.

    Raises:
        ValueError: a value has none of these forms.
    """
    return {path: _dimension(value, f"{where}: {path}") for path, value in tree.items()}


def read_space(path: Path) -> dict[str, Dimension]:
    """Return the search space of a JSON file, which `space_from_json` describes.

    Raises:
        ValueError: the file is missing or damaged, or a value is not a dimension.
    """
    return space_from_json(read_json(path), str(path))


def apply_space_options(assignments: Iterable[str], space: Space) -> tuple[Space, list[str]]:
    """Apply the `--set` options that change a search space.

    Args:
        assignments: `--set` options; `search.space.PATH=JSON` adds or replaces a dimension, and removes it if the JSON
            is `null`.
        space: the space to start from, which is not modified.

    Returns:
        The changed space, and the assignments that do not concern it.

    Raises:
        ValueError: an assignment has no `=`, or its value is not a dimension.
    """
    changed, rest = dict(space), []
    for assignment in assignments:
        if not assignment.startswith(_SPACE):
            rest.append(assignment)
            continue
        path, equals, text = assignment.removeprefix(_SPACE).partition("=")
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        if value is None and equals:
            changed.pop(path, None)
        else:
            changed[path] = _dimension(value, f"--set {_SPACE}{path}")
    return changed, rest


def space_options(space: Space, base: Space) -> dict[str, str]:
    """Return the `--set` options with which `apply_space_options` makes one search space of another, as JSON by path.

    Args:
        space: the resulting space.
        base: the space to start from.
    """
    changed = {path: dimension.to_json() for path, dimension in space.items() if dimension != base.get(path)}
    removed = dict.fromkeys(base.keys() - space.keys())
    return {f"{_SPACE}{path}": json.dumps(value) for path, value in sorted((removed | changed).items())}


def _dimension(value: Any, where: str) -> Dimension:
    if isinstance(value, list):
        return Choice(*(tuple(item) if isinstance(item, list) else item for item in value))
    if isinstance(value, dict) and set(value) == {"when", "is"}:
        condition = value["when"]
        is_condition = isinstance(condition, dict) and len(condition) == 1
        if is_condition and all(isinstance(values, list) for values in condition.values()):
            ((path, values),) = condition.items()
            inner = _dimension(value["is"], where)
            if not isinstance(inner, When):
                return When(path, tuple(values), inner)
    if isinstance(value, dict) and len(value) == 1:
        ((kind, ends),) = value.items()
        if kind in _RANGES and isinstance(ends, list) and len(ends) == 2:
            return _RANGES[kind](*ends)
    raise ValueError(
        f'{where}={value!r}: expected [value, value, ...], {{"range": [low, high]}}, {{"log_range": [low, high]}}, or '
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
            f"search space: {path} depends on {dimension.path}, which itself depends on another field; expected a "
            "single step"
        )
    for value in dimension.values:
        _check_value(config, dimension.path, value)
    other = space.get(dimension.path)
    possible = other.values if isinstance(other, Choice) else None
    if other is None:
        possible = (value_at(config, dimension.path),)
    if possible is not None and not set(possible) & set(dimension.values):
        raise ValueError(
            f"search space: {path} applies to {dimension.path} in {list(dimension.values)}, but that is always in "
            f"{list(possible)}; expected a common value"
        )
