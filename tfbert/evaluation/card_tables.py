"""Markdown tables that model cards share: the data and the scores of a run."""

from collections.abc import Mapping
from typing import Any


def data_table(report: Mapping[str, Any]) -> str:
    """Return a table of the data files in `report.json`."""
    rows = [
        f"| {split} | {file['path']} | {file['num_examples']:,} | `{file['sha256'][:16]}` |"
        for split, file in report["data"].items()
    ]
    return "\n".join(["| split | path | examples | sha256 |", "|---|---|---|---|", *rows])


def score_table(report: Mapping[str, Any]) -> str:
    """Return a table of the scores on validation and test in `report.json`."""
    rows = []
    for split in ("validation", "test"):
        for name, score in ((report.get(split) or {}).get("metrics") or {}).items():
            rows.append(f"| {split} | {name} | {score['value']:.4f} | {score['low']:.4f} to {score['high']:.4f} |")
    return "\n".join(["| split | metric | value | 95% interval |", "|---|---|---|---|", *rows])
