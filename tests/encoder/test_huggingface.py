"""An encoder written in Hugging Face's layout computes the same in tfbert and in PyTorch transformers."""

import dataclasses
import json
import os
import subprocess

import numpy as np
import pytest
from safetensors import safe_open

from tfbert.encoder.backbone import Encoder, load_encoder, write_huggingface
from tfbert.encoder.bert import build_encoder
from tfbert.encoder.huggingface import ModelHead, pretraining_head
from tfbert.encoder.spec import EncoderSpec
from tfbert.pretraining.heads import PretrainingHead
from tfbert.text.tokenizer import Tokenizer

PEERS_PYTHON = os.environ.get("TFBERT_PEERS_PYTHON")
# The special tokens do not have the ids that transformers assumes by default.
VOCABULARY = ["[PAD]", "caf", "##é", "##e", "The", "the", ".", "中", "[MASK]", "[SEP]", "[CLS]", "[UNK]", "Caf"]
TEXTS = ["Café the. 中文", "café The 中 .", "cafe caf. unknown"]
INPUTS = {
    "token_ids": np.array([[10, 1, 2, 9, 0, 0, 0], [10, 4, 9, 11, 7, 8, 9]], "int32"),
    "segment_ids": np.array([[0, 0, 0, 0, 0, 0, 0], [0, 0, 0, 1, 1, 2, 1]], "int32"),
    "padding_mask": np.array([[1, 1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 1, 1, 1]], "int32"),
}
IS_TOKEN = INPUTS["padding_mask"].astype(bool)

SCRIPT = """
import json, sys
import torch
from transformers import AutoModel, AutoTokenizer, BertForPreTraining
job = json.load(open(sys.argv[1]))
model, tokenizer = AutoModel.from_pretrained(job["directory"]).eval(), AutoTokenizer.from_pretrained(job["directory"])
names = {"token_ids": "input_ids", "segment_ids": "token_type_ids", "padding_mask": "attention_mask"}
with torch.no_grad():
    output = model(**{names[name]: torch.tensor(rows) for name, rows in job["inputs"].items()})
outputs = {"sequence_output": output[0].tolist(), "pooled_output": output[1].tolist()}
outputs["token_ids"] = [tokenizer(text)["input_ids"] for text in job["texts"]]
if job["has_heads"]:
    with torch.no_grad():
        logits = BertForPreTraining.from_pretrained(job["directory"]).eval()(
            **{names[name]: torch.tensor(rows) for name, rows in job["inputs"].items()}
        )
    outputs["masked_words"] = logits.prediction_logits.tolist()
    outputs["pairs"] = logits.seq_relationship_logits.tolist()
outputs["dropout"] = [model.config.hidden_dropout_prob, model.config.attention_probs_dropout_prob]
print(json.dumps(outputs))
"""


def make_encoder(activation="gelu_tanh", epsilon=1e-2, has_pooler=True, rules=(False, True, True), dropout=0.25):
    """Return an encoder whose weights, including biases and norms, are random and large enough to reveal errors."""
    sizes = {"vocabulary_size": 15, "num_layers": 2, "num_heads": 3, "hidden_dim": 12, "intermediate_dim": 20}
    sizes |= {"max_sequence_length": 9, "num_segments": 3}
    architecture = {"activation": activation, "layer_norm_epsilon": epsilon, "has_pooler": has_pooler}
    spec = EncoderSpec(kind="tiny", dropout=dropout, **architecture, **sizes)
    backbone = build_encoder(spec, dtype="float32", dropout=dropout)
    generator = np.random.default_rng(7)
    for variable in backbone.weights:
        variable.assign(generator.normal(0, 0.5, variable.shape))
    return Encoder(backbone, VOCABULARY, *rules, "random", spec)


def outputs_of(encoder):
    return {name: value.numpy() for name, value in encoder.backbone(INPUTS).items()}


@pytest.mark.parametrize("activation", ["gelu", "gelu_tanh", "relu", "silu"])
def test_an_encoder_computes_the_same_after_writing_and_loading(activation, tmp_path):
    encoder = make_encoder(activation)
    write_huggingface(encoder, tmp_path, ModelHead())
    loaded = load_encoder(tmp_path)
    before, after = outputs_of(encoder), outputs_of(loaded)
    for name in before:
        np.testing.assert_array_equal(after[name], before[name])
    assert loaded.spec == dataclasses.replace(encoder.spec, kind="huggingface")
    assert loaded.vocabulary == VOCABULARY


