"""Freezing, kernels in another dtype, initial weights, presets, and the encoder's config.

Frozen layers get no gradient and compute the same in training and inference; the others are trained as before.
"""

import inspect
import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras_hub.layers import TransformerEncoder
from keras_hub.models import BertBackbone, RobertaBackbone
from support.rounding import assert_near, distance, relative_error
from support.tunings import Adapter

from tfbert.encoder.activations import ACTIVATIONS
from tfbert.encoder.bert import BertEncoder
from tfbert.encoder.layer import EncoderLayer

# Two layers of six products each; the longest sum is that of the dense layer with 12 inputs.
ROUNDING = {"length": 12, "depth": 12}
SIZES = {
    "vocabulary_size": 20,
    "num_layers": 2,
    "num_heads": 2,
    "hidden_dim": 8,
    "intermediate_dim": 12,
    "max_sequence_length": 6,
    "num_segments": 2,
}
INPUTS = {
    "token_ids": tf.constant([[3, 4, 5, 6, 7, 8], [9, 10, 11, 12, 0, 0], [13, 14, 15, 16, 17, 0]]),
    "segment_ids": tf.constant([[0, 0, 0, 1, 1, 1], [0] * 6, [0] * 6]),
    "padding_mask": tf.constant([[1] * 6, [1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 0]]),
}


def an_encoder(num_trained, fast=True, product_dtype=None):
    keras.utils.set_random_seed(4)
    options = {"activation": "gelu", "fast": fast, "product_dtype": product_dtype}
    backbone = BertEncoder(**SIZES, dropout=0.5, draw_weights=False, **options)
    for index, weight in enumerate(backbone.trainable_weights):
        weight.assign(np.random.default_rng(index).normal(scale=0.5, size=weight.shape))
    if num_trained is not None:
        backbone.freeze(num_trained)
    return backbone


def an_encoder_and_later_weights(draw_weights):
    """Return the matrices of an encoder, and all weights of the layers that are built after it."""
    keras.utils.set_random_seed(5)
    first = BertEncoder(**SIZES, draw_weights=draw_weights)
    second, dense = BertBackbone(**SIZES), keras.layers.Dense(3)
    dense.build((None, 4))
    matrices = [weight for weight in first.weights if weight.path.endswith(("embeddings", "kernel"))]
    return [[weight.numpy() for weight in weights] for weights in (matrices, [*second.weights, *dense.weights])]


def test_skipping_random_weights_does_not_change_later_draws():
    (undrawn, later), (drawn, expected) = map(an_encoder_and_later_weights, (False, True))
    assert len(undrawn) == len(drawn) == 2 + 2 * 6 + 1 + 1
    assert all(weight.any() for weight in drawn) and not any(weight.any() for weight in undrawn)
    for actual_weight, expected_weight in zip(later, expected, strict=True):
        np.testing.assert_array_equal(actual_weight, expected_weight)


def test_initial_weights_are_those_of_kerasnlp():
    encoders = []
    for kind in (BertEncoder, BertBackbone):
        keras.utils.set_random_seed(6)
        encoders.append(kind(**SIZES, dropout=0.2))
    weights, expected_weights = (encoder.variables for encoder in encoders)
    assert len(weights) == len(expected_weights) == 5 + 1 + 2 * (16 + 3) + 2  # including seven dropout states
    for weight, expected in zip(weights, expected_weights, strict=True):
        assert "seed_generator" in weight.path or weight.path == expected.path
        np.testing.assert_array_equal(weight, expected, err_msg=weight.path)


def trained_layers(backbone):
    """Return the names of the layers with trainable weights, without duplicates."""
    return list(dict.fromkeys(weight.path.split("/")[0] for weight in backbone.trainable_weights))


def sequence(backbone, training=True):
    return tf.boolean_mask(backbone(INPUTS, training=training)["sequence_output"], INPUTS["padding_mask"]).numpy()


def hidden_states(encoder, training):
    """Return the embeddings of `INPUTS` and the output of every layer."""
    states = [encoder.embed(INPUTS["token_ids"], INPUTS["segment_ids"], training)]
    for layer in encoder.transformer_layers:
        states.append(layer(states[-1], padding_mask=INPUTS["padding_mask"], training=training))
    return states


