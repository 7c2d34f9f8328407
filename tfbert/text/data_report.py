"""Data report of a run: sizes, labels, lengths and warnings, some of which cast doubt on the scores."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tfbert.text.unknown_tokens import UnknownTokens

SHOWN_EXAMPLES = 3  # per finding
_SENTENCES = {
    "duplicate": "{texts} of {0} {repeat} an earlier one (exact)",
    "conflict": "{texts} of {0} {are} labelled inconsistently",
    "leak": "{texts} of {1} {are} also in {0} (exact)",
    "near_leak": "{texts} of {1} {are} also in {0} except for case or punctuation",
    "leak_conflict": "{texts} of {1} {are} labelled differently in {0}",
}
# Minimum fractions at which a finding casts doubt on a score.
_DISTORTING_RECORDS, _DISTORTING_DUPLICATES, _DISTORTING_CUTS = 0.01, 0.05, 0.1
_DISTORTING_TOKENS = 0.05
# Keys of `DataReport.to_dict` that differ from the names of the fields.
_JSON_KEYS = {"record_warnings": "remarks"}


@dataclass(frozen=True)
class Finding:
    """Problem with the texts of one split or of a pair of splits.

    Texts that differ only in whitespace count as equal, because BERT's tokenizers cannot distinguish them.

    Args:
        kind: `duplicate` or `conflict` (a text with two labels) within a split; between two splits `leak` (a text of
            the second split is also in the first), `near_leak` (only its near-duplicate key is also in the first) or
            `leak_conflict` (a leak with a label that the text does not have in the first split).
        splits: the name of the split, or of both splits.
        count: the number of affected records in the last split; the number of different texts for a `conflict`.
        examples: up to five pairs `record = earlier record`, with the labels if they differ.
    """

    kind: str
    splits: tuple[str, ...]
    count: int
    examples: tuple[str, ...]

    def line(self) -> str:
        """Return a sentence about the finding, with the first examples."""
        verbs = {"repeat": "repeats", "are": "is"} if self.count == 1 else {"repeat": "repeat", "are": "are"}
        sentence = _SENTENCES[self.kind].format(*self.splits, texts=_count(self.count, "text"), **verbs)
        return f"{sentence}: {_some(self.examples, self.count)}"


@dataclass(frozen=True)
class DataReport:
    """Results of the data checks. The keys of mappings are split names unless stated otherwise.

    Args:
        num_examples: the number of records.
        class_counts: the number of records by label, sorted by label; a record may have several labels or none.
        missing_labels: the labels of train that the split lacks; only splits that lack some.
        label_warnings: warnings about the labels of train, each with the number of affected records.
        findings: the duplicates, conflicts and leaks.
        characters: median, p90, p99 and longest length of the texts in characters.
        tokens: the same in tokens, including special tokens and before truncation; also `num_tokens`, the total,
            `num_cut`, the number of examples longer than `sequence_length`, and `num_cut_tokens`, the number of tokens
            that they lose; `None` if nothing has been tokenized.
        sequence_length: the maximum input length in tokens; `None` if long texts are split into windows instead.
        record_warnings: the task's warnings about records, each with the locations of these records.
        num_skipped: file to its number of skipped bad rows; only files that have some.
        skipped: file to the messages of its first skipped rows.
        num_replaced: file to its number of undecodable characters that were replaced; only files that have some.
        notes: the origin of the records; only splits for which it is not obvious.
        files: file to its interpretation.
        interpreted: the interpretation as lines for display, to be shown before `lines`.
        unread: warnings about unused columns of text, one per file.
        unknown: the unknown tokens; `None` if nothing has been tokenized.
    """

    num_examples: dict[str, int]
    class_counts: dict[str, dict[str, int]]
    missing_labels: dict[str, list[str]]
    label_warnings: tuple[tuple[str, int], ...]
    findings: tuple[Finding, ...]
    characters: dict[str, dict[str, int]]
    tokens: dict[str, dict[str, int]] | None
    sequence_length: int | None
    record_warnings: dict[str, dict[str, list[str]]]
    num_skipped: dict[str, int]
    skipped: dict[str, list[str]]
    num_replaced: dict[str, int]
    notes: dict[str, str]
    files: dict[str, dict] = dataclasses.field(default_factory=dict)
    interpreted: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    unknown: UnknownTokens | None = None

    def to_dict(self) -> dict:
        """Return the report as JSON values."""
        return {_JSON_KEYS.get(name, name): value for name, value in dataclasses.asdict(self).items()}

    def lines(self, *, with_warnings: bool = True) -> list[str]:
        """Return a few lines for display before training: sizes, labels and lengths, then the warnings."""
        sizes = ", ".join(f"{name} {number:,}" for name, number in self.num_examples.items())
        lines = [f"{sizes} examples{_labels_line(self.class_counts['train'])}"]
        lines += [f"{name}: {note}" for name, note in self.notes.items()]
        lengths, unit = (self.characters, "character") if self.tokens is None else (self.tokens, "token")
        train = lengths["train"]
        median, longest = _count(train["median"], unit), f"{train['longest']:,}"
        lines.append(f"length of train: median {median}, 99% up to {train['p99']:,}, longest {longest}")
        if self.unknown is not None:
            lines.append(self.unknown.line())
        return lines + list(self.warnings if with_warnings else ())

    @property
    def warnings(self) -> tuple[str, ...]:
        """All warnings, one sentence each, leaks first."""
        return tuple(sentence for _, sentence, _ in self._all_warnings())

    @property
    def score_warnings(self) -> tuple[str, ...]:
        """The warnings that concern enough records to cast doubt on the scores."""
        return tuple(sentence for _, sentence, is_distorting in self._all_warnings() if is_distorting)

    def table(self) -> list[tuple[str, str]]:
        """Return the kind and sentence of each warning, leaks first."""
        return [(kind, sentence) for kind, sentence, _ in self._all_warnings()]

    def _all_warnings(self) -> Iterable[tuple[str, str, bool]]:
        """Yield the kind of each warning, its sentence, and whether it casts doubt on the scores."""
        order = ("leak_conflict", "leak", "near_leak", "conflict", "duplicate")
        for finding in sorted(self.findings, key=lambda finding: order.index(finding.kind)):
            yield finding.kind.replace("_", " "), finding.line(), _distorts(finding, self.num_examples)
        counts, num_train = self.class_counts["train"], self.num_examples["train"]
        for name, labels in self.missing_labels.items():
            verb = "is" if len(labels) == 1 else "are"
            some = _some([repr(label) for label in labels], len(labels))
            line = f"{_count(len(labels), 'label')} of train {verb} not in {name}: {some}"
            yield "missing label", line, sum(counts[label] for label in labels) >= _DISTORTING_RECORDS * num_train
        for line in self.unread:
            yield "unused column", line, True
        for line, num_records in self.label_warnings:
            yield "label", line, num_records >= _DISTORTING_RECORDS * num_train
        for line, is_distorting in _cut_warnings(self.tokens or {}, self.num_examples, self.sequence_length):
            yield "cut text", line, is_distorting
        for line in self.unknown.warnings if self.unknown is not None else ():
            yield "unknown tokens", line, True
        for line in self.unknown.language_warnings if self.unknown is not None else ():
            yield "language", line, True
        yield from self._warnings_about_rows()

    def _warnings_about_rows(self) -> Iterable[tuple[str, str, bool]]:
        for name, warnings in self.record_warnings.items():
            for warning, locations in warnings.items():
                line = f"{name}: {warning} ({_count(len(locations), 'case')}): {_some(locations, len(locations))}"
                yield "record", line, len(locations) >= _DISTORTING_TOKENS * self.num_examples[name]
        total = sum(self.num_examples.values())
        for file, number in self.num_skipped.items():
            verb = "was" if number == 1 else "were"
            line = f"{_count(number, 'row')} of {file} {verb} skipped; first: {self.skipped[file][0]}"
            yield "skipped row", line, number >= _DISTORTING_RECORDS * total
        for file, number in self.num_replaced.items():
            verb = "was" if number == 1 else "were"
            line = f"{_count(number, 'character')} of {file} could not be decoded and {verb} replaced by U+FFFD"
            yield "encoding", line, number >= _DISTORTING_TOKENS * total


def _labels_line(counts: Mapping[str, int]) -> str:
    if not counts:
        return ""
    if len(counts) == 1:
        return f", 1 label ({next(iter(counts))!r})"
    smallest, largest = min(counts, key=counts.get), max(counts, key=counts.get)
    if counts[smallest] == counts[largest]:
        return f", {len(counts):,} labels ({counts[smallest]:,} each)"
    sizes = f"smallest {smallest!r} {counts[smallest]:,}, largest {largest!r} {counts[largest]:,}"
    return f", {len(counts):,} labels ({sizes})"


def _distorts(finding: Finding, num_examples: Mapping[str, int]) -> bool:
    """Return whether a finding concerns enough records to cast doubt on the scores."""
    split = finding.splits[-1]
    if finding.kind == "duplicate":  # duplicates in train do not affect the measurement
        return split != "train" and finding.count >= _DISTORTING_DUPLICATES * num_examples[split]
    return finding.count >= _DISTORTING_RECORDS * num_examples[split]


def _cut_warnings(
    tokens: Mapping[str, Mapping[str, int]], num_examples: Mapping[str, int], sequence_length: int | None
) -> Iterable[tuple[str, bool]]:
    for name, counts in tokens.items():
        if counts["num_cut"]:
            verb = "is" if counts["num_cut"] == 1 else "are"
            texts = f"{counts['num_cut']:,} of {_count(num_examples[name], 'text')} of {name}"
            cut = f"{counts['num_cut_tokens']:,} of {_count(counts['num_tokens'], 'token')} are cut"
            cuts_many = counts["num_cut_tokens"] >= _DISTORTING_TOKENS * counts["num_tokens"]
            line = f"{texts} {verb} longer than sequence_length {sequence_length}: {cut}"
            yield line, cuts_many and counts["num_cut"] >= _DISTORTING_CUTS * num_examples[name]


def _some(examples: Sequence[str], count: int) -> str:
    return ", ".join([*examples[:SHOWN_EXAMPLES], *(["..."] if count > SHOWN_EXAMPLES else [])])


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
