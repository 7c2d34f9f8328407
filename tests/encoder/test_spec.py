"""An encoder specification survives storage as JSON."""

import json

import pytest

from tfbert.encoder.spec import EncoderSpec

VALUES = {
    "kind": "tfbert",
    "activation": "gelu_tanh",
    "layer_norm_epsilon": 1e-7,
    "has_pooler": False,
    "vocabulary_size": 101,
    "num_layers": 3,
    "num_heads": 5,
    "hidden_dim": 35,
    "intermediate_dim": 70,
    "max_sequence_length": 77,
    "num_segments": 4,
    "dropout": 0.3,
}


@pytest.mark.parametrize("optional", [{}, {"commit": "abc", "pretraining": {"updates": 9}}])
def test_a_spec_survives_json(optional):
    spec = EncoderSpec(**VALUES, **optional)
    stored = json.loads(json.dumps(spec.to_json()))
    assert stored == VALUES | optional, "fields that are None are left out"
    assert EncoderSpec.from_json(stored) == spec
