"""What is wrong with the data before training: leaks, conflicts, duplicates, missing labels, truncation in numbers.

In: the splits, and the number of tokens of each text if it is known. Out: a `DataReport`, for a person and for JSON.
"""

import dataclasses
import hashlib
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from tfbert.text.records import Record
from tfbert.text.splits import Split, near_duplicate_key
from tfbert.text.unknown_tokens import UnknownTokens

MAX_EXAMPLES, SHOWN_EXAMPLES = 5, 3  # of a finding: kept for JSON, printed
_LONGEST_TARGET = 60  # characters of a target in an example
USUAL_LABELS = 10  # so many may well have one example each in a small trial
USUAL_EXAMPLES = 10  # where a label has so many, it is no small trial, and one example of another is too few
QUANTILES = {"median": 0.5, "p90": 0.9, "p99": 0.99, "longest": 1.0}

_SENTENCES = {
    "duplicate": "{texts} of {0} {repeat} an earlier one (exact)",
    "conflict": "{texts} of {0} {are} labelled in more than one way",
    "leak": "{texts} of {1} {are} also in {0} (exact)",
    "near_leak": "{texts} of {1} {are} also in {0} but for case or punctuation",
    "leak_conflict": "{texts} of {1} {are} labelled in another way in {0}",
}
# Shares from which on a finding can change what a score means; below, it concerns too few records to matter.
_DISTORTING_RECORDS, _DISTORTING_DUPLICATES, _DISTORTING_CUTS = 0.01, 0.05, 0.1
_DISTORTING_TOKENS = 0.05
# Between the texts of one record, so that ("a b", "c") is not ("a", "b c").
_BETWEEN_TEXTS = "\x1f"


@dataclass(frozen=True)
class Finding:
    """Something found in the texts of one split or of a pair.

    Args:
        kind: `duplicate` and `conflict` (one text, two labels) lie within a split; `leak` (a text of the second split
            is in the first), `near_leak` (likewise by its near-duplicate key, without the leaks) and `leak_conflict`
            (a leak whose label the first split does not give that text) between two. Texts are one text where they
            differ in blanks at most, which no tokenizer of BERT sees.
        splits: name of the split, or the names of both.
        count: records of the last-named split; of a `conflict` the different texts.
        examples: up to five, each a pair `record = earlier record`, with the labels where these differ.
    """

    kind: str
    splits: tuple[str, ...]
    count: int
    examples: tuple[str, ...]

    def line(self) -> str:
        """Return the finding in words, with the first examples."""
        one = self.count == 1
        words = {"repeat": "repeats", "are": "is"} if one else {}
        words = {word: words.get(word, word) for word in ("repeat", "are")}
        said = _SENTENCES[self.kind].format(*self.splits, texts=_count(self.count, "text"), **words)
        return f"{said}: {_some(self.examples, self.count)}"


