"""Loaded encoders compute the same as transformers and as a BERT in numpy, and survive saving and loading."""

import dataclasses
import json
import math
from pathlib import Path

import keras_hub
import numpy as np
import pytest
from support.bert_files import CONFIG, VOCABULARY, make_tensors, write
from support.rounding import assert_near, distance, relative_error

from tfbert.encoder import presets
from tfbert.encoder.backbone import load_encoder, save_encoder
from tfbert.encoder.weights import named_weights

# Keras copies a variable for save_weights in a way that numpy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")

INPUTS = {
    "token_ids": np.array([[2, 5, 6, 3, 0, 0, 0], [2, 8, 3, 11, 9, 7, 3]], "int32"),
    "segment_ids": np.array([[0, 0, 0, 0, 0, 0, 0], [0, 0, 0, 1, 1, 2, 1]], "int32"),
    "padding_mask": np.array([[1, 1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 1, 1, 1]], "int32"),
}
IS_TOKEN = INPUTS["padding_mask"].astype(bool)

ERF = np.vectorize(math.erf)
NUMPY_ACTIVATIONS = {
    "gelu": lambda x: x * 0.5 * (1 + ERF(x / math.sqrt(2))),
    "gelu_new": lambda x: x * 0.5 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "relu": lambda x: np.maximum(x, 0),
    "silu": lambda x: x / (1 + np.exp(-x)),
}


