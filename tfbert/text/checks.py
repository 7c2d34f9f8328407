"""What is wrong with the data before training: leaks, conflicts, duplicates, missing labels, truncation in numbers.

In: the splits, and the number of tokens of each text if it is known. Out: a `DataReport`, for a person and for JSON.
"""

import hashlib
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from tfbert.text.data_report import DataReport, Finding
from tfbert.text.interpretation import Interpretation
from tfbert.text.label_checks import label_warnings
from tfbert.text.records import Record
from tfbert.text.splits import Split, near_duplicate_key
from tfbert.text.unknown_tokens import UnknownTokens

MAX_EXAMPLES = 5  # of a finding, kept for JSON
_LONGEST_TARGET = 60  # characters of a target in an example
QUANTILES = {"median": 0.5, "p90": 0.9, "p99": 0.99, "longest": 1.0}

# Between the texts of one record, so that ("a b", "c") is not ("a", "b c").
_BETWEEN_TEXTS = "\x1f"


def check(
    splits: Mapping[str, Split],
    token_lengths: Mapping[str, np.ndarray] | None,
    sequence_length: int | None,
    labels_of: Callable[[Record], Iterable[str]] = lambda record: (record.target,),
    remarks: Mapping[str, Mapping[str, list[str]]] | None = None,
    interpretation: Interpretation | None = None,
    several_labels: bool = False,
    unknown: UnknownTokens | None = None,
) -> DataReport:
    """Read every split once, a second time as far as examples need it, and report what is wrong.

    Texts are remembered as two hashes of 8 bytes, so that memory stays under 100 bytes per record.

    Args:
        splits: by name; train must be among them.
        token_lengths: by split, for every record in order, its number of tokens with specials and before cutting;
            `None` where nothing has been tokenized.
        sequence_length: longest input in tokens; `None` if nothing is cut.
        labels_of: the labels of a record that are counted.
        remarks: by split, what is to be said of some records, and where these are.
        interpretation: how the files were read.
        several_labels: whether a record may have several labels.
        unknown: tokens that the encoder does not know, if anything has been tokenized.

    Raises:
        ValueError: token lengths of another number than the records, or whatever reading the files meets.
    """
    scans = {name: _scan(split, labels_of) for name, split in splits.items()}
    tallies = {split.reader.name: split.reader.tally for split in splits.values()}
    counts = {name: dict(sorted(scan.labels.items())) for name, scan in scans.items()}
    missing = {name: [label for label in counts["train"] if label not in of] for name, of in counts.items()}
    return DataReport(
        num_examples={name: len(scan.exact) for name, scan in scans.items()},
        class_counts=counts,
        missing_labels={name: labels for name, labels in missing.items() if labels},
        label_warnings=label_warnings(
            counts["train"], scans["train"].places, len(scans["train"].exact), several_labels
        ),
        findings=_findings(splits, scans),
        characters={name: _quantiles(scan.characters) for name, scan in scans.items()},
        tokens=_token_counts(token_lengths, scans, sequence_length),
        sequence_length=sequence_length,
        remarks={name: dict(of) for name, of in (remarks or {}).items() if of},
        num_skipped={file: tally.num_skipped for file, tally in tallies.items() if tally.num_skipped},
        skipped={file: list(tally.skipped) for file, tally in tallies.items() if tally.num_skipped},
        num_replaced={file: tally.num_replaced for file, tally in tallies.items() if tally.num_replaced},
        notes={name: split.note for name, split in splits.items() if split.note},
        files=interpretation.to_dict() if interpretation else {},
        interpreted=tuple(interpretation.lines()) if interpretation else (),
        unread=tuple(interpretation.warnings) if interpretation else (),
        unknown=unknown,
    )


@dataclass(frozen=True, eq=False)
class _Scan:
    """What is kept of a split: arrays with one value a record, how often each label occurs, and where it first does."""

    exact: np.ndarray
    near: np.ndarray
    targets: np.ndarray
    characters: np.ndarray
    labels: Counter
    places: dict[str, str]


