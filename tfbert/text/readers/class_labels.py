"""Names of integer labels: given in the config, in a Parquet file, or in the `dataset_info.json` next to a file.

Source: the features ClassLabel and Sequence of the library `datasets`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfbert.files import read_json
from tfbert.text.readers.cells import parse_cell
from tfbert.text.readers.columns import listed_names, listing, shown_json
from tfbert.text.readers.layout import Layout
from tfbert.text.readers.rows import Row

INFO = "dataset_info.json"
# Roles of labels. In other roles, such as the value of a regression, integers are numbers.
_ROLES = ("label", "labels", "tags")
_INTEGER = re.compile(r"-?\d+(?:\.0+)?")


@dataclass(frozen=True, slots=True)
class ClassNames:
    """Names of the labels 0, 1, 2, ... of the target column of a file.

    Args:
        names: the names by label.
        role: the role of the target column.
        is_complete: whether texts that are none of the names are errors, not labels.
    """

    names: tuple[str, ...]
    role: str
    is_complete: bool

    def apply(self, row: Row) -> Row:
        """Return a row with names instead of integers.

        Raises:
            ValueError: a label is neither one of the integers nor one of the names.
        """
        return Row(row.where, row.values | {self.role: self._named(row.values.get(self.role))})

    def _named(self, value: Any) -> Any:
        parsed = parse_cell(value) if isinstance(value, str) else value
        if isinstance(parsed, list):
            return [self._name(item) for item in parsed]
        return value if value is None or value == "" else self._name(value)

    def _name(self, value: Any) -> str:
        text = str(value).strip()
        if isinstance(value, bool) or not _INTEGER.fullmatch(text):
            if text in self.names or (isinstance(value, str) and not self.is_complete):
                return text
            raise ValueError(f"{self.role} is {shown_json(value)}; {self._expected}")
        number = int(float(text))
        if not 0 <= number < len(self.names):
            hint = ", which stands for a missing label" if number == -1 else ""
            raise ValueError(f"{self.role} is {number}{hint}; {self._expected}")
        return self.names[number]

    @property
    def _expected(self) -> str:
        return f"expected 0 to {len(self.names) - 1}, or one of the names {listing(self.names)}"


def class_names(setting: str | None, layout: Layout) -> ClassNames | None:
    """Return the names of the labels of a file, or `None` if it has none.

    Args:
        setting: `data.label_names`, which takes precedence over the names in `layout`.
        layout: the layout of the file, whose columns are known.

    Raises:
        ValueError: `setting` cannot be parsed, or has a name twice.
    """
    role = next((role for role in _ROLES if len(layout.used.get(role, ())) == 1), None)
    origin, layout.class_names_from = layout.class_names_from, ""
    if role is None:
        return None
    if names := listed_names(setting, "data.label_names"):
        repeated = next((name for name in names if names.count(name) > 1), None)
        if repeated is not None:
            raise ValueError(f"data.label_names: has {repeated!r} several times; expected different names")
        layout.class_names_from = "data.label_names"
        return ClassNames(names, role, is_complete=True)
    names = layout.class_names.get(layout.used[role][0])
    if not names:
        return None
    layout.class_names_from = origin
    return ClassNames(names, role, is_complete=False)


def read_info(path: Path) -> dict[str, tuple[str, ...]]:
    """Return the label names by column from the `dataset_info.json` in the directory of a file, if there is one.

    Raises:
        ValueError: the file is not a JSON object.
    """
    info = path.parent / INFO
    return names_of_features(read_json(info).get("features")) if info.is_file() else {}


def names_of_features(features: Any) -> dict[str, tuple[str, ...]]:
    """Return the label names by column of features of the library `datasets`, as stored in JSON."""
    names = {}
    for column, feature in features.items() if isinstance(features, Mapping) else ():
        # A sequence of labels, such as the tags of words, contains the feature of its items.
        while isinstance(feature, Mapping) and isinstance(feature.get("feature"), Mapping):
            feature = feature["feature"]
        if isinstance(feature, list) and len(feature) == 1:
            feature = feature[0]
        if isinstance(feature, Mapping) and feature.get("_type") == "ClassLabel" and feature.get("names"):
            names[column] = tuple(map(str, feature["names"]))
    return names
