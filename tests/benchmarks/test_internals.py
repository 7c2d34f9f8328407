"""The module of benchmarks that uses internals of tfbert: exported heads, scores of predictions, and baselines."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from support import small

from benchmarks import internals
from tfbert.encoder.backbone import load_encoder
from tfbert.files import read_json

INPUTS = {
    "token_ids": np.array([[2, 9, 30, 3], [2, 100, 3, 0]], "int32"),
    "segment_ids": np.zeros((2, 4), "int32"),
    "padding_mask": np.array([[1, 1, 1, 1], [1, 1, 1, 0]], "int32"),
}


def test_encoder_and_head_are_the_exported_model(tmp_path):
    run_dir, model_dir = small.finished_run()
    assert internals.write_head(run_dir, tmp_path) == ["card", "fee", "loan"]
    internals.export_encoder(run_dir, tmp_path / "encoder")
    sequence = load_encoder(tmp_path / "encoder").backbone(INPUTS)["sequence_output"].numpy()
    mask, head = INPUTS["padding_mask"][:, :, None], np.load(tmp_path / "head.npz")
    logits = (sequence * mask).sum(1) / mask.sum(1) @ head["kernel"] + head["bias"]
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    model = tf.saved_model.load(str(model_dir / "1"))
    expected = model.signatures["token_ids"](**{name: tf.constant(value) for name, value in INPUTS.items()})
    np.testing.assert_allclose(probabilities, expected["probabilities"].numpy(), atol=1e-5)
    description = read_json(tmp_path / "model.json")
    assert description == {
        "labels": ["card", "fee", "loan"],
        "sequence_length": 32,
        "num_heads": 2,
        "hidden_dim": sequence.shape[-1],
    }


@pytest.mark.parametrize(
    ("section", "field", "value", "expected"),
    [("head", "pooling", "max", "mean"), ("encoder", "long_text", "mean", "cut")],
)
def test_a_model_that_other_libraries_do_not_build_is_rejected(tmp_path, section, field, value, expected):
    copied = shutil.copytree(small.finished_run()[0], tmp_path / "run")
    config = read_json(copied / "config.json")
    config[section][field] = value
    (copied / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=f"{section}.{field} is '{value}'; .* only with '{expected}'$"):
        internals.write_head(copied, tmp_path)


def test_predictions_become_outputs():
    outputs = internals.outputs_of([{"n": 1, "texts": ["é"], "ends": [3]}, {"n": 0, "texts": [], "ends": []}])
    assert outputs["n"].tolist() == [1, 0]
    assert outputs["texts"].tolist() == [["é".encode()], [b""]]
    assert outputs["ends"].tolist() == [[3], [0]]


def test_records_are_written_and_predictions_scored_in_their_order(tmp_path):
    data = internals.run_data(small.finished_run()[0])
    paths = data.write_records(tmp_path)
    lines = {name: Path(path).read_text().splitlines() for name, path in paths.items()}
    records = {name: [json.loads(line) for line in split] for name, split in lines.items()}
    assert {name: len(rows) for name, rows in records.items()} == {"train": 48, "validation": 12, "test": 12}
    labels = ["card", "fee", "loan"]
    right = [labels.index(record["target"]) for record in records["test"]]
    # All predictions except the first are correct.
    chosen = [(right[0] + 1) % 3, *right[1:]]
    rows = [{"label_id": label_id, "probabilities": np.eye(3)[label_id].tolist()} for label_id in chosen]
    (tmp_path / "predictions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert data.test_scores(tmp_path / "predictions.jsonl")["accuracy"] == pytest.approx(11 / 12)


def test_the_baseline_learns_from_the_vectors_of_the_untrained_encoder():
    counts = [record.target for record in internals.run_data(small.finished_run()[0]).splits["test"]]
    # Each label has distinct words, so that even random vectors are better than the most frequent label.
    most_frequent = max(counts.count(label) for label in set(counts)) / len(counts)
    assert most_frequent < internals.frozen_accuracy(small.finished_run()[0]) <= 1
