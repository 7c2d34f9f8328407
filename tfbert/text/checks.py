"""Data checks before training: leaks between splits, label conflicts, duplicates, missing labels, truncation."""

import hashlib
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np

from tfbert.text.data_report import DataReport, Finding
from tfbert.text.interpretation import Interpretation
from tfbert.text.label_checks import label_warnings
from tfbert.text.records import Record
from tfbert.text.splits import Split, near_duplicate_key
from tfbert.text.unknown_tokens import UnknownTokens

MAX_EXAMPLES = 5  # per finding, in JSON
_MAX_TARGET_CHARACTERS = 60  # shown of a target in an example
QUANTILES = {"median": 0.5, "p90": 0.9, "p99": 0.99, "longest": 1.0}

# Separates the texts of one record, so that ("a b", "c") differs from ("a", "b c").
_TEXT_SEPARATOR = "\x1f"


@dataclass(frozen=True, kw_only=True)
class Labelling:
    """How the records of a task are labelled.

    Args:
        labels_of: function that returns the labels to count for a record.
        several: whether a record may have several labels.
    """

    labels_of: Callable[[Record], Iterable[str]] = lambda record: (record.target,)
    several: bool = False


@dataclass(frozen=True, kw_only=True)
class Tokenization:
    """Statistics and warnings that result from tokenizing the splits.

    Args:
        token_lengths: split name to the number of tokens of each of its records in order, including special tokens and
            before truncation.
        sequence_length: the maximum input length in tokens; `None` if nothing is truncated.
        warnings: split name to the task's warnings about records, each with the locations of these records.
        unknown: the unknown tokens; `None` if they were not counted.
    """

    token_lengths: Mapping[str, np.ndarray]
    sequence_length: int | None = None
    warnings: Mapping[str, Mapping[str, list[str]]] = field(default_factory=dict)
    unknown: UnknownTokens | None = None


def check(
    splits: Mapping[str, Split],
    labelling: Labelling | None = None,
    tokenization: Tokenization | None = None,
    interpretation: Interpretation | None = None,
) -> DataReport:
    """Check the splits and return the report.

    Every split is read once, and a second time up to the last example of a finding. A text is stored as two hashes of
    8 bytes, so memory use stays below 100 bytes per record.

    Args:
        splits: split name to split; must include train.
        labelling: the labels of records; `None` means that the target of a record is its only label.
        tokenization: the result of tokenizing the splits; `None` if nothing has been tokenized.
        interpretation: the interpretation of the files.

    Raises:
        ValueError: the number of token lengths differs from that of the records, or reading a file fails.
    """
    labelling = labelling or Labelling()
    record_warnings = tokenization.warnings if tokenization else {}
    scans = {name: _scan(split, labelling.labels_of) for name, split in splits.items()}
    tallies = {split.reader.name: split.reader.tally for split in splits.values()}
    counts = {name: dict(sorted(scan.labels.items())) for name, scan in scans.items()}
    missing = {
        name: [label for label in counts["train"] if label not in split_counts] for name, split_counts in counts.items()
    }
    return DataReport(
        num_examples={name: len(scan.exact) for name, scan in scans.items()},
        class_counts=counts,
        missing_labels={name: labels for name, labels in missing.items() if labels},
        label_warnings=label_warnings(
            counts["train"], scans["train"].locations, len(scans["train"].exact), labelling.several
        ),
        findings=_findings(splits, scans),
        characters={name: _quantiles(scan.characters) for name, scan in scans.items()},
        tokens=_token_counts(tokenization, scans) if tokenization else None,
        sequence_length=tokenization.sequence_length if tokenization else None,
        record_warnings={name: dict(locations) for name, locations in record_warnings.items() if locations},
        num_skipped={file: tally.num_skipped for file, tally in tallies.items() if tally.num_skipped},
        skipped={file: list(tally.skipped) for file, tally in tallies.items() if tally.num_skipped},
        num_replaced={file: tally.num_replaced for file, tally in tallies.items() if tally.num_replaced},
        notes={name: split.note for name, split in splits.items() if split.note},
        files=interpretation.to_dict() if interpretation else {},
        interpreted=tuple(interpretation.lines()) if interpretation else (),
        unread=tuple(interpretation.warnings) if interpretation else (),
        unknown=tokenization.unknown if tokenization else None,
    )


@dataclass(frozen=True, eq=False)
class _Scan:
    """Data of a split: arrays with one value per record, and the count and first location of each label."""

    exact: np.ndarray
    near: np.ndarray
    targets: np.ndarray
    characters: np.ndarray
    labels: Counter
    locations: dict[str, str]


