"""Label coverage of splits: texts that stay in train because their labels are rare, and labels that train lacks."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable

from tfbert.nearest import did_you_mean
from tfbert.text.readers.columns import shown
from tfbert.text.records import Record

SHOWN_LABELS = 5

LabelsOf = Callable[[Record], Iterable[str]]


def texts_to_keep(
    records: Iterable[Record], labels_of: LabelsOf, fraction_of: Callable[[Record], float], begin: float, number: int
) -> dict[str, tuple[float, ...]]:
    """Return the texts that must stay in train so that train has examples of every label.

    A text is identified by its hash fraction, which it shares with its near-duplicates, so they stay in the same split.
    The choice does not depend on the order of the records. Of the texts of a label, only as many stay as train lacks,
    those with the largest fractions. Memory use grows with the number of labels, not with the number of records.

    Args:
        records: the records of all splits to be cut from one file.
        labels_of: function that returns the labels of a record.
        fraction_of: function that returns the hash fraction of a record.
        begin: the lower limit of the hash fractions of records that are in train anyway.
        number: the number of different texts that train should have of every label, if that many exist.

    Returns:
        For every label that lacks texts, the fractions of the texts that must stay.
    """
    inside: dict[str, tuple[float, ...]] = {}
    outside: dict[str, tuple[float, ...]] = {}
    for record in records:
        fraction = fraction_of(record)
        texts = inside if fraction >= begin else outside
        for label in labels_of(record):
            largest = texts.get(label, ())
            if fraction not in largest:
                texts[label] = tuple(sorted((*largest, fraction), reverse=True)[:number])
    kept = {label: texts[: number - len(inside.get(label, ()))] for label, texts in sorted(outside.items())}
    return {label: texts for label, texts in kept.items() if texts}


def require_known(
    splits: Iterable[Iterable[Record]], labels_of: LabelsOf, known: Collection[str], noun: str = "label"
) -> None:
    """Check that train has every label of the other splits, and report all missing labels in one error.

    Args:
        splits: the records of the other splits.
        labels_of: function that returns the labels of a record.
        known: the labels of train.
        noun: the word for a label in messages.

    Raises:
        ValueError: some records have labels that train lacks. The message starts with the location of the first one.
    """
    known = dict.fromkeys(known)
    counts: Counter = Counter()
    locations: dict[str, str] = {}
    num_records = 0
    for split in splits:
        for record in split:
            unknown = {label for label in labels_of(record) if label not in known}
            num_records += bool(unknown)
            for label in sorted(unknown):
                counts[label] += 1
                locations.setdefault(label, record.where)
    if not counts:
        return
    first, location = next(iter(locations.items()))
    if len(known) == 1:
        expected = f"in train, whose only {noun} is {shown(next(iter(known)))}"
    else:
        expected = f"one of the {len(known):,} {noun}s of train{did_you_mean(first, known)}"
    # Next to a similar label, a long one is shown as a whole.
    name = repr(first) if expected.endswith("?") else shown(first)
    message = f"{location}: {noun} {name} is not {expected}{' ' if expected.endswith('?') else '. '}"
    if len(counts) == 1:
        message += f"{_records(num_records)} with this {noun}: add examples of it to train, "
    else:
        listed = [f"{shown(label)} ({counts[label]:,}, first {where})" for label, where in locations.items()]
        message += f"Train lacks {len(counts):,} {noun}s of {_records(num_records)}: {some(listed)}. "
        message += f"Add examples of these {noun}s to train, "
    raise ValueError(f"{message}or remove or relabel {'this record' if num_records == 1 else 'these records'}")


def label_names(labels: Iterable[str]) -> str:
    """Return the first few labels, quoted, and the number of the others."""
    return some([shown(label) for label in labels])


def some(items: list[str]) -> str:
    """Return the first few items and the number of the others."""
    num_more = len(items) - SHOWN_LABELS
    return ", ".join(items[:SHOWN_LABELS] + ([f"{num_more:,} more"] if num_more > 0 else []))


def _records(number: int) -> str:
    return f"{number:,} record{'' if number == 1 else 's'}"
