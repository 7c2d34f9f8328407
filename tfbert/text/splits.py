"""A data path -> train, validation and test: the files that are there, and what is missing taken from train by hash.

In: a file or directory and a `DataConfig`. Out: `Split` values, each of which streams its records at every `iter()`.
"""

import hashlib
import math
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from tfbert.config import DataConfig
from tfbert.text.labels import label_names, some, texts_to_keep
from tfbert.text.records import BRAT_ADVICE, LABELLED_TEXT, Reader, Record, Schema, read_records
from tfbert.text.rows import FORMAT_OF_SUFFIX, format_of

NAMES = ("train", "validation", "test")
SPLIT_OF_STEM = {name: name for name in NAMES} | dict.fromkeys(("valid", "val", "dev"), "validation")
# Each split that is taken beside given ones has a hash of its own: a train.csv that is itself the remainder of a hash
# split has no text below its test fraction, so the hash that made it would find none for validation.
_SUSPICIOUSLY_RARE = 10  # texts that are kept in train for their rare labels, where no others are left
SALTS = {"validation": "validation\n", "test": "test\n"}
# Different texts of every label that a cut leaves in train, if there are that many. One is enough to train at all, and
# is what is kept where two would leave nothing for another split.
KEPT_TEXTS = 2


class _LettersAndDigits(dict):
    """Table for `str.translate`, filled with the characters met: letters, digits and their marks stay."""

    def __missing__(self, code: int) -> int | None:
        category = unicodedata.category(chr(code))
        is_selector = "VARIATION SELECTOR" in unicodedata.name(chr(code), "")
        stays = category[0] in "LN" or (category in ("Mn", "Mc") and not is_selector)
        self[code] = code if stays else None
        return self[code]


_KEPT = _LettersAndDigits()


def near_duplicate_key(text: str) -> str:
    """Return what texts have in common that differ only in case, blanks, punctuation, symbols or width of letters.

    The letters and digits of any script in NFKC and case-folded, with the marks that Indic and other scripts spell
    words by. Of a text without any, such as `:-)`, the whole without blanks.
    """
    # Symbols go before NFKC too, which would make of the accent in `don´t` a mark and of a trade mark sign letters.
    letters = unicodedata.normalize("NFKC", text.translate(_KEPT)).casefold()
    return unicodedata.normalize("NFKC", letters).translate(_KEPT) or "".join(text.split())


def hash_fraction(text: str, salt: str = "") -> float:
    """Return a number in [0, 1] that depends on nothing but the text's near-duplicate key and the salt.

    Equal texts, and nearly equal ones, get the same number in any order of rows and on any machine.
    """
    digest = hashlib.sha256((salt + near_duplicate_key(text)).encode("utf-8", "surrogatepass")).hexdigest()
    return int(digest[:16], 16) / 2**64


@dataclass(frozen=True)
class Split:
    """Records of one file or directory, or those of them whose hash lies in an interval.

    Args:
        name: `train`, `validation` or `test`.
        reader: of the file or directory; splits taken from one file share it.
        note: what a report should say of where the records come from, or empty.
        interval: of `hash_fraction`, the end exclusive; `None` means every record.
        salt: of the hash.
        kept: fractions of texts that are in train whatever the interval says.
    """

    name: str
    reader: Reader
    note: str = ""
    interval: tuple[float, float] | None = None
    salt: str = ""
    kept: frozenset[float] = frozenset()

    def __iter__(self) -> Iterator[Record]:
        if self.interval is None:
            yield from self.reader
            return
        low, high = self.interval
        for record in self.reader:
            fraction = self.fraction_of(record)
            if self.name == "train" if fraction in self.kept else low <= fraction < high:
                yield record

    def fraction_of(self, record: Record) -> float:
        """Return the number in [0, 1] that decides which split a record of this file is in."""
        return hash_fraction(record.group or record.text, self.salt)

    @property
    def path(self) -> Path:
        """The file or directory read."""
        return self.reader.path

    @property
    def files(self) -> tuple[Path, ...]:
        """The files read, in order."""
        return self.reader.files

    @property
    def sha256(self) -> str:
        """Hex digest of what is read, all of it; of a single file that of its bytes. Computed once."""
        return self.reader.sha256

    def records_at(self, indices: Iterable[int]) -> list[Record]:
        """Return the records at positions of this split, in the order asked for, by one pass over the file.

        Args:
            indices: from 0, in any order, repeated or not.

        Raises:
            ValueError: an index that the split does not reach.
        """
        wanted = list(indices)
        if not wanted:
            return []
        found = dict.fromkeys(wanted)
        for index, record in enumerate(islice(self, max(0, *wanted) + 1)):
            if index in found:
                found[index] = record
        for index, record in found.items():
            if record is None:
                raise ValueError(f"{self.name} has no record at {index}; wanted 0 or more, below its number")
        return [found[index] for index in wanted]


