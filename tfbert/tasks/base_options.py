"""The options of a task: which config fields it uses, as typed attributes, and the refusal of those it does not."""

import dataclasses
from dataclasses import dataclass
from typing import Any, Self

from tfbert.config import Config, value_at

_PATH, _IS_COMMON = "path", "is_common"


def option(path: str, *, is_common: bool = False) -> Any:
    """Return a field of an `Options` class that takes its value and its default from a config path.

    Args:
        path: dotted.
        is_common: whether the path holds for all tasks, so that none refuses it.
    """
    return dataclasses.field(default=value_at(Config(), path), metadata={_PATH: path, _IS_COMMON: is_common})


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a user may set for one task, beyond what holds for all tasks. Subclasses add fields by `option`."""

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """Return the options that a config sets.

        Raises:
            ValueError: options that contradict each other.
        """
        options = cls(**{name: value_at(config, path) for name, path in cls.paths().items()})
        options.check()
        return options

    @classmethod
    def paths(cls) -> dict[str, str]:
        """Return the config path of each option, by the name of its field."""
        return {field.name: field.metadata[_PATH] for field in dataclasses.fields(cls)}

    @classmethod
    def own_paths(cls) -> set[str]:
        """Return the config paths that do not hold for all tasks."""
        return {field.metadata[_PATH] for field in dataclasses.fields(cls) if not field.metadata[_IS_COMMON]}

    def check(self) -> None:
        """Refuse options that contradict each other.

        Raises:
            ValueError: an option that has no effect beside another.
        """


@dataclass(frozen=True, kw_only=True)
class LearnedHeadOptions(Options):
    """Options of tasks whose head has weights, and whose examples are learned from independently of each other."""

    dropout: float = option("head.dropout")
    part_tokens: int | None = option("train.part_tokens")
    head_learning_rate_factor: float = option("train.head_learning_rate_factor")
