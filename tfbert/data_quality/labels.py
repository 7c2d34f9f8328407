"""Labels to judge: those of whole records, or those of spans of their texts, with a vector for each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tfbert.text.records import Record


@dataclass(frozen=True)
class GivenLabel:
    """A label in the data.

    Args:
        record: the record.
        label: the label; `corrections.NO_ENTITY` for a span that has none.
        span: start and exclusive end of the labelled span in Unicode characters; `None` for a label of the record.
    """

    record: Record
    label: str
    span: tuple[int, int] | None = None

    @property
    def span_text(self) -> str:
        """The labelled span of the text; empty for a label of the record."""
        return "" if self.span is None else self.record.text[slice(*self.span)]

    def describe(self) -> str:
        """Return the location, the span if there is one, and the texts."""
        span = "" if self.span is None else f"{self.span_text!r} in: "
        return f"{self.record.where} {span}{' / '.join(self.record.texts)}"


def label_text(record: Record) -> str:
    """Return the label of a record, or the labelled spans of its text."""
    if isinstance(record.target, str):
        return record.target
    return "; ".join(f"{record.text[span.start : span.end]}: {span.label}" for span in record.target)


@dataclass(frozen=True, eq=False)
class Labels:
    """Labels of a split.

    Args:
        given: the labels.
        vectors: unit vectors of what has the label, float32 `(labels, size)`.
        targets: label ids, int64 `(labels,)`.
    """

    given: Sequence[GivenLabel]
    vectors: np.ndarray
    targets: np.ndarray

    def __len__(self) -> int:
        return len(self.given)

    def __add__(self, other: "Labels") -> "Labels":
        return Labels(
            [*self.given, *other.given],
            np.concatenate([self.vectors, other.vectors]),
            np.concatenate([self.targets, other.targets]),
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class JudgedLabels:
    """Labels that are judged, and those that judge them.

    Args:
        names: the names of the labels by id.
        train: labels of train, which judge each other and those of other splits.
        num_listed: the number of labels of train that are judged; those that follow only judge.
        missed: by split, spans that may have a label but do not; empty for labels of records.
        others: the labels of other splits, by split.
    """

    names: Sequence[str]
    train: Labels
    num_listed: int
    missed: Mapping[str, Labels]
    others: Mapping[str, Labels]
