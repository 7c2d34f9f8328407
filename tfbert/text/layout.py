"""How a file was interpreted, and which of its columns were not used: for the lines shown before training.

Filled by the functions that read rows, while they read. An unused column that looks as if it mattered, such as a second
label, a flag or the name of a split, is named with what can be done about it.
"""

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tfbert.text.columns import Column, joined_names, listing, option, shown
from tfbert.text.label_checks import stands_for_missing

_MAX_DISTINCT = 200  # values of a column that are described apart; a column with more is no label or flag
_MAX_SHOWN, _MAX_REASONS = 6, 3
# Words in the name of a column that tells what a record means or whether it counts.
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
_MOST_GRADES = 11  # different numbers of a scale such as 0 to 10
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?|true|false")
_FRACTION = re.compile(r"[+-]?\d*\.\d*[1-9]\d*")
# Two characters of a language that is written without blanks count as a word.
_CJK_WORD = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]{2}")
_SEEN_TEXTS, _FEWEST_WORDS = 50, 3.0  # values looked at, and their mean number of words, of a column of texts


@dataclass(slots=True)
class Values:
    """What a column that is not used holds.

    Args:
        counts: how often each value occurs, blank ones left out; emptied once there are too many different ones.
        is_open: whether `counts` is still complete.
        num_texts: values of which words were counted, the first 50.
        num_words: theirs together.
        num_fractions: those of them that are numbers with a fractional part, as similarities are.
        has_structure: whether a value is a list or an object.
    """

    counts: dict[str, int] = field(default_factory=dict)
    is_open: bool = True
    num_texts: int = 0
    num_words: int = 0
    num_fractions: int = 0
    has_structure: bool = False

    def see(self, value: Any) -> None:
        """Take in one more value of the column."""
        if value is None:
            return
        if isinstance(value, list | dict):
            self.counts.clear()
            self.is_open, self.has_structure = False, True
            return
        text = json.dumps(value) if isinstance(value, bool) else str(value).strip()
        if not text or stands_for_missing(text):
            return
        if self.num_texts < _SEEN_TEXTS:
            self.num_texts += 1
            self.num_words += max(len(text.split()), len(_CJK_WORD.findall(text)))
            self.num_fractions += _FRACTION.fullmatch(text) is not None
        if self.is_open:
            self.counts[text] = self.counts.get(text, 0) + 1
            if len(self.counts) > _MAX_DISTINCT:
                self.counts.clear()
                self.is_open = False

    @property
    def is_needed(self) -> bool:
        """Whether further values can still change anything."""
        return self.is_open or self.num_texts < _SEEN_TEXTS

    @property
    def may_be_label(self) -> bool:
        """Whether there are few enough values for a label, or lists as of labels."""
        repeats = 2 * len(self.counts) <= sum(self.counts.values())
        return self.has_structure or (self.is_open and (repeats or not self.is_text))

    @property
    def is_text(self) -> bool:
        """Whether the values look like sentences."""
        return self.num_texts > 0 and self.num_words >= _FEWEST_WORDS * self.num_texts


