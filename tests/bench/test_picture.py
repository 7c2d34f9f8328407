"""The picture of a table of speeds has a bar for each way, and every table that is drawn gives its bars."""

import re

import pytest

from tfbert.bench import load, prediction, pretraining, serve, training
from tfbert.bench.picture import Speed, draw

ROWS = {
    training: {"data": "banking77", "way": "tfbert", "examples_per_second": [9.0, 11.0]},
    pretraining: {"way": "tfbert", "tokens_per_second": [9.0, 11.0]},
    serve: {"data": "banking77", "way": "tfbert", "p50": [4.0, 5.0], "texts_per_second": [9.0, 11.0]},
    prediction: {"way": "tfbert", "num_lines": 99, "seconds": [11.0, 9.0]},
    load: {"way": "rest", "num_clients": 8, "requests_per_second": [9.0, 11.0]},
}


def test_bars_stand_by_work_with_their_medians(tmp_path):
    speeds = [
        Speed("short", "ours", [100.0, 300.0, 200.0], True),
        Speed("short", "theirs <fast>", [1234.0], False),
        Speed("long", "ours", [2.5], True),
    ]
    draw(speeds, "texts a second", tmp_path / "speeds.svg")
    text = (tmp_path / "speeds.svg").read_text(encoding="utf-8")
    assert re.findall(r"<!-- (.*) a second -->", text) == ["short: texts", "long: texts"]
    for shown in ("200", "1,234", "2.5", "theirs &lt;fast&gt;"):
        assert f"<!-- {shown} -->" in text
    # Three bars, the two of ours in their colour.
    assert (text.count("#1b6ac9"), text.count("#b8bec6")) == (2, 1)


@pytest.mark.parametrize("table", ROWS, ids=lambda table: table.__name__.rpartition(".")[2])
def test_every_table_gives_its_bars(table):
    row = ROWS[table]
    found = table.speeds([row])
    assert all(speed.is_ours for speed in found)
    assert sorted(found[-1].values) == [9.0, 11.0]
    if table is serve:
        assert [speed.work for speed in found] == ["banking77, one at a time", "banking77, 32 at once"]
        assert found[0].values == [250.0, 200.0]
