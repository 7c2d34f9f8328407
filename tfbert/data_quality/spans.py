"""Labels of spans to judge: entities, spans that may be missed entities, and spans that are none for comparison.

A cross-validated probe of single words proposes missed entities: the longest runs of words that have no label but
would all get the same one. Entities and runs are then judged by the vectors of whole spans, next to random runs of
words without a label. On wnut17 with wrong types, this found more of them than the probe of single words did.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tfbert.data_quality.labels import GivenLabel, JudgedLabels, Labels
from tfbert.data_quality.probe import out_of_sample
from tfbert.data_quality.words import Words, mean_vectors
from tfbert.text.corrections import NO_ENTITY
from tfbert.text.records import Record
from tfbert.text.spans import Span, token_ranges

# Words that the probe of single words is fitted to, which limits its time.
_MAX_FITTED = 30_000
# Every second entity has a run of words without a label to compare with. With one for each, twice as many entities of
# wnut17 wrongly looked like none.
_STRIDE = 2
# Attempts to find a run of words without a label for each entity of train.
_MAX_ATTEMPTS = 10


@dataclass(frozen=True, eq=False)
class _TaggedWords:
    """The words of a split with the labels of the spans that contain them.

    Args:
        records: the records.
        spans: the labelled spans of each record, sorted, without overlap.
        words: the words of the records.
        targets: the label id of each word, `none` without a label.
        ranges: the first word and the exclusive end of each span, in order; empty for a span without words.
        none: the label id of words without a label.
    """

    records: Sequence[Record]
    spans: Sequence[Sequence[Span]]
    words: Words
    targets: np.ndarray
    ranges: Sequence[tuple[int, int]]
    none: int

    @classmethod
    def of(
        cls, records: Sequence[Record], spans: Sequence[Sequence[Span]], words: Words, labels: Sequence[str]
    ) -> "_TaggedWords":
        targets = np.full(len(words.vectors), len(labels))
        ranges = []
        for index, of_record in enumerate(spans):
            first, end = words.first[index : index + 2]
            for start, stop in token_ranges(words.starts[first:end], words.ends[first:end], of_record):
                ranges.append((first + start, first + stop))
        ids = {label: label_id for label_id, label in enumerate(labels)}
        for (first, end), span in zip(ranges, (span for of_record in spans for span in of_record), strict=True):
            targets[first:end] = ids[span.label]
        return cls(records, spans, words, targets, ranges, len(labels))

    @property
    def record_of(self) -> np.ndarray:
        """The record of each word."""
        return np.repeat(np.arange(len(self.records)), np.diff(self.words.first))

    def entities(self) -> Labels:
        """Return the labelled spans that have a word."""
        given = [
            GivenLabel(record, span.label, (span.start, span.end))
            for record, of_record in zip(self.records, self.spans, strict=True)
            for span in of_record
        ]
        has_words = [index for index, (first, end) in enumerate(self.ranges) if first < end]
        ranges = [self.ranges[index] for index in has_words]
        targets = np.asarray([self.targets[first] for first, _ in ranges], np.int64)
        return Labels([given[index] for index in has_words], mean_vectors(self.words.vectors, ranges), targets)

    def without_label(self, ranges: Sequence[tuple[int, int]]) -> Labels:
        """Return ranges of words as spans that have no label."""
        record_of = self.record_of
        given = [
            GivenLabel(
                self.records[record_of[first]],
                NO_ENTITY,
                (int(self.words.starts[first]), int(self.words.ends[end - 1])),
            )
            for first, end in ranges
        ]
        return Labels(given, mean_vectors(self.words.vectors, ranges), np.full(len(ranges), self.none))

    def runs(self, predicted: np.ndarray) -> list[tuple[int, int]]:
        """Return the longest runs of words without a label for which the same one is predicted.

        A run next to a span with this label is left out: the span may have to be longer, but borders are not judged.
        """
        proposed = np.where(self.targets == self.none, predicted, self.none)
        record_of = self.record_of
        is_new = np.ones(len(proposed) + 1, bool)
        is_new[1:-1] = (proposed[1:] != proposed[:-1]) | (record_of[1:] != record_of[:-1])
        borders = np.flatnonzero(is_new)
        runs = []
        for first, end in zip(borders[:-1], borders[1:], strict=True):
            label = proposed[first]
            before, after = first - 1, end
            touches = (before >= 0 and record_of[before] == record_of[first] and self.targets[before] == label) or (
                after < len(proposed) and record_of[after] == record_of[first] and self.targets[after] == label
            )
            if label != self.none and not touches:
                runs.append((int(first), int(end)))
        return runs

    def random_runs(self, excluded: np.ndarray, lengths: Sequence[int], seed: int) -> Iterator[tuple[int, int]]:
        """Yield random runs of words without a label, one per length where one was found.

        Args:
            excluded: bool, the words that do not count as words without a label.
            lengths: the number of words of each run.
            seed: random seed.
        """
        rng, record_of = np.random.default_rng(seed), self.record_of
        is_free = (self.targets == self.none) & ~excluded
        for length in lengths:
            for first in rng.integers(0, max(1, len(is_free) - length + 1), _MAX_ATTEMPTS):
                if is_free[first : first + length].all() and record_of[first] == record_of[first + length - 1]:
                    yield int(first), int(first + length)
                    break


def span_labels(
    records: Mapping[str, Sequence[Record]],
    spans: Mapping[str, Sequence[Sequence[Span]]],
    words: Mapping[str, Words],
    labels: Sequence[str],
    seed: int = 0,
) -> JudgedLabels:
    """Return the entities of all splits, and the spans that may be missed entities.

    Args:
        records: the records by split, with those of train.
        spans: the labelled spans of each record, sorted, without overlap.
        words: the words of the records.
        labels: the labels by id.
        seed: random seed for folds and for spans without a label.
    """
    tagged = {name: _TaggedWords.of(records[name], spans[name], words[name], labels) for name in records}
    train = tagged["train"]
    other_names = [name for name in records if name != "train"]
    probabilities, of_others = out_of_sample(
        train.words.vectors,
        train.targets,
        len(labels) + 1,
        [tagged[name].words.vectors for name in other_names],
        seed,
        groups=train.record_of,
        max_fitted=_MAX_FITTED,
    )
    by_split = {"train": probabilities, **dict(zip(other_names, of_others, strict=True))}
    runs = {name: tagged[name].runs(by_split[name].argmax(axis=1)) for name in records}
    excluded = np.zeros(len(train.targets), bool)
    for first, end in runs["train"]:
        excluded[first:end] = True
    entities = train.entities()
    lengths = [end - first for first, end in train.ranges if first < end][::_STRIDE]
    return JudgedLabels(
        names=[*labels, NO_ENTITY],
        train=entities + train.without_label(list(train.random_runs(excluded, lengths, seed))),
        num_listed=len(entities),
        missed={name: tagged[name].without_label(runs[name]) for name in records},
        others={name: tagged[name].entities() for name in other_names},
    )
