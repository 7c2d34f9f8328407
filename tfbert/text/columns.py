"""The names of a file's columns or keys in, what each of them is to the task out, and how messages show values."""

import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tfbert.config import DataConfig
from tfbert.nearest import did_you_mean

SHOWN_CHARACTERS, SHOWN_VALUES = 40, 8  # of a value, and of the columns of a row, in messages


@dataclass(frozen=True, slots=True)
class Column:
    """Something a record is made of.

    Args:
        role: what it is to the task, such as `text` or `label`.
        usual_names: names under which files have it, lower-case, separated by commas.
        required: whether a file without it is refused; otherwise it is up to the task to do without.
        several: whether it may be spread over several columns, given as `role=a|b|c`; its value is then a dict from
            column name to value.
        is_number: whether its values are numbers.
        is_target: whether it is what the task learns to predict.
    """

    role: str
    usual_names: str
    required: bool = True
    several: bool = False
    is_number: bool = False
    is_target: bool = False

    def key_among(self, names: Sequence[str]) -> str | None:
        """Return the first of the names that is a usual one, or `None`."""
        usual = self.usual_names.split(", ")
        return next((name for name in names if name.strip().lower() in usual), None)


def named_columns(columns: Sequence[Column], given: str | None) -> dict[str, list[str]]:
    """Read `data.columns`.

    Args:
        columns: of the task.
        given: `role=name,role=name|name`, a JSON object `{"role": "name", "role": ["name", "name"]}`, or `None`. A
            comma separates only where a role follows, so names may hold commas.

    Returns:
        The names of the columns of each role that was given.

    Raises:
        ValueError: no `=`, a role that the task does not have, a name twice, or several where one is wanted.
    """
    found: dict[str, list[str]] = {}
    roles = {column.role: column for column in columns}
    for role, names in _assigned(given):
        if not role or not names or not all(names):
            raise ValueError(f"data.columns={given}: wanted role=name, several separated by commas")
        if role not in roles:
            known, hint = ", ".join(roles), did_you_mean(role, roles)
            raise ValueError(f"data.columns={given}: {role!r} is not one of {known}{hint}")
        if len(names) > 1 and not roles[role].several:
            wish = f'wanted one name; where a name holds |, use JSON such as {{"{role}": "a|b"}}'
            raise ValueError(f"data.columns={given}: {role} is in one column; {wish}")
        for other, taken in found.items():
            if set(taken) & set(names):
                both = shown(next(n for n in names if n in taken))
                raise ValueError(f"data.columns={given}: {other} and {role} are both {both}; wanted two different ones")
        found[role] = names
    return found


def _assigned(given: str | None) -> list[tuple[str, list[str]]]:
    """Return roles with the names given for them; no role where there is no `=`."""
    if not given:
        return []
    if given.lstrip().startswith("{"):
        try:
            tree = json.loads(given)
        except ValueError as error:
            raise ValueError(f"data.columns={given}: not a JSON object ({error})") from None
        pairs = [(role, names if isinstance(names, list) else [names]) for role, names in tree.items()]
        if not all(isinstance(name, str) for _, names in pairs for name in names):
            raise ValueError(f"data.columns={given}: expected a name or a list of names for each role")
        return [(role.strip(), [name.strip() for name in names]) for role, names in pairs]
    parts = (part.partition("=") for part in re.split(r",(?=\s*\w+\s*=)", given))
    return [(role.strip() if equals else "", [n.strip() for n in name.split("|")]) for role, equals, name in parts]


