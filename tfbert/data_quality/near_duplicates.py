"""Near-duplicates: records with nearly the same vector whose texts differ in more than case and punctuation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from tfbert.data_quality.neighbours import nearest
from tfbert.text.records import Record
from tfbert.text.splits import near_duplicate_key

# The cosine from which two records count as near-duplicates.
MIN_SIMILARITY = 0.98
# Near-duplicates that are looked for per record; templates may have thousands.
_MAX_PER_RECORD = 5


@dataclass(frozen=True)
class NearDuplicate:
    """Two records that are nearly the same.

    Args:
        splits: the names of their splits.
        records: the records; within a split the earlier one first.
        similarity: cosine of their vectors.
        is_conflict: whether their labels differ, or the texts and types of their entities.
    """

    splits: tuple[str, str]
    records: tuple[Record, Record]
    similarity: float
    is_conflict: bool

    @property
    def kind(self) -> str:
        """`leak` or `near-duplicate`, preceded by `conflicting` if the labels differ."""
        kind = "near-duplicate" if self.splits[0] == self.splits[1] else "leak"
        return f"conflicting {kind}" if self.is_conflict else kind


def find_near_duplicates(
    records: Mapping[str, Sequence[Record]], vectors: Mapping[str, np.ndarray]
) -> list[NearDuplicate]:
    """Return the near-duplicates within and between splits, most similar first.

    Equal texts, and texts that differ only in case and punctuation, are left out: the data checks find them. Of each
    record at most five near-duplicates are found per split.

    Args:
        records: the records by split.
        vectors: their unit vectors by split, float32 `(records, size)`.
    """
    pairs = [pair for name in records for pair in _pairs(name, name, records, vectors)]
    for first, second in combinations(records, 2):
        pairs += _pairs(first, second, records, vectors)
    return sorted(pairs, key=lambda pair: -pair.similarity)


def _pairs(
    first: str, second: str, records: Mapping[str, Sequence[Record]], vectors: Mapping[str, np.ndarray]
) -> list[NearDuplicate]:
    """Return the pairs of a record of the first split and one of the second."""
    is_same = first == second
    neighbours = nearest(vectors[second], vectors[first], _MAX_PER_RECORD, is_same=is_same)
    rows, ranks = np.nonzero(neighbours.similarities >= MIN_SIMILARITY)
    found: dict[tuple[int, int], float] = {}
    for row, rank in zip(rows, ranks, strict=True):
        pair = int(neighbours.indices[row, rank]), int(row)
        pair = (min(pair), max(pair)) if is_same else pair
        found[pair] = float(neighbours.similarities[row, rank])
    pairs = []
    for (index, other_index), similarity in sorted(found.items()):
        record, other = records[first][index], records[second][other_index]
        if _key(record) != _key(other):
            pairs.append(NearDuplicate((first, second), (record, other), similarity, _labels(record) != _labels(other)))
    return pairs


def _key(record: Record) -> tuple[str, ...]:
    return tuple(map(near_duplicate_key, record.texts))


def _labels(record: Record) -> str | list[tuple[str, str]]:
    """Return what two records must have in common, so that they do not contradict each other."""
    if isinstance(record.target, str):
        return record.target
    return sorted((record.text[span.start : span.end].lower(), span.label) for span in record.target)
