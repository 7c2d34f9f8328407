"""What the data of a run are and what is wrong with them: sentences for a person, plain values for JSON.

In: what `checks.py` found. Out: lines, warnings, and which of the warnings can change what a score means.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tfbert.text.unknown_tokens import UnknownTokens

SHOWN_EXAMPLES = 3  # of a finding
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
        label_warnings: what is doubtful about the labels of train: a sentence, and how many records it concerns.
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
        files: how each file was interpreted, by file.
        interpreted: the same in lines for a person, which stand above those of `lines`.
        unread: columns of text that are not read, one sentence for each file.
        unknown: share of tokens that the encoder does not know. `None` where nothing has been tokenized.
    """

    num_examples: dict[str, int]
    class_counts: dict[str, dict[str, int]]
    missing_labels: dict[str, list[str]]
    label_warnings: tuple[tuple[str, int], ...]
    findings: tuple[Finding, ...]
    characters: dict[str, dict[str, int]]
    tokens: dict[str, dict[str, int]] | None
    sequence_length: int | None
    remarks: dict[str, dict[str, list[str]]]
    num_skipped: dict[str, int]
    skipped: dict[str, list[str]]
    num_replaced: dict[str, int]
    notes: dict[str, str]
    files: dict[str, dict] = dataclasses.field(default_factory=dict)
    interpreted: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    unknown: UnknownTokens | None = None

    def to_dict(self) -> dict:
        """Return everything as plain values, ready for JSON."""
        return dataclasses.asdict(self)

    def lines(self, *, with_warnings: bool = True) -> list[str]:
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
        return lines + list(self.warnings if with_warnings else ())

    @property
    def warnings(self) -> tuple[str, ...]:
        """What may spoil the model or its score, one sentence each, leaks first."""
        return tuple(sentence for _, sentence, _ in self._weighed())

    @property
    def score_warnings(self) -> tuple[str, ...]:
        """Those of the warnings that concern enough records to change what the scores mean."""
        return tuple(sentence for _, sentence, is_distorting in self._weighed() if is_distorting)

    def table(self) -> list[tuple[str, str]]:
        """Return a kind and a sentence for each warning, leaks first."""
        return [(kind, sentence) for kind, sentence, _ in self._weighed()]

    def _weighed(self) -> Iterable[tuple[str, str, bool]]:
        """Yield the kind of each warning, its sentence, and whether it can distort a score."""
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
        yield from self._of_records()

    def _of_records(self) -> Iterable[tuple[str, str, bool]]:
        for name, remarks in self.remarks.items():
            for what, places in remarks.items():
                line = f"{name}: {len(places):,} {what}: {_some(places, len(places))}"
                yield "record", line, len(places) >= _DISTORTING_TOKENS * self.num_examples[name]
        total = sum(self.num_examples.values())
        for file, number in self.num_skipped.items():
            verb = "was" if number == 1 else "were"
            line = f"{_count(number, 'row')} of {file} {verb} left out, first: {self.skipped[file][0]}"
            yield "left out", line, number >= _DISTORTING_RECORDS * total
        for file, number in self.num_replaced.items():
            verb = "was" if number == 1 else "were"
            line = f"{_count(number, 'character')} of {file} did not decode and {verb} replaced by U+FFFD"
            yield "encoding", line, number >= _DISTORTING_TOKENS * total


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
