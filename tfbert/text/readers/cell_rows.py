"""Rows of a table from lists of cells: the line of column names, the columns of the task, and rows of a wrong length.

The readers of csv files and of Excel workbooks share this module.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tfbert.text.readers.columns import Column, ColumnFinder, listing, plain_name, shown
from tfbert.text.readers.rows import Row, Source


@dataclass(frozen=True, slots=True)
class Cells:
    """The cells of one row of a table.

    Args:
        where: the location of the row for messages, such as `train.csv:41`.
        position: the position of the row in its file, such as `on line 41`.
        values: the text of each cell; empty if the row is empty.
    """

    where: str
    position: str
    values: Sequence[str]


class BadCell(str):
    """The text of a cell that cannot be used as a text, number or label.

    Args:
        text: the text of the cell.
        reason: what the cell contains, and what was expected.
    """

    reason: str

    def __new__(cls, text: str, reason: str):
        """Return the cell."""
        cell = super().__new__(cls, text)
        cell.reason = reason
        return cell


def cell_rows(table: Iterable[Cells], source: Source, finder: ColumnFinder) -> Iterator[Row | str]:
    """Yield the rows of a table.

    Args:
        table: the rows of the file, from its first one.
        source: the file; its layout is filled, except for the kind.
        finder: finds the columns of the task.

    Raises:
        ValueError: the columns cannot be determined.
    """
    layout, columns = source.layout, source.columns
    has_header, names, positions = source.data.header == "auto", [], {}
    plain_names, unused, read = [], [], []
    for row in table:
        cells, where = row.values, row.where
        if not cells:
            continue
        if not names:
            positions = finder.find(cells, where) if has_header else finder.by_position(len(cells), where)
            names = [cell.strip() for cell in cells] if has_header else [str(n + 1) for n in range(len(cells))]
            layout.header = f"column names {row.position}" if has_header else "no column names"
            plain_names = sorted(map(plain_name, names))
            layout.set_used(names, positions)
            unused = [(position, layout.unused[key]) for position, key in enumerate(names) if key in layout.unused]
            read = [position for value in positions.values() for position in _positions(value)]
            if has_header:
                continue
            if _is_header(cells, positions, columns):
                raise ValueError(f"{where}: names the columns ({listing(cells)}); omit data.header=none")
        if len(cells) != len(names):
            plural = "s" * (len(cells) > 1)
            yield f"{where}: {len(cells)} column{plural} ({listing(cells)}); expected {len(names)}, as in the header"
        elif has_header and (sorted(map(plain_name, cells)) == plain_names or _is_header(cells, positions, columns)):
            yield f"{where}: repeats the line of column names ({listing(cells)}); remove it"
        elif bad := [position for position in read if isinstance(cells[position], BadCell)]:
            yield f"{where}: column {shown(names[bad[0]])} {cells[bad[0]].reason}"
        else:
            for position, values in unused:
                if values.is_needed:
                    values.add(cells[position])
            yield Row(where, _values_by_role(cells, positions), tuple(zip(names, cells, strict=True)))


def _is_header(row: Sequence[str], positions: Mapping[str, int | dict[str, int]], columns: Sequence[Column]) -> bool:
    """Return whether the cells to be read are usual column names, as in the header of another file."""
    usual = {name for column in columns for name in column.usual_names.split(", ")}
    cells = [plain_name(row[position]) for position in positions.values() if isinstance(position, int)]
    return len(cells) > 1 and len(set(cells)) == len(cells) and all(cell in usual for cell in cells)


def _positions(value: int | dict[str, int]) -> Iterable[int]:
    return value.values() if isinstance(value, dict) else (value,)


def _values_by_role(cells: Sequence, positions: Mapping[str, int | dict[str, int]]) -> dict[str, Any]:
    return {
        role: {name: cells[i] for name, i in position.items()} if isinstance(position, dict) else cells[position]
        for role, position in positions.items()
    }
