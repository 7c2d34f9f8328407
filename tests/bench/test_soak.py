"""A long load while versions change: in small, and what is made of the samples."""

import pytest

from tfbert.bench import soak
from tfbert.files import read_json


def samples(used, step=1000):
    return [{"num_answered": step * index, "num_swaps": 0, "resident_bytes": each} for index, each in enumerate(used)]


def test_memory_that_grows_only_at_the_start_has_no_slope():
    found = soak.memory(samples([100, 180] + [200] * 8))
    assert (found["start_bytes"], found["warm_bytes"], found["end_bytes"]) == (100, 200, 200)
    assert found["slope_bytes"] == 0


def test_the_slope_is_that_behind_the_warm_up():
    found = soak.memory(samples([1, 1] + [1000 + 3 * index for index in range(18)] + [2000]))
    assert soak.memory(samples([1000 + 3 * index for index in range(20)]))["slope_bytes"] == pytest.approx(30)
    assert found["slope_bytes"] > 100
    assert found["warm_bytes"] == 1000 + 3 * 3


def test_a_server_that_answers_nothing_has_no_slope():
    assert soak.memory(samples([10, 20, 30, 40], step=0))["slope_bytes"] == 0


def test_each_quarter_has_its_lowest_and_its_highest():
    found = soak.memory(samples([5, 9, 7, 8, 6, 10, 9, 9, 1, 2, 3, 4]))
    assert (found["low_bytes"], found["high_bytes"]) == ([5, 6, 1, 2], [9, 10, 9, 4])


def test_the_table():
    found = {"num_answered": 100_001, "num_failed": 2, "num_swaps": 50, "requests_per_second": [321.4]}
    found |= {"p50": 10.0, "p95": 20.04, "p99": 1234.5, "start_bytes": 2**29, "warm_bytes": 2**30}
    found |= {"end_bytes": 2**30, "slope_bytes": -(2**19)}
    found |= {"low_bytes": [2**29, 2**30], "high_bytes": [2**30, 2**31]}
    assert soak.to_markdown(found).splitlines()[2:] == [
        "| requests answered | 100,001 |",
        "| requests failed | 2 |",
        "| versions swapped | 50 |",
        "| requests a second | 321 |",
        "| p50 / p95 / p99 | 10.0 / 20.0 / 1,234.5 ms |",
        "| memory at the start | 512 MiB |",
        "| memory after warm-up | 1,024 MiB |",
        "| memory at the end | 1,024 MiB |",
        "| lowest in each quarter | 512 / 1,024 MiB |",
        "| highest in each quarter | 1,024 / 2,048 MiB |",
        "| growth in 10,000 requests | -0.50 MiB |",
    ]


@pytest.mark.slow
def test_versions_change_and_no_request_fails(data_dir, served, tmp_path, monkeypatch):
    monkeypatch.setattr(soak, "make_served", lambda *_: served)
    found = soak.measure(data_dir, tmp_path / "out", None, num_requests=200, num_swaps=2)
    assert (found["num_failed"], found["failures"]) == (0, [])
    assert found["num_answered"] >= 200
    assert [path.name for path in served.model_dir.iterdir()] == ["3"]
    swaps = [sample["num_swaps"] for sample in found["samples"]]
    assert swaps == sorted(swaps) and set(swaps) == {0, 1, 2}
    # The first swap waits for its share of the requests.
    assert found["samples"][swaps.index(1)]["num_answered"] >= 200 / 3
    assert all(sample["resident_bytes"] > 2**25 for sample in found["samples"])
    assert read_json(tmp_path / "out" / "soak" / "soak.json") == found


def test_a_version_that_is_not_taken_ends_the_soak(served, monkeypatch):
    states = iter([{1: "AVAILABLE"}, {1: "AVAILABLE", 2: "END"}])
    monkeypatch.setattr(soak, "_states", lambda port: next(states))
    monkeypatch.setattr(soak, "_SWAP_SECONDS", 0)
    with pytest.raises(RuntimeError, match="version 2 was not served after 0 seconds"):
        soak._swap(served.model_dir, 1, 0, lambda: None)
    assert (served.model_dir / "1").exists()
