"""Train, validation and test splits: files found by name, and missing splits cut from train by a hash of the text."""

import hashlib
import math
import os
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path, PurePath

from tfbert.config import DataConfig
from tfbert.data_config import SPLITS
from tfbert.text.corrections import corrected_readers, read_corrections
from tfbert.text.labels import label_names, some, texts_to_keep
from tfbert.text.readers.brat import is_brat
from tfbert.text.readers.class_labels import INFO
from tfbert.text.readers.compression import uncompressed_name
from tfbert.text.readers.folders import class_files
from tfbert.text.readers.formats import FORMATS, KNOWN_FILES, format_of
from tfbert.text.records import LABELLED_TEXT, Reader, Record, Schema, read_records

# The library `datasets` and its hub number the parts of a split, even if there is only one.
_SHARD = re.compile(r"-\d{5}-of-\d{5}$")
SPLIT_OF_STEM = {name: name for name in SPLITS} | dict.fromkeys(("valid", "val", "dev"), "validation")
# If a split is empty although at least this many texts are kept in train, nearly every text has its own label.
_MAX_PLAUSIBLE_KEPT = 10
# If another split is given, the missing one is cut by a salted hash: train.csv may be the train part of an earlier hash
# split, which has no text below the test fraction, so the unsalted hash would select none for validation.
SALTS = {name: f"{name}\n" for name in ("validation", "calibration", "test")}
# Number of different texts of every label that stay in train, if that many exist. If two would leave no text for
# another split, only one stays, the minimum for training.
KEPT_TEXTS = 2
# Calibration is not cut from validation if it or the rest of validation would have fewer records.
MIN_CALIBRATION_RECORDS = 30


class _LettersAndDigits(dict):
    """Lazy table for `str.translate` that keeps letters, digits and their marks, and deletes all other characters."""

    def __missing__(self, code: int) -> int | None:
        category = unicodedata.category(chr(code))
        is_selector = "VARIATION SELECTOR" in unicodedata.name(chr(code), "")
        stays = category[0] in "LN" or (category in ("Mn", "Mc") and not is_selector)
        self[code] = code if stays else None
        return self[code]


_KEPT = _LettersAndDigits()


def near_duplicate_key(text: str) -> str:
    """Return a key that is equal for texts that differ only in case, whitespace, punctuation, symbols or letter width.

    The key has the letters and digits of any script, in NFKC and case-folded, with the combining marks that Indic and
    other scripts need. For a text without letters and digits, such as `:-)`, it is the text without whitespace.
    """
    # Symbols are also deleted before NFKC, which would turn the accent in `don´t` into a mark and ™ into letters.
    letters = unicodedata.normalize("NFKC", text.translate(_KEPT)).casefold()
    return unicodedata.normalize("NFKC", letters).translate(_KEPT) or "".join(text.split())


def hash_fraction(text: str, salt: str = "") -> float:
    """Return a number in [0, 1] that depends only on the text's near-duplicate key and the salt.

    Equal and nearly equal texts have the same number, in any order of rows and on any machine.
    """
    digest = hashlib.sha256((salt + near_duplicate_key(text)).encode("utf-8", "surrogatepass")).hexdigest()
    return int(digest[:16], 16) / 2**64


