"""Assignment of the columns or keys of a file to the roles of a task, and formatting of values in messages."""

import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tfbert.config import DataConfig
from tfbert.nearest import did_you_mean

SHOWN_CHARACTERS, SHOWN_VALUES = 40, 8  # per value, and values per list, in messages


@dataclass(frozen=True, slots=True)
class Column:
    """A column or key that a task reads.

    Args:
        role: what the task uses the column for, such as `text` or `label`.
        usual_names: the usual names of the column in files, in lower case, separated by commas.
        required: whether a file without the column is rejected.
        several: whether several columns may share the role, given as `role=a|b|c`; its value is then a dict from column
            name to value.
        is_number: whether the values are numbers.
        is_target: whether the task learns to predict the column.
    """

    role: str
    usual_names: str
    required: bool = True
    several: bool = False
    is_number: bool = False
    is_target: bool = False

    def key_among(self, names: Sequence[str]) -> str | None:
        """Return the first of `names` that is a usual name of this column, or `None`."""
        usual = self.usual_names.split(", ")
        return next((name for name in names if name.strip().lower() in usual), None)


def named_columns(columns: Sequence[Column], setting: str | None) -> dict[str, list[str]]:
    """Parse `data.columns`.

    Args:
        columns: the columns of the task.
        setting: `role=name,role=name|name`, a JSON object `{"role": "name", "role": ["name", "name"]}`, or `None`. A
            comma is a separator only if a role follows, so that names may contain commas.

    Returns:
        The column names of each role in `setting`.

    Raises:
        ValueError: an entry has no `=`, names a role that the task does not have or a column of another role, or gives
            several columns for a role that has one.
    """
    assigned: dict[str, list[str]] = {}
    roles = {column.role: column for column in columns}
    for role, names in _assigned(setting):
        if not role or not names or not all(names):
            raise ValueError(f"data.columns={setting}: expected role=name, several separated by commas")
        if role not in roles:
            known, hint = ", ".join(roles), did_you_mean(role, roles)
            raise ValueError(f"data.columns={setting}: {role!r} is not one of {known}{hint}")
        if len(names) > 1 and not roles[role].several:
            expected = f'expected one name; if a name contains |, use JSON such as {{"{role}": "a|b"}}'
            raise ValueError(f"data.columns={setting}: {role} is a single column; {expected}")
        for other, other_names in assigned.items():
            if set(other_names) & set(names):
                common = shown(next(name for name in names if name in other_names))
                raise ValueError(f"data.columns={setting}: {other} and {role} are both {common}; expected two columns")
        assigned[role] = names
    return assigned


def _assigned(setting: str | None) -> list[tuple[str, list[str]]]:
    """Return pairs of role and column names; the role is empty if an entry has no `=`."""
    if not setting:
        return []
    if setting.lstrip().startswith("{"):
        try:
            tree = json.loads(setting)
        except ValueError as error:
            raise ValueError(f"data.columns={setting}: not a JSON object ({error})") from None
        pairs = [(role, names if isinstance(names, list) else [names]) for role, names in tree.items()]
        if not all(isinstance(name, str) for _, names in pairs for name in names):
            raise ValueError(f"data.columns={setting}: expected a name or a list of names for each role")
        return [(role.strip(), [name.strip() for name in names]) for role, names in pairs]
    entries = (entry.partition("=") for entry in re.split(r",(?=\s*\w+\s*=)", setting))
    return [(role.strip() if equals else "", [n.strip() for n in names.split("|")]) for role, equals, names in entries]


