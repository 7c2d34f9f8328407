"""The table that every benchmark returns: measured values by workload and system, as Markdown and as JSON."""

import datetime
import os
import platform
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from tfbert.files import write_json


@dataclass(frozen=True, kw_only=True)
class Row:
    """What one system did on one workload.

    Args:
        workload: name of the data or of the load; rows with the same workload are compared with each other.
        system: library and setting.
        values: repeated measurements by name; a name that is missing leaves its cells empty.
        metric: name of the score, where a workload has several.
    """

    workload: str
    system: str
    values: Mapping[str, Sequence[float]]
    metric: str = ""


# Renders a cell from its row and from the row it is compared with (`None` for that row itself).
Cell = Callable[[Row, Row | None], str]


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows with the columns in which they are shown.

    Args:
        columns: heading and cell of the columns after the first, which name workload, system and, if any, metric.
        rows: rows of one workload and metric are compared with the first of them.
        workload: heading of the first column.
    """

    columns: Sequence[tuple[str, Cell]]
    rows: Sequence[Row]
    workload: str = "data"

    def to_markdown(self) -> str:
        """Return the Markdown table."""
        has_metrics = any(row.metric for row in self.rows)
        titles = [self.workload, "system", *(["metric"] if has_metrics else []), *(title for title, _ in self.columns)]
        lines = [titles, ["---"] * len(titles)]
        for row in self.rows:
            reference = next(r for r in self.rows if (r.workload, r.metric) == (row.workload, row.metric))
            against = None if reference is row else reference
            names = [row.workload, row.system, *([row.metric.replace("_", " ")] if has_metrics else [])]
            lines.append([*names, *(cell(row, against) for _, cell in self.columns)])
        return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)

    def write(self, path: Path) -> None:
        """Write the rows and the circumstances of the measurement as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {"measured": circumstances(), "rows": [asdict(row) for row in self.rows]})


def circumstances() -> dict[str, str]:
    """Return what belongs beside a measurement: `command`, `machine` and `date`."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "command": " ".join(["python -m benchmarks", *sys.argv[1:]]),
        "machine": f"{os.cpu_count()} cores, {models[0] if models else platform.machine()}",
        "date": datetime.date.today().isoformat(),
    }


def median(key: str, form: str, with_range: bool = False) -> Cell:
    """Return a cell with the median of the repeats in a format, and, on request, the range of several."""

    def cell(row: Row, reference: Row | None) -> str:
        values = row.values.get(key, ())
        if not values:
            return ""
        text = f"{statistics.median(values):{form}}"
        is_range = with_range and len(values) > 1
        return f"{text} ({min(values):{form}} to {max(values):{form}})" if is_range else text

    return cell


def peak_gib(row: Row, reference: Row | None) -> str:
    """Render the highest of `peak_memory_bytes` in GiB."""
    values = row.values.get("peak_memory_bytes", ())
    return f"{max(values) / 2**30:.1f} GiB" if values else ""


def mean(row: Row, reference: Row | None) -> str:
    """Render `score`: mean and standard deviation of several trainings, or one with its 95 % interval `interval`."""
    values, interval = row.values.get("score", ()), row.values.get("interval", ())
    if len(values) > 1:
        return f"{statistics.mean(values):.3f} ± {statistics.stdev(values):.3f} ({len(values)} trainings)"
    text = "".join(f"{value:.3f}" for value in values)
    return f"{text} ({interval[0]:.3f} to {interval[1]:.3f})" if text and interval else text


def speedup(key: str, better: Literal["higher", "lower"]) -> Cell:
    """Return a cell that says how many times as fast the reference is: the median of the ratios of each repeat.

    Both sides of a ratio were measured one after the other, so that other work on the machine slows both.
    """

    def cell(row: Row, reference: Row | None) -> str:
        values, others = row.values.get(key, ()), reference.values.get(key, ()) if reference else ()
        pairs = list(zip(others, values, strict=False))
        if not pairs:
            return ""
        ratios = [ours / theirs if better == "higher" else theirs / ours for ours, theirs in pairs]
        return f"{statistics.median(ratios):.2f} times as fast"

    return cell