def _scan(split: Split, labels_of: Callable[[Record], Iterable[str]]) -> _Scan:
    exact, near, targets, characters = array("Q"), array("Q"), array("Q"), array("q")
    labels: Counter = Counter()
    places: dict[str, str] = {}
    for record in split:
        exact.append(_digest(_BETWEEN_TEXTS.join(" ".join(text.split()) for text in record.texts)))
        near.append(_digest(_BETWEEN_TEXTS.join(map(near_duplicate_key, record.texts))))
        targets.append(_digest(repr(record.target)))
        characters.append(sum(map(len, record.texts)))
        for label in labels_of(record):
            labels[label] += 1
            places.setdefault(label, record.where)
    return _Scan(*(np.asarray(values) for values in (exact, near, targets, characters)), labels, places)


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def _findings(splits: Mapping[str, Split], scans: Mapping[str, _Scan]) -> tuple[Finding, ...]:
    """Find duplicates, conflicts and leaks as pairs of positions, then read the records of the examples."""
    found = []
    for name, scan in scans.items():
        found += [(kind, (name,), *rest) for kind, *rest in _within(scan)]
    for first, second in combinations(scans, 2):
        found += [(kind, (first, second), *rest) for kind, *rest in _between(scans[first], scans[second])]
    needed: dict[str, set[int]] = {name: set() for name in splits}
    for _, names, _, rows, earlier in found:
        needed[names[-1]].update(rows[:MAX_EXAMPLES].tolist())
        needed[names[0]].update(earlier[:MAX_EXAMPLES].tolist())
    records = {}
    for name, indices in needed.items():
        records |= {(name, i): record for i, record in zip(indices, splits[name].records_at(indices), strict=True)}
    findings = []
    for kind, names, count, rows, earlier in found:
        pairs = zip(rows[:MAX_EXAMPLES].tolist(), earlier[:MAX_EXAMPLES].tolist(), strict=True)
        examples = [_example(kind, records[names[-1], i], records[names[0], j]) for i, j in pairs]
        findings.append(Finding(kind, names, count, tuple(examples)))
    return tuple(findings)


def _example(kind: str, record: Record, earlier: Record) -> str:
    if kind.endswith("conflict"):
        return f"{record.where} {_brief(record.target)} = {earlier.where} {_brief(earlier.target)}"
    return f"{record.where} = {earlier.where}"


def _brief(target: object) -> str:
    text = (", ".join(map(str, target)) or "nothing") if isinstance(target, tuple) else repr(target)
    return text if len(text) <= _LONGEST_TARGET else f"{text[: _LONGEST_TARGET - 3]}..."


def _within(scan: _Scan) -> Iterable[tuple[str, int, np.ndarray, np.ndarray]]:
    """Yield kind, count, positions, and the position of the earliest record with the same text for each."""
    _, first_at, group = np.unique(scan.exact, return_index=True, return_inverse=True)
    earliest = first_at[group]
    repeats = np.flatnonzero(earliest != np.arange(len(earliest)))
    if len(repeats):
        yield "duplicate", len(repeats), repeats, earliest[repeats]
    conflicts = np.flatnonzero(scan.targets != scan.targets[earliest])
    if len(conflicts):
        _, at = np.unique(earliest[conflicts], return_index=True)
        conflicts = conflicts[np.sort(at)]  # the first of each text
        yield "conflict", len(conflicts), conflicts, earliest[conflicts]


def _between(first: _Scan, second: _Scan) -> Iterable[tuple[str, int, np.ndarray, np.ndarray]]:
    """Yield kind, count, positions in the second split and, for each, one in the first."""
    leaks, partner = _common(first.exact, second.exact)
    labelled = [scan.exact + scan.targets * np.uint64(0x9E3779B97F4A7C15) for scan in (first, second)]
    near, near_partner = _common(first.near, second.near)
    for kind, chosen, partners in (
        ("leak", leaks, partner),
        ("near_leak", near & ~leaks, near_partner),
        ("leak_conflict", leaks & ~np.isin(labelled[1], labelled[0]), partner),
    ):
        rows = np.flatnonzero(chosen)
        if len(rows):
            yield kind, len(rows), rows, partners[rows]


def _common(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return which values of `second` are in `first`, and where they first are (meaningless where they are not)."""
    values, first_at = np.unique(first, return_index=True)
    position = np.minimum(np.searchsorted(values, second), len(values) - 1)
    return values[position] == second, first_at[position]


def _quantiles(lengths: np.ndarray) -> dict[str, int]:
    return {name: int(np.quantile(lengths, part, method="higher")) for name, part in QUANTILES.items()}


def _token_counts(
    token_lengths: Mapping[str, np.ndarray] | None, scans: Mapping[str, _Scan], sequence_length: int | None
) -> dict[str, dict[str, int]] | None:
    if token_lengths is None:
        return None
    found = {}
    for name, scan in scans.items():
        lengths = np.asarray(token_lengths[name], dtype=np.int64)
        if len(lengths) != len(scan.exact):
            raise ValueError(f"token_lengths of {name}: {len(lengths)} values; wanted {len(scan.exact)}, one a record")
        excess = np.maximum(lengths - (sequence_length or lengths.max()), 0)
        sums = {"num_tokens": lengths.sum(), "num_cut": np.count_nonzero(excess), "num_cut_tokens": excess.sum()}
        found[name] = _quantiles(lengths) | {key: int(value) for key, value in sums.items()}
    return found
