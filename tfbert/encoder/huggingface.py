"""Reading and writing BERT in Hugging Face's layout: config.json, model.safetensors and a vocabulary.

Neither PyTorch nor the transformers package is needed.
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
from tfbert.text.tokenizer_rules import TokenizerRules

FILES = {"config.json", "model.safetensors", "vocab.txt", "tokenizer_config.json"}

# Hugging Face's names -> ours. Their `gelu` is exact (erf); the last four are names of the same tanh approximation.
_ACTIVATIONS = {"gelu": "gelu", "gelu_python": "gelu", "relu": "relu", "silu": "silu", "swish": "silu"}
_ACTIVATIONS |= dict.fromkeys(("gelu_new", "gelu_fast", "gelu_pytorch_tanh", "gelu_accurate"), "gelu_tanh")
_TOKENIZERS = ("BertTokenizer", "BertTokenizerFast", "DistilBertTokenizer", "DistilBertTokenizerFast")
# KerasNLP's names -> Hugging Face's.
SIZES = {"vocabulary_size": "vocab_size", "num_layers": "num_hidden_layers", "num_heads": "num_attention_heads"}
SIZES |= {"hidden_dim": "hidden_size", "intermediate_dim": "intermediate_size"}
SIZES |= {"max_sequence_length": "max_position_embeddings", "num_segments": "type_vocab_size"}

# Our names -> Hugging Face's names that old versions know too.
_ACTIVATIONS_OUT = {"gelu": "gelu", "gelu_tanh": "gelu_new", "relu": "relu", "silu": "silu"}

# Config keys that change the computation: the accepted values, the first of which is the default, and their description
# for error messages.
_ACCEPTED = {
    "model_type": ((None, "bert"), "'bert'"),
    "position_embedding_type": (("absolute", None), "'absolute'"),
    "pad_token_id": ((0,), "0"),
    "pruned_heads": ((None, {}), "no pruned heads"),
    "quantization_config": ((None,), "weights that are not quantized"),
    "auto_map": ((None, {}), "a model without custom code"),
} | dict.fromkeys(("is_decoder", "add_cross_attention", "rescale_embeddings"), ((False, None), "false"))


def check_config(config: dict[str, Any], path: Path) -> tuple[dict[str, int], str, float]:
    """Return the sizes under KerasNLP's names, the activation and the LayerNorm epsilon of a config.

    Args:
        config: the content of config.json.
        path: the path of config.json, for error messages.

    Raises:
        ValueError: the config requires a computation that is not supported, or is invalid.
    """
    for key, (accepted, description) in _ACCEPTED.items():
        if config.get(key, accepted[0]) not in accepted:
            raise ValueError(f"{path}: {key} is {config[key]!r}; expected {description}")
    config = {"type_vocab_size": 2, "hidden_act": "gelu", "layer_norm_eps": 1e-12} | config
    for key in SIZES.values():
        if type(config.get(key)) is not int or config[key] < 1:
            raise ValueError(f"{path}: {key} is {config.get(key)!r}; expected an integer above 0")
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


def read_tokenizer(directory: Path) -> tuple[list[str], TokenizerRules]:
    """Return the vocabulary of a directory and the rules of its tokenizer.

    Newer versions of transformers do not write vocab.txt; tokenizer.json then contains both.

    Raises:
        ValueError: the tokenizer is not BERT's, or no file says whether the model is cased.
    """
    config_path, fast_path = directory / "tokenizer_config.json", directory / "tokenizer.json"
    config = read_json(config_path) if config_path.is_file() else {}
    fast = read_json(fast_path) if fast_path.is_file() else {}
    name = config.get("tokenizer_class", _TOKENIZERS[0])
    if name not in _TOKENIZERS and not (fast and name == "PreTrainedTokenizerFast"):
        raise ValueError(f"{config_path}: tokenizer_class is {name!r}; expected one of {', '.join(_TOKENIZERS)}")
    if config.get("do_basic_tokenize") is False:
        raise ValueError(
            f"{config_path}: do_basic_tokenize is false; expected true: text is always split at spaces and punctuation"
        )
    normalizer, keys = config, ("do_lower_case", "strip_accents", "tokenize_chinese_chars")
    if config.get("do_lower_case") is None:
        normalizer, keys = fast.get("normalizer") or {}, ("lowercase", "strip_accents", "handle_chinese_chars")
        if normalizer.get("type") != "BertNormalizer":
            raise ValueError(
                f"{directory}: cannot tell whether the model is cased; expected a tokenizer_config.json with "
                '{"do_lower_case": true} for an uncased model, false for a cased one'
            )
    lowercase, strip_accents, split_on_cjk = (normalizer.get(key) for key in keys)
    strip_accents = lowercase if strip_accents is None else strip_accents
    rules = TokenizerRules(bool(lowercase), bool(strip_accents), split_on_cjk is not False)
    if (directory / "vocab.txt").is_file():
        text = (directory / "vocab.txt").read_text(encoding="utf-8")
        return text.replace("\r\n", "\n").removesuffix("\n").split("\n"), rules
    model = fast.get("model", {})
    ids = model.get("vocab")
    if model.get("type") != "WordPiece" or not isinstance(ids, dict) or sorted(ids.values()) != list(range(len(ids))):
        raise ValueError(
            f"{directory}: expected a vocab.txt, or a tokenizer.json with a WordPiece vocabulary without gaps"
        )
    return sorted(ids, key=ids.get), rules


def load_weights(backbone: BertEncoder, path: Path) -> bool:
    """Set the weights of a backbone from a safetensors file, checking every tensor.

    Returns:
        Whether the file contains a pooler.

    Raises:
        ValueError: the file is damaged; a tensor is missing, unexpected, has another shape, or contains NaN.
    """
    try:
        with safe_open(path, framework="np") as file:
            names = set(file.keys())
            # The names have the prefix `bert.` if the encoder was saved with a head, else none.
            table = "embeddings.word_embeddings.weight"
            prefixes = [name.removesuffix(table) for name in names if f".{name}".endswith(f".{table}")]
            if len(prefixes) != 1:
                raise ValueError(f"{path}: {len(prefixes)} tensors are named {table!r}; expected one")
            prefix, used = prefixes[0], set()
            has_pooler = any(name.startswith(f"{prefix}pooler.") for name in names)
            for variable, name, shape in _tensors(backbone, has_pooler):
                name = prefix + name
                if name not in names:  # old conversions keep TensorFlow's names for LayerNorm
                    old = name.replace("Norm.weight", "Norm.gamma").replace("Norm.bias", "Norm.beta")
                    name = old if old in names else name
                variable.assign(np.reshape(_tensor(file, names, name, shape, path), variable.shape))
                used.add(name)
    except SafetensorError as error:
        raise ValueError(
            f"{path}: not a complete safetensors file: {error}; is it truncated, or a Git LFS pointer?"
        ) from error
    modules = (f"{prefix}embeddings.", f"{prefix}encoder.")
    unused = sorted(name for name in names - used if name.startswith(modules) and not name.endswith("_ids"))
    if unused:
        raise ValueError(
            f"{path}: tensor {unused[0]!r} (one of {len(unused)}) does not belong to the BERT described by config.json"
        )
    return has_pooler


def _tensors(backbone: BertEncoder, has_pooler: bool) -> Iterator[tuple[Any, str, tuple[int, ...]]]:
    """Yield each variable with the name and shape of its tensor; a Dense kernel has the shape (outputs, inputs)."""
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
        prefix, components = f"encoder.layer.{index}", layer.components
        attention = components.attention
        yield from dense(attention.query_dense, f"{prefix}.attention.self.query", hidden, hidden)
        yield from dense(attention.key_dense, f"{prefix}.attention.self.key", hidden, hidden)
        yield from dense(attention.value_dense, f"{prefix}.attention.self.value", hidden, hidden)
        yield from dense(attention.output_dense, f"{prefix}.attention.output.dense", hidden, hidden)
        yield from norm(components.attention_norm, f"{prefix}.attention.output")
        yield from dense(components.feedforward_in, f"{prefix}.intermediate.dense", intermediate, hidden)
        yield from dense(components.feedforward_out, f"{prefix}.output.dense", hidden, intermediate)
        yield from norm(components.feedforward_norm, f"{prefix}.output")
    if has_pooler:
        yield from dense(backbone.pooled_dense, "pooler.dense", hidden, hidden)


def _tensor(file: Any, names: set[str], name: str, shape: tuple[int, ...], path: Path) -> np.ndarray:
    """Read one tensor as float32, a Dense kernel with Keras' shape (inputs, outputs)."""
    if name not in names:
        raise ValueError(f"{path}: no tensor {name!r}; expected one of shape {shape}")
    tensor = file.get_tensor(name)
    if tensor.shape != shape:
        raise ValueError(f"{path}: tensor {name!r} has shape {tensor.shape}; expected {shape} as in config.json")
    tensor = tensor.astype(np.float32)
    if not np.isfinite(tensor).all():
        raise ValueError(f"{path}: tensor {name!r} contains NaN or infinity")
    return _transposed(tensor, name)


