"""Hugging Face's layout: config.json, model.safetensors and a vocabulary in, what KerasNLP's BERT needs out, and back.

Neither PyTorch nor the transformers package is needed for either.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from tfbert.encoder.bert import BertEncoder
from tfbert.encoder.spec import EncoderSpec
from tfbert.files import read_json, write_json

FILES = {"config.json", "model.safetensors", "vocab.txt", "tokenizer_config.json"}

# Their names -> ours. `gelu` is exact there (erf); the last four are spellings of one tanh formula.
_ACTIVATIONS = {"gelu": "gelu", "gelu_python": "gelu", "relu": "relu", "silu": "silu", "swish": "silu"}
_ACTIVATIONS |= dict.fromkeys(("gelu_new", "gelu_fast", "gelu_pytorch_tanh", "gelu_accurate"), "gelu_tanh")
_TOKENIZERS = ("BertTokenizer", "BertTokenizerFast", "DistilBertTokenizer", "DistilBertTokenizerFast")
# KerasNLP's names -> theirs.
SIZES = {"vocabulary_size": "vocab_size", "num_layers": "num_hidden_layers", "num_heads": "num_attention_heads"}
SIZES |= {"hidden_dim": "hidden_size", "intermediate_dim": "intermediate_size"}
SIZES |= {"max_sequence_length": "max_position_embeddings", "num_segments": "type_vocab_size"}

# Ours -> the spelling of theirs that old versions know too.
_ACTIVATIONS_OUT = {"gelu": "gelu", "gelu_tanh": "gelu_new", "relu": "relu", "silu": "silu"}

# Keys of a config that change what is computed: the values accepted, the first where it is missing, and
# the same in words.
_ACCEPTED = {
    "model_type": ((None, "bert"), "'bert'"),
    "position_embedding_type": (("absolute", None), "'absolute'"),
    "pad_token_id": ((0,), "0"),
    "pruned_heads": ((None, {}), "no pruned heads"),
    "quantization_config": ((None,), "weights that are not quantized"),
    "auto_map": ((None, {}), "a model without code of its own"),
} | dict.fromkeys(("is_decoder", "add_cross_attention", "rescale_embeddings"), ((False, None), "false"))


def check_config(config: dict[str, Any], path: Path) -> tuple[dict[str, int], str, float]:
    """Return sizes under KerasNLP's names, activation and epsilon of a config.

    Args:
        config: what config.json holds.
        path: of it, for errors.

    Raises:
        ValueError: something would be computed otherwise than the config asks; names what.
    """
    for key, (accepted, words) in _ACCEPTED.items():
        if config.get(key, accepted[0]) not in accepted:
            raise ValueError(f"{path}: {key} is {config[key]!r}; expected {words}")
    config = {"type_vocab_size": 2, "hidden_act": "gelu", "layer_norm_eps": 1e-12} | config
    for key in SIZES.values():
        if type(config.get(key)) is not int or config[key] < 1:
            raise ValueError(f"{path}: {key} is {config.get(key)!r}; expected a whole number above 0")
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    if hidden % heads:
        raise ValueError(f"{path}: hidden_size is {hidden}; expected a multiple of num_attention_heads, {heads}")
    if config.get("embedding_size", hidden) != hidden:
        raise ValueError(f"{path}: embedding_size is {config['embedding_size']!r}; expected hidden_size, {hidden}")
    if config["hidden_act"] not in _ACTIVATIONS:
        expected = ", ".join(sorted(_ACTIVATIONS))
        raise ValueError(f"{path}: hidden_act is {config['hidden_act']!r}; expected one of {expected}")
    epsilon = config["layer_norm_eps"]
    if not isinstance(epsilon, float) or not 0 < epsilon < 1:
        raise ValueError(f"{path}: layer_norm_eps is {epsilon!r}; expected a number between 0 and 1")
    return {ours: config[theirs] for ours, theirs in SIZES.items()}, _ACTIVATIONS[config["hidden_act"]], epsilon


def read_tokenizer(directory: Path) -> tuple[list[str], tuple[bool, bool, bool]]:
    """Return the vocabulary, and (lowercase, strip_accents, split_on_cjk), of a directory.

    Newer versions of transformers write no vocab.txt: tokenizer.json holds both.

    Raises:
        ValueError: the tokenizer is not BERT's, or nothing says whether the model is cased.
    """
    config_path, fast_path = directory / "tokenizer_config.json", directory / "tokenizer.json"
    said = read_json(config_path) if config_path.is_file() else {}
    fast = read_json(fast_path) if fast_path.is_file() else {}
    name = said.get("tokenizer_class", _TOKENIZERS[0])
    if name not in _TOKENIZERS and not (fast and name == "PreTrainedTokenizerFast"):
        raise ValueError(f"{config_path}: tokenizer_class is {name!r}; expected one of {', '.join(_TOKENIZERS)}")
    if said.get("do_basic_tokenize") is False:
        raise ValueError(f"{config_path}: do_basic_tokenize is false; expected true: text is split at spaces")
    keys = ("do_lower_case", "strip_accents", "tokenize_chinese_chars")
    if said.get("do_lower_case") is None:
        said, keys = fast.get("normalizer") or {}, ("lowercase", "strip_accents", "handle_chinese_chars")
        if said.get("type") != "BertNormalizer":
            raise ValueError(
                f"{directory}: nothing says whether the model is cased; expected a tokenizer_config.json with "
                '{"do_lower_case": true} for an uncased model, false for a cased one'
            )
    lowercase, accents, cjk = (said.get(key) for key in keys)
    rules = (bool(lowercase), bool(lowercase if accents is None else accents), cjk is not False)
    if (directory / "vocab.txt").is_file():
        text = (directory / "vocab.txt").read_text(encoding="utf-8")
        return text.replace("\r\n", "\n").removesuffix("\n").split("\n"), rules
    model = fast.get("model", {})
    ids = model.get("vocab")
    if model.get("type") != "WordPiece" or not isinstance(ids, dict) or sorted(ids.values()) != list(range(len(ids))):
        raise ValueError(f"{directory}: no vocab.txt, and no tokenizer.json with a WordPiece vocabulary without gaps")
    return sorted(ids, key=ids.get), rules


def load_weights(backbone: BertEncoder, path: Path) -> bool:
    """Assign all tensors of a file, each checked for its shape.

    Returns:
        Whether there was a pooler.

    Raises:
        ValueError: the file is damaged; a tensor is missing, has another shape or no place, or holds NaN.
    """
    try:
        with safe_open(path, framework="np") as file:
            names = set(file.keys())
            # Before BERT's own names stands nothing, or `bert.` where a head was saved with it.
            words = "embeddings.word_embeddings.weight"
            prefixes = [name.removesuffix(words) for name in names if f".{name}".endswith(f".{words}")]
            if len(prefixes) != 1:
                raise ValueError(f"{path}: {len(prefixes)} tensors are called {words!r}; expected one")
            prefix, used = prefixes[0], set()
            has_pooler = any(name.startswith(f"{prefix}pooler.") for name in names)
            for variable, name, shape in _tensors(backbone, has_pooler):
                name = prefix + name
                if name not in names:  # old conversions keep TensorFlow's names of the two
                    old = name.replace("Norm.weight", "Norm.gamma").replace("Norm.bias", "Norm.beta")
                    name = old if old in names else name
                variable.assign(np.reshape(_tensor(file, names, name, shape, path), variable.shape))
                used.add(name)
    except SafetensorError as error:
        raise ValueError(f"{path}: not a whole safetensors file: {error} (a git-lfs pointer, or cut short?)") from error
    parts = (f"{prefix}embeddings.", f"{prefix}encoder.")
    unused = sorted(name for name in names - used if name.startswith(parts) and not name.endswith("_ids"))
    if unused:
        raise ValueError(f"{path}: tensor {unused[0]!r} (one of {len(unused)}) has no place in the BERT of config.json")
    return has_pooler


def _tensors(backbone: BertEncoder, has_pooler: bool) -> Iterator[tuple[Any, str, tuple[int, ...]]]:
    """Yield each variable with the name and shape of its tensor; a 2-d shape of a Dense is (outputs, inputs)."""
    hidden, intermediate = backbone.hidden_dim, backbone.intermediate_dim

    def dense(layer, name, num_outputs, num_inputs):
        yield layer.kernel, f"{name}.weight", (num_outputs, num_inputs)
        yield layer.bias, f"{name}.bias", (num_outputs,)

    def norm(layer, name):
        yield layer.gamma, f"{name}.LayerNorm.weight", (hidden,)
        yield layer.beta, f"{name}.LayerNorm.bias", (hidden,)

    tokens, positions, segments = backbone.token_embedding, backbone.position_embedding, backbone.segment_embedding
    yield tokens.embeddings, "embeddings.word_embeddings.weight", (backbone.vocabulary_size, hidden)
    yield positions.position_embeddings, "embeddings.position_embeddings.weight", (backbone.max_sequence_length, hidden)
    yield segments.embeddings, "embeddings.token_type_embeddings.weight", (backbone.num_segments, hidden)
    yield from norm(backbone.embeddings_layer_norm, "embeddings")
    for index, layer in enumerate(backbone.transformer_layers):
        place, attention = f"encoder.layer.{index}", layer.parts.attention
        yield from dense(attention.query_dense, f"{place}.attention.self.query", hidden, hidden)
        yield from dense(attention.key_dense, f"{place}.attention.self.key", hidden, hidden)
        yield from dense(attention.value_dense, f"{place}.attention.self.value", hidden, hidden)
        yield from dense(attention.output_dense, f"{place}.attention.output.dense", hidden, hidden)
        yield from norm(layer.parts.attention_norm, f"{place}.attention.output")
        yield from dense(layer.parts.feedforward_in, f"{place}.intermediate.dense", intermediate, hidden)
        yield from dense(layer.parts.feedforward_out, f"{place}.output.dense", hidden, intermediate)
        yield from norm(layer.parts.feedforward_norm, f"{place}.output")
    if has_pooler:
        yield from dense(backbone.pooled_dense, "pooler.dense", hidden, hidden)


def _tensor(file: Any, names: set[str], name: str, shape: tuple[int, ...], path: Path) -> np.ndarray:
    """Read one tensor as float32, a Dense kernel the Keras way round (inputs, outputs)."""
    if name not in names:
        raise ValueError(f"{path}: no tensor {name!r}; expected one of shape {shape}")
    tensor = file.get_tensor(name)
    if tensor.shape != shape:
        raise ValueError(f"{path}: tensor {name!r} has shape {tensor.shape}; config.json wants {shape}")
    tensor = tensor.astype(np.float32)
    if not np.isfinite(tensor).all():
        raise ValueError(f"{path}: tensor {name!r} holds NaN or infinity")
    return _turned(tensor, name)


def _turned(matrix: np.ndarray, name: str) -> np.ndarray:
    """Turn a Dense kernel from (outputs, inputs) to (inputs, outputs) or back; other tensors stay."""
    return matrix if "embeddings." in name or matrix.ndim == 1 else matrix.T


def write(
    directory: Path,
    backbone: BertEncoder,
    vocabulary: list[str],
    rules: tuple[bool, bool, bool],
    spec: EncoderSpec,
    heads: dict[str, np.ndarray],
) -> None:
    """Write the four files of `FILES` that PyTorch transformers' `AutoModel` and `AutoTokenizer` read.

    Args:
        directory: existing, empty.
        backbone: with its present weights; they are written as float32.
        vocabulary: token of each id.
        rules: lowercase, strip_accents, split_on_cjk.
        spec: of the encoder. Without `has_pooler` no pooler is written, and transformers starts a random one.
        heads: tensors of the heads it was pretrained with, by their names here; empty where there are none.
    """
    config = {theirs: getattr(backbone, ours) for ours, theirs in SIZES.items()}
    config |= {"model_type": "bert", "torch_dtype": "float32", "pad_token_id": 0}
    # By the heads that there are; a base model stands under a prefix where a head was saved with it.
    architecture = "BertForPreTraining" if "cls.seq_relationship.weight" in heads else "BertForMaskedLM"
    config["architectures"] = [architecture if heads else "BertModel"]
    prefix = "bert." if heads else ""
    config |= {"hidden_act": _ACTIVATIONS_OUT[spec.activation], "layer_norm_eps": spec.layer_norm_epsilon}
    config |= dict.fromkeys(("hidden_dropout_prob", "attention_probs_dropout_prob"), backbone.dropout)
    config |= {"position_embedding_type": "absolute", "initializer_range": 0.02}
    said = dict(zip(("do_lower_case", "strip_accents", "tokenize_chinese_chars"), rules, strict=True))
    said |= {"tokenizer_class": "BertTokenizer", "model_max_length": backbone.max_sequence_length}
    said |= {f"{name.lower()}_token": f"[{name}]" for name in ("PAD", "UNK", "CLS", "SEP", "MASK")}
    tensors = dict(heads)
    for variable, name, shape in _tensors(backbone, spec.has_pooler):
        ours = np.reshape(variable, shape if "embeddings." in name else shape[::-1])
        tensors[prefix + name] = np.ascontiguousarray(_turned(ours, name))
    # The metadata says whose convention the tensors follow; older versions of transformers refuse a file without.
    (directory / "model.safetensors").write_bytes(save(tensors, metadata={"format": "pt"}))
    (directory / "vocab.txt").write_text("".join(f"{token}\n" for token in vocabulary), encoding="utf-8")
    write_json(directory / "config.json", config)
    write_json(directory / "tokenizer_config.json", said)