def _scan(split: Split, labels_of: Callable[[Record], Iterable[str]]) -> _Scan:
    exact, near, targets, characters = array("Q"), array("Q"), array("Q"), array("q")
    labels: Counter = Counter()
    locations: dict[str, str] = {}
    for record in split:
        exact.append(_digest(_TEXT_SEPARATOR.join(" ".join(text.split()) for text in record.texts)))
        near.append(_digest(_TEXT_SEPARATOR.join(map(near_duplicate_key, record.texts))))
        targets.append(_digest(repr(record.target)))
        characters.append(sum(map(len, record.texts)))
        for label in labels_of(record):
            labels[label] += 1
            locations.setdefault(label, record.where)
    return _Scan(*(np.asarray(values) for values in (exact, near, targets, characters)), labels, locations)


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def _findings(splits: Mapping[str, Split], scans: Mapping[str, _Scan]) -> tuple[Finding, ...]:
    """Return duplicates, conflicts and leaks, with examples."""
    pairs_by_kind = []
    for name, scan in scans.items():
        pairs_by_kind += [(kind, (name,), *rest) for kind, *rest in _within(scan)]
    for first, second in combinations(scans, 2):
        pairs_by_kind += [(kind, (first, second), *rest) for kind, *rest in _between(scans[first], scans[second])]
    needed: dict[str, set[int]] = {name: set() for name in splits}
    for _, names, _, indices, earlier in pairs_by_kind:
        needed[names[-1]].update(indices[:MAX_EXAMPLES].tolist())
        needed[names[0]].update(earlier[:MAX_EXAMPLES].tolist())
    records = {}
    for name, numbers in needed.items():
        records |= {(name, i): record for i, record in zip(numbers, splits[name].records_at(numbers), strict=True)}
    findings = []
    for kind, names, count, indices, earlier in pairs_by_kind:
        pairs = zip(indices[:MAX_EXAMPLES].tolist(), earlier[:MAX_EXAMPLES].tolist(), strict=True)
        examples = [_example(kind, records[names[-1], i], records[names[0], j]) for i, j in pairs]
        findings.append(Finding(kind, names, count, tuple(examples)))
    return tuple(findings)


def _example(kind: str, record: Record, earlier: Record) -> str:
    if kind.endswith("conflict"):
        return f"{record.where} {_brief(record.target)} = {earlier.where} {_brief(earlier.target)}"
    return f"{record.where} = {earlier.where}"


def _brief(target: object) -> str:
    text = (", ".join(map(str, target)) or "nothing") if isinstance(target, tuple) else repr(target)
    return text if len(text) <= _MAX_TARGET_CHARACTERS else f"{text[: _MAX_TARGET_CHARACTERS - 3]}..."


def _within(scan: _Scan) -> Iterable[tuple[str, int, np.ndarray, np.ndarray]]:
    """Yield kind, count, indices of records, and the index of the earliest record with the same text for each."""
    _, first_at, group = np.unique(scan.exact, return_index=True, return_inverse=True)
    earliest = first_at[group]
    repeats = np.flatnonzero(earliest != np.arange(len(earliest)))
    if len(repeats):
        yield "duplicate", len(repeats), repeats, earliest[repeats]
    conflicts = np.flatnonzero(scan.targets != scan.targets[earliest])
    if len(conflicts):
        _, first_conflicts = np.unique(earliest[conflicts], return_index=True)
        conflicts = conflicts[np.sort(first_conflicts)]  # one per text
        yield "conflict", len(conflicts), conflicts, earliest[conflicts]


def _between(first: _Scan, second: _Scan) -> Iterable[tuple[str, int, np.ndarray, np.ndarray]]:
    """Yield kind, count, indices in the second split, and an index in the first split for each."""
    leaks, partner = _common(first.exact, second.exact)
    labelled = [scan.exact + scan.targets * np.uint64(0x9E3779B97F4A7C15) for scan in (first, second)]
    near, near_partner = _common(first.near, second.near)
    for kind, chosen, partners in (
        ("leak", leaks, partner),
        ("near_leak", near & ~leaks, near_partner),
        ("leak_conflict", leaks & ~np.isin(labelled[1], labelled[0]), partner),
    ):
        indices = np.flatnonzero(chosen)
        if len(indices):
            yield kind, len(indices), indices, partners[indices]


def _common(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a mask of the values of `second` that are in `first`, and their first index there (arbitrary if not)."""
    values, first_at = np.unique(first, return_index=True)
    position = np.minimum(np.searchsorted(values, second), len(values) - 1)
    return values[position] == second, first_at[position]


def _quantiles(lengths: np.ndarray) -> dict[str, int]:
    return {name: int(np.quantile(lengths, fraction, method="higher")) for name, fraction in QUANTILES.items()}


def _token_counts(tokenization: Tokenization, scans: Mapping[str, _Scan]) -> dict[str, dict[str, int]]:
    counts = {}
    for name, scan in scans.items():
        lengths = np.asarray(tokenization.token_lengths[name], dtype=np.int64)
        if len(lengths) != len(scan.exact):
            raise ValueError(
                f"token_lengths of {name}: {len(lengths)} values; expected {len(scan.exact)}, one per record"
            )
        excess = np.maximum(lengths - (tokenization.sequence_length or lengths.max()), 0)
        sums = {"num_tokens": lengths.sum(), "num_cut": np.count_nonzero(excess), "num_cut_tokens": excess.sum()}
        counts[name] = _quantiles(lengths) | {key: int(value) for key, value in sums.items()}
    return counts
