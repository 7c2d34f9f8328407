"""Pretraining heads: logits, losses and weights as in BERT, with the encoder's activation, epsilon and embedding."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from safetensors.numpy import load_file, save_file
from support import packed
from support.rounding import assert_near, distance, relative_error

from tfbert.encoder.backbone import load_encoder
from tfbert.encoder.bert import BertEncoder
from tfbert.encoder.weights import copy_weights
from tfbert.pretraining.heads import PretrainingHead, PretrainingModel

ERF = np.vectorize(math.erf)
ACTIVATIONS = {
    "gelu": lambda x: x * 0.5 * (1 + ERF(x / math.sqrt(2))),
    "gelu_tanh": lambda x: x * 0.5 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "relu": lambda x: np.maximum(x, 0),
}


# Two layers of six products each, and two of the head; the longest sum is that of the dense layer of 64. A gradient
# requires the same number of products again.
FORWARD, BACKWARD = {"length": 64, "depth": 14}, {"length": 64, "depth": 28}


def make_model(activation="gelu", epsilon=1e-12, with_pairs=True, seed=0, dtype="float32", product_dtype=None):
    keras.utils.set_random_seed(seed)
    tiny = load_encoder("tiny", dropout=0.0, dtype=dtype).backbone
    backbone = BertEncoder.from_config({**tiny.get_config(), "activation": activation, "layer_norm_epsilon": epsilon})
    copy_weights(tiny, backbone)
    options = {"activation": activation, "layer_norm_epsilon": epsilon, "with_pairs": with_pairs}
    head = PretrainingHead(backbone, **options, product_dtype=product_dtype)
    model = PretrainingModel(backbone, head)
    rng = np.random.default_rng(seed)
    for _, variable in head.tensors():  # zeros and ones would hide mistakes
        variable.assign(rng.normal(0.2, 0.5, variable.shape))
    return model


@pytest.fixture(scope="module")
def batch():
    return {name: tf.constant(value) for name, value in packed.batcher(9).batch(np.arange(9), 1, 32).items()}


# An epsilon of 0.3 is not a default of any library.
@pytest.mark.parametrize(("activation", "epsilon"), [("gelu", 0.3), ("gelu_tanh", 1e-12), ("relu", 1e-5)])
def test_logits_equal_those_of_numpy(batch, activation, epsilon):
    model = make_model(activation, epsilon)
    logits = model(batch)
    encoded = model.backbone({name: batch[name] for name in ("token_ids", "segment_ids", "padding_mask")})
    weights = {name: np.asarray(variable, np.float64) for name, variable in model.head.tensors()}
    x = np.take_along_axis(np.asarray(encoded["sequence_output"]), batch["positions"].numpy()[:, :, None], 1)
    prefix = "cls.predictions.transform"
    x = ACTIVATIONS[activation](x @ weights[f"{prefix}.dense.weight"] + weights[f"{prefix}.dense.bias"])
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + epsilon)
    x = x * weights[f"{prefix}.LayerNorm.weight"] + weights[f"{prefix}.LayerNorm.bias"]
    embeddings = np.asarray(model.backbone.token_embedding.embeddings, np.float64)
    expected = x @ embeddings.T + weights["cls.predictions.bias"]
    np.testing.assert_allclose(logits["masked_words"], expected, atol=2e-5)
    pooled = np.asarray(encoded["pooled_output"])
    expected = pooled @ weights["cls.seq_relationship.weight"] + weights["cls.seq_relationship.bias"]
    np.testing.assert_allclose(logits["pairs"], expected, atol=1e-5)
    assert logits["masked_words"].dtype == logits["pairs"].dtype == tf.float32


def test_sums_equal_those_of_numpy(batch):
    model = make_model()
    logits, sums = model(batch), {name: float(value) for name, value in model.sums(batch, training=False).items()}
    words, pairs = (np.asarray(logits[name], np.float64) for name in ("masked_words", "pairs"))
    words = words - np.log(np.exp(words).sum(-1, keepdims=True))
    pairs = pairs - np.log(np.exp(pairs).sum(-1, keepdims=True))
    weights, targets = batch["weights"].numpy(), batch["targets"].numpy()
    loss = -np.take_along_axis(words, targets[..., None], -1)[..., 0]
    assert sums["masked_words"] == pytest.approx((loss * weights).sum(), rel=1e-5)
    assert sums["masked_words_right"] == ((words.argmax(-1) == targets) * weights).sum()
    labels = batch["pair_labels"].numpy()
    assert set(labels) == {-1, 0, 1}
    labelled = [(row, label) for row, label in enumerate(labels) if label >= 0]
    assert sums["pairs"] == pytest.approx(-sum(pairs[row, label] for row, label in labelled), rel=1e-5)
    assert sums["pairs_right"] == sum(pairs[row].argmax() == label for row, label in labelled)


def test_trainable_variables(batch):
    with_pairs, without = make_model(), make_model(with_pairs=False)
    names = {variable.path for variable in with_pairs.trainable_variables}
    assert len(names) == len(with_pairs.trainable_variables) == len(with_pairs.weights)
    assert not any("pooled" in variable.path for variable in without.trainable_variables)
    # Five of the masked-word head and two of the pair head; the token embedding belongs to the encoder.
    assert len(with_pairs.weights) == len(with_pairs.backbone.weights) + 7
    assert set(without.sums(batch, training=False)) == {"masked_words", "masked_words_right"}
    with tf.GradientTape() as tape:
        sums = with_pairs.sums(batch, training=True)
        total = sums["masked_words"] + sums["pairs"]
    assert all(g is not None for g in tape.gradient(total, [v.value for v in with_pairs.trainable_variables]))


def test_only_masked_positions_have_logits(batch):
    logits = make_model()(batch)["masked_words"]
    assert logits.shape == (*batch["positions"].shape, len(packed.VOCABULARY))
    assert batch["positions"].shape[1] <= 0.15 * batch["token_ids"].shape[1] + 1


def test_low_precision_gives_logits_in_float32(batch):
    full, half = make_model()(batch), make_model(dtype="mixed_bfloat16")(batch)
    assert half["masked_words"].dtype == tf.float32
    assert np.abs(np.asarray(half["masked_words"] - full["masked_words"])).max() > 0
    assert_near(half["masked_words"], full["masked_words"], "bfloat16", **FORWARD)
    model = make_model()
    bias = dict(model.head.tensors())["cls.predictions.bias"]
    bias.assign(tf.zeros_like(bias))
    error = distance(model(batch)["masked_words"], full["masked_words"])[0]
    assert error > 1.5 * relative_error("bfloat16", **FORWARD)


def gradients_of(model, batch):
    with tf.GradientTape() as tape:
        loss = model.sums(batch, training=True)["masked_words"]
    weights = [variable.value for variable in model.trainable_variables]
    return [tf.convert_to_tensor(gradient) for gradient in tape.gradient(loss, weights)]


def test_products_in_product_dtype_are_equal_in_float32_and_near_in_bfloat16(batch):
    reference = make_model(with_pairs=False)
    same, half = (make_model(with_pairs=False, product_dtype=dtype) for dtype in ("float32", "bfloat16"))
    expected = gradients_of(reference, batch)
    for actual, gradient in zip(gradients_of(same, batch), expected, strict=True):
        np.testing.assert_allclose(actual, gradient, atol=1e-4, rtol=1e-4)
    paths = [variable.path for variable in reference.trainable_variables]
    sizes = {path: float(np.sqrt(np.mean(np.square(gradient)))) for path, gradient in zip(paths, expected, strict=True)}
    for path, actual, gradient in zip(paths, gradients_of(half, batch), expected, strict=True):
        # The gradient of the keys' bias is 0, as the softmax cancels it; its scale is that of the keys' kernel.
        size = sizes[path.replace("key/bias", "key/kernel")]
        assert_near(actual, gradient, "bfloat16", **BACKWARD, size=size)
    logits = [model(batch, training=True)["masked_words"] for model in (reference, half)]
    assert logits[1].dtype == tf.float32
    assert np.abs(logits[1] - logits[0]).max() > 1e-3  # rounded: bfloat16 was used
    np.testing.assert_array_equal(half(batch)["masked_words"], reference(batch)["masked_words"])
    kernel = dict(half.head.tensors())["cls.predictions.transform.dense.weight"]
    kernel.assign(tf.transpose(kernel))
    broken = [distance(*pair)[0] for pair in zip(gradients_of(half, batch), expected, strict=True)]
    assert np.median(broken) > 1.5 * relative_error("bfloat16", **BACKWARD)


def test_saved_weights_are_loaded(tmp_path, batch):
    saved, loaded = make_model(seed=1), make_model(seed=2)
    save_file(saved.head.arrays(), tmp_path / "heads.safetensors")
    assert load_file(tmp_path / "heads.safetensors")["cls.seq_relationship.weight"].shape == (2, 32)
    assert not np.allclose(saved(batch)["masked_words"], loaded(batch)["masked_words"])
    assert len(loaded.head.load(tmp_path)) == 7
    np.testing.assert_array_equal(saved(batch)["masked_words"], loaded(batch)["masked_words"])
    np.testing.assert_array_equal(saved(batch)["pairs"], loaded(batch)["pairs"])


def test_missing_weights_are_not_changed(tmp_path):
    model = make_model(seed=1)
    assert model.head.load(tmp_path) == []
    arrays = model.head.arrays()
    # As in a Hugging Face model that was trained on masked words only.
    masked_word_arrays = {name: value for name, value in arrays.items() if "seq" not in name}
    save_file(masked_word_arrays | {"bert.other": np.zeros(2, np.float32)}, tmp_path / "model.safetensors")
    other = make_model(seed=2)
    pairs = np.asarray(other.head.pairs.kernel)
    assert sorted(other.head.load(tmp_path)) == sorted(masked_word_arrays)
    np.testing.assert_array_equal(other.head.pairs.kernel, pairs)
    save_file(arrays | {"cls.predictions.bias": np.zeros(7, np.float32)}, tmp_path / "heads.safetensors")
    with pytest.raises(ValueError, match="'cls.predictions.bias' has shape"):
        other.head.load(tmp_path)
    (tmp_path / "heads.safetensors").write_bytes(b"short")
    with pytest.raises(ValueError, match="not a complete safetensors file"):
        other.head.load(tmp_path)
