"""Evaluation of a run and of its SavedModel on labelled files."""

import shutil

import pytest
from support import small

from tfbert.files import read_json
from tfbert.serving.deployment import render
from tfbert.serving.evaluate import evaluate


@pytest.fixture(scope="module")
def data_dir(run_dir):
    return run_dir.parent / "data"


def test_the_test_split_of_a_directory_is_used(model_dir, run_dir, data_dir, caplog):
    caplog.set_level("INFO")
    result = evaluate(model_dir, str(data_dir), {})
    report = read_json(run_dir / "report.json")["test"]
    assert result["metrics"] == report["metrics"] and result["per_label"] == report["per_label"]
    assert (result["model"], result["data"], result["num_examples"]) == (str(model_dir), str(data_dir), 12)
    assert "reads text from 'text', label from 'label'" in caplog.text


def test_all_records_of_a_file_are_used(run_dir, data_dir):
    result = evaluate(run_dir, str(data_dir / "train.csv"), {})
    assert result["num_examples"] == 48
    assert sum(label["num_examples"] for label in result["per_label"].values()) == 48


def test_config_values_say_how_a_file_is_read(run_dir, tmp_path):
    (tmp_path / "a.csv").write_text("".join(f"{label};{text}\n" for text, label in small.rows(6, 9)), encoding="utf-8")
    values = {"data.delimiter": ";", "data.header": "none", "data.columns": "label=1,text=2"}
    assert evaluate(run_dir, str(tmp_path / "a.csv"), values)["num_examples"] == 6


def test_a_directory_without_test_split_is_rejected(run_dir, tmp_path):
    small.write_data(tmp_path / "data", test=0, validation=0)
    with pytest.raises(ValueError, match="data: has no test split; expected one, or the file to evaluate on"):
        evaluate(run_dir, str(tmp_path / "data"), {"data.test_fraction": 0.0})


def test_unknown_labels_are_rejected(model_dir, tmp_path):
    small.write_csv(tmp_path / "a.csv", [("my card", "card"), ("what", "cards")])
    with pytest.raises(ValueError, match="a.csv:3: label 'cards' is not one of the 3 labels of train; did you mean"):
        evaluate(model_dir, str(tmp_path / "a.csv"), {})


def test_a_model_of_an_earlier_version_is_rejected(model_dir, data_dir, tmp_path):
    copied = tmp_path / "1"
    shutil.copytree(model_dir / "1", copied)
    (copied / "assets" / "task.json").unlink()
    message = f"{copied}: exported by an earlier version of tfbert; train the model again and export it"
    with pytest.raises(ValueError) as caught:
        evaluate(copied, str(data_dir), {})
    assert str(caught.value) == message
    with pytest.raises(ValueError) as caught:
        render(copied, tmp_path / "deployment")
    assert str(caught.value) == message


def test_a_directory_that_is_neither_run_nor_model_is_rejected(tmp_path):
    with pytest.raises(ValueError, match="contains no SavedModel"):
        evaluate(tmp_path, str(tmp_path), {})