def numpy_bert(tensors, config, inputs):
    """Compute BERT in float64 from a Hugging Face state dict."""
    epsilon, act = config["layer_norm_eps"], NUMPY_ACTIVATIONS[config["hidden_act"]]
    heads, hidden = config["num_attention_heads"], config["hidden_size"]

    def dense(x, name):
        return x @ tensors[f"{name}.weight"].T.astype("float64") + tensors[f"{name}.bias"]

    def norm(x, name):
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + epsilon)
        return x * tensors[f"{name}.LayerNorm.weight"] + tensors[f"{name}.LayerNorm.bias"]

    def split(x):
        return x.reshape(*x.shape[:2], heads, hidden // heads).transpose(0, 2, 1, 3)

    x = tensors["embeddings.word_embeddings.weight"][inputs["token_ids"]].astype("float64")
    x = x + tensors["embeddings.position_embeddings.weight"][: x.shape[1]]
    x = norm(x + tensors["embeddings.token_type_embeddings.weight"][inputs["segment_ids"]], "embeddings")
    for index in range(config["num_hidden_layers"]):
        prefix = f"encoder.layer.{index}"
        query, key, value = (split(dense(x, f"{prefix}.attention.self.{name}")) for name in ("query", "key", "value"))
        logits = query @ key.transpose(0, 1, 3, 2) / math.sqrt(hidden // heads)
        logits = logits - 1e9 * (1 - inputs["padding_mask"][:, None, None, :])
        attention = np.exp(logits - logits.max(-1, keepdims=True))
        context = (attention / attention.sum(-1, keepdims=True)) @ value
        context = context.transpose(0, 2, 1, 3).reshape(x.shape)
        x = norm(x + dense(context, f"{prefix}.attention.output.dense"), f"{prefix}.attention.output")
        x = norm(x + dense(act(dense(x, f"{prefix}.intermediate.dense")), f"{prefix}.output.dense"), f"{prefix}.output")
    return x, np.tanh(dense(x[:, 0], "pooler.dense"))


def run(backbone):
    segment_ids = np.minimum(INPUTS["segment_ids"], backbone.num_segments - 1)
    return {name: value.numpy() for name, value in backbone(INPUTS | {"segment_ids": segment_ids}).items()}


def assert_close(backbone, expected, tolerance=2e-5):
    outputs = run(backbone)
    np.testing.assert_allclose(outputs["sequence_output"][IS_TOKEN], expected[0][IS_TOKEN], atol=tolerance, rtol=0)
    np.testing.assert_allclose(outputs["pooled_output"], expected[1], atol=tolerance, rtol=0)


@pytest.mark.parametrize("epsilon", [1e-12, 1e-2])
@pytest.mark.parametrize("activation", NUMPY_ACTIVATIONS)
def test_activation_and_epsilon_of_the_config_are_used(activation, epsilon, tmp_path):
    config = CONFIG | {"hidden_act": activation, "layer_norm_eps": epsilon}
    encoder = load_encoder(write(tmp_path, config))
    assert_close(encoder.backbone, numpy_bert(make_tensors(config), config, INPUTS))
    assert encoder.spec.activation == {"gelu_new": "gelu_tanh"}.get(activation, activation)
    assert encoder.spec.layer_norm_epsilon == epsilon
    other = numpy_bert(make_tensors(config), config | {"hidden_act": "gelu_new", "layer_norm_eps": 1e-12}, INPUTS)
    if (activation, epsilon) != ("gelu_new", 1e-12):  # so the check above distinguishes them
        assert np.abs(run(encoder.backbone)["sequence_output"] - other[0])[IS_TOKEN].max() > 1e-4


def test_the_spec_describes_the_encoder(tmp_path):
    encoder = load_encoder(write(tmp_path))
    assert encoder.vocabulary == VOCABULARY and encoder.source == str(tmp_path)
    assert json.loads(json.dumps(encoder.spec.to_json())) == {
        "kind": "huggingface",
        "activation": "gelu",
        "layer_norm_epsilon": 1e-5,
        "has_pooler": True,
        "vocabulary_size": 12,
        "num_layers": 2,
        "num_heads": 3,
        "hidden_dim": 12,
        "intermediate_dim": 20,
        "max_sequence_length": 9,
        "num_segments": 3,
        "dropout": 0.2,
    }


def test_old_names_prefix_half_precision_and_extra_heads(tmp_path):
    tensors = {name: value.astype("float16") for name, value in make_tensors(CONFIG).items()}
    expected = numpy_bert({name: value.astype("float32") for name, value in tensors.items()}, CONFIG, INPUTS)
    renamed = {
        "bert." + name.replace("Norm.weight", "Norm.gamma").replace("Norm.bias", "Norm.beta"): value
        for name, value in tensors.items()
    }
    renamed |= {"cls.predictions.bias": np.zeros(12, "float32"), "bert.embeddings.position_ids": np.arange(9)[None]}
    encoder = load_encoder(write(tmp_path, tensors=renamed))
    assert_close(encoder.backbone, expected)


def test_without_pooler(tmp_path, caplog):
    tensors = {name: value for name, value in make_tensors(CONFIG).items() if not name.startswith("pooler")}
    first, repeated, other = (load_encoder(write(tmp_path, tensors=tensors), seed=seed) for seed in (1, 1, 2))
    expected = numpy_bert(make_tensors(CONFIG), CONFIG, INPUTS)[0]
    outputs = [run(encoder.backbone) for encoder in (first, repeated, other)]
    np.testing.assert_allclose(outputs[0]["sequence_output"][IS_TOKEN], expected[IS_TOKEN], atol=2e-5)
    assert first.spec.has_pooler is False and "the weights have no pooler" in caplog.text
    np.testing.assert_array_equal(outputs[0]["pooled_output"], outputs[1]["pooled_output"])
    assert np.abs(outputs[0]["pooled_output"] - outputs[2]["pooled_output"]).max() > 1e-3


def test_dropout_reaches_the_layers(tmp_path, caplog):
    write(tmp_path, {"attention_probs_dropout_prob": 0.3})
    assert load_encoder(tmp_path).spec.dropout == 0.2
    assert "attention dropout is 0.3; using the hidden dropout, 0.2, for both" in caplog.text
    encoder = load_encoder(tmp_path, dropout=0.0)
    save_encoder(encoder, tmp_path / "saved")
    for backbone in (encoder.backbone, load_encoder(tmp_path / "saved").backbone):
        layer = backbone.transformer_layers[0]
        assert backbone.embeddings_dropout.rate == layer.components.feedforward_dropout.rate == layer.dropout == 0.0
        trained = backbone(INPUTS, training=True)["pooled_output"].numpy()
        # Nothing is dropped; training only rounds differently.
        assert_near(trained, run(backbone)["pooled_output"], "float32", length=20, depth=13)
    assert (
        load_encoder(tmp_path / "saved", dropout=0.4).backbone.transformer_layers[1].components.feedforward_dropout.rate
        == 0.4
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": "float64"}, "dtype is 'float64'; expected one of float32"),
        ({"dropout": 1.0}, "dropout is 1.0; expected 0"),
    ],
)
def test_refused_options(options, message):
    with pytest.raises(ValueError, match=message):
        load_encoder("tiny", **options)


@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_keeps_float32_weights(dtype, tmp_path):
    encoder = load_encoder(write(tmp_path), dtype=dtype)
    assert {variable.dtype for variable in encoder.backbone.weights} == {"float32"}
    outputs = run(encoder.backbone)
    assert outputs["sequence_output"].dtype != np.float32
    expected = numpy_bert(make_tensors(CONFIG), CONFIG, INPUTS)
    # Two layers of six products each and the pooler; the longest sum is that of the dense layer with 20 inputs.
    rounding = {"length": 20, "depth": 13}
    assert_near(outputs["pooled_output"].astype("float32"), expected[1], dtype.removeprefix("mixed_"), **rounding)
    tensors = make_tensors(CONFIG)
    name = "encoder.layer.1.attention.self.{}.weight".format
    swapped = tensors | {name("query"): tensors[name("value")], name("value"): tensors[name("query")]}
    no_bias = tensors | {"encoder.layer.1.intermediate.dense.bias": np.zeros(20)}
    for broken in (swapped, no_bias):
        error = distance(numpy_bert(broken, CONFIG, INPUTS)[1], expected[1])[0]
        assert error > 1.5 * relative_error("bfloat16", **rounding)
    save_encoder(encoder, tmp_path / "saved")
    assert_close(load_encoder(tmp_path / "saved").backbone, expected)  # saving keeps float32


def test_tiny_is_the_same_for_a_seed():
    same, same_seed, other = load_encoder("tiny"), load_encoder("tiny", seed=0), load_encoder("tiny", seed=1)
    assert same.vocabulary == presets.tiny_vocabulary() and same.source == "tiny"
    outputs = [run(encoder.backbone)["sequence_output"] for encoder in (same, same_seed, other)]
    np.testing.assert_array_equal(outputs[0], outputs[1])
    assert np.abs(outputs[0] - outputs[2]).max() > 0.1


def test_tiny_has_positions_for_the_default_length_of_every_task():
    encoder = load_encoder("tiny")
    assert encoder.spec.max_sequence_length == encoder.backbone.max_sequence_length == 512
    (variable,) = (weight for weight in encoder.backbone.weights if "position_embedding" in weight.path)
    values = np.asarray(variable.value)
    assert values.shape == (512, 32)
    assert len(np.unique(values[:, 0])) > 450  # a few are truncated at two deviations and therefore equal
    for positions in (values[:64], values[64:]):
        assert 0.015 < positions.std() < 0.02 and np.abs(positions).max() <= np.float32(0.04)


def test_saved_and_loaded_computes_the_same(tmp_path):
    encoder = load_encoder(write(tmp_path / "original", {"hidden_act": "silu"}, tokenizer={"do_lower_case": False}))
    encoder.backbone.pooled_dense.bias.assign(np.arange(12) / 12)  # the current weights are saved
    save_encoder(encoder, tmp_path / "saved")
    loaded = load_encoder(tmp_path / "saved")
    before, after = run(encoder.backbone), run(loaded.backbone)
    for name in before:
        np.testing.assert_array_equal(after[name], before[name])
    assert loaded.spec == dataclasses.replace(encoder.spec, kind="tfbert")
    for name in ("vocabulary", "lowercase", "strip_accents", "split_on_cjk", "source"):
        assert getattr(loaded, name) == getattr(encoder, name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["original", "saved"]


def test_kerasnlp_loads_saved_encoders(tmp_path):
    encoder = load_encoder(write(tmp_path / "original"))
    save_encoder(encoder, tmp_path / "saved")
    backbone = keras_hub.models.BertBackbone.from_preset(str(tmp_path / "saved"))
    loaded, expected = named_weights(backbone), named_weights(encoder.backbone)
    assert list(loaded) == list(expected)
    for name, weight in expected.items():
        np.testing.assert_array_equal(loaded[name].numpy(), weight.numpy(), err_msg=name)
    tokenizer = keras_hub.models.BertTokenizer.from_preset(str(tmp_path / "saved"))
    np.testing.assert_array_equal(tokenizer("Café the."), [5, 7, 8, 9])  # lowercased, without accents


@pytest.mark.parametrize("lowercase", [True, False])
def test_a_plain_kerasnlp_preset(lowercase, tmp_path):
    tiny = load_encoder("tiny")
    tiny.backbone.save_to_preset(str(tmp_path))
    keras_hub.models.BertTokenizer(tiny.vocabulary, lowercase=lowercase).save_to_preset(str(tmp_path))
    encoder = load_encoder(tmp_path)
    assert (encoder.lowercase, encoder.strip_accents, encoder.split_on_cjk) == (lowercase, lowercase, True)
    assert encoder.spec == dataclasses.replace(tiny.spec, kind="kerasnlp", activation="gelu_tanh")
    expected = run(keras_hub.models.BertBackbone.from_preset(str(tmp_path)))
    sequence_output = run(encoder.backbone)["sequence_output"][IS_TOKEN]
    np.testing.assert_allclose(sequence_output, expected["sequence_output"][IS_TOKEN], atol=1e-5)
    (tmp_path / "model.weights.h5").write_bytes(b"cut")
    with pytest.raises(ValueError, match="KerasNLP could not load it"):
        load_encoder(tmp_path)


def test_saving_replaces_an_encoder_but_nothing_else(tmp_path, monkeypatch):
    encoder = load_encoder("tiny")
    save_encoder(encoder, tmp_path / "saved")
    other = load_encoder("tiny", seed=1)
    with monkeypatch.context() as patch:
        patch.setattr(keras_hub.models.BertTokenizer, "save_to_preset", lambda self, path: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            save_encoder(other, tmp_path / "saved")
    loaded = run(load_encoder(tmp_path / "saved").backbone)["pooled_output"]
    np.testing.assert_array_equal(loaded, run(encoder.backbone)["pooled_output"])  # the old encoder is still complete
    save_encoder(other, tmp_path / "saved")
    replaced = run(load_encoder(tmp_path / "saved").backbone)["pooled_output"]
    np.testing.assert_array_equal(replaced, run(other.backbone)["pooled_output"])
    assert [path.name for path in tmp_path.iterdir()] == ["saved"]
    (tmp_path / "saved" / "notes.txt").touch()
    with pytest.raises(ValueError, match="contains 'notes.txt'; expected a new or empty directory, or a saved encoder"):
        save_encoder(other, tmp_path / "saved")
    with pytest.raises(ValueError, match="is a file; expected a directory"):
        save_encoder(other, tmp_path / "saved" / "notes.txt")


@pytest.fixture(scope="module")
def minilm():
    try:
        return load_encoder("minilm")
    except ValueError as error:
        if "could not be downloaded" not in str(error):
            raise
        pytest.skip(f"neither cached nor downloadable: {error}")


def test_minilm_equals_transformers(minilm):
    expected = json.loads((Path(__file__).parent / "minilm_expected.json").read_text())["sequences"]
    length = max(len(sequence["token_ids"]) for sequence in expected)
    inputs = {name: np.zeros((len(expected), length), "int32") for name in INPUTS}
    for index, sequence in enumerate(expected):
        for name, array in inputs.items():
            values = 1 if name == "padding_mask" else sequence[name]
            array[index, : len(sequence["token_ids"])] = values
    outputs = {name: value.numpy() for name, value in minilm.backbone(inputs).items()}
    for index, sequence in enumerate(expected):
        tokens = outputs["sequence_output"][index, : len(sequence["token_ids"])]
        pooled = outputs["pooled_output"][index]
        for token in sequence["sequence_output"]:
            np.testing.assert_allclose(tokens[token["position"], :8], token["first_8"], atol=1e-4, rtol=0)
            np.testing.assert_allclose(tokens[token["position"], -8:], token["last_8"], atol=1e-4, rtol=0)
        np.testing.assert_allclose(pooled[:16], sequence["pooled_output_first_16"], atol=1e-4, rtol=0)
        # Sums cover the values in between. The tolerance per value, 1e-6, is far below the 1e-3 of the other GELU.
        tolerance = 1e-3 + 1e-6 * tokens.size
        assert abs(np.abs(tokens).sum(dtype="float64") - sequence["sequence_output_abs_sum"]) < tolerance
        assert abs(tokens.sum(dtype="float64") - sequence["sequence_output_sum"]) < tolerance
        assert abs(pooled.sum(dtype="float64") - sequence["pooled_output_sum"]) < 1e-3


def test_the_spec_of_minilm(minilm):
    assert (minilm.spec.activation, minilm.spec.layer_norm_epsilon) == ("gelu", 1e-12)
    assert minilm.spec.has_pooler and minilm.spec.num_layers == 6 and minilm.spec.hidden_dim == 384
    assert len(minilm.vocabulary) == minilm.spec.vocabulary_size == 30522
    assert minilm.lowercase and minilm.strip_accents and minilm.split_on_cjk