class ColumnFinder:
    """Find the column of each role among the column names of a file.

    Args:
        columns: the columns of the task.
        data: data settings; roles that `data.columns` does not assign are looked up by their usual names.
        noun: the word for a column in messages, `column` or `key`.

    Raises:
        ValueError: `data.columns` or `data.ignored_columns` is malformed.
    """

    def __init__(self, columns: Sequence[Column], data: DataConfig, noun: str):
        self.columns, self.noun, self.assigned = columns, noun, named_columns(columns, data.columns)
        self.ignored = set(listed_names(data.ignored_columns, "data.ignored_columns"))

    def find(self, header: Sequence[str], where: str) -> dict[str, int | dict[str, int]]:
        """Return the position of each role's column; for a role with several columns, a dict from name to position.

        Args:
            header: the column names of the file.
            where: the file and line of the header, for messages.

        Raises:
            ValueError: a required column is missing, or several columns match a role that has one.
        """
        names = [name.strip() for name in header]
        positions: dict[str, int | dict[str, int]] = {}
        taken: set[int] = set()
        for column in sorted(
            self.columns, key=lambda column: column.role not in self.assigned
        ):  # the assigned ones first
            assigned = self.assigned.get(column.role)
            if assigned is None:
                usual = column.usual_names.split(", ")
                matches = [
                    i
                    for i, name in enumerate(names)
                    if name.lower() in usual and i not in taken and name not in self.ignored
                ]
            else:
                matches = [i for i, name in enumerate(names) if name in assigned]
            max_matches = len(assigned) if assigned else 1
            missing = assigned and set(assigned) - set(names)
            if missing or len(matches) > max_matches or (not matches and (column.required or assigned)):
                raise ValueError(f"{where}: {self._message(names, [] if missing else matches, column, assigned)}")
            if matches:
                taken.update(matches)
                positions[column.role] = {names[i]: i for i in matches} if max_matches > 1 else matches[0]
        return positions

    def by_position(self, num_columns: int, where: str) -> dict[str, int | dict[str, int]]:
        """Return the position of each role's column in a table without column names.

        `data.columns` refers to the columns by number, from 1; without it the required columns come in order.

        Args:
            num_columns: the number of columns of the table.
            where: the file and line of the first row, for messages.

        Raises:
            ValueError: the number of columns does not match, or `find` raises it.
        """
        if self.assigned:
            return self.find([str(number) for number in range(1, num_columns + 1)], where)
        required = [column.role for column in self.columns if column.required]
        if len(required) != num_columns:
            numbered = ",".join(f"{role}={number}" for number, role in enumerate(required, start=1))
            raise ValueError(
                f"{where}: {num_columns} columns without names for {' and '.join(required)}; give their numbers, "
                f"such as --set data.columns={numbered}"
            )
        return {role: position for position, role in enumerate(required)}

    def _message(self, names: list[str], matches: list[int], column: Column, assigned: list[str] | None) -> str:
        path, noun, role = "data.columns", self.noun, column.role
        if matches:
            candidates = listing([names[i] for i in matches])
            expected = "different names; rename one of them"
            if len({names[i] for i in matches}) > 1:
                expected = f"one, such as {option(path, f'{role}={names[matches[0]]}')}"
            return f"more than one {noun} could be the {role}: {candidates}; expected {expected}"
        if assigned is not None:
            absent = next(name for name in assigned if name not in names)
            hint = did_you_mean(absent, names)
            return f"{path}={role}={absent} is not one of the {noun}s {listing(names)}{hint}"
        message, hint = f"no {role} {noun} among {listing(names)}", ""
        several = f", or several {noun}s with --set {path}={role}=A|B|..." if column.several else ""
        if noun == "column":
            message += " (read from the first line)"
            hint = "; if the first line is already a record, --set data.header=none"
        return (
            f"{message}; expected one of {column.usual_names}, or its name with --set {path}={role}=...{several}{hint}"
        )


def listed_names(value: str | None, path: str) -> tuple[str, ...]:
    """Return the names that a config field lists.

    Args:
        value: names separated by commas, or a JSON list of names, which may contain commas; `None` means no names.
        path: the config path of the field, for messages.

    Raises:
        ValueError: the value is a malformed JSON list or contains anything but strings.
    """
    if not value or not value.strip():
        return ()
    if not value.lstrip().startswith("["):
        return tuple(name.strip() for name in value.split(",") if name.strip())
    try:
        names = json.loads(value)
    except ValueError:
        names = None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{path}={value}: expected names separated by commas, or a JSON list of strings")
    return tuple(names)


def joined_names(names: Sequence[str]) -> str:
    """Join names to a string from which `listed_names` returns them."""
    if any("," in name or name.startswith("[") for name in names):
        return json.dumps(list(names), ensure_ascii=False)
    return ",".join(names)


def plain_name(name: str) -> str:
    """Return a column name for comparison: stripped, ignoring case."""
    # Concatenated files may have a byte order mark in the middle.
    return name.removeprefix("\ufeff").strip().casefold()


def delimiter_name(character: str) -> str:
    """Return a delimiter for a message: the name of an invisible one, or the quoted character."""
    return {"\t": "TAB", " ": "space"}.get(character, repr(character))


def option(path: str, value: str) -> str:
    """Return the `--set` option for a config value, quoted for a shell."""
    return f"--set {shlex.quote(f'{path}={value}')}"


def shown(value: str) -> str:
    """Return a value for a message: quoted, and truncated if it is long."""
    return repr(_truncated(value))


def shown_json(value: Any) -> str:
    """Return a JSON value for a message: as JSON, truncated if it is long."""
    return _truncated(json.dumps(value, ensure_ascii=False, default=repr)).encode(errors="backslashreplace").decode()


def listing(values: Sequence[str]) -> str:
    """Return the first few values for a message: quoted, separated by commas."""
    quoted = [shown(value) for value in values[:SHOWN_VALUES]] + ["..."] * (len(values) > SHOWN_VALUES)
    return ", ".join(quoted) or "none"


def _truncated(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[: SHOWN_CHARACTERS - 3]}..."