def load_splits(data: DataConfig, path: Path, schema: Schema = LABELLED_TEXT) -> dict[str, Split]:
    """Return the splits of a file or directory, in the order train, validation, test.

    A directory gives the splits that files or directories of classes named `train`, `validation` (or `valid`, `val`,
    `dev`) and `test` are for. Anything else is one file or one directory per class. A split that is not given is
    taken from train by a hash of each record's group or text, unless its fraction is 0: equal texts stay together, and
    further rows move none of the others. Only texts of labels that train would have too few examples of stay in train
    against their hash.

    Args:
        data: format, columns and fractions.
        path: the file or directory.
        schema: of the task.

    Raises:
        ValueError: no such path, nothing readable in it, no train, two candidates for one split, a split without
            records, or whatever reading its first record meets (every record where a file with labels is cut).
    """
    path = Path(path)
    is_dir = path.is_dir()
    given, ignored = _given_splits(data, path) if is_dir else ({"train": path}, [])
    splits = {}
    for name, source in given.items():
        reader = read_records(source, data, schema, root=path if is_dir else None)
        unread = [*(ignored if name == "train" else ()), *reader.ignored]
        note = f"ignored {_names(unread)}" if unread else ""
        if _stem(source) != name and len(given) > 1:
            note = _joined(f"it is {source.name}", note)
        splits[name] = Split(name, reader, note)
    splits = _completed(data, splits, schema)
    for split in splits.values():
        _require_record(split)
    return splits


def _completed(data: DataConfig, given: dict[str, Split], schema: Schema) -> dict[str, Split]:
    """Add the splits that are missing, out of train."""
    fractions = {"test": data.test_fraction, "validation": data.validation_fraction}
    missing = {name: fraction for name, fraction in fractions.items() if name not in given and fraction}
    if not missing:
        return {name: given[name] for name in NAMES if name in given}
    # With both missing the data is one file, cut as it always was; with one, that one has a hash of its own.
    train = replace(given["train"], salt="" if len(given) == 1 else SALTS[next(iter(missing))])
    for number in range(KEPT_TEXTS, 0, -1):
        stay = {}
        if schema.labels_of is not None:
            stay = texts_to_keep(train.reader, schema.labels_of, train.fraction_of, sum(missing.values()), number)
        cut = _cut(train, missing, stay)
        if not stay or all(map(_has_record, cut.values())):
            break
    splits = given | cut
    return {name: splits[name] for name in NAMES if name in splits}


def _cut(train: Split, missing: dict[str, float], stay: dict[str, tuple[float, ...]]) -> dict[str, Split]:
    """Return train and the missing splits, cut from train.

    Args:
        train: as it was given, with the salt of the hash.
        missing: split to its fraction.
        stay: fractions of the texts that stay in train against their hash, by the label that needs them.
    """
    kept = frozenset(fraction for texts in stay.values() for fraction in texts)
    splits, low = {}, 0.0
    for name, fraction in missing.items():
        interval = (low, low + fraction)
        num_kept = sum(interval[0] <= text < interval[1] for text in kept)
        note = _share(fraction, train)
        if num_kept:
            note += f", less {_texts(num_kept)} kept in train"
        splits[name] = replace(train, name=name, note=note, interval=interval, kept=kept)
        low += fraction
    note = _share(1 - low, train)
    if kept:
        note += f", plus {_texts(len(kept))} so that train has examples of {label_names(stay)}"
    splits["train"] = replace(train, note=_joined(note, train.note), interval=(low, math.inf), kept=kept)
    return splits