def test_the_layers_nearest_the_head_are_trained():
    embeddings = ["token_embedding", "segment_embedding", "position_embedding", "embeddings_layer_norm"]
    layers, pooler = ["transformer_layer_0", "transformer_layer_1"], ["pooled_dense"]
    assert sorted(trained_layers(an_encoder(None))) == sorted(embeddings + layers + pooler)
    assert trained_layers(an_encoder(2)) == layers + pooler
    assert trained_layers(an_encoder(1)) == layers[1:] + pooler
    assert trained_layers(an_encoder(0)) == pooler


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("num_trained", [0, 1, 2])
def test_frozen_layers_have_no_dropout_and_no_gradient(num_trained, fast):
    backbone = an_encoder(num_trained, fast)
    trained, inferred = (hidden_states(backbone, training)[: 3 - num_trained] for training in (True, False))
    assert len(trained) == 3 - num_trained
    for trained_states, inferred_states in zip(trained, inferred, strict=True):
        is_close = np.isclose(trained_states, inferred_states, rtol=1e-4, atol=1e-4)
        assert is_close[INPUTS["padding_mask"].numpy() == 1].all()
    is_random = not np.allclose(sequence(backbone), sequence(backbone), atol=1e-3)
    assert is_random == (num_trained > 0)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.sin(backbone(INPUTS, training=True)["sequence_output"]))
    gradients = tape.gradient(loss, [weight.value for weight in backbone.weights])
    reached = {
        weight.path.split("/")[0]
        for weight, gradient in zip(backbone.weights, gradients, strict=True)
        if gradient is not None
    }
    assert reached == {"transformer_layer_0", "transformer_layer_1"} - {
        f"transformer_layer_{i}" for i in range(2 - num_trained)
    }


def test_without_freezing_there_is_dropout_everywhere():
    backbone = an_encoder(None)
    assert not np.allclose(sequence(backbone), sequence(backbone), atol=1e-3)
    assert not np.allclose(sequence(backbone), sequence(backbone, training=False), atol=1e-3)


def test_frozen_layers_multiply_in_the_dtype_of_training():
    exact, rounded = (sequence(an_encoder(0, product_dtype=products)) for products in (None, "bfloat16"))
    assert not np.array_equal(exact, rounded)
    assert_near(rounded, exact, "bfloat16", **ROUNDING)


def test_inference_temporarily_multiplies_in_another_dtype():
    backbone = an_encoder(1)
    before = sequence(backbone, training=False)
    with backbone.kernels_copied("bfloat16"):
        inside = sequence(backbone, training=False)
    assert not np.array_equal(inside, before)
    assert_near(inside, before, "bfloat16", **ROUNDING)
    np.testing.assert_array_equal(sequence(backbone, training=False), before)
    with backbone.kernels_copied(None):
        np.testing.assert_array_equal(sequence(backbone, training=False), before)


ARGUMENTS = {
    "vocabulary_size": 21,
    "num_layers": 1,
    "num_heads": 3,
    "hidden_dim": 9,
    "intermediate_dim": 7,
    "dropout": 0.4,
    "max_sequence_length": 6,
    "num_segments": 3,
    "activation": "relu",
    "layer_norm_epsilon": 0.3,
    "draw_weights": False,
    "fast": False,
    "product_dtype": "bfloat16",
    "dtype": "mixed_bfloat16",
    "name": "some_encoder",
    "trainable": False,
}
LAYER_ARGUMENTS = {
    "intermediate_dim": 7,
    "num_heads": 3,
    "dropout": 0.4,
    "activation": "gelu_tanh",
    "layer_norm_epsilon": 0.3,
    "kernel_initializer": "he_normal",
    "bias_initializer": "ones",
    "fast": False,
    "product_dtype": "bfloat16",
    "dtype": "mixed_bfloat16",
    "name": "some_layer",
    "trainable": False,
}


def arguments_of(*kinds):
    """Return the default of every named argument of the constructors of some classes."""
    signatures = [inspect.signature(kind.__init__) for kind in kinds]
    parameters = {name: parameter for signature in signatures for name, parameter in signature.parameters.items()}
    variadic = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    return {name: p.default for name, p in parameters.items() if p.kind not in variadic and name != "self"}


def test_every_argument_of_the_encoder_is_in_its_config():
    defaults = arguments_of(BertEncoder)
    assert ARGUMENTS.keys() == defaults.keys() | {"name", "trainable"}
    assert all(ARGUMENTS[name] != default for name, default in defaults.items())
    encoder = BertEncoder(**ARGUMENTS)
    restored = BertEncoder.from_config(json.loads(json.dumps(encoder.get_config())))
    assert restored.get_config() == encoder.get_config()
    for instance in (encoder, restored):
        assert instance.dtype_policy.name == "mixed_bfloat16"
        assert {name: getattr(instance, name) for name in ARGUMENTS if name != "dtype"} == {
            name: value for name, value in ARGUMENTS.items() if name != "dtype"
        }
        layer = instance.transformer_layers[0]
        assert (layer.layer_norm_epsilon, layer.fast, layer.product_dtype) == (0.3, False, "bfloat16")
        assert layer.activation is keras.activations.relu and instance.embeddings_layer_norm.epsilon == 0.3
        assert layer.components.attention.dropout == instance.embeddings_dropout.rate == 0.4
        assert layer.dtype_policy.name == "mixed_bfloat16"


