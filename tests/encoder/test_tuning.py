"""Learning-rate groups of an encoder's weights, and how many layers can be trained."""

import pytest

from tfbert.encoder.backbone import load_encoder
from tfbert.encoder.tuning import EMBEDDINGS, POOLER, check_layers, encoder_groups, layer_group


def test_every_weight_of_an_encoder_has_a_group():
    encoder = load_encoder("tiny").backbone
    groups = encoder_groups(encoder)
    assert {variable.path for variable in encoder.weights} <= groups.keys()
    assert set(groups.values()) == {EMBEDDINGS, POOLER, layer_group(0), layer_group(1)}
    assert groups[encoder.token_embedding.embeddings.path] == EMBEDDINGS
    assert groups[encoder.pooled_dense.kernel.path] == POOLER
    assert {groups[variable.path] for variable in encoder.transformer_layers[1].weights} == {layer_group(1)}


@pytest.mark.parametrize("number", [None, 0, 12])
def test_as_many_layers_as_there_are_can_be_learned(number):
    check_layers(number, 12, "minilm")


def test_more_layers_than_there_are_cannot_be_learned():
    with pytest.raises(ValueError, match=r"train.trainable_layers=13: minilm has 12 layers; expected at most so many"):
        check_layers(13, 12, "minilm")
