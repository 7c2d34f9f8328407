"""Interpretation of the data files: formats, columns read, and unused columns that should stop training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tfbert.config import DataConfig
from tfbert.nearest import did_you_mean
from tfbert.text.readers.columns import Column, listed_names, listing, named_columns, shown
from tfbert.text.readers.layout import Layout
from tfbert.text.splits import Split


@dataclass(frozen=True)
class Interpretation:
    """Interpretation of all files.

    Args:
        layouts: name of a file or directory in messages to its layout.
        ignored: columns that the user chose not to use.
        refusal: the reason not to start training, with advice; empty if training may start.
    """

    layouts: dict[str, Layout]
    ignored: tuple[str, ...]
    refusal: str

    def lines(self) -> list[str]:
        """Return two lines per file for display; files with the same interpretation share them."""
        names: dict[tuple[str, ...], list[str]] = {}
        for name, layout in self.layouts.items():
            names.setdefault(tuple(layout.lines()), []).append(name)
        return [f"{', '.join(files)}: {line}" for lines, files in names.items() for line in lines]

    @property
    def warnings(self) -> list[str]:
        """One warning for each file with unused columns of sentences."""
        warnings = []
        for name, layout in self.layouts.items():
            if columns := layout.text_columns(self.ignored):
                subject = (
                    f"{layout.noun} {listing(columns)} contains" if len(columns) == 1 else f"{listing(columns)} contain"
                )
                warnings.append(f"{name}: {subject} text that is not used (see data.columns and data.ignored_columns)")
        return warnings

    def to_dict(self) -> dict[str, Any]:
        """Return the interpretation of each file as JSON values."""
        return {
            name: {
                "format": layout.kind,
                "encoding": layout.encoding,
                "header": layout.header,
                "used": layout.used,
                "unused": list(layout.unused),
                "notes": layout.notes,
            }
            for name, layout in self.layouts.items()
        }


def interpret(
    splits: Mapping[str, Split], data: DataConfig, columns: Sequence[Column], *, is_training_data: bool = True
) -> Interpretation:
    """Read the files of all splits once and return how they were interpreted.

    Args:
        splits: split name to split; splits of one file share its reader.
        data: the data settings.
        columns: the columns of the task.
        is_training_data: whether `data` was written for these files. Other files, read with the config of a trained
            model, may lack the ignored columns.

    Raises:
        ValueError: a file cannot be read, or `data.ignored_columns` names a column that is read or that no file has.
    """
    readers = {split.reader.name: split.reader for split in splits.values()}
    layouts = {name: reader.layout for name, reader in readers.items()}
    ignored = listed_names(data.ignored_columns, "data.ignored_columns")
    known = list(dict.fromkeys(name for layout in layouts.values() for name in layout.unused))
    for name in ignored:
        role = next((role for layout in layouts.values() for role, names in layout.used.items() if name in names), None)
        if role:
            raise ValueError(f"data.ignored_columns: {shown(name)} is read as the {role}; choose another column for it")
        if name not in known and is_training_data:
            hint = did_you_mean(name, known) or f"; unused columns are {listing(known)}"
            raise ValueError(f"data.ignored_columns: no file has a column {shown(name)}{hint}")
    assigned = named_columns(columns, data.columns)
    refusals = [refusal for layout in layouts.values() if (refusal := layout.refusal(columns, ignored, assigned))]
    return Interpretation(layouts, ignored, ". ".join(refusals))
