"""Options of a task: the config fields that it uses, as typed attributes."""

import dataclasses
from dataclasses import dataclass
from typing import Any, Self

from tfbert.config import Config, value_at
from tfbert.text.splits import MIN_CALIBRATION_RECORDS

_PATH, _IS_COMMON = "path", "is_common"
_DECISION, _NONE = "decision.", "none"
# Unlike the other options of its section, it needs no calibration split.
_EVIDENCE = "decision.evidence"


def option(path: str, *, is_common: bool = False) -> Any:
    """Return a field of an `Options` class, whose value and default come from a config path.

    Args:
        path: the dotted config path.
        is_common: whether the option applies to all tasks, so that none rejects it.
    """
    return dataclasses.field(default=value_at(Config(), path), metadata={_PATH: path, _IS_COMMON: is_common})


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options that a task uses in addition to those of all tasks. Subclasses add fields with `option`.

    Attributes:
        evidence: the maximum number of training examples that a model keeps; 0 for a task without explanations.
    """

    # Without an annotation it is no field, which would hide that of a subclass where classes have several bases.
    evidence = 0

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """Return the options with the values of a config.

        Raises:
            ValueError: options contradict each other.
        """
        options = cls(**{name: value_at(config, path) for name, path in cls.paths().items()})
        options.check()
        return options

    @classmethod
    def paths(cls) -> dict[str, str]:
        """Return the config path of each option, by field name."""
        return {field.name: field.metadata[_PATH] for field in dataclasses.fields(cls)}

    @classmethod
    def own_paths(cls) -> set[str]:
        """Return the config paths of the options that only some tasks use."""
        return {field.metadata[_PATH] for field in dataclasses.fields(cls) if not field.metadata[_IS_COMMON]}

    def without_calibration(self) -> Self:
        """Return the options for data without a calibration split.

        Raises:
            ValueError: an option that needs calibration is set.
        """
        paths = self.paths().items()
        needing = {name: path for name, path in paths if path.startswith(_DECISION) and path != _EVIDENCE}
        for name, path in needing.items():
            if getattr(self, name) not in (value_at(Config(), path), None, _NONE):
                raise ValueError(
                    f"{path}={getattr(self, name)}: needs a calibration split; give one, or at least "
                    f"{2 * MIN_CALIBRATION_RECORDS} validation records, half of which become one"
                )
        return dataclasses.replace(self, **{name: _NONE for name in needing if getattr(self, name) is not None})

    def is_enabled(self, path: str) -> bool:
        """Return whether an option of this task that may be off, as `None` or `none`, is on."""
        values = {other: getattr(self, name) for name, other in self.paths().items()}
        return values[path] not in (None, _NONE)

    def check(self) -> None:
        """Reject options that contradict each other.

        Raises:
            ValueError: an option has no effect because of another one.
        """


@dataclass(frozen=True, kw_only=True)
class EvidenceOptions(Options):
    """Options of tasks with explanations, which show training examples."""

    evidence: int = option(_EVIDENCE)


@dataclass(frozen=True, kw_only=True)
class LearnedHeadOptions(Options):
    """Options of tasks whose head has weights and whose loss does not compare examples with each other."""

    dropout: float = option("head.dropout")
    part_tokens: int | None = option("train.part_tokens")
    head_learning_rate_factor: float = option("train.head_learning_rate_factor")
