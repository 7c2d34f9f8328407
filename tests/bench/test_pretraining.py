"""How fast masked words are learned: speeds from reports, alone or next to the peer."""

import json

import pytest

from tfbert.bench import pretraining


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


@pytest.fixture
def measured(tmp_path, monkeypatch):
    """Leave what finished runs leave, so that nothing is trained, and return what `measure` makes of it."""
    (tmp_path / "data" / "fomc_minutes").mkdir(parents=True)
    out = tmp_path / "out"
    write(out / "rows" / "index.json", {})
    for repeat, seconds in enumerate((2.0, 4.0)):
        last = {"num_tokens": 1000, "seconds": seconds, "update": 7}
        report = {"history": [{"num_tokens": 0, "seconds": 0.0, "update": 0}, last], "peak_memory_bytes": 2**30}
        write(out / f"tfbert-{repeat}" / "report.json", report)
        for way, factor in (("float32", 2), ("bfloat16", 4)):
            summary = {"num_tokens": 1000, "seconds": factor * seconds, "peak_memory_bytes": (3 + repeat) * 2**30}
            write(out / f"{way}-{repeat}" / "summary.json", summary)

    def measure(with_peer):
        monkeypatch.setattr(pretraining, "peers_python", lambda: tmp_path / "python" if with_peer else None)
        return pretraining.measure(tmp_path / "data", out, 2)

    return measure


def test_speeds_are_tokens_by_seconds_of_every_repeat(measured):
    ours, single, half = measured(True)
    assert ours == {"way": "tfbert", "tokens_per_second": [500.0, 250.0], "peak_memory_bytes": 2**30}
    assert (single["way"], single["tokens_per_second"]) == ("float32", [250.0, 125.0])
    assert (half["way"], half["tokens_per_second"]) == ("bfloat16", [125.0, 62.5])
    assert single["peak_memory_bytes"] == 4 * 2**30


def test_the_table_has_medians_and_ratios(measured):
    assert pretraining.to_markdown(measured(True)).splitlines()[2:] == [
        "| tfbert | 375 (250 to 500) |  | 1.0 GiB |",
        "| transformers | 188 (125 to 250) | 2.00 times as fast | 4.0 GiB |",
        "| transformers, bfloat16 autocast | 94 (62 to 125) | 4.00 times as fast | 4.0 GiB |",
    ]


def test_without_the_peer_ours_stands_alone(measured):
    assert [row["way"] for row in measured(False)] == ["tfbert"]


def test_the_corpus_is_named_where_it_is_missing(tmp_path):
    with pytest.raises(ValueError, match=r"fomc_minutes: is not there; wanted its documents"):
        pretraining.measure(tmp_path, tmp_path / "out")
