"""Reading an encoder's files: tokenizer rules, and files that are refused with a message that names file and reason."""

import json

import numpy as np
import pytest
from support.bert_files import CONFIG, VOCABULARY, make_tensors, write

from tfbert.encoder.backbone import load_encoder, save_encoder


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"model_type": "roberta"}, "model_type is 'roberta'; expected 'bert'"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type is 'relative_key'; expected 'absolute'"),
        ({"is_decoder": True}, "is_decoder is True; expected false"),
        ({"add_cross_attention": True}, "add_cross_attention is True; expected false"),
        ({"rescale_embeddings": True}, "rescale_embeddings is True; expected false"),
        ({"pad_token_id": 1}, "pad_token_id is 1; expected 0"),
        ({"pruned_heads": {"0": [1]}}, "pruned_heads is {'0': [1]}; expected no pruned heads"),
        (
            {"quantization_config": {"bits": 4}},
            "quantization_config is {'bits': 4}; expected weights that are not quantized",
        ),
        (
            {"auto_map": {"AutoModel": "m.M"}},
            "auto_map is {'AutoModel': 'm.M'}; expected a model without custom code",
        ),
        ({"hidden_size": 13}, "hidden_size is 13; expected a multiple of num_attention_heads, 3"),
        ({"hidden_size": None}, "hidden_size is None; expected an integer above 0"),
        ({"type_vocab_size": 0}, "type_vocab_size is 0; expected an integer above 0"),
        ({"embedding_size": 6}, "embedding_size is 6; expected hidden_size, 12"),
        ({"layer_norm_eps": 0.0}, "layer_norm_eps is 0.0; expected a number between 0 and 1"),
        (
            {"hidden_act": "quick_gelu"},
            "hidden_act is 'quick_gelu'; expected one of gelu, gelu_accurate, gelu_fast, gelu_new, gelu_python, "
            "gelu_pytorch_tanh, relu, silu, swish",
        ),
    ],
)
def test_refused_configs(changed, message, tmp_path):
    with pytest.raises(ValueError) as error:
        load_encoder(write(tmp_path, changed))
    assert str(error.value) == f"{tmp_path / 'config.json'}: {message}"


KEY = "encoder.layer.1.attention.self.key.weight"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors: tensors.pop(KEY), f"no tensor '{KEY}'; expected one of shape (12, 12)"),
        (
            lambda tensors: tensors.pop("pooler.dense.bias"),
            "no tensor 'pooler.dense.bias'; expected one of shape (12,)",
        ),
        (
            lambda tensors: tensors.update({KEY: np.zeros((12, 4), "float32")}),
            f"tensor '{KEY}' has shape (12, 4); expected (12, 12) as in config.json",
        ),
        (
            lambda tensors: tensors.update({KEY: np.full((12, 12), np.nan, "float32")}),
            f"tensor '{KEY}' contains NaN or infinity",
        ),
        (
            lambda tensors: tensors.update({"encoder.layer.2.output.dense.bias": np.zeros(12, "float32")}),
            "tensor 'encoder.layer.2.output.dense.bias' (one of 1) does not belong to the BERT described by "
            "config.json",
        ),
        (
            lambda tensors: tensors.pop("embeddings.word_embeddings.weight"),
            "0 tensors are named 'embeddings.word_embeddings.weight'; expected one",
        ),
    ],
)
def test_refused_tensors(change, message, tmp_path):
    tensors = make_tensors(CONFIG)
    change(tensors)
    with pytest.raises(ValueError) as error:
        load_encoder(write(tmp_path, tensors=tensors))
    assert str(error.value) == f"{tmp_path / 'model.safetensors'}: {message}"


@pytest.mark.parametrize("content", [b"version https://git-lfs.github.com/spec/v1\n", None])
def test_an_incomplete_file_is_refused(content, tmp_path):
    path = write(tmp_path) / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100] if content is None else content)
    with pytest.raises(ValueError, match=r"model\.safetensors: not a complete safetensors file"):
        load_encoder(tmp_path)


