"""The section `data` of the config: the location of the records and how their files are read."""

from dataclasses import dataclass
from typing import Literal

from tfbert.fields import FRACTION, Bounds, check_bounds, setting

SPLITS = ("train", "validation", "calibration", "test")
# Config values that take back the files of single splits, for `data.path`.
NO_SPLITS = {f"data.{name}": None for name in SPLITS}


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """The location of the records and how their files are read."""

    path: str | None = setting(None, "file or directory with the records; none uses the samples of the task")
    train: str | None = setting(None, "file or directory of the train split, instead of data.path")
    validation: str | None = setting(None, "file or directory of the validation split, with data.train")
    calibration: str | None = setting(None, "file or directory of the calibration split, with data.train")
    test: str | None = setting(None, "file or directory of the test split, with data.train")
    format: Literal[
        "auto", "csv", "tsv", "xlsx", "parquet", "jsonl", "json", "label_studio", "doccano", "prodigy", "text", "conll",
        "conllu", "folder", "brat",
    ] = setting("auto", "format of the files; auto detects it from the suffix and the content of each")  # fmt: skip
    sheet: str | None = setting(None, "name of the sheet in Excel workbooks; none reads the only one that is not empty")
    columns: str | None = setting(
        None,
        'names of columns or JSON keys by role, such as text=review,label=stars or {"text": "review"}; other columns '
        "are found by their usual names, and ambiguous names are rejected",
    )
    ignored_columns: str | None = setting(
        None,
        "names of columns to ignore, separated by commas or as a JSON list; the run stops if a column seems to matter "
        "but is neither read nor listed here",
    )
    group_column: str | None = setting(
        None,
        "column with the group of each text, such as the region of its writer, for tfbert evaluate --audit and for "
        "train.group_weights=column; the model does not see it",
    )
    delimiter: str = setting("auto", "separator between the columns of csv and tsv; auto detects , ; TAB or |")
    header: Literal["auto", "none"] = setting(
        "auto",
        "whether the first row of csv, tsv and xlsx names the columns; with none, columns are named 1, 2, ...",
    )
    separator: str = setting(
        "\t", "separator between text and label in text files; lines are split at their last separator"
    )
    quoting: Literal["auto", "minimal", "none"] = setting(
        "auto",
        "minimal interprets double quotes, none treats them as text, auto is minimal for csv and none for tsv",
    )
    encoding: str = setting(
        "utf-8",
        "character encoding of every file; a byte order mark is dropped; utf-8 also detects and reads UTF-16 files",
    )
    encoding_errors: Literal["strict", "replace"] = setting(
        "strict", "strict rejects bytes that cannot be decoded; replace turns them into U+FFFD and counts them"
    )
    label_names: str | None = setting(
        None,
        "names of the integer labels (or tags) 0, 1, ..., separated by commas or as a JSON list; none uses those in a "
        "Parquet file or in a dataset_info.json next to the file",
    )
    tag_scheme: Literal["auto", "iob1", "iob2", "iobes"] = setting(
        "auto", "scheme of the word tags; auto infers it from the tags in each file; iobes also covers BILOU and BMES"
    )
    word_separator: str = setting(
        " ", "inserted between the words of CoNLL files to make a text; empty for languages without spaces"
    )
    span_end: Literal["exclusive", "inclusive"] = setting(
        "exclusive", "whether the end of a labelled span is its last character (inclusive) or the position after it"
    )
    nested_spans: Literal["outermost", "refuse"] = setting(
        "outermost",
        "outermost learns only the outermost of overlapping spans and counts the rest; refuse rejects overlaps",
    )
    bad_rows: Literal["error", "skip"] = setting(
        "error", "error stops at the first invalid row; skip leaves invalid rows out, counts them and lists them"
    )
    corrections: str | None = setting(
        None,
        "table with corrected labels: the file doubtful.csv of `tfbert check --doubtful`, in which a person has filled "
        "in the column corrected_label",
    )
    validation_fraction: float = setting(
        0.1,
        "fraction of the texts, chosen by hash, for validation if the data has no validation split; 0 means none",
        FRACTION,
    )
    calibration_fraction: float = setting(
        0.5,
        "fraction of the texts of validation, chosen by hash, for calibration if the data has no calibration split; 0 "
        "means none, as do too few texts",
        FRACTION,
    )
    test_fraction: float = setting(
        0.1, "fraction of the texts, chosen by hash, for testing if the data has no test split; 0 means none", FRACTION
    )
    max_unknown_fraction: float = setting(
        0.3, "largest accepted fraction of unknown tokens ([UNK]) in a split", Bounds("0 to 1", 0, 1)
    )

    def __post_init__(self):
        if not self.separator:
            raise ValueError("data.separator is empty; expected at least one character, such as '\\t' or '@'")
        check_bounds(self, "data")
        if self.validation_fraction + self.test_fraction >= 1:
            raise ValueError(
                f"data.validation_fraction={self.validation_fraction} and data.test_fraction={self.test_fraction} "
                "leave nothing to train on; expected a sum below 1"
            )
