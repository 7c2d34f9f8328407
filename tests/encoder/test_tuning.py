"""Learning-rate groups of an encoder's weights, and the check of how many layers can be trained."""

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


@pytest.mark.parametrize("num_layers_to_train", [None, 0, 12])
def test_up_to_all_layers_can_be_trained(num_layers_to_train):
    check_layers(num_layers_to_train, 12, "minilm")


def test_more_layers_than_the_encoder_has_are_refused():
    with pytest.raises(ValueError, match=r"train.trainable_layers=13: expected at most 12, the layers of minilm"):
        check_layers(13, 12, "minilm")
