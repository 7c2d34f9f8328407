"""What is doubtful about the labels of train: labels that look alike, stand for a missing value, or are several in one.

In: how often each label occurs and where it first does. Out: sentences for the data checks.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

from tfbert.nearest import code_point_difference, differs_visibly, look_alike_key

_USUAL_LABELS = 10  # so many may well have one example each in a small trial
_USUAL_EXAMPLES = 10  # where a label has so many, it is no small trial, and one example of another is too few
_SHOWN_LABELS = 3
# What pandas, R, databases and spreadsheets write where a value is missing or could not be computed.
# Source: pandas 2.2, `STR_NA_VALUES`; Excel's error values.
_MISSING = frozenset(
    [
        *("nan", "NaN", "NAN", "-nan", "-NaN", "null", "Null", "NULL", "(null)", "nil", "None", "NONE", "NA", "N/A"),
        *("n/a", "N.A.", "<NA>", "<null>", "NaT", "\\N", "undefined", "#N/A", "#N/A N/A", "#NA", "#VALUE!"),
        *("#REF!", "#DIV/0!", "#ERROR!", "#NAME?", "#NUM!", "#NULL!"),
        *("1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN"),
    ]
)
# In any case, but for words that may well be the name of a label.
_MISSING_FOLDED = frozenset(map(str.casefold, _MISSING)) - {"none", "na", "undefined"}
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")
# Between labels that were joined into one, with their names. Between the labels of one cell there has to be ; or |.
_COMMAS = {",": "commas", "，": "full-width commas", "、": "enumeration commas"}
_COMMAS |= {"；": "full-width semicolons", "｜": "full-width bars"}
_JOINTS = _COMMAS | {"/": "slashes", "#": "number signs", "+": "plus signs", "&": "ampersands", "\t": "TABs"}
_LINE_END = re.compile(r"[\r\n]+")
_HINT = "labels of one cell are separated by ; or |"


def stands_for_missing(value: str) -> bool:
    """Say whether a value is what pandas, R, databases or spreadsheets write where there is none."""
    return value in _MISSING or value.casefold() in _MISSING_FOLDED


def label_warnings(
    counts: Mapping[str, int], places: Mapping[str, str], num_examples: int, several_labels: bool
) -> tuple[tuple[str, int], ...]:
    """Return what may be wrong with the labels of train: a sentence, and how many records it concerns.

    Args:
        counts: records by label.
        places: of the first record with each label.
        num_examples: records of train.
        several_labels: whether a record may have several labels, so that one label may be several that were joined.
    """
    found = []
    if list(counts.values()) == [num_examples]:
        found.append((f"train has one label only: {next(iter(counts))!r}", num_examples))
    if len(counts) > _USUAL_LABELS and len(counts) * 2 > num_examples:
        many = f"train has {len(counts):,} labels for {num_examples:,} examples: is it the label column?"
        found.append((many, num_examples))
    found += _single_examples(counts)
    found += _look_alikes(counts, places)
    found += _equal_numbers(counts, places)
    found += _missing_values(counts, places)
    if several_labels:
        found += _joined(counts, places)
    return tuple(found)


def _single_examples(counts: Mapping[str, int]) -> Iterable[tuple[str, int]]:
    single = [label for label, count in counts.items() if count == 1]
    if single and max(counts.values()) >= _USUAL_EXAMPLES:
        names = ", ".join([*map(repr, single[:_SHOWN_LABELS]), *(["..."] if len(single) > _SHOWN_LABELS else [])])
        number = f"{len(single):,} labels" if len(single) > 1 else "1 label"
        advice = "add examples of them, or merge or remove these labels"
        yield f"{number} with one example in train, too few to learn from ({advice}): {names}", len(single)


def _look_alikes(counts: Mapping[str, int], places: Mapping[str, str]) -> Iterable[tuple[str, int]]:
    for first, other in _pairs(counts, look_alike_key):
        num_records = min(counts[first], counts[other])
        both = f"labels {first!r} ({places[first]}) and {other!r} ({places[other]})"
        if differs_visibly(first, other):
            yield f"{both} differ only in case or blanks", num_records
        else:
            yield f"{both} look alike but differ in {code_point_difference(first, other)}", num_records


def _equal_numbers(counts: Mapping[str, int], places: Mapping[str, str]) -> Iterable[tuple[str, int]]:
    numbers = [label for label in counts if _NUMBER.fullmatch(label)]
    for first, other in _pairs(numbers, Decimal):
        both = f"labels {first!r} ({places[first]}) and {other!r} ({places[other]})"
        yield f"{both} are the same number", min(counts[first], counts[other])


def _missing_values(counts: Mapping[str, int], places: Mapping[str, str]) -> Iterable[tuple[str, int]]:
    missing = [label for label in counts if stands_for_missing(label)]
    if missing:
        labels, what = ("labels", "what exports write") if len(missing) > 1 else ("label", "what an export writes")
        told = _counted(missing, counts, places, len(missing))
        verb = "are" if len(missing) > 1 else "is"
        advice = "remove these records if their label is unknown"
        yield f"{labels} {told} {verb} {what} for a missing value: {advice}", sum(map(counts.get, missing))


def _joined(counts: Mapping[str, int], places: Mapping[str, str]) -> Iterable[tuple[str, int]]:
    """Find labels all of whose parts are labels themselves or parts of other labels, and those with line breaks."""
    for joint, name in _JOINTS.items():
        parts = {label: set(_parts(label.split(joint))) for label in counts if joint in label}
        num_labels: dict[str, int] = {}
        for of_label in parts.values():
            for part in of_label:
                num_labels[part] = num_labels.get(part, 0) + 1
        joined = [
            label
            for label, of_label in parts.items()
            if len(of_label) > 1 and _seem_labels(label, joint, [p in counts or num_labels[p] > 1 for p in of_label])
        ]
        yield from _joined_warning(joined, name, counts, places)
    broken = [label for label in counts if len(_parts(_LINE_END.split(label))) > 1]
    yield from _joined_warning(broken, "line breaks", counts, places)


def _seem_labels(label: str, joint: str, is_known: Sequence[bool]) -> bool:
    # A name such as "food, drink" has a blank after its comma, and one that was joined by a program has none.
    return all(is_known) or (joint in _COMMAS and f"{joint} " not in label and any(is_known))


def _joined_warning(
    labels: Sequence[str], name: str, counts: Mapping[str, int], places: Mapping[str, str]
) -> Iterable[tuple[str, int]]:
    if labels:
        number = f"{len(labels):,} labels look" if len(labels) > 1 else "1 label looks"
        told = _counted(labels, counts, places, _SHOWN_LABELS)
        yield f"{number} like several joined by {name}: {told} ({_HINT})", sum(map(counts.get, labels))


def _parts(parts: Iterable[str]) -> list[str]:
    return [part.strip() for part in parts if part.strip()]


def _pairs(labels: Iterable[str], key_of) -> Iterable[tuple[str, str]]:
    """Yield each label whose key an earlier one has, behind that one."""
    first: dict = {}
    for label in labels:
        other = first.setdefault(key_of(label), label)
        if other != label:
            yield other, label


def _counted(labels: Sequence[str], counts: Mapping[str, int], places: Mapping[str, str], most: int) -> str:
    told = [
        f"{label!r} ({counts[label]:,} {'record' if counts[label] == 1 else 'records'}, first {places[label]})"
        for label in labels[:most]
    ]
    return ", ".join([*told, *(["..."] if len(labels) > most else [])])
