"""Layout of a data file: its format, the columns read, and unused columns that may matter.

The readers fill in the layout while they read. An unused column that may matter, such as a second label, a flag or the
name of a split, is reported with advice.
"""

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tfbert.text.readers.cells import stands_for_missing
from tfbert.text.readers.columns import Column, joined_names, listing, option, shown

_MAX_DISTINCT = 200  # a column with more distinct values is not a label or flag, and they are not counted
_MAX_SHOWN, _MAX_REASONS = 6, 3
# Words in the names of columns with labels, and of columns that tell whether to use a record.
_LABEL_NAME = re.compile(r"(?<![a-z])(labels?|class|target|gold|gt|truth|intent|sentiment|category)(?![a-z]|_id$)")
_FLAG_NAME = re.compile(
    r"(?<![a-z])(split|fold|partition|flag|flagged|duplicate|impossible|answerable|unanswerable|relevance|relevant"
    r"|relevancy|verdict|reject|rejected|accept|accepted|match|matches|correct|valid|invalid|judge?ment)(?![a-z])"
    r"|^(answers?|subset|set|ignore|exclude|deleted)$"
)
_FLAG = re.compile(r"[01](\.0)?|true|false|yes|no|是|否|对|错|不是|不对")
_VERDICT = re.compile(r"accept(ed)?|reject(ed)?|ignored?")
_SPLIT = re.compile(r"train(ing)?|dev|val(id|idation)?|test(ing)?|eval")
_OPINION = re.compile(
    r"pos(itive)?|neg(ative)?|neutral|(not[ _-])?relevant|irrelevant|partial|entailment|contradiction|(no[ _-])?match"
    r"|mismatch|(not[ _-]|non-)?duplicate|good|bad|potential|(in)?correct|right|wrong|pass|fail|(in)?valid|spam|ham"
    r"|supported|refuted"
)
_MAX_GRADES = 11  # distinct numbers of a scale such as 0 to 10
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?|true|false")
_FRACTION = re.compile(r"[+-]?\d*\.\d*[1-9]\d*")
# In languages without spaces, two characters count as a word.
_CJK_WORD = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]{2}")
_SAMPLED_TEXTS, _MIN_MEAN_WORDS = 50, 3.0  # values examined, and the minimum mean number of words of texts


@dataclass(slots=True)
class Values:
    """Statistics of the values of an unused column.

    Args:
        counts: non-empty value to its number of occurrences; empty if there are too many distinct values.
        is_complete: whether `counts` covers all values so far.
        num_texts: the number of values, at most 50, whose words were counted.
        num_words: the total number of words of these values.
        num_fractions: the number of these values with a fractional part, such as similarities.
        has_structure: whether any value is a list or an object.
    """

    counts: dict[str, int] = field(default_factory=dict)
    is_complete: bool = True
    num_texts: int = 0
    num_words: int = 0
    num_fractions: int = 0
    has_structure: bool = False

    def add(self, value: Any) -> None:
        """Add one value of the column to the statistics."""
        if value is None:
            return
        if isinstance(value, list | dict):
            self.counts.clear()
            self.is_complete, self.has_structure = False, True
            return
        text = json.dumps(value) if isinstance(value, bool) else str(value).strip()
        if not text or stands_for_missing(text):
            return
        if self.num_texts < _SAMPLED_TEXTS:
            self.num_texts += 1
            self.num_words += max(len(text.split()), len(_CJK_WORD.findall(text)))
            self.num_fractions += _FRACTION.fullmatch(text) is not None
        if self.is_complete:
            self.counts[text] = self.counts.get(text, 0) + 1
            if len(self.counts) > _MAX_DISTINCT:
                self.counts.clear()
                self.is_complete = False

    @property
    def is_needed(self) -> bool:
        """Whether further values can still change the statistics."""
        return self.is_complete or self.num_texts < _SAMPLED_TEXTS

    @property
    def may_be_label(self) -> bool:
        """Whether the values are few or structured enough to be labels."""
        repeats = 2 * len(self.counts) <= sum(self.counts.values())
        return self.has_structure or (self.is_complete and (repeats or not self.is_text))

    @property
    def is_text(self) -> bool:
        """Whether the values look like sentences."""
        return self.num_texts > 0 and self.num_words >= _MIN_MEAN_WORDS * self.num_texts