@dataclass(slots=True)
class Layout:
    """How one pass over a file interpreted it.

    Args:
        name: of the file, as messages call it.
        kind: the format in words, such as `csv with ';' between columns`.
        encoding: with which it was decoded.
        header: whether a line names the columns, and which one; empty where the question does not arise.
        noun: what a column is called: `column` or `key`.
        used: names of the columns by role.
        unused: the other columns with what they hold.
        notes: lines that were skipped on purpose, by what they are, such as `comment line`.
    """

    name: str
    kind: str = ""
    encoding: str = ""
    header: str = ""
    noun: str = "column"
    used: dict[str, list[str]] = field(default_factory=dict)
    unused: dict[str, Values] = field(default_factory=dict)
    notes: dict[str, int] = field(default_factory=dict)

    def uses(self, names: Sequence[str], found: Mapping[str, Any]) -> None:
        """Note which columns are read, of all that there are, from what `ColumnFinder.find` returned."""
        self.used = {
            role: [names[i] for i in (at.values() if isinstance(at, dict) else [at])] for role, at in found.items()
        }
        read = {name for of_role in self.used.values() for name in of_role}
        self.unused = {name: Values() for name in names if name not in read}

    def count(self, note: str) -> None:
        """Count a line that is skipped, by what it is."""
        self.notes[note] = self.notes.get(note, 0) + 1

    def lines(self) -> list[str]:
        """Return two lines that say how the file was read and from which columns."""
        notes = [f"{number:,} {what}{'s' * (number != 1)} skipped" for what, number in self.notes.items()]
        first = ", ".join(part for part in (self.kind, self.encoding, self.header, *notes) if part)
        read = ", ".join(f"{role} from {' | '.join(map(shown, names))}" for role, names in self.used.items())
        unused = listing(list(self.unused)) if self.unused else "none"
        return [first, f"reads {read or 'nothing'}; unused {self.noun}s: {unused}"]

    def text_columns(self, ignored: Iterable[str]) -> list[str]:
        """Return the unused columns that hold sentences, without those that are ignored on purpose."""
        return [name for name, values in self.unused.items() if values.is_text and name not in set(ignored)]

    def refusal(self, columns: Sequence[Column], ignored: Sequence[str], given: Collection[str]) -> str:
        """Return what is wrong with leaving columns unused, with what to do about it, or nothing.

        Args:
            columns: of the task.
            ignored: columns that the user does not want to use.
            given: roles for which the user named a column. Where the target is among them, the choice between several
                columns of labels has been made.
        """
        has_chosen = any(column.is_target and column.role in given for column in columns)
        telling = [_FLAG_NAME] if has_chosen else [_FLAG_NAME, _LABEL_NAME]
        wants_number = any(column.is_number and column.role not in self.used for column in columns)
        reasons = {name: _reason(name, values, telling, wants_number) for name, values in self.unused.items()}
        reasons = {name: reason for name, reason in reasons.items() if reason and name not in ignored}
        if not reasons:
            return ""
        described = ", and ".join(
            [f"{self.noun} {shown(name)} {reason}" for name, reason in reasons.items()][:_MAX_REASONS]
        )
        described += f", and {len(reasons) - _MAX_REASONS} more" if len(reasons) > _MAX_REASONS else ""
        advice = [self._use(columns, name) for name in reasons]
        without = option("data.ignored_columns", joined_names([*ignored, *reasons]))
        one = len(reasons) == 1
        advice.append(f"to train without {'it' if one else 'them'}: {without}")
        advice = list(dict.fromkeys(part for part in advice if part))
        return f"{self.name}: {described} but {'is' if one else 'are'} not used; {'; '.join(advice)}"

    def _use(self, columns: Sequence[Column], name: str) -> str:
        """Return how a column can be used instead of being left out."""
        words = {value.casefold() for value in self.unused[name].counts}
        if _all_match(_SPLIT, words):
            return "write each split to a file of its own (train, validation, test)"
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


def _reason(name: str, values: Values, telling: Sequence[re.Pattern], wants_number: bool) -> str:
    """Return why an unused column looks as if it mattered, or nothing."""
    counts = values.counts
    if values.is_open and not counts:
        return ""  # nothing but blanks
    words = {value.casefold() for value in counts}
    if _all_match(_VERDICT, words):
        # An export in which everything was accepted has nothing to leave out.
        return "" if words <= {"accept", "accepted"} else f"holds verdicts ({_counted(counts)})"
    if len(counts) == 1:
        return ""  # it tells no records apart
    if _all_match(_SPLIT, words):
        return f"names splits ({_counted(counts)})"
    if values.may_be_label and any(pattern.search(name.strip().casefold()) for pattern in telling):
        return f"has the name of a label or flag{f' ({_counted(counts)})' if counts else ''}"
    if _all_match(_FLAG, words):
        return f"holds flags ({_counted(counts)})"
    if _all_match(_OPINION, words):
        return f"holds labels ({_counted(counts)})"
    are_grades = len(counts) <= _MOST_GRADES and _all_match(_NUMBER, counts)
    if wants_number and are_grades and sum(counts.values()) >= 2 * len(counts):
        return f"holds grades ({_counted(counts)})"
    if wants_number and 2 * values.num_fractions > values.num_texts:
        return "holds numbers with fractions"
    return ""


def _counted(counts: Mapping[str, int]) -> str:
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    described = [f"{shown(value)} {number:,}" for value, number in ranked[:_MAX_SHOWN]]
    return ", ".join(described + ["..."] * (len(ranked) > _MAX_SHOWN))