@pytest.mark.parametrize("rules", [(True, True, True), (True, False, True), (False, False, False), (False, True, True)])
def test_the_tokenizer_keeps_its_rules(rules, tmp_path):
    write_huggingface(make_encoder(rules=rules), tmp_path, ModelHead())
    loaded = load_encoder(tmp_path, load_weights=False)
    assert (loaded.lowercase, loaded.strip_accents, loaded.split_on_cjk) == rules


def test_a_random_pooler_is_not_written(tmp_path):
    encoder = make_encoder(has_pooler=False)
    write_huggingface(encoder, tmp_path, ModelHead())
    with safe_open(tmp_path / "model.safetensors", framework="np") as file:
        assert not any("pooler" in name for name in file.keys())  # noqa: SIM118 (it is not a dict)
    loaded = load_encoder(tmp_path)
    assert not loaded.spec.has_pooler
    np.testing.assert_array_equal(outputs_of(loaded)["sequence_output"], outputs_of(encoder)["sequence_output"])


def make_head(encoder):
    """Return a pretraining head with next-sentence logits, whose weights are all random."""
    spec = encoder.spec
    head = PretrainingHead(
        encoder.backbone,
        activation=spec.activation,
        layer_norm_epsilon=spec.layer_norm_epsilon,
        with_pairs=True,
    )
    head.build(spec.hidden_dim)
    generator = np.random.default_rng(8)
    for _, variable in head.tensors():
        variable.assign(generator.normal(0, 0.5, variable.shape))
    return head


def test_pretraining_heads_are_written_and_loaded(tmp_path):
    encoder = make_encoder()
    head = make_head(encoder)
    write_huggingface(encoder, tmp_path, pretraining_head(head.arrays()))
    loaded = load_encoder(tmp_path)
    np.testing.assert_array_equal(outputs_of(loaded)["pooled_output"], outputs_of(encoder)["pooled_output"])
    other = make_head(encoder)
    for _, variable in other.tensors():
        variable.assign(np.zeros(variable.shape))
    assert len(other.load(tmp_path)) == len(head.arrays()) == 7
    for name, values in head.arrays().items():
        np.testing.assert_array_equal(other.arrays()[name], values)


@pytest.mark.skipif(not PEERS_PYTHON, reason="TFBERT_PEERS_PYTHON does not name a Python with PyTorch transformers")
@pytest.mark.parametrize("has_heads", [False, True])
def test_transformers_computes_the_same(has_heads, tmp_path):
    job = {"inputs": {name: rows.tolist() for name, rows in INPUTS.items()}, "texts": TEXTS, "has_heads": has_heads}
    encoder = make_encoder(epsilon=1e-2, rules=(False, True, True))
    head = make_head(encoder)
    write_huggingface(encoder, tmp_path, pretraining_head(head.arrays() if has_heads else {}))
    (tmp_path / "job.json").write_text(json.dumps(job | {"directory": str(tmp_path)}))
    # The other Python must not import packages from this environment.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    command = [PEERS_PYTHON, "-c", SCRIPT, tmp_path / "job.json"]
    result = subprocess.run(command, capture_output=True, text=True, env=environment | {"HF_HUB_OFFLINE": "1"})
    assert result.returncode == 0, result.stderr
    actual, expected = json.loads(result.stdout.splitlines()[-1]), outputs_of(encoder)
    difference = np.abs(np.array(actual["sequence_output"]) - expected["sequence_output"])[IS_TOKEN]
    assert difference.max() < 1e-4
    np.testing.assert_allclose(actual["pooled_output"], expected["pooled_output"], atol=1e-4)
    assert actual["dropout"] == [0.25, 0.25]
    tokenizer = Tokenizer(VOCABULARY, lowercase=False, strip_accents=True)
    assert actual["token_ids"] == [[10, *ids, 9] for ids in tokenizer(TEXTS).to_list()]
    if has_heads:
        positions = np.tile(np.arange(7, dtype="int32"), (2, 1))
        logits = {name: value.numpy() for name, value in head(encoder.backbone(INPUTS), positions).items()}
        assert np.abs(np.array(actual["masked_words"]) - logits["masked_words"])[IS_TOKEN].max() < 1e-4
        np.testing.assert_allclose(actual["pairs"], logits["pairs"], atol=1e-4)
