"""How the files of all splits were interpreted: lines for a person before training, and a refusal of what seems wrong.

In: splits, a `DataConfig` and the columns of the task. Out: an `Interpretation`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tfbert.config import DataConfig
from tfbert.nearest import did_you_mean
from tfbert.text.columns import Column, listed_names, listing, named_columns, shown
from tfbert.text.layout import Layout
from tfbert.text.splits import Split


@dataclass(frozen=True)
class Interpretation:
    """What was read from which columns of which file.

    Args:
        layouts: of each file or directory, by its name in messages.
        ignored: columns that are left out on purpose.
        refusal: why training should not start, with what to do about it; empty if it may.
    """

    layouts: dict[str, Layout]
    ignored: tuple[str, ...]
    refusal: str

    def lines(self) -> list[str]:
        """Return two lines for each file; files that are read alike share them."""
        names: dict[tuple[str, ...], list[str]] = {}
        for name, layout in self.layouts.items():
            names.setdefault(tuple(layout.lines()), []).append(name)
        return [f"{', '.join(alike)}: {line}" for lines, alike in names.items() for line in lines]

    @property
    def warnings(self) -> list[str]:
        """Columns of sentences that are not read, by file."""
        found = []
        for name, layout in self.layouts.items():
            if columns := layout.text_columns(self.ignored):
                are = f"{layout.noun} {listing(columns)} holds" if len(columns) == 1 else f"{listing(columns)} hold"
                found.append(f"{name}: {are} text that is not read (see data.columns and data.ignored_columns)")
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return how each file was read, ready for JSON."""
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
    splits: Mapping[str, Split], data: DataConfig, columns: Sequence[Column], *, of_training: bool = True
) -> Interpretation:
    """Read the files of all splits once and say how they were interpreted.

    Args:
        splits: by name; those taken from one file share it.
        data: how the files are read.
        columns: of the task.
        of_training: whether `data` was written for these files. Other files, read by the config of a trained model,
            need not have the columns that it ignores.

    Raises:
        ValueError: a file cannot be read, or `data.ignored_columns` names a column that is read or that no file has.
    """
    readers = {split.reader.name: split.reader for split in splits.values()}
    layouts = {name: reader.layout for name, reader in readers.items()}
    ignored = listed_names(data.ignored_columns, "data.ignored_columns")
    known = list(dict.fromkeys(name for layout in layouts.values() for name in layout.unused))
    for name in ignored:
        role = next((role for each in layouts.values() for role, names in each.used.items() if name in names), None)
        if role:
            raise ValueError(f"data.ignored_columns: {shown(name)} is read as the {role}; name another column for it")
        if name not in known and of_training:
            hint = did_you_mean(name, known) or f"; unused columns are {listing(known)}"
            raise ValueError(f"data.ignored_columns: no file has a column {shown(name)}{hint}")
    given = named_columns(columns, data.columns)
    refusals = [refusal for layout in layouts.values() if (refusal := layout.refusal(columns, ignored, given))]
    return Interpretation(layouts, ignored, ". ".join(refusals))