class ColumnFinder:
    """Finds the columns of each role among the names a file has.

    Args:
        columns: of the task.
        data: its `columns` names some; the others are looked for under their usual names.
        noun: what messages call a column: `column` or `key`.

    Raises:
        ValueError: `data.columns` cannot be read.
    """

    def __init__(self, columns: Sequence[Column], data: DataConfig, noun: str):
        self.columns, self.noun, self.given = columns, noun, named_columns(columns, data.columns)
        self.ignored = set(listed_names(data.ignored_columns, "data.ignored_columns"))

    def find(self, header: Sequence[str], where: str) -> dict[str, int | dict[str, int]]:
        """Return the position of each role's column; of one that is spread over several, name to position.

        Raises:
            ValueError: a required column that is not there, or more than one that could be it.
        """
        names = [name.strip() for name in header]
        found: dict[str, int | dict[str, int]] = {}
        taken: set[int] = set()
        for column in sorted(self.columns, key=lambda column: column.role not in self.given):  # named ones first
            given = self.given.get(column.role)
            if given is None:
                usual = column.usual_names.split(", ")
                matches = [
                    i
                    for i, name in enumerate(names)
                    if name.lower() in usual and i not in taken and name not in self.ignored
                ]
            else:
                matches = [i for i, name in enumerate(names) if name in given]
            wanted = len(given) if given else 1
            missing = given and set(given) - set(names)
            if missing or len(matches) > wanted or (not matches and (column.required or given)):
                raise ValueError(f"{where}: {self._message(names, [] if missing else matches, column, given)}")
            if matches:
                taken.update(matches)
                found[column.role] = {names[i]: i for i in matches} if wanted > 1 else matches[0]
        return found

    def by_position(self, num_columns: int, where: str) -> dict[str, int | dict[str, int]]:
        """Return the position of each role's column in a table that does not name its columns.

        They are called 1, 2, ... in `data.columns`; without it the required columns are taken in their order.

        Raises:
            ValueError: another number of columns, or whatever `find` raises.
        """
        if self.given:
            return self.find([str(number) for number in range(1, num_columns + 1)], where)
        required = [column.role for column in self.columns if column.required]
        if len(required) != num_columns:
            numbered = ",".join(f"{role}={number}" for number, role in enumerate(required, start=1))
            raise ValueError(
                f"{where}: {num_columns} columns without names for {' and '.join(required)}; say which is which by "
                f"number, such as --set data.columns={numbered}"
            )
        return {role: position for position, role in enumerate(required)}

    def _message(self, names: list[str], matches: list[int], column: Column, given: list[str] | None) -> str:
        path, noun, role = "data.columns", self.noun, column.role
        if matches:
            several = listing([names[i] for i in matches])
            is_unique = len({names[i] for i in matches}) > 1
            wish = option(path, f"{role}={names[matches[0]]}") if is_unique else "different names; rename one of them"
            such = "one, such as " if is_unique else ""
            return f"more than one {noun} could be the {role}: {several}; wanted {such}{wish}"
        if given is not None:
            absent = next(name for name in given if name not in names)
            hint = did_you_mean(absent, names)
            return f"{path}={role}={absent} is not one of the {noun}s {listing(names)}{hint}"
        message, hint = f"no {role} {noun} among {listing(names)}", ""
        each = f", or one {noun} for each by --set {path}={role}=A|B|..." if column.several else ""
        if noun == "column":
            message += ", which the first line was taken to name"
            hint = "; if the first line is already a record, --set data.header=none"
        return f"{message}; wanted one of {column.usual_names}, or its name by --set {path}={role}=...{each}{hint}"


def listed_names(value: str | None, path: str) -> tuple[str, ...]:
    """Return the names that a config field lists.

    Args:
        value: names with commas between them, or a JSON list where a name holds a comma; `None` lists none.
        path: of the field, for messages.

    Raises:
        ValueError: a JSON list of something else than strings.
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
    """Return names as `listed_names` reads them."""
    if any("," in name or name.startswith("[") for name in names):
        return json.dumps(list(names), ensure_ascii=False)
    return ",".join(names)


def option(path: str, value: str) -> str:
    """Return a config setting as it is typed in a shell."""
    return f"--set {shlex.quote(f'{path}={value}')}"


def shown(value: str) -> str:
    """Return a value quoted, and cut where it is long, for a message."""
    return repr(_cut(value))


def shown_json(value: Any) -> str:
    """Return a JSON value as JSON, cut where it is long, for a message."""
    return _cut(json.dumps(value, ensure_ascii=False, default=repr)).encode(errors="backslashreplace").decode()


def listing(values: Sequence[str]) -> str:
    """Return the first few values, quoted, for a message."""
    found = [shown(value) for value in values[:SHOWN_VALUES]] + ["..."] * (len(values) > SHOWN_VALUES)
    return ", ".join(found) or "none"


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[: SHOWN_CHARACTERS - 3]}..."