@dataclass(frozen=True)
class DataReport:
    """What the data of a run is and what is wrong with it. Every mapping is by split unless it says otherwise.

    Args:
        num_examples: records.
        class_counts: records by label, in the order of the labels; a record may have several labels or none.
        missing_labels: labels of train that the split lacks, for the splits that lack any.
        findings: duplicates, conflicts and leaks, those that occur.
        characters: median, p90, p99 and longest length of the texts.
        tokens: likewise with special tokens and before cutting; with `num_tokens` in all, `num_cut` examples longer
            than `sequence_length` and the `num_cut_tokens` they lose. `None` where lengths in tokens were not given.
        sequence_length: longest input in tokens; `None` where longer ones are read in windows and nothing is cut.
        remarks: what the task had to say of records when it made examples of them.
        num_skipped: bad rows left out, by file, for the files that have any.
        skipped: the first of their messages, by file.
        num_replaced: characters put for bytes that did not decode, by file, for the files that have any.
        notes: where the records come from, if there is anything to say of it.
        unknown: share of tokens that the encoder does not know. `None` where nothing has been tokenized.
    """

    num_examples: dict[str, int]
    class_counts: dict[str, dict[str, int]]
    missing_labels: dict[str, list[str]]
    findings: tuple[Finding, ...]
    characters: dict[str, dict[str, int]]
    tokens: dict[str, dict[str, int]] | None
    sequence_length: int | None
    remarks: dict[str, dict[str, list[str]]]
    num_skipped: dict[str, int]
    skipped: dict[str, list[str]]
    num_replaced: dict[str, int]
    notes: dict[str, str]
    unknown: UnknownTokens | None = None

    def to_dict(self) -> dict:
        """Return everything as plain values, ready for JSON."""
        return dataclasses.asdict(self)

    def lines(self) -> list[str]:
        """Return the few lines that a person should read before training: what the data is, then the warnings."""
        sizes = ", ".join(f"{name} {number:,}" for name, number in self.num_examples.items())
        lines = [f"{sizes} examples{_labels_line(self.class_counts['train'])}"]
        lines += [f"{name}: {note}" for name, note in self.notes.items()]
        lengths, unit = (self.characters, "character") if self.tokens is None else (self.tokens, "token")
        train = lengths["train"]
        median, longest = _count(train["median"], unit), f"{train['longest']:,}"
        lines.append(f"length of train: median {median}, 99% up to {train['p99']:,}, longest {longest}")
        if self.unknown is not None:
            lines.append(self.unknown.line())
        return lines + list(self.warnings)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What may spoil the model or its score, one sentence each, leaks first."""
        return tuple(line for line, _ in self._weighed())

    @property
    def score_warnings(self) -> tuple[str, ...]:
        """Those of the warnings that concern enough records to change what the scores mean."""
        return tuple(line for line, is_distorting in self._weighed() if is_distorting)

    def _weighed(self) -> Iterable[tuple[str, bool]]:
        """Yield every warning and whether it can distort a score."""
        order = ("leak_conflict", "leak", "near_leak", "conflict", "duplicate")
        for finding in sorted(self.findings, key=lambda finding: order.index(finding.kind)):
            yield finding.line(), _distorts(finding, self.num_examples)
        counts, num_train = self.class_counts["train"], self.num_examples["train"]
        for name, labels in self.missing_labels.items():
            verb = "is" if len(labels) == 1 else "are"
            some = _some([repr(label) for label in labels], len(labels))
            line = f"{_count(len(labels), 'label')} of train {verb} not in {name}: {some}"
            yield line, sum(counts[label] for label in labels) >= _DISTORTING_RECORDS * num_train
        yield from _label_warnings(counts, num_train)
        yield from _cut_warnings(self.tokens or {}, self.num_examples, self.sequence_length)
        if self.unknown is not None:
            yield from ((line, True) for line in self.unknown.warnings)
        for name, remarks in self.remarks.items():
            for what, places in remarks.items():
                line = f"{name}: {len(places):,} {what}: {_some(places, len(places))}"
                yield line, len(places) >= _DISTORTING_TOKENS * self.num_examples[name]
        total = sum(self.num_examples.values())
        for file, number in self.num_skipped.items():
            verb = "was" if number == 1 else "were"
            line = f"{_count(number, 'row')} of {file} {verb} left out, first: {self.skipped[file][0]}"
            yield line, number >= _DISTORTING_RECORDS * total
        for file, number in self.num_replaced.items():
            verb = "was" if number == 1 else "were"
            line = f"{_count(number, 'character')} of {file} did not decode and {verb} replaced by U+FFFD"
            yield line, number >= _DISTORTING_TOKENS * total


def check(
    splits: Mapping[str, Split],
    token_lengths: Mapping[str, np.ndarray] | None,
    sequence_length: int | None,
    labels_of: Callable[[Record], Iterable[str]] = lambda record: (record.target,),
    remarks: Mapping[str, Mapping[str, list[str]]] | None = None,
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
        findings=_findings(splits, scans),
        characters={name: _quantiles(scan.characters) for name, scan in scans.items()},
        tokens=_token_counts(token_lengths, scans, sequence_length),
        sequence_length=sequence_length,
        remarks={name: dict(of) for name, of in (remarks or {}).items() if of},
        num_skipped={file: tally.num_skipped for file, tally in tallies.items() if tally.num_skipped},
        skipped={file: list(tally.skipped) for file, tally in tallies.items() if tally.num_skipped},
        num_replaced={file: tally.num_replaced for file, tally in tallies.items() if tally.num_replaced},
        notes={name: split.note for name, split in splits.items() if split.note},
        unknown=unknown,
    )


@dataclass(frozen=True, eq=False)
class _Scan:
    """What is kept of a split: arrays with one value a record, and how often each label occurs."""

    exact: np.ndarray
    near: np.ndarray
    targets: np.ndarray
    characters: np.ndarray
    labels: Counter


def _scan(split: Split, labels_of: Callable[[Record], Iterable[str]]) -> _Scan:
    exact, near, targets, characters = array("Q"), array("Q"), array("Q"), array("q")
    labels: Counter = Counter()
    for record in split:
        exact.append(_digest(_BETWEEN_TEXTS.join(" ".join(text.split()) for text in record.texts)))
        near.append(_digest(_BETWEEN_TEXTS.join(map(near_duplicate_key, record.texts))))
        targets.append(_digest(repr(record.target)))
        characters.append(sum(map(len, record.texts)))
        labels.update(labels_of(record))
    return _Scan(*(np.asarray(values) for values in (exact, near, targets, characters)), labels)


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


def _labels_line(counts: Mapping[str, int]) -> str:
    if not counts:
        return ""
    if len(counts) == 1:
        return f", 1 label ({next(iter(counts))!r})"
    smallest, largest = min(counts, key=counts.get), max(counts, key=counts.get)
    if counts[smallest] == counts[largest]:
        return f", {len(counts):,} labels ({counts[smallest]:,} each)"
    ends = f"smallest {smallest!r} {counts[smallest]:,}, largest {largest!r} {counts[largest]:,}"
    return f", {len(counts):,} labels ({ends})"


def _distorts(finding: Finding, num_examples: Mapping[str, int]) -> bool:
    """Return whether a finding concerns so many records that scores mean something else than they seem to."""
    split = finding.splits[-1]
    if finding.kind == "duplicate":  # those of train change what is learned, not how it is measured
        return split != "train" and finding.count >= _DISTORTING_DUPLICATES * num_examples[split]
    return finding.count >= _DISTORTING_RECORDS * num_examples[split]


def _label_warnings(counts: Mapping[str, int], num_examples: int) -> Iterable[tuple[str, bool]]:
    if list(counts.values()) == [num_examples]:
        yield f"train has one label only: {next(iter(counts))!r}", True
    if len(counts) > USUAL_LABELS and len(counts) * 2 > num_examples:
        yield f"train has {len(counts):,} labels for {num_examples:,} examples: is it the label column?", True
    single = [label for label, count in counts.items() if count == 1]
    if single and max(counts.values()) >= USUAL_EXAMPLES:
        names = _some([repr(label) for label in single], len(single))
        advice = "add examples of them, or merge or remove these labels"
        line = f"{_count(len(single), 'label')} with one example in train, too few to learn from ({advice}): {names}"
        yield line, len(single) >= _DISTORTING_RECORDS * num_examples
    spelling: dict[str, str] = {}
    for label in counts:
        other = spelling.setdefault(" ".join(label.casefold().split()), label)
        if other != label:
            is_frequent = min(counts[other], counts[label]) >= _DISTORTING_RECORDS * num_examples
            yield f"labels {other!r} and {label!r} differ only in case or blanks", is_frequent


def _cut_warnings(
    tokens: Mapping[str, Mapping[str, int]], num_examples: Mapping[str, int], longest: int | None
) -> Iterable[tuple[str, bool]]:
    for name, of in tokens.items():
        if of["num_cut"]:
            verb = "is" if of["num_cut"] == 1 else "are"
            texts = f"{of['num_cut']:,} of {_count(num_examples[name], 'text')} of {name}"
            cut = f"{of['num_cut_tokens']:,} of {_count(of['num_tokens'], 'token')} are cut"
            is_much = of["num_cut_tokens"] >= _DISTORTING_TOKENS * of["num_tokens"]
            line = f"{texts} {verb} longer than sequence_length {longest}: {cut}"
            yield line, is_much and of["num_cut"] >= _DISTORTING_CUTS * num_examples[name]


def _some(examples: Sequence[str], count: int) -> str:
    return ", ".join([*examples[:SHOWN_EXAMPLES], *(["..."] if count > SHOWN_EXAMPLES else [])])


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
