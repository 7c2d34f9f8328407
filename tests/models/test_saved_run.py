"""Saved runs: a loaded predictor gives the same outputs, of several seeds the best is loaded, and errors."""

import json
import shutil

import numpy as np
import pytest
from support import small

from tfbert.encoder.spec import EncoderSpec
from tfbert.files import REPORT, read_json, write_json
from tfbert.models.saved_run import finished_run, load_run, save_run, stored_task


@pytest.fixture(scope="module")
def run_dir():
    return small.finished_run()[0]


@pytest.fixture(scope="module")
def run(run_dir):
    return load_run(run_dir)


@pytest.fixture
def copied(run_dir, tmp_path):
    return shutil.copytree(run_dir, tmp_path / "run")


def test_config_report_task_and_samples_are_loaded(run, run_dir):
    assert run.config.to_dict() == read_json(run_dir / "config.json")
    assert run.report == read_json(run_dir / REPORT)
    assert run.task is run.predictor.task and stored_task(run_dir) == run.task
    assert run.task.labels == tuple(sorted(small.TOPICS))
    assert len(run.samples) == 8 and all(set(item) == {"text"} for item in run.samples)


def test_a_saved_predictor_is_loaded_with_equal_outputs(run, copied):
    (copied / "model.json").unlink()
    architecture = {name: value for name, value in run.report["encoder"].items() if name != "name"}
    save_run(copied, run.predictor, EncoderSpec.from_json(architecture), run.samples)
    loaded = load_run(copied)
    assert loaded.task == run.task and loaded.samples == run.samples
    expected, outputs = run.predictor(run.samples), loaded.predictor(run.samples)
    assert outputs["label"].tolist() == expected["label"].tolist()
    np.testing.assert_array_equal(outputs["probabilities"], expected["probabilities"])


def test_products_in_another_dtype(run, run_dir):
    narrow = load_run(run_dir)
    narrow.predictor.model.backbone.copy_kernels("bfloat16")
    expected, outputs = run.predictor(run.samples), narrow.predictor(run.samples)
    assert not np.array_equal(outputs["probabilities"], expected["probabilities"])
    np.testing.assert_allclose(outputs["probabilities"], expected["probabilities"], atol=0.1)


def test_the_best_seed_or_the_kept_adaptation_is_loaded(run, copied, tmp_path):
    report = read_json(copied / REPORT)
    several = tmp_path / "several"
    (several / "kept").mkdir(parents=True)
    shutil.copytree(copied, several / "kept" / "seed-2")
    seeds = {"seeds": [1, 2], "best": 2}
    write_json(several / REPORT, report | {"seeds": seeds, "adaptation": {"kept": "kept"}})
    loaded = load_run(several)
    assert loaded.report["seeds"] == seeds
    np.testing.assert_array_equal(
        loaded.predictor(run.samples)["probabilities"], run.predictor(run.samples)["probabilities"]
    )


def test_a_directory_without_a_finished_run_is_rejected(copied):
    (copied / REPORT).unlink()
    with pytest.raises(ValueError, match=r"run: contains no finished run; expected a directory with report\.json"):
        load_run(copied)


def test_a_damaged_report_is_named(copied):
    report = read_json(copied / REPORT)
    write_json(copied / REPORT, {name: value for name, value in report.items() if name != "seeds"})
    with pytest.raises(ValueError, match=r"run/report\.json: seeds is missing; the file is damaged"):
        load_run(copied)


def test_a_run_of_an_earlier_version_is_rejected(copied):
    stored = json.loads((copied / "model.json").read_text(encoding="utf-8"))
    del stored["task"]
    (copied / "model.json").write_text(json.dumps(stored), encoding="utf-8")
    with pytest.raises(ValueError, match="run: trained by an earlier version of tfbert; train again"):
        load_run(copied)


def test_missing_weights_are_named(copied):
    (copied / "best.safetensors").unlink()
    with pytest.raises(ValueError, match=r"best\.safetensors: not a tfbert checkpoint"):
        load_run(copied)


def test_the_run_of_a_search_is_its_best_one(run_dir, tmp_path):
    assert finished_run(run_dir) == run_dir
    write_json(tmp_path / REPORT, {"task": "classification", "plan": {}})
    assert finished_run(tmp_path) == tmp_path / "best"
    write_json(tmp_path / REPORT, {"before": {}})
    with pytest.raises(ValueError, match=f"{tmp_path}: is a pretraining; expected a run of a task, with encoder="):
        load_run(tmp_path)