def test_every_argument_of_a_layer_is_in_its_config():
    defaults = arguments_of(TransformerEncoder, EncoderLayer)
    assert LAYER_ARGUMENTS.keys() == (defaults.keys() | {"dtype", "name", "trainable"}) - {"normalize_first"}
    assert all(defaults.get(name) != value for name, value in LAYER_ARGUMENTS.items())
    layer = EncoderLayer(**LAYER_ARGUMENTS | {"activation": ACTIVATIONS["gelu_tanh"]})
    restored = keras.layers.deserialize(json.loads(json.dumps(keras.layers.serialize(layer))))
    assert type(restored) is EncoderLayer and restored.get_config() == layer.get_config()
    assert restored.activation is ACTIVATIONS["gelu_tanh"]
    assert restored.product_dtype == "bfloat16" and restored.fast is False
    with pytest.raises(ValueError, match="normalize_first"):
        EncoderLayer(7, 3, normalize_first=True)


def test_an_unknown_activation_is_refused():
    with pytest.raises(ValueError, match="activation is 'tanh'; expected one of gelu, gelu_tanh, relu, silu"):
        BertEncoder(**SIZES, activation="tanh")


def test_a_keras_file_keeps_weights_and_computation(tmp_path):
    encoder = an_encoder(None, product_dtype="bfloat16")
    encoder.save(tmp_path / "encoder.keras")
    restored = keras.models.load_model(tmp_path / "encoder.keras")
    assert type(restored) is BertEncoder and restored.get_config() == encoder.get_config()
    np.testing.assert_array_equal(sequence(restored, training=False), sequence(encoder, training=False))
    assert restored.activation == "gelu"


def test_a_defect_causes_a_larger_error_than_rounding():
    exact = sequence(an_encoder(0, product_dtype="bfloat16"))
    for path in ("layer_1/feedforward_intermediate_dense/bias", "layer_1/self_attention_layer/attention_output/kernel"):
        broken = an_encoder(0, product_dtype="bfloat16")
        [weight] = [weight for weight in broken.weights if weight.path.endswith(path)]
        weight.assign(tf.zeros_like(weight) if path.endswith("bias") else weight.numpy()[::-1])
        assert distance(sequence(broken), exact)[0] > 1.5 * relative_error("bfloat16", **ROUNDING)


def test_no_method_of_a_live_layer_is_replaced():
    encoder = an_encoder(1, product_dtype="bfloat16")
    with encoder.kernels_copied("bfloat16"):
        components = [component for layer in encoder.transformer_layers for component in layer.components]
        layers = [encoder, *encoder.layers, *components]
        assert len(layers) > 20
        assert not [layer.name for layer in layers if "call" in vars(layer)]


def test_a_preset_is_loaded_without_random_weights_and_cannot_contain_extensions(tmp_path):
    encoder = an_encoder(None)
    encoder.save_to_preset(str(tmp_path))
    loaded = BertEncoder.from_preset(str(tmp_path), activation="gelu", dropout=0.25)
    assert type(loaded) is BertEncoder and (loaded.activation, loaded.dropout) == ("gelu", 0.25)
    np.testing.assert_array_equal(sequence(loaded, training=False), sequence(encoder, training=False))
    empty = BertEncoder.from_preset(str(tmp_path), load_weights=False)
    assert not any(weight.numpy().any() for weight in empty.weights if weight.path.endswith(("kernel", "embeddings")))
    encoder.extend(encoder.transformer_layers[0].attention_end, Adapter(8, name="adapter"))
    with pytest.raises(ValueError, match="has no weight 'adapter/down/bias'"):
        encoder.save_to_preset(str(tmp_path / "extended"))


def test_a_preset_of_another_class_is_refused(tmp_path):
    sizes = {"vocabulary_size": 9, "num_layers": 1, "num_heads": 2, "hidden_dim": 4, "intermediate_dim": 6}
    RobertaBackbone(**sizes).save_to_preset(str(tmp_path))
    with pytest.raises(ValueError, match="RobertaBackbone"):
        BertEncoder.from_preset(str(tmp_path))
