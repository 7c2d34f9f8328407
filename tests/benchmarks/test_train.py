"""Training speed: from the summaries of finished trainings, and KerasNLP's `fit`."""

import json
from dataclasses import replace

import pytest
from support import small

from benchmarks import internals, train, transformers_peer
from benchmarks.processes import run_worker
from tfbert.encoder.backbone import load_encoder, save_encoder
from tfbert.files import read_json


@pytest.fixture
def measured(options, tmp_path, monkeypatch):
    """Write the summaries of finished trainings, so that nothing is trained; return a function that calls `measure`."""
    (options.data_dir / "wnut17").mkdir()
    for name in ("banking77", "wnut17"):
        for repeat in (0, 1):
            for index, system in enumerate(train.SYSTEMS):
                summary = {"num_examples": 1000, "train_seconds": (1 + repeat) * 2.0**index}
                summary |= {"seconds_to_first_update": 2.0**index, "peak_memory_bytes": (1 + repeat) * 2**30}
                if system.library != "kerasnlp":
                    summary["score"] = 0.5
                path = options.out_dir / f"{name}-{repeat}" / system.directory / "measured.json"
                path.parent.mkdir(parents=True)
                path.write_text(json.dumps(summary))

    def measure(name, with_peers=True):
        monkeypatch.setattr(train, "peers_python", lambda: tmp_path / "python" if with_peers else None)
        return train.measure(replace(options, only=[name]))

    return measure


def test_speeds_are_examples_by_seconds_of_every_repeat(measured):
    table = measured("banking77")
    own_row, once, twice = table.rows[:3]
    assert (own_row.system, own_row.values["examples_per_second"]) == ("tfbert", [1000.0, 500.0])
    assert (once.system, once.values["examples_per_second"]) == ("transformers, float32", [500.0])
    assert (twice.values["examples_per_second"], twice.values["peak_memory_bytes"]) == ([250.0, 125.0], [2**30, 2**31])
    lines = table.to_markdown().splitlines()[2:]
    assert len(lines) == len(train.SYSTEMS)
    assert lines[0].startswith(
        "| banking77 | tfbert | accuracy | 750.0 (500.0 to 1,000.0) |  | 1.0 | 2.0 GiB | 0.500 ±"
    )
    assert lines[1].endswith("| 500.0 | 2.00 times as fast | 2.0 | 1.0 GiB | 0.500 |")
    assert lines[-1].endswith("| 1.0 GiB |  |")


def test_systems_that_cannot_train_are_left_out(measured):
    assert [row.system for row in measured("wnut17").rows] == [system.name for system in train.SYSTEMS[:3]]
    assert [row.system for row in measured("wnut17", with_peers=False).rows] == ["tfbert"]
    kerasnlp = [system.name for system in train.SYSTEMS if system.library == "kerasnlp"]
    assert [row.system for row in measured("banking77", with_peers=False).rows] == ["tfbert", *kerasnlp]


@pytest.mark.slow
def test_kerasnlp_fits_the_records_of_a_run(tmp_path):
    save_encoder(load_encoder("tiny"), tmp_path / "preset")
    job = transformers_peer.common_job(internals.run_data(small.finished_run()[0]), tmp_path / "job")
    job |= {"preset": str(tmp_path / "preset"), "num_batches": 4, "num_warm_batches": 1, "started_at": 0}
    job |= {"with_length": True, "dtype": "mixed_bfloat16", "jit_compile": False}
    run_worker("kerasnlp_fit", job, tmp_path / "job.json")
    summary = read_json(tmp_path / "job" / "summary.json")
    assert summary["num_examples"] == 3 * job["batch_size"]
    assert summary["train_seconds"] > 0 and summary["peak_memory_bytes"] > 2**20
    # It started in 1970.
    assert summary["seconds_to_first_update"] > 10**9


def test_tokens_are_not_taken_from_the_usual_cache(tmp_path, monkeypatch):
    encoder = tmp_path / "usual" / "encoders" / "minilm-1"
    encoder.mkdir(parents=True)
    (encoder / "vocab.txt").write_text("[PAD]")
    (tmp_path / "usual" / "tokens").mkdir()
    monkeypatch.setattr(internals, "encoder_dir", lambda name: encoder)
    for _ in range(2):
        cache = train.cache_without_tokens(tmp_path / "run")
        assert [path.name for path in cache.iterdir()] == ["encoders"]
        assert (cache / "encoders" / "minilm-1" / "vocab.txt").read_text() == "[PAD]"
        (cache / "tokens").mkdir()
