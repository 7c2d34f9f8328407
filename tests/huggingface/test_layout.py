"""tfbert.json is bound to the weights, and the copying pooler is recognised."""

import numpy as np
from support import small

from tfbert.encoder.backbone import load_encoder
from tfbert.files import read_json
from tfbert.huggingface.layout import (
    COPYING_SLOPE,
    RECORD,
    WEIGHTS,
    copying_pooler,
    has_copying_pooler,
    is_export,
    read_record,
    write_record,
)
from tfbert.models.saved_run import load_run


def test_the_record_belongs_to_its_weights_and_names_no_data(tmp_path):
    run = load_run(small.finished_run()[0])
    assert read_record(tmp_path) is None
    (tmp_path / WEIGHTS).write_bytes(b"1")
    write_record(tmp_path, run)
    record = read_record(tmp_path)
    assert record["task"] == run.task.to_json() and record["decided"] == {"temperature": 1.0}
    assert set(record["config"]) == {"task", "encoder", "head"}
    assert run.config.data.path not in (tmp_path / RECORD).read_text() and read_json(tmp_path / RECORD) == record
    (tmp_path / WEIGHTS).write_bytes(b"2")
    assert read_record(tmp_path) is None and not is_export(tmp_path)
    # An encoder, or a model that cannot be imported.
    write_record(tmp_path)
    assert read_record(tmp_path) is None and is_export(tmp_path)


def test_the_copying_pooler_copies_within_rounding_errors():
    backbone = load_encoder("tiny").backbone
    assert not has_copying_pooler(backbone)
    backbone.pooled_dense.set_weights([copying_pooler(32), np.zeros(32)])
    assert has_copying_pooler(backbone)
    # Values of hidden states rarely exceed 20.
    vector = np.linspace(-20, 20, 32, dtype=np.float32)[None]
    copied = np.asarray(backbone.pooled_dense(vector)) / COPYING_SLOPE
    np.testing.assert_allclose(copied, vector, rtol=1e-5)