@pytest.mark.parametrize(
    ("vocabulary", "message"),
    [
        ([*VOCABULARY, "a", "b", "c"], "the vocabulary has 13 tokens; expected at most 12, the number of embeddings"),
        ([*VOCABULARY, "the"], "tokens 8 and 10 are both 'the'; expected no duplicates"),
        ([*VOCABULARY, "", "a"], "token 10 is empty; expected a word piece"),
        (VOCABULARY[:4], "no [MASK]; is it a BERT vocabulary?"),
        (VOCABULARY[1:] + ["[PAD]"], "[PAD] is not token 0; is it a BERT vocabulary?"),
    ],
)
def test_refused_vocabularies(vocabulary, message, tmp_path):
    with pytest.raises(ValueError) as error:
        load_encoder(write(tmp_path, vocabulary=vocabulary))
    assert str(error.value) == f"{tmp_path}: {message}"


FAST = {
    "normalizer": {"type": "BertNormalizer", "lowercase": True, "strip_accents": False, "handle_chinese_chars": False},
    "model": {"type": "WordPiece", "vocab": {token: token_id for token_id, token in enumerate(VOCABULARY)}},
}


@pytest.mark.parametrize(
    ("tokenizer", "fast", "rules"),
    [
        ({"do_lower_case": True, "strip_accents": None}, None, (True, True, True)),
        ({"do_lower_case": False}, None, (False, False, True)),
        ({"do_lower_case": True, "strip_accents": False}, None, (True, False, True)),
        ({"do_lower_case": False, "strip_accents": True, "tokenize_chinese_chars": False}, None, (False, True, False)),
        ({"do_lower_case": False}, FAST, (False, False, True)),  # tokenizer_config.json takes precedence
        ({"tokenizer_class": "PreTrainedTokenizerFast"}, FAST, (True, False, False)),
        (None, FAST, (True, False, False)),
    ],
)
def test_tokenizer_rules(tokenizer, fast, rules, tmp_path):
    write(tmp_path, tokenizer=tokenizer, vocabulary=None if fast else VOCABULARY)
    if fast:
        (tmp_path / "tokenizer.json").write_text(json.dumps(fast))
    encoder = load_encoder(tmp_path, load_weights=False)
    assert (encoder.lowercase, encoder.strip_accents, encoder.split_on_cjk) == rules
    assert encoder.vocabulary == VOCABULARY


@pytest.mark.parametrize(
    ("tokenizer", "vocabulary", "message"),
    [
        (None, VOCABULARY, "cannot tell whether the model is cased; expected a tokenizer_config.json with"),
        (
            {"do_lower_case": True},
            None,
            "expected a vocab.txt, or a tokenizer.json with a WordPiece vocabulary without gaps",
        ),
        (
            {"tokenizer_class": "XLMRobertaTokenizer"},
            VOCABULARY,
            "tokenizer_class is 'XLMRobertaTokenizer'; expected one",
        ),
        ({"do_basic_tokenize": False}, VOCABULARY, "do_basic_tokenize is false; expected true"),
    ],
)
def test_refused_tokenizers(tokenizer, vocabulary, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        load_encoder(write(tmp_path, tokenizer=tokenizer, vocabulary=vocabulary))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"format": 2}, "format is 2; expected 1; was it written by a newer tfbert?"),
        ({"activation": "mish"}, "activation is 'mish'; expected one of gelu, gelu_tanh, relu, silu"),
        ({"lowercase": "yes"}, "lowercase is 'yes'; expected a bool"),
    ],
)
def test_refused_encoder_json(changed, message, tmp_path):
    save_encoder(load_encoder("tiny"), tmp_path)
    path = tmp_path / "encoder.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))
    with pytest.raises(ValueError) as error:
        load_encoder(tmp_path)
    assert str(error.value) == f"{path}: {message}"