@dataclass(frozen=True)
class Split:
    """Records of a file or directory, or those whose hash lies in an interval.

    Every `iter()` starts a new pass.

    Args:
        name: `train`, `validation` or `test`.
        reader: the reader of the file or directory; splits of one file share it.
        note: the origin of the records, for the report; may be empty.
        interval: the interval of `hash_fraction`, end exclusive; `None` means every record.
        salt: the salt of the hash.
        kept: the hash fractions of texts that are in train regardless of the interval.
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
        """Return the hash fraction of a record, which determines its split."""
        return hash_fraction(record.group or record.text, self.salt)

    @property
    def path(self) -> Path:
        """The file or directory read."""
        return self.reader.path

    @property
    def files(self) -> tuple[Path, ...]:
        """The files to read, in order."""
        return self.reader.files

    @property
    def sha256(self) -> str:
        """Hex digest of the whole file or directory, as `Reader.sha256`."""
        return self.reader.sha256

    def records_at(self, indices: Iterable[int]) -> list[Record]:
        """Return the records at the given positions, in that order, in one pass over the file.

        Args:
            indices: 0-based positions in this split, in any order; may contain duplicates.

        Raises:
            ValueError: an index is negative or beyond the end of the split.
        """
        indices = list(indices)
        if not indices:
            return []
        records = dict.fromkeys(indices)
        for index, record in enumerate(islice(self, max(0, *indices) + 1)):
            if index in records:
                records[index] = record
        for index, record in records.items():
            if record is None:
                raise ValueError(
                    f"{self.name} has no record at {index}; expected 0 or more, below the number of records"
                )
        return [records[index] for index in indices]


def load_splits(
    data: DataConfig, path: Path, schema: Schema = LABELLED_TEXT, *, calibrates: bool = False
) -> dict[str, Split]:
    """Return the splits of a file or directory, in the order train, validation, calibration, test.

    The splits of a directory are the files or directories named `train`, `validation` (or `valid`, `val`, `dev`),
    `calibration` and `test`. Any other path must be a file or a directory in one of the formats of directories. If
    `data.train` is set, the splits are the files that the config names instead. A missing split is cut from train, or
    calibration from validation, by a hash of each record's group or text, unless its fraction is 0. Equal texts are in
    the same split, and adding rows does not move other rows. Texts whose labels would be too rare in train stay there
    regardless of their hash.

    Args:
        data: the data settings.
        path: the file or directory; not used if `data.train` is set.
        schema: the schema of the task.
        calibrates: whether to cut calibration from validation if it is missing and validation has enough records.

    Raises:
        ValueError: the config names the data in two ways, the path does not exist or has no train split, a split has
            two candidates or no records, `data.corrections` does not fit the data, or reading fails. Only the first
            record of a split is read, or all records if a file with labels is cut or corrected.
    """
    _check_paths(data)
    if data.train:
        given, ignored, root = _named_splits(data), [], None
        names = [source.name for source in given.values()]
        if len(set(names)) < len(names):  # to tell them apart in messages
            root = Path(os.path.commonpath([source.absolute().parent for source in given.values()]))
            given = {name: source.absolute() for name, source in given.items()}
    else:
        path = Path(path)
        given, ignored = _given_splits(data, path) if path.is_dir() else ({"train": path}, [])
        root = path if path.is_dir() else None
    splits = {}
    for name, source in given.items():
        reader = read_records(source, data, schema, root=root)
        unread = [*(ignored if name == "train" else ()), *reader.ignored]
        note = f"ignored {_names(unread)}" if unread else ""
        if not data.train and _stem(source) != name and len(given) > 1:
            note = _joined(f"read from {source.name}", note)
        splits[name] = Split(name, reader, note)
    if data.corrections:
        splits = _corrected(splits, Path(data.corrections))
    splits = _completed(data, splits, schema)
    if calibrates:
        splits = _with_calibration(splits, data.calibration_fraction)
    for split in splits.values():
        _require_record(split)
    return splits


def _corrected(splits: dict[str, Split], table: Path) -> dict[str, Split]:
    """Return splits whose records have the labels that a person has corrected."""
    corrected = corrected_readers([split.reader for split in splits.values()], read_corrections(table), table.name)
    return {
        name: replace(split, reader=reader, note=_joined(split.note, note))
        for (name, split), (reader, note) in zip(splits.items(), corrected, strict=True)
    }


def _check_paths(data: DataConfig) -> None:
    given = {name: path for name in SPLITS if (path := getattr(data, name))}
    for name, path in given.items():
        if data.path:
            raise ValueError(f"data.path={data.path} and data.{name}={path}: expected the one or the other")
        if not data.train:
            raise ValueError(f"data.{name}={path}: expected data.train, too")


def _named_splits(data: DataConfig) -> dict[str, Path]:
    """Return the paths that the config gives for single splits."""
    paths = {name: Path(getattr(data, name)) for name in SPLITS if getattr(data, name)}
    splits: dict[Path, str] = {}
    for name, path in paths.items():
        if not path.exists():
            raise ValueError(f"data.{name}={path}: no such file or directory")
        other = splits.setdefault(path.resolve(), name)
        if other != name:
            raise ValueError(f"data.{other} and data.{name} are both {path}; expected different files")
    return paths


def _completed(data: DataConfig, given: dict[str, Split], schema: Schema) -> dict[str, Split]:
    """Return the given splits and the missing ones, which are cut from train."""
    fractions = {"test": data.test_fraction, "validation": data.validation_fraction}
    missing = {name: fraction for name, fraction in fractions.items() if name not in given and fraction}
    if not missing:
        return {name: given[name] for name in SPLITS if name in given}
    # The hash is salted if validation or test is given; see SALTS.
    train = replace(given["train"], salt="" if len(given) == 1 else SALTS[next(iter(missing))])
    for number in range(KEPT_TEXTS, 0, -1):
        kept = {}
        if schema.labels_of is not None:
            kept = texts_to_keep(train.reader, schema.labels_of, train.fraction_of, sum(missing.values()), number)
        cut = _cut(train, missing, kept)
        if not kept or all(map(_has_record, cut.values())):
            break
    splits = given | cut
    return {name: splits[name] for name in SPLITS if name in splits}


def _cut(train: Split, missing: dict[str, float], kept: dict[str, tuple[float, ...]]) -> dict[str, Split]:
    """Return train and the missing splits, all cut from train.

    Args:
        train: the given train split, with the salt of the hash.
        missing: name of each missing split to its fraction.
        kept: label to the hash fractions of the texts that stay in train for it.
    """
    fractions = frozenset(fraction for texts in kept.values() for fraction in texts)
    splits, low = {}, 0.0
    for name, split_fraction in missing.items():
        interval = (low, low + split_fraction)
        num_kept = sum(interval[0] <= fraction < interval[1] for fraction in fractions)
        note = _origin(split_fraction, train)
        if num_kept:
            note += f", less {_texts(num_kept)} kept in train"
        splits[name] = replace(train, name=name, note=note, interval=interval, kept=fractions)
        low += split_fraction
    note = _origin(1 - low, train)
    if fractions:
        note += f", plus {_texts(len(fractions))} so that train has examples of {label_names(kept)}"
    splits["train"] = replace(train, note=_joined(note, train.note), interval=(low, math.inf), kept=fractions)
    return splits


def _with_calibration(splits: dict[str, Split], fraction: float) -> dict[str, Split]:
    """Return the splits with a part of validation as calibration, unless there is one or the parts would be small."""
    whole = splits.get("validation")
    if "calibration" in splits or whole is None or not fraction:
        return splits
    # A validation split that was cut by hash is an interval already, which is divided.
    low, high = (0.0, 1.0) if whole.interval is None else whole.interval
    salt = SALTS["calibration"] if whole.interval is None else whole.salt
    middle = low + fraction * (high - low)
    part = f"{100 * fraction:.6g}% of validation by hash"
    calibration = replace(whole, name="calibration", note=part, interval=(low, middle), salt=salt)
    rest = f"{100 * (1 - fraction):.6g}% of it by hash, the rest is calibration"
    validation = replace(whole, note=_joined(whole.note, rest), interval=(middle, high), salt=salt)
    if not all(_has_records(split, MIN_CALIBRATION_RECORDS) for split in (calibration, validation)):
        return splits
    splits = splits | {"validation": validation, "calibration": calibration}
    return {name: splits[name] for name in SPLITS if name in splits}


def _has_records(split: Split, number: int) -> bool:
    return sum(1 for _ in islice(split, number)) == number


def _has_record(split: Split) -> bool:
    return next(iter(split), None) is not None


def _require_record(split: Split) -> None:
    if _has_record(split):
        return
    if split.name == "train":
        raise ValueError(
            f"train has no records ({split.note}); use more data, or smaller fractions for the other splits"
        )
    if len(split.kept) >= _MAX_PLAUSIBLE_KEPT:
        raise ValueError(
            f"{split.reader.name}: nearly every text has its own label, so no text is left for {split.name}; check "
            "that the label is last in lines of text and label, or selected by data.columns in tables"
        )
    if split.kept:
        raise ValueError(
            f"{split.name} has no records ({split.note}): all its texts stay in train, which would otherwise lack "
            f"their labels; add examples of these labels, or set data.{split.name}_fraction=0 to omit this split"
        )
    raise ValueError(
        f"{split.name} has no records ({split.note}); use more data or a larger data.{split.name}_fraction, or "
        "0 to omit this split"
    )


def _given_splits(data: DataConfig, path: Path) -> tuple[dict[str, Path], list[str]]:
    """Return the paths of the splits in a directory, and the names of its other entries."""
    entries = sorted(entry for entry in path.iterdir() if not entry.name.startswith("."))
    candidates: dict[str, list[Path]] = {}
    for entry in entries:
        name = SPLIT_OF_STEM.get(_stem(entry))
        if name and _may_be_split(entry, data):
            candidates.setdefault(name, []).append(entry)
    all_named = all(_stem(entry) in SPLIT_OF_STEM for entry in entries if entry.is_dir())
    is_directory_format = is_brat(path) or (_has_classes(path) and not all_named)
    if not candidates and _reads_directories(data) and is_directory_format:
        return {"train": path}, []
    if "train" not in candidates:
        for name in (entry.name for entry in entries if SPLIT_OF_STEM.get(_stem(entry)) == "train"):
            raise ValueError(
                f"{path}: {name} is {_what_is(path / name)}; expected a file train ({KNOWN_FILES}), or a directory "
                "train with one subdirectory per class with .txt files, or with pairs of .txt and .ann files"
            )
        problem = f"no train among {_names([entry.name for entry in entries])}" if entries else "is empty"
        raise ValueError(
            f"{path}: {problem}; expected a file train "
            f"({KNOWN_FILES}), one subdirectory per class with .txt files, pairs of .txt and .ann files, or the path "
            "of one file"
        )
    for name, paths in candidates.items():
        if len(paths) > 1:  # `data.format` may select one of them
            paths[:] = [entry for entry in paths if format_of(entry) == data.format] or paths
        if len(paths) > 1:
            listed = _names([entry.name for entry in paths])
            raise ValueError(f"{path}: more than one candidate for {name}: {listed}; expected one")
    chosen = {name: candidates[name][0] for name in SPLITS if name in candidates}
    others = [entry.name for entry in entries if entry not in chosen.values()]
    return chosen, [name for name in others if name != INFO]


def _what_is(path: Path) -> str:
    return "a directory without records" if path.is_dir() else "a file of unknown format"


def _may_be_split(entry: Path, data: DataConfig) -> bool:
    """Return whether an entry named like a split is valid for `data.format`."""
    if entry.is_dir():
        return _reads_directories(data) and (_has_classes(entry) or is_brat(entry))
    return (data.format == "auto" or FORMATS[data.format].files is None) and format_of(entry) is not None


def _reads_directories(data: DataConfig) -> bool:
    return data.format == "auto" or FORMATS[data.format].files is not None


def _has_classes(path: Path) -> bool:
    return next(class_files(path), None) is not None


def _stem(path: Path) -> str:
    name = path.name.lower()
    return name if path.is_dir() else _SHARD.sub("", PurePath(uncompressed_name(name)).stem)


def _origin(fraction: float, train: Split) -> str:
    return f"{100 * fraction:.6g}% of {train.reader.name} by hash"


def _joined(first: str, second: str) -> str:
    return "; ".join(note for note in (first, second) if note)


def _names(names: Iterable[str]) -> str:
    return some(list(names)) or "nothing"


def _texts(number: int) -> str:
    return f"{number:,} text" if number == 1 else f"{number:,} texts"