def _has_record(split: Split) -> bool:
    return next(iter(split), None) is not None


def _require_record(split: Split) -> None:
    if _has_record(split):
        return
    if split.name == "train":
        raise ValueError(f"train has no records ({split.note}); wanted more data, or smaller fractions for the others")
    if len(split.kept) >= _SUSPICIOUSLY_RARE:
        raise ValueError(
            f"{split.reader.name}: nearly every text has a label of its own, so none is left for {split.name}: is the "
            "right column read as the label? In lines of text and label the label comes last; in tables it is named by "
            "data.columns"
        )
    if split.kept:
        raise ValueError(
            f"{split.name} has no records ({split.note}): all its texts stay in train, which would lack their labels "
            f"otherwise; add examples of these labels, or set data.{split.name}_fraction=0 for no such split"
        )
    raise ValueError(
        f"{split.name} has no records ({split.note}); wanted more data, a larger data.{split.name}_fraction, "
        "or 0 for no such split"
    )


def _given_splits(data: DataConfig, path: Path) -> tuple[dict[str, Path], list[str]]:
    """Return the paths of the splits in a directory, and the names of what else lies there."""
    entries = sorted(entry for entry in path.iterdir() if not entry.name.startswith("."))
    candidates: dict[str, list[Path]] = {}
    for entry in entries:
        name = SPLIT_OF_STEM.get(_stem(entry))
        if name and _may_be_split(entry, data):
            candidates.setdefault(name, []).append(entry)
    all_named = all(_stem(entry) in SPLIT_OF_STEM for entry in entries if entry.is_dir())
    if not candidates and data.format in ("auto", "folder") and _has_classes(path) and not all_named:
        return {"train": path}, []
    if "train" not in candidates:
        named = [entry.name for entry in entries if SPLIT_OF_STEM.get(_stem(entry)) == "train"]
        if any(file.suffix == ".ann" for folder in (path, *map(path.joinpath, named)) for file in _entries(folder)):
            raise ValueError(f"{path}: {BRAT_ADVICE}")
        known = ", ".join(FORMAT_OF_SUFFIX)
        for name in named:
            raise ValueError(
                f"{path}: {name} is {_what_is(path / name)}; wanted a file train ({known}, also with .gz), or in the "
                "directory one directory per class with .txt files"
            )
        raise ValueError(
            f"{path}: no train among {_names([entry.name for entry in entries])}; wanted a file train ({known}, also "
            "with .gz), a directory per class with .txt files, or the path of one file"
        )
    for name, found in candidates.items():
        if len(found) > 1:  # a format that was asked for can tell which is meant
            found[:] = [entry for entry in found if format_of(entry) == data.format] or found
        if len(found) > 1:
            listed = _names([entry.name for entry in found])
            raise ValueError(f"{path}: more than one candidate for {name}: {listed}; wanted one")
    chosen = {name: candidates[name][0] for name in NAMES if name in candidates}
    return chosen, [entry.name for entry in entries if entry not in chosen.values()]


def _entries(path: Path) -> list[Path]:
    return list(path.iterdir()) if path.is_dir() else []


def _what_is(path: Path) -> str:
    return "a directory without a directory per class" if path.is_dir() else "a file whose name tells no format"


def _may_be_split(entry: Path, data: DataConfig) -> bool:
    """Say whether an entry that is named like a split can be one, given the format asked for."""
    if entry.is_dir():
        return data.format in ("auto", "folder") and _has_classes(entry)
    return data.format != "folder" and format_of(entry) is not None


def _has_classes(path: Path) -> bool:
    folders = (entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    return any(format_of(file) == "text" for folder in folders for file in folder.iterdir() if file.is_file())


def _stem(path: Path) -> str:
    return path.name.lower() if path.is_dir() else Path(path.name.lower().removesuffix(".gz")).stem


def _share(fraction: float, train: Split) -> str:
    return f"{100 * fraction:.6g}% of {train.reader.name} by hash"


def _joined(first: str, second: str) -> str:
    return "; ".join(note for note in (first, second) if note)


def _names(names: Iterable[str]) -> str:
    return some(list(names)) or "nothing"


def _texts(number: int) -> str:
    return f"{number:,} text" if number == 1 else f"{number:,} texts"