def _transposed(matrix: np.ndarray, name: str) -> np.ndarray:
    """Transpose a Dense kernel between (outputs, inputs) and (inputs, outputs); return other tensors unchanged."""
    return matrix if "embeddings." in name or matrix.ndim == 1 else matrix.T


def write(
    directory: Path,
    backbone: BertEncoder,
    vocabulary: list[str],
    rules: TokenizerRules,
    spec: EncoderSpec,
    heads: dict[str, np.ndarray],
) -> None:
    """Write the four files of `FILES` that PyTorch transformers' `AutoModel` and `AutoTokenizer` read.

    Args:
        directory: an existing, empty directory.
        backbone: the encoder; its current weights are written as float32.
        vocabulary: the tokens in order of their ids.
        rules: the rules of the tokenizer.
        spec: the encoder's spec. If `has_pooler` is False no pooler is written, and transformers initializes a random
            one.
        heads: tensors of the pretraining heads, by Hugging Face's names; may be empty.
    """
    config = {theirs: getattr(backbone, ours) for ours, theirs in SIZES.items()}
    config |= {"model_type": "bert", "torch_dtype": "float32", "pad_token_id": 0}
    # The class depends on the heads. If there are any, the encoder's tensors have a prefix.
    architecture = "BertForPreTraining" if "cls.seq_relationship.weight" in heads else "BertForMaskedLM"
    config["architectures"] = [architecture if heads else "BertModel"]
    prefix = "bert." if heads else ""
    config |= {"hidden_act": _ACTIVATIONS_OUT[spec.activation], "layer_norm_eps": spec.layer_norm_epsilon}
    config |= dict.fromkeys(("hidden_dropout_prob", "attention_probs_dropout_prob"), backbone.dropout)
    config |= {"position_embedding_type": "absolute", "initializer_range": 0.02}
    tokenizer_config = {"do_lower_case": rules.lowercase, "strip_accents": rules.strip_accents}
    tokenizer_config |= {"tokenize_chinese_chars": rules.split_on_cjk}
    tokenizer_config |= {"tokenizer_class": "BertTokenizer", "model_max_length": backbone.max_sequence_length}
    tokenizer_config |= {f"{name.lower()}_token": f"[{name}]" for name in ("PAD", "UNK", "CLS", "SEP", "MASK")}
    tensors = dict(heads)
    for variable, name, shape in _tensors(backbone, spec.has_pooler):
        ours = np.reshape(variable, shape if "embeddings." in name else shape[::-1])
        tensors[prefix + name] = np.ascontiguousarray(_transposed(ours, name))
    # The metadata names the framework of the tensors. Older versions of transformers refuse a file without it.
    (directory / "model.safetensors").write_bytes(save(tensors, metadata={"format": "pt"}))
    (directory / "vocab.txt").write_text("".join(f"{token}\n" for token in vocabulary), encoding="utf-8")
    write_json(directory / "config.json", config)
    write_json(directory / "tokenizer_config.json", tokenizer_config)
