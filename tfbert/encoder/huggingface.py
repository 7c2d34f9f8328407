"""Reading and writing BERT in Hugging Face's layout: config.json, model.safetensors and a vocabulary.

Neither PyTorch nor the transformers package is needed.
"""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from tfbert.encoder import huggingface_tokenizer
from tfbert.encoder.bert import BertEncoder
from tfbert.encoder.huggingface_tokenizer import write_tokenizer
from tfbert.encoder.spec import EncoderSpec
from tfbert.files import write_json
from tfbert.text.tokenizer_rules import TokenizerRules

FILES = {"config.json", "model.safetensors"} | huggingface_tokenizer.FILES
# The architecture of a directory without a head.
ENCODER_ONLY = "BertModel"
# The model type of exports that need code of their own, because no class of transformers computes the same.
OWN_MODEL_TYPE = "tfbert"

# Hugging Face's names -> ours. Their `gelu` is exact (erf); the last four are names of the same tanh approximation.
_ACTIVATIONS = {"gelu": "gelu", "gelu_python": "gelu", "relu": "relu", "silu": "silu", "swish": "silu"}
_ACTIVATIONS |= dict.fromkeys(("gelu_new", "gelu_fast", "gelu_pytorch_tanh", "gelu_accurate"), "gelu_tanh")
# KerasNLP's names -> Hugging Face's.
SIZES = {"vocabulary_size": "vocab_size", "num_layers": "num_hidden_layers", "num_heads": "num_attention_heads"}
SIZES |= {"hidden_dim": "hidden_size", "intermediate_dim": "intermediate_size"}
SIZES |= {"max_sequence_length": "max_position_embeddings", "num_segments": "type_vocab_size"}

# Our names -> Hugging Face's names that old versions know too.
_ACTIVATIONS_OUT = {"gelu": "gelu", "gelu_tanh": "gelu_new", "relu": "relu", "silu": "silu"}

# Config keys that change the computation: the accepted values, the first of which is the default, and their description
# for error messages.
_ACCEPTED = {
    "model_type": ((None, "bert", OWN_MODEL_TYPE), "'bert'"),
    "position_embedding_type": (("absolute", None), "'absolute'"),
    "pad_token_id": ((0,), "0"),
    "pruned_heads": ((None, {}), "no pruned heads"),
    "quantization_config": ((None,), "weights that are not quantized"),
    "auto_map": ((None, {}), "a model without custom code"),
} | dict.fromkeys(("is_decoder", "add_cross_attention", "rescale_embeddings"), ((False, None), "false"))


@dataclass(frozen=True)
class ModelHead:
    """What a directory contains besides the encoder.

    Args:
        architecture: the name of the class in transformers.
        tensors: the tensors of the head by their names in transformers.
        config: keys of config.json in addition to those of the encoder.
        max_tokens: the maximum length of an input in tokens; `None` for that of the encoder.
    """

    architecture: str = ENCODER_ONLY
    tensors: Mapping[str, np.ndarray] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    max_tokens: int | None = None


def pretraining_head(tensors: Mapping[str, np.ndarray]) -> ModelHead:
    """Return the head that consists of the tensors of pretraining heads; there may be none."""
    if not tensors:
        return ModelHead()
    return ModelHead("BertForPreTraining" if "cls.seq_relationship.weight" in tensors else "BertForMaskedLM", tensors)


def check_config(config: dict[str, Any], path: Path) -> tuple[dict[str, int], str, float]:
    """Return the sizes under KerasNLP's names, the activation and the LayerNorm epsilon of a config.

    Args:
        config: the content of config.json.
        path: the path of config.json, for error messages.

    Raises:
        ValueError: the config requires a computation that is not supported, or is invalid.
    """
    # The code of tfbert's own exports only adds a head.
    is_own = config.get("model_type") == OWN_MODEL_TYPE
    for key, (accepted, description) in _ACCEPTED.items():
        if config.get(key, accepted[0]) not in accepted and not (is_own and key == "auto_map"):
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


def load_weights(backbone: BertEncoder, path: Path) -> bool:
    """Set the weights of a backbone from a safetensors file, checking every tensor.

    Returns:
        Whether the file contains a pooler.

    Raises:
        ValueError: the file is damaged; a tensor is missing, unexpected, has another shape, or contains NaN.
    """
    with _opened(path) as file:
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
    head: ModelHead,
) -> None:
    """Write the files of `FILES` that PyTorch transformers' `AutoModel...` and `AutoTokenizer` read.

    Args:
        directory: an existing, empty directory.
        backbone: the encoder; its current weights are written as float32.
        vocabulary: the tokens in order of their ids.
        rules: the rules of the tokenizer.
        spec: the encoder's spec. If `has_pooler` is False, the encoder's own pooler is not written.
        head: what is written besides the encoder.
    """
    config = {theirs: getattr(backbone, ours) for ours, theirs in SIZES.items()}
    config |= {"model_type": "bert", "torch_dtype": "float32", "pad_token_id": 0}
    config |= {"hidden_act": _ACTIVATIONS_OUT[spec.activation], "layer_norm_eps": spec.layer_norm_epsilon}
    config |= dict.fromkeys(("hidden_dropout_prob", "attention_probs_dropout_prob"), backbone.dropout)
    config |= {"position_embedding_type": "absolute", "initializer_range": 0.02}
    config |= {"architectures": [head.architecture], **head.config}
    # In a model with a head, the encoder's tensors have a prefix.
    prefix = "" if head.architecture == ENCODER_ONLY else "bert."
    tensors = dict(head.tensors)
    for variable, name, shape in _tensors(backbone, spec.has_pooler):
        ours = np.reshape(variable, shape if "embeddings." in name else shape[::-1])
        tensors[prefix + name] = np.ascontiguousarray(_transposed(ours, name))
    # The metadata names the framework of the tensors. Older versions of transformers refuse a file without it.
    (directory / "model.safetensors").write_bytes(save(tensors, metadata={"format": "pt"}))
    write_json(directory / "config.json", config)
    write_tokenizer(directory, vocabulary, rules, head.max_tokens or backbone.max_sequence_length)


def read_tensors(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Return tensors of a safetensors file by name, as float32, matrices with Keras' shape (inputs, outputs).

    Args:
        path: the file.
        shapes: the expected shape of each tensor in the file, by name.

    Raises:
        ValueError: the file is damaged; a tensor is missing, has another shape, or contains NaN.
    """
    with _opened(path) as file:
        names = set(file.keys())
        return {name: _tensor(file, names, name, shape, path) for name, shape in shapes.items()}


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a safetensors file; raise ValueError if it is damaged."""
    try:
        with safe_open(path, framework="np") as file:
            yield file
    except SafetensorError as error:
        raise ValueError(
            f"{path}: not a complete safetensors file: {error}; is it truncated, or a Git LFS pointer?"
        ) from error
