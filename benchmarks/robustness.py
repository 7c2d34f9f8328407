"""Accuracy on original and on perturbed texts, with and without noise in training, and the time to measure it.

Both systems are trained with the same seeds on 2,000 texts of banking77, and `tools/evaluate.py --robustness` measures
1,000 of its test texts. A run or a measurement that exists is not repeated.
"""

import json
import statistics
import time
from dataclasses import replace
from pathlib import Path

from benchmarks.datasets import DEVELOPMENT_SETS, DataSet
from benchmarks.options import Options
from benchmarks.processes import output_of, tool_command
from benchmarks.quality import train_once
from benchmarks.tables import Cell, Row, Table, mean, median
from tfbert.files import read_json, write_json

DATA_SET = next(data_set for data_set in DEVELOPMENT_SETS if data_set.name == "banking77, 2,000 rows")
SYSTEMS = {"default": {}, "train.noise=0.3": {"train.noise": "0.3"}}
MAX_EXAMPLES = 1000
_SEEDS = 3
_TYPOS = "typos_10"


def measure(options: Options) -> Table:
    """Train and measure both systems.

    Raises:
        ValueError: the data is missing.
    """
    options.existing(DATA_SET.path, f"the data of '{DATA_SET.name}'")
    rows = []
    for system, settings in SYSTEMS.items():
        data_set = replace(DATA_SET, settings={**DATA_SET.settings, **settings})
        measured = []
        for seed in range(options.repeats or _SEEDS):
            data = data_set.prepared(options.data_dir, options.out_dir)
            run_dir = options.out_dir / f"{data_set.slug}-{system}-{seed}"
            train_once(data_set, data, run_dir, seed)
            measured.append(_measured(data_set, data, run_dir))
        values = {name: [each[name] for each in measured] for name in measured[0]}
        rows.append(Row(workload=DATA_SET.name, system=system, values=values))
    return Table(columns=COLUMNS, rows=rows)


def _measured(data_set: DataSet, data: Path, run_dir: Path) -> dict[str, float]:
    """Return what was measured for a run, which is evaluated unless that has been done.

    Returns:
        `score` on all original test texts; `typos` and `before`, on the drawn texts with and without typing errors;
        `always_right`, `worst_case` and the `seconds` of the command.
    """
    path = run_dir / "robustness.json"
    if not path.exists():
        arguments = [str(run_dir), "--data", str(data), "--robustness", "--max-examples", str(MAX_EXAMPLES)]
        started = time.monotonic()
        report = json.loads(output_of(tool_command("evaluate", arguments)))
        write_json(path, report | {"seconds": time.monotonic() - started})
    report = read_json(path)
    robustness = report["robustness"]
    effect = next(effect for effect in robustness["effects"] if effect["perturbation"] == _TYPOS)
    # The texts that the perturbation does not change count with their original predictions.
    change = effect["difference"]["value"] * effect["num_changed"] / robustness["num_examples"]
    return {
        "score": report["metrics"][data_set.metrics[0]]["value"],
        "before": robustness["score"]["value"],
        "typos": robustness["score"]["value"] + change,
        "always_right": robustness["always_right"]["value"],
        "worst_case": robustness["worst_case"]["success"]["value"],
        "seconds": report["seconds"],
    }


def _percent(key: str) -> Cell:
    """Return a cell with the mean of fractions as a percentage, and its difference to the first row in points."""

    def cell(row: Row, reference: Row | None) -> str:
        value = 100 * statistics.mean(row.values[key])
        if reference is None:
            return f"{value:.1f} %"
        return f"{value:.1f} % ({value - 100 * statistics.mean(reference.values[key]):+.1f} points)"

    return cell


COLUMNS = (
    ("test accuracy", mean),
    ("difference", _percent("score")),
    ("1,000 texts", _percent("before")),
    ("with typing errors in 10 % of the words", _percent("typos")),
    ("right under all perturbations", _percent("always_right")),
    ("misled in the worst case", _percent("worst_case")),
    ("seconds to evaluate", median("seconds", ".0f")),
)
