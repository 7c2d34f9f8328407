"""The model of the serving tables: the same for both sides, or refused."""

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf
from support import small

from tfbert.bench import served
from tfbert.encoder.backbone import load_encoder
from tfbert.encoder.precision import Precision
from tfbert.files import read_json

INPUTS = {
    "token_ids": np.array([[2, 9, 30, 3], [2, 100, 3, 0]], "int32"),
    "segment_ids": np.zeros((2, 4), "int32"),
    "padding_mask": np.array([[1, 1, 1, 1], [1, 1, 1, 0]], "int32"),
}


def changed_run(tmp_path, section, field, value):
    """Return a copy of the finished run with another config."""
    copied = shutil.copytree(small.finished_run()[0], tmp_path / "changed")
    config = read_json(copied / "config.json")
    config[section][field] = value
    (copied / "config.json").write_text(json.dumps(config))
    return copied


def without_bfloat16(monkeypatch):
    monkeypatch.setattr(served, "choose_precision", lambda _: Precision("float32", None))


def test_what_the_peers_get_is_the_exported_model(tmp_path, monkeypatch):
    without_bfloat16(monkeypatch)
    stale = [tmp_path / "out" / "model" / "1" / "saved_model.pb", tmp_path / "out" / "peer" / "int8.onnx"]
    for path in stale:
        path.parent.mkdir(parents=True)
        path.write_text("of another run")
    found = served.make_served(tmp_path, tmp_path / "out", small.finished_run()[0])
    assert found.version_dir == stale[0].parent and not stale[1].exists()
    assert found.bfloat16_dir is None
    model = tf.saved_model.load(str(found.version_dir))
    ours = model.signatures["token_ids"](**{name: tf.constant(value) for name, value in INPUTS.items()})
    sequence = load_encoder(found.peer_dir / "encoder").backbone(INPUTS)["sequence_output"].numpy()
    mask, head = INPUTS["padding_mask"][:, :, None], np.load(found.peer_dir / "head.npz")
    logits = (sequence * mask).sum(1) / mask.sum(1) @ head["kernel"] + head["bias"]
    theirs = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(theirs, ours["probabilities"].numpy(), atol=1e-5)
    facts = read_json(found.peer_dir / "model.json")
    assert facts["labels"] == found.labels == ["card", "fee", "loan"]
    assert read_json(found.litert_dir / "litert.json")["facts"]["labels"] == found.labels
    assert (facts["sequence_length"], facts["num_heads"], facts["hidden_dim"]) == (32, 2, sequence.shape[-1])


@pytest.mark.parametrize(
    ("section", "field", "value", "words"),
    [
        ("head", "pooling", "max", "head.pooling is 'max'; wanted 'mean', which the peers build"),
        ("encoder", "long_text", "mean", "encoder.long_text is 'mean'; wanted 'cut', which the peers build"),
    ],
)
def test_a_run_that_the_peers_do_not_build_is_refused(tmp_path, section, field, value, words):
    run_dir = changed_run(tmp_path, section, field, value)
    with pytest.raises(ValueError, match=words):
        served.make_served(tmp_path, tmp_path / "out", run_dir)
    assert not (tmp_path / "out").exists()


def test_bfloat16_is_there_where_the_processor_has_it(tmp_path, monkeypatch):
    monkeypatch.setattr(served, "choose_precision", lambda _: Precision("float32", "bfloat16"))
    version_dir = served._export_bfloat16(small.finished_run()[0], tmp_path / "model-bfloat16")
    assert version_dir == tmp_path / "model-bfloat16" / "1"
    assert "bfloat16" in (version_dir / "MODEL_CARD.md").read_text()
    without_bfloat16(monkeypatch)
    assert served._export_bfloat16(small.finished_run()[0], tmp_path / "none") is None
    assert not (tmp_path / "none").exists()


def test_texts_are_drawn_in_an_order_that_stays(data_dir, caplog, monkeypatch):
    with caplog.at_level("INFO"):
        found = served.draw_records(data_dir)
    assert list(found) == ["banking77"] and "bbc_news: no" in caplog.text
    texts = [record.text for record in found["banking77"]]
    assert texts == [record.text for record in served.draw_records(data_dir)["banking77"]]
    in_file = [text for text, _ in small.rows(12, 3)]
    assert sorted(texts) == sorted(in_file) and texts != in_file
    monkeypatch.setattr(served, "_NUM_TEXTS", 5)
    assert len(served.draw_records(data_dir)["banking77"]) == 5


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"banking77: is not there; wanted the texts to ask$"):
        served.draw_records(tmp_path)
    with pytest.raises(ValueError, match=r"wanted the data of 'banking77, 10 a label', or --model RUN$"):
        served.make_served(tmp_path, tmp_path / "out")
