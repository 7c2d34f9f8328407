"""Warnings about suspicious labels: look-alikes, placeholders for missing values, and joined labels."""

import re
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

from tfbert.nearest import code_point_difference, differs_visibly, look_alike_key
from tfbert.text.readers.cells import stands_for_missing

_MAX_TRIAL_LABELS = 10  # in a small trial, up to this many labels may have one example each
# If a label has this many examples, the data is not a small trial, and one example of another label is too few.
_MIN_FREQUENT_EXAMPLES = 10
_SHOWN_LABELS = 3
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")
# Separators of labels that were joined by mistake; the valid separators are ; and |.
_COMMA_LIKE = {",": "commas", "，": "full-width commas", "、": "enumeration commas"}
_COMMA_LIKE |= {"；": "full-width semicolons", "｜": "full-width bars"}
_SEPARATORS = _COMMA_LIKE | {"/": "slashes", "#": "number signs", "+": "plus signs", "&": "ampersands", "\t": "TABs"}
_LINE_END = re.compile(r"[\r\n]+")
_HINT = "labels of one cell are separated by ; or |"


def label_warnings(
    counts: Mapping[str, int], locations: Mapping[str, str], num_examples: int, several_labels: bool
) -> tuple[tuple[str, int], ...]:
    """Return warnings about the labels of train, each with the number of affected records.

    Args:
        counts: label to number of records.
        locations: label to the location of its first record.
        num_examples: the number of records of train.
        several_labels: whether a record may have several labels, which enables the check for joined labels.
    """
    warnings = []
    if list(counts.values()) == [num_examples]:
        warnings.append((f"train has only one label: {next(iter(counts))!r}", num_examples))
    if len(counts) > _MAX_TRIAL_LABELS and len(counts) * 2 > num_examples:
        warning = f"train has {len(counts):,} labels for {num_examples:,} examples: is it the label column?"
        warnings.append((warning, num_examples))
    warnings += _single_examples(counts)
    warnings += _look_alikes(counts, locations)
    warnings += _equal_numbers(counts, locations)
    warnings += _mixed_truth_values(counts, locations)
    warnings += _missing_values(counts, locations)
    if several_labels:
        warnings += _joined(counts, locations)
    return tuple(warnings)


def _single_examples(counts: Mapping[str, int]) -> Iterable[tuple[str, int]]:
    single = [label for label, count in counts.items() if count == 1]
    if single and max(counts.values()) >= _MIN_FREQUENT_EXAMPLES:
        names = ", ".join([*map(repr, single[:_SHOWN_LABELS]), *(["..."] if len(single) > _SHOWN_LABELS else [])])
        number = f"{len(single):,} labels" if len(single) > 1 else "1 label"
        advice = "add examples, or merge or remove these labels"
        yield f"{number} with one example in train, too few to learn from ({advice}): {names}", len(single)


def _look_alikes(counts: Mapping[str, int], locations: Mapping[str, str]) -> Iterable[tuple[str, int]]:
    for first, other in _pairs(counts, look_alike_key):
        num_records = min(counts[first], counts[other])
        both = f"labels {first!r} ({locations[first]}) and {other!r} ({locations[other]})"
        if differs_visibly(first, other):
            yield f"{both} differ only in case or spaces", num_records
        else:
            yield f"{both} look alike but differ in {code_point_difference(first, other)}", num_records


def _equal_numbers(counts: Mapping[str, int], locations: Mapping[str, str]) -> Iterable[tuple[str, int]]:
    numbers = [label for label in counts if _NUMBER.fullmatch(label)]
    for first, other in _pairs(numbers, Decimal):
        both = f"labels {first!r} ({locations[first]}) and {other!r} ({locations[other]})"
        yield f"{both} are the same number", min(counts[first], counts[other])


def _mixed_truth_values(counts: Mapping[str, int], locations: Mapping[str, str]) -> Iterable[tuple[str, int]]:
    words, numbers = ([label for label in pair if label in counts] for pair in (("false", "true"), ("0", "1")))
    if words and numbers:
        both = [_counted(labels, counts, locations, 2) for labels in (words, numbers)]
        rarer = min(sum(map(counts.get, labels)) for labels in (words, numbers))
        yield f"labels mix truth values and numbers, which are different labels: {both[0]} and {both[1]}", rarer


def _missing_values(counts: Mapping[str, int], locations: Mapping[str, str]) -> Iterable[tuple[str, int]]:
    missing = [label for label in counts if stands_for_missing(label)]
    if missing:
        labels, verb = ("labels", "stand") if len(missing) > 1 else ("label", "stands")
        listed = _counted(missing, counts, locations, len(missing))
        advice = "remove these records if their label is unknown"
        yield f"{labels} {listed} often {verb} for a missing value: {advice}", sum(map(counts.get, missing))


def _joined(counts: Mapping[str, int], locations: Mapping[str, str]) -> Iterable[tuple[str, int]]:
    """Yield warnings about labels that consist of other labels or of their parts, and about labels of several lines."""
    for separator, name in _SEPARATORS.items():
        parts = {label: set(_nonempty(label.split(separator))) for label in counts if separator in label}
        num_labels: dict[str, int] = {}
        for label_parts in parts.values():
            for part in label_parts:
                num_labels[part] = num_labels.get(part, 0) + 1
        joined = [
            label
            for label, label_parts in parts.items()
            if len(label_parts) > 1
            and _is_joined(label, separator, [part in counts or num_labels[part] > 1 for part in label_parts])
        ]
        yield from _joined_warning(joined, name, counts, locations)
    broken = [label for label in counts if len(_nonempty(_LINE_END.split(label))) > 1]
    yield from _joined_warning(broken, "line breaks", counts, locations)


def _is_joined(label: str, separator: str, is_known: Sequence[bool]) -> bool:
    # A name such as "food, drink" has a space after its comma; labels joined by a program do not.
    return all(is_known) or (separator in _COMMA_LIKE and f"{separator} " not in label and any(is_known))


def _joined_warning(
    labels: Sequence[str], name: str, counts: Mapping[str, int], locations: Mapping[str, str]
) -> Iterable[tuple[str, int]]:
    if labels:
        number = f"{len(labels):,} labels look" if len(labels) > 1 else "1 label looks"
        listed = _counted(labels, counts, locations, _SHOWN_LABELS)
        yield f"{number} like several joined by {name}: {listed} ({_HINT})", sum(map(counts.get, labels))


def _nonempty(parts: Iterable[str]) -> list[str]:
    return [part.strip() for part in parts if part.strip()]


def _pairs(labels: Iterable[str], key_of) -> Iterable[tuple[str, str]]:
    """Yield pairs of the first label with a key and a later label with the same key."""
    first: dict = {}
    for label in labels:
        other = first.setdefault(key_of(label), label)
        if other != label:
            yield other, label


def _counted(labels: Sequence[str], counts: Mapping[str, int], locations: Mapping[str, str], max_labels: int) -> str:
    described = [
        f"{label!r} ({counts[label]:,} {'record' if counts[label] == 1 else 'records'}, first {locations[label]})"
        for label in labels[:max_labels]
    ]
    return ", ".join([*described, *(["..."] if len(labels) > max_labels else [])])
