"""The table of results: medians, ratios within a repeat, and the JSON file."""

from benchmarks.tables import Row, Table, mean, median, peak_gib, speedup
from tfbert.files import read_json

COLUMNS = (
    ("p50 ms", median("ms", ".1f", with_range=True)),
    ("tfbert is", speedup("ms", "lower")),
    ("per second", median("speed", ",.0f")),
    ("tfbert is", speedup("speed", "higher")),
    ("memory", peak_gib),
)
ROWS = (
    Row(workload="short", system="tfbert", values={"ms": [4.0, 6.0, 5.0], "speed": [100, 200, 1500]}),
    # The ratios of the medians would be 1.20 and 4.00.
    Row(
        workload="short",
        system="other",
        values={"ms": [8.0, 6.0, 1.0], "speed": [50, 200, 30], "peak_memory_bytes": [2**30, 3 * 2**29]},
    ),
    Row(workload="long", system="tfbert", values={"ms": [1234.56]}),
)


def test_cells_are_medians_and_medians_of_the_ratios_of_each_repeat():
    assert Table(columns=COLUMNS, rows=ROWS, workload="texts").to_markdown().splitlines() == [
        "| texts | system | p50 ms | tfbert is | per second | tfbert is | memory |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        "| short | tfbert | 5.0 (4.0 to 6.0) |  | 200 |  |  |",
        "| short | other | 6.0 (1.0 to 8.0) | 1.00 times as fast | 50 | 2.00 times as fast | 1.5 GiB |",
        "| long | tfbert | 1234.6 |  |  |  |  |",
    ]


def test_a_system_that_was_measured_less_often_is_compared_in_the_repeats_it_has():
    row = Row(workload="short", system="other", values={"speed": [25]})
    assert speedup("speed", "higher")(row, ROWS[0]) == "4.00 times as fast"


def test_a_score_shows_the_spread_of_trainings_or_the_interval_of_one():
    several = Row(workload="a", system="tfbert", values={"score": [0.92, 0.94], "interval": [0.9, 0.95]})
    single = Row(workload="a", system="tfbert", values={"score": [0.91], "interval": [0.9, 0.925]})
    bare = Row(workload="a", system="other", values={"score": [0.8546]})
    assert [mean(row, None) for row in (several, single, bare)] == [
        "0.930 ± 0.014 (2 trainings)",
        "0.910 (0.900 to 0.925)",
        "0.855",
    ]


def test_rows_with_metrics_name_them_and_are_compared_by_metric():
    rows = [
        Row(workload="a", system=system, metric=metric, values={"speed": [speed]})
        for system, metric, speed in (("tfbert", "f1", 4), ("tfbert", "macro_f1", 8), ("other", "macro_f1", 2))
    ]
    assert Table(columns=COLUMNS[3:4], rows=rows).to_markdown().splitlines() == [
        "| data | system | metric | tfbert is |",
        "| --- | --- | --- | --- |",
        "| a | tfbert | f1 |  |",
        "| a | tfbert | macro f1 |  |",
        "| a | other | macro f1 | 4.00 times as fast |",
    ]


def test_the_file_has_rows_and_circumstances(tmp_path):
    Table(columns=COLUMNS, rows=ROWS).write(tmp_path / "new" / "serve.json")
    written = read_json(tmp_path / "new" / "serve.json")
    assert written["rows"][1] == {
        "workload": "short",
        "system": "other",
        "metric": "",
        "values": {"ms": [8.0, 6.0, 1.0], "speed": [50, 200, 30], "peak_memory_bytes": [2**30, 3 * 2**29]},
    }
    assert set(written["measured"]) == {"command", "machine", "date"}
    assert written["measured"]["machine"].partition(" ")[0].isdecimal()
