"""How fast an epoch is: speeds from what trainings left, and KerasNLP's `fit` as a peer."""

import json
import subprocess
import sys

import pytest
from support import small

from tfbert.bench import peers, training
from tfbert.bench.processes import WORKERS
from tfbert.encoder.backbone import load_encoder, save_encoder
from tfbert.encoder.presets import EncoderSource
from tfbert.files import read_json, write_json


@pytest.fixture
def measured(tmp_path, monkeypatch):
    """Leave what finished trainings leave, so that nothing is trained, and return what `measure` makes of it."""
    for path in ("banking77", "wnut17"):
        (tmp_path / "data" / path).mkdir(parents=True)
    slowness = {way: 2.0**place for place, way in enumerate(training.WAYS)}
    for name in ("banking77", "wnut17"):
        for repeat in (0, 1):
            for way, factor in slowness.items():
                summary = {"num_examples": 1000, "seconds": (1 + repeat) * factor, "seconds_to_first_update": factor}
                summary |= {"peak_memory_bytes": (1 + repeat) * 2**30, "score": None if "keras" in way else 0.5}
                path = tmp_path / "out" / f"{name}-{repeat}" / way / "summary.json"
                path.parent.mkdir(parents=True)
                path.write_text(json.dumps(summary))

    def measure(name, with_peers=True):
        monkeypatch.setattr(peers, "peers_python", lambda: tmp_path / "python" if with_peers else None)
        return training.measure(tmp_path / "data", tmp_path / "out", [name], 2)

    return measure


def test_speeds_are_examples_by_seconds_of_every_repeat(measured):
    ours, single, *_ = measured("banking77")
    assert (ours["way"], ours["examples_per_second"]) == ("tfbert", [1000.0, 500.0])
    assert (single["way"], single["examples_per_second"]) == ("transformers", [500.0])
    assert (single["peak_memory_bytes"], single["score"], single["metric"]) == (2**30, [0.5], "accuracy")
    twice = next(row for row in measured("banking77") if row["way"] == "transformers-bfloat16")
    assert (twice["examples_per_second"], twice["peak_memory_bytes"]) == ([250.0, 125.0], 2 * 2**30)


def test_the_table_has_medians_and_ratios_within_a_repeat(measured):
    lines = training.to_markdown(measured("banking77")).splitlines()[2:]
    assert len(lines) == len(training.WAYS)
    assert lines[0] == "| banking77 | tfbert | 750.0 (500.0 to 1,000.0) |  | 1.0 | 2.0 GiB | accuracy | 0.500 |"
    assert lines[1].startswith(
        "| banking77 | transformers, float32 | 500.0 (500.0 to 500.0) | 2.00 times as fast | 2.0"
    )
    assert "| 187.5 (125.0 to 250.0) | 4.00 times as fast |" in lines[2]
    assert lines[-1].endswith("| 1.0 GiB | accuracy | not a whole epoch |")


def test_ways_that_are_not_there_are_left_out(measured):
    assert [row["way"] for row in measured("wnut17")] == ["tfbert", "transformers", "transformers-bfloat16"]
    assert [row["way"] for row in measured("wnut17", with_peers=False)] == ["tfbert"]
    assert "transformers" not in {row["way"] for row in measured("banking77", with_peers=False)}


def test_data_that_are_missing_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"bbc_news: is not there; wanted the data of 'bbc_news'"):
        training.measure(tmp_path, tmp_path / "out", ["bbc_news"])
    with pytest.raises(ValueError, match="--only 'sst2' is not one of banking77, bbc_news, wnut17"):
        training.measure(tmp_path, tmp_path / "out", ["sst2"])


def test_kerasnlp_fits_the_records_of_a_run(tmp_path):
    run_dir, _ = small.finished_run()
    save_encoder(load_encoder("tiny"), tmp_path / "preset")
    job = peers.job_of(run_dir, tmp_path / "job")
    job |= {"preset": str(tmp_path / "preset"), "out": str(tmp_path / "fit.json"), "with_length": True}
    job |= {"num_batches": 4, "num_warm_batches": 1, "dtype": "mixed_bfloat16", "jit_compile": False, "started_at": 0}
    write_json(tmp_path / "job.json", job)
    subprocess.run([sys.executable, str(WORKERS / "kerasnlp_fit.py"), str(tmp_path / "job.json")], check=True)
    found = read_json(tmp_path / "fit.json")
    assert found["num_examples"] == 3 * job["batch_size"]
    assert found["seconds"] > 0 and found["peak_memory_bytes"] > 2**20
    # It began in 1970.
    assert found["seconds_to_first_update"] > 10**9


def test_a_run_of_ours_makes_its_own_tokens(tmp_path, monkeypatch):
    encoder = tmp_path / "usual" / "encoders" / "minilm-1"
    encoder.mkdir(parents=True)
    (encoder / "vocab.txt").write_text("[PAD]")
    (tmp_path / "usual" / "tokens").mkdir()
    monkeypatch.setattr(training, "resolve", lambda name: EncoderSource(name, "huggingface", encoder))
    for _ in range(2):
        cache = training.cache_without_tokens(tmp_path / "run")
        assert [path.name for path in cache.iterdir()] == ["encoders"]
        assert (cache / "encoders" / "minilm-1" / "vocab.txt").read_text() == "[PAD]"
        (cache / "tokens").mkdir()
    assert (encoder / "vocab.txt").exists()