@dataclass(slots=True)
class Layout:
    """Interpretation of a file, as determined in one pass over it.

    Args:
        name: the name of the file in messages.
        kind: a description of the format, such as `csv with ';' between columns`.
        encoding: the encoding with which the file was decoded.
        header: a description of the line of column names; empty if the format has none.
        noun: the word for a column in messages, `column` or `key`.
        used: role to the names of its columns.
        unused: name of each unused column to the statistics of its values.
        notes: kind of skipped line, such as `comment line`, to the number of such lines.
        class_names: name of a column of integer labels to their names.
        class_names_from: the origin of the names of integer labels, if they are used.
    """

    name: str
    kind: str = ""
    encoding: str = ""
    header: str = ""
    noun: str = "column"
    used: dict[str, list[str]] = field(default_factory=dict)
    unused: dict[str, Values] = field(default_factory=dict)
    notes: dict[str, int] = field(default_factory=dict)
    class_names: dict[str, tuple[str, ...]] = field(default_factory=dict)
    class_names_from: str = ""

    def set_used(self, names: Sequence[str], positions: Mapping[str, Any]) -> None:
        """Set the used and unused columns.

        Args:
            names: the names of all columns.
            positions: the positions of the columns by role, as `ColumnFinder.find` returns them.
        """
        self.used = {
            role: [names[i] for i in (position.values() if isinstance(position, dict) else [position])]
            for role, position in positions.items()
        }
        read = {name for role_names in self.used.values() for name in role_names}
        self.unused = {name: Values() for name in names if name not in read}

    def count(self, note: str) -> None:
        """Count a skipped line of the given kind."""
        self.notes[note] = self.notes.get(note, 0) + 1

    @property
    def skipped(self) -> str:
        """The numbers of skipped lines and annotations in words; empty if there are none."""
        return ", ".join(f"{number:,} {kind}{'s' * (number != 1)} skipped" for kind, number in self.notes.items())

    def lines(self) -> list[str]:
        """Return two lines for display: the format of the file, and the columns read."""
        names = f"label names from {self.class_names_from}" if self.class_names_from else ""
        first = ", ".join(text for text in (self.kind, self.encoding, self.header, names, self.skipped) if text)
        read = ", ".join(f"{role} from {' | '.join(map(shown, names))}" for role, names in self.used.items())
        unused = listing(list(self.unused)) if self.unused else "none"
        return [first, f"reads {read or 'nothing'}; unused {self.noun}s: {unused}"]

    def text_columns(self, ignored: Iterable[str]) -> list[str]:
        """Return the unused columns that contain sentences, except those that the user ignores."""
        return [name for name, values in self.unused.items() if values.is_text and name not in set(ignored)]

    def refusal(self, columns: Sequence[Column], ignored: Sequence[str], assigned_roles: Collection[str]) -> str:
        """Return the reason why unused columns should stop training, with advice, or an empty string.

        Args:
            columns: the columns of the task.
            ignored: the columns that the user chose not to use.
            assigned_roles: the roles to which the user assigned a column. If the target is among them, the user has
                chosen between several columns of labels.
        """
        has_chosen = any(column.is_target and column.role in assigned_roles for column in columns)
        patterns = [_FLAG_NAME] if has_chosen else [_FLAG_NAME, _LABEL_NAME]
        lacks_number = any(column.is_number and column.role not in self.used for column in columns)
        reasons = {name: _reason(name, values, patterns, lacks_number) for name, values in self.unused.items()}
        reasons = {name: reason for name, reason in reasons.items() if reason and name not in ignored}
        if not reasons:
            return ""
        described = ", and ".join(
            [f"{self.noun} {shown(name)} {reason}" for name, reason in reasons.items()][:_MAX_REASONS]
        )
        described += f", and {len(reasons) - _MAX_REASONS} more" if len(reasons) > _MAX_REASONS else ""
        advice = [self._advice(columns, name) for name in reasons]
        ignore = option("data.ignored_columns", joined_names([*ignored, *reasons]))
        is_single = len(reasons) == 1
        advice.append(f"to train without {'it' if is_single else 'them'}: {ignore}")
        advice = list(dict.fromkeys(text for text in advice if text))
        return f"{self.name}: {described} but {'is' if is_single else 'are'} not used; {'; '.join(advice)}"

    def _advice(self, columns: Sequence[Column], name: str) -> str:
        """Return advice on the use of a column, or an empty string."""
        words = {value.casefold() for value in self.unused[name].counts}
        if _all_match(_SPLIT, words):
            return "write each split to a separate file (train, validation, test)"
        if _all_match(_VERDICT, words):
            return "remove the records that were not accepted"
        are_numbers = _all_match(_NUMBER, words)
        for column in columns:
            fits = are_numbers if column.is_number else column.key_among([name])
            if column.role not in self.used and fits:
                return f"to use it: {option('data.columns', f'{column.role}={name}')}"
        return ""


def _all_match(pattern: re.Pattern, values: Collection[str]) -> bool:
    return bool(values) and all(pattern.fullmatch(value) for value in values)


def _reason(name: str, values: Values, name_patterns: Sequence[re.Pattern], lacks_number: bool) -> str:
    """Return the reason why an unused column may matter, or an empty string."""
    counts = values.counts
    if values.is_complete and not counts:
        return ""  # all values are empty
    words = {value.casefold() for value in counts}
    if _all_match(_VERDICT, words):
        # If everything was accepted, no record needs to be removed.
        return "" if words <= {"accept", "accepted"} else f"contains verdicts ({_counted(counts)})"
    if len(counts) == 1:
        return ""  # it does not distinguish records
    if _all_match(_SPLIT, words):
        return f"names splits ({_counted(counts)})"
    if values.may_be_label and any(pattern.search(name.strip().casefold()) for pattern in name_patterns):
        return f"has the name of a label or flag{f' ({_counted(counts)})' if counts else ''}"
    if _all_match(_FLAG, words):
        return f"contains flags ({_counted(counts)})"
    if _all_match(_OPINION, words):
        return f"contains labels ({_counted(counts)})"
    are_grades = len(counts) <= _MAX_GRADES and _all_match(_NUMBER, counts)
    if lacks_number and are_grades and sum(counts.values()) >= 2 * len(counts):
        return f"contains grades ({_counted(counts)})"
    if lacks_number and 2 * values.num_fractions > values.num_texts:
        return "contains numbers with fractions"
    return ""


def _counted(counts: Mapping[str, int]) -> str:
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    described = [f"{shown(value)} {number:,}" for value, number in ranked[:_MAX_SHOWN]]
    return ", ".join(described + ["..."] * (len(ranked) > _MAX_SHOWN))
