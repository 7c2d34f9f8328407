"""KerasNLP's BERT: an encoder's name goes in, a `BertBackbone` that computes as the original did comes out, and back.

KerasNLP always builds BERT with the tanh form of gelu and a LayerNorm epsilon of 1e-12. Here both follow the encoder.
"""

import dataclasses
import importlib.metadata
import json
import logging
import os
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from keras_hub.models import BertBackbone, BertTokenizer
from safetensors import SafetensorError, safe_open

from tfbert.encoder import presets
from tfbert.encoder.computation import FUNCTIONS, set_computation
from tfbert.encoder.presets import EncoderSource
from tfbert.files import read_json

logger = logging.getLogger(__name__)

_FORMAT = 1
_DTYPES = ("float32", "mixed_bfloat16", "mixed_float16")
_KERASNLP_ACTIVATION = "gelu_tanh"  # what KerasNLP builds, whatever the weights were trained with
_KERASNLP_EPSILON = 1e-12
_SAVED = {"config.json", "encoder.json", "metadata.json", "tokenizer.json", "assets", "model.weights.h5"}

# Hugging Face's names -> ours. `gelu` is exact there (erf); the last four are spellings of one tanh formula.
_ACTIVATIONS = {"gelu": "gelu", "gelu_python": "gelu", "relu": "relu", "silu": "silu", "swish": "silu"}
_ACTIVATIONS |= dict.fromkeys(("gelu_new", "gelu_fast", "gelu_pytorch_tanh", "gelu_accurate"), "gelu_tanh")
_TOKENIZERS = ("BertTokenizer", "BertTokenizerFast", "DistilBertTokenizer", "DistilBertTokenizerFast")
_SIZES = {"vocabulary_size": "vocab_size", "num_layers": "num_hidden_layers", "num_heads": "num_attention_heads"}
_SIZES |= {"hidden_dim": "hidden_size", "intermediate_dim": "intermediate_size"}
_SIZES |= {"max_sequence_length": "max_position_embeddings", "num_segments": "type_vocab_size"}

# Keys of a Hugging Face config that change what is computed: the values accepted, the first where it is missing, and
# the same in words.
_ACCEPTED = {
    "model_type": ((None, "bert"), "'bert'"),
    "position_embedding_type": (("absolute", None), "'absolute'"),
    "pad_token_id": ((0,), "0"),
    "pruned_heads": ((None, {}), "no pruned heads"),
    "quantization_config": ((None,), "weights that are not quantized"),
    "auto_map": ((None, {}), "a model without code of its own"),
} | dict.fromkeys(("is_decoder", "add_cross_attention", "rescale_embeddings"), ((False, None), "false"))


@dataclass(frozen=True, eq=False)
class Encoder:
    """A BERT body and what its tokenizer must do.

    Args:
        backbone: takes token_ids, segment_ids, padding_mask, each int32 (batch, length); gives sequence_output
            (batch, length, hidden_dim) and pooled_output (batch, hidden_dim).
        vocabulary: token of each id; may be shorter than the embedding table, never longer. [PAD] is token 0.
        lowercase: the text is lowercased before it is split.
        strip_accents: accents are taken off before it is split.
        split_on_cjk: every Chinese character is a word.
        source: the name or directory it was loaded from, as the user wrote it; kept when saved and loaded again.
        facts: `kind`, `activation`, `layer_norm_epsilon`, `has_pooler` (False: the weights came without a pooler, so
            pooled_dense is random), `dropout`, and the sizes under KerasNLP's names; all fit in JSON.
    """

    backbone: BertBackbone
    vocabulary: list[str]
    lowercase: bool
    strip_accents: bool
    split_on_cjk: bool
    source: str
    facts: dict[str, Any] = field(default_factory=dict)


def load_encoder(
    name: str | os.PathLike,
    *,
    dtype: str = "float32",
    dropout: float | None = None,
    load_weights: bool = True,
    seed: int = 0,
) -> Encoder:
    """Load an encoder by name.

    Args:
        name: anything `presets.resolve` knows.
        dtype: `float32`, `mixed_bfloat16`, `mixed_float16`; weights are float32 in each.
        dropout: of hidden states and attention, 0 to below 1; `None` keeps the encoder's own.
        load_weights: False leaves the architecture with random weights.
        seed: of the random weights: `tiny`, a missing pooler, `load_weights=False`.

    Returns:
        The encoder, not frozen: all its weights are trainable.

    Raises:
        ValueError: the name is unknown; the config asks for what KerasNLP's BERT does not compute; a file or a tensor
            is missing, damaged, or of the wrong shape; the vocabulary does not fit the embeddings.
    """
    if dtype not in _DTYPES:
        raise ValueError(f"dtype is {dtype!r}; wanted one of {', '.join(_DTYPES)}")
    if dropout is not None and not 0 <= dropout < 1:
        raise ValueError(f"dropout is {dropout}; wanted 0 or more, below 1")
    options = {"dtype": dtype} if dropout is None else {"dtype": dtype, "dropout": dropout}
    source = presets.resolve(name)
    load = {"tiny": _load_tiny, "huggingface": _load_huggingface}.get(source.kind, _load_kerasnlp)
    return load(source, options, load_weights, seed)


def save_encoder(encoder: Encoder, directory: str | os.PathLike) -> None:
    """Write an encoder as a KerasNLP preset, with an encoder.json for what KerasNLP does not keep.

    `BertBackbone.from_preset` and `BertTokenizer.from_preset` read it too, the former with KerasNLP's own activation
    and epsilon. Written aside and renamed: the directory is there in full or not at all.

    Args:
        encoder: with its present weights.
        directory: new or empty, or an encoder saved by tfbert, which is replaced.

    Raises:
        ValueError: the directory holds something else.
    """
    directory = Path(directory).absolute()
    if directory.exists() and not directory.is_dir():
        raise ValueError(f"{directory}: is a file; wanted a directory to save the encoder in")
    others = {path.name for path in directory.iterdir()} - _SAVED if directory.is_dir() else ()
    if others:
        raise ValueError(f"{directory}: holds {min(others)!r}; wanted a new or empty directory, or a saved encoder")
    try:
        version = importlib.metadata.version("tfbert")
    except importlib.metadata.PackageNotFoundError:  # run from a checkout
        version = None
    rules = {key: getattr(encoder, key) for key in ("lowercase", "strip_accents", "split_on_cjk")}
    computed = {key: encoder.facts[key] for key in ("activation", "layer_norm_epsilon", "has_pooler")}
    said = {"format": _FORMAT, "tfbert_version": version, "source": encoder.source, **rules, **computed}
    aside = directory.parent / f".{directory.name}.part-{uuid.uuid4().hex}"
    aside.mkdir(parents=True)
    try:
        encoder.backbone.save_to_preset(str(aside))
        BertTokenizer(encoder.vocabulary, **rules).save_to_preset(str(aside))
        (aside / "encoder.json").write_text(json.dumps(said, indent=1), encoding="utf-8")
        presets.move_into_place(aside, directory)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _encoder(source, backbone, vocabulary, rules, activation, epsilon, has_pooler=True) -> Encoder:
    """Set activation and epsilon, check the vocabulary, gather the facts."""
    set_computation(backbone, activation, epsilon)
    facts = {"kind": source.kind, "activation": activation, "layer_norm_epsilon": epsilon, "has_pooler": has_pooler}
    facts |= {key: getattr(backbone, key) for key in (*_SIZES, "dropout")}
    if len(vocabulary) > backbone.vocabulary_size:
        raise ValueError(
            f"{source.name}: {len(vocabulary)} tokens in the vocabulary; the embeddings have {backbone.vocabulary_size}"
        )
    presets.check_vocabulary(vocabulary, source.name)
    return Encoder(backbone, vocabulary, *rules, source.name, facts)


def _load_tiny(source: EncoderSource, options: dict, load_weights: bool, seed: int) -> Encoder:
    """Build the random encoder for tests; `load_weights` makes no difference."""
    vocabulary = presets.tiny_vocabulary()
    sizes = {"num_layers": 2, "num_heads": 2, "hidden_dim": 32, "intermediate_dim": 64, "max_sequence_length": 64}
    backbone = BertBackbone(vocabulary_size=len(vocabulary), **sizes, **options)
    _randomize(backbone, seed)
    return _encoder(source, backbone, vocabulary, (True, True, True), "gelu", _KERASNLP_EPSILON)


def _load_kerasnlp(source: EncoderSource, options: dict, load_weights: bool, seed: int) -> Encoder:
    """Load a KerasNLP preset, and encoder.json where tfbert saved it."""
    preset = source.preset or str(source.directory)
    said = _read_encoder_json(source.directory / "encoder.json") if source.kind == "tfbert" else {}
    try:
        backbone = BertBackbone.from_preset(preset, load_weights=load_weights, **options)
        tokenizer = BertTokenizer.from_preset(preset)
    except (OSError, ValueError, KeyError, ImportError, TypeError, RuntimeError) as error:
        raise ValueError(f"encoder {source.name!r}: KerasNLP could not load it: {error}") from error
    if not load_weights:
        _randomize(backbone, seed)
    rules = {key: getattr(tokenizer, key) for key in ("lowercase", "strip_accents", "split_on_cjk")}
    # KerasNLP leaves accents in by default; the uncased models were trained on text without them.
    rules["strip_accents"] = rules["strip_accents"] or rules["lowercase"]
    rules = [said.get(key, value) for key, value in rules.items()]
    activation = said.get("activation", _KERASNLP_ACTIVATION)
    epsilon = said.get("layer_norm_epsilon", _KERASNLP_EPSILON)
    vocabulary = list(tokenizer.vocabulary)
    encoder = _encoder(source, backbone, vocabulary, rules, activation, epsilon, said.get("has_pooler", True))
    return dataclasses.replace(encoder, source=said.get("source", source.name))


def _read_encoder_json(path: Path) -> dict[str, Any]:
    said = read_json(path)
    if said.get("format") != _FORMAT:
        raise ValueError(f"{path}: format is {said.get('format')!r}; wanted {_FORMAT}; was a newer tfbert used?")
    wanted = {"lowercase": bool, "strip_accents": bool, "split_on_cjk": bool, "has_pooler": bool, "source": str}
    for key, kind in (wanted | {"activation": str, "layer_norm_epsilon": float}).items():
        if not isinstance(said.get(key), kind):
            raise ValueError(f"{path}: {key} is {said.get(key)!r}; wanted a {kind.__name__}")
    if said["activation"] not in FUNCTIONS:
        raise ValueError(f"{path}: activation is {said['activation']!r}; wanted one of {', '.join(FUNCTIONS)}")
    return said


def _load_huggingface(source: EncoderSource, options: dict, load_weights: bool, seed: int) -> Encoder:
    """Load a Hugging Face directory without the transformers package."""
    path = source.directory / "config.json"
    config = read_json(path)
    sizes, activation, epsilon = _check_config(config, path)
    dropout, attention = (config.get(f"{key}_dropout_prob", 0.1) for key in ("hidden", "attention_probs"))
    if "dropout" not in options and dropout != attention:
        logger.warning("%s: attention dropout %s is taken as %s, like the rest", path, attention, dropout)
    vocabulary, rules = _huggingface_tokenizer(source.directory)
    backbone = BertBackbone(**sizes, **{"dropout": dropout, **options})
    _randomize(backbone, seed)
    has_pooler = not load_weights or _load_safetensors(backbone, source.directory / "model.safetensors")
    if not has_pooler:
        logger.warning("%s: the weights have no pooler; pooled_output comes from a random layer", source.name)
    return _encoder(source, backbone, vocabulary, rules, activation, epsilon, has_pooler)


def _check_config(config: dict[str, Any], path: Path) -> tuple[dict[str, int], str, float]:
    """Read sizes, activation and epsilon of a Hugging Face config; refuse by name what would be computed otherwise."""
    for key, (accepted, words) in _ACCEPTED.items():
        if config.get(key, accepted[0]) not in accepted:
            raise ValueError(f"{path}: {key} is {config[key]!r}; wanted {words}")
    config = {"type_vocab_size": 2, "hidden_act": "gelu", "layer_norm_eps": 1e-12} | config
    for key in _SIZES.values():
        if type(config.get(key)) is not int or config[key] < 1:
            raise ValueError(f"{path}: {key} is {config.get(key)!r}; wanted a whole number above 0")
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    if hidden % heads:
        raise ValueError(f"{path}: hidden_size is {hidden}; wanted a multiple of num_attention_heads, {heads}")
    if config.get("embedding_size", hidden) != hidden:
        raise ValueError(f"{path}: embedding_size is {config['embedding_size']!r}; wanted hidden_size, {hidden}")
    if config["hidden_act"] not in _ACTIVATIONS:
        wanted = ", ".join(sorted(_ACTIVATIONS))
        raise ValueError(f"{path}: hidden_act is {config['hidden_act']!r}; wanted one of {wanted}")
    epsilon = config["layer_norm_eps"]
    if not isinstance(epsilon, float) or not 0 < epsilon < 1:
        raise ValueError(f"{path}: layer_norm_eps is {epsilon!r}; wanted a number between 0 and 1")
    return {ours: config[theirs] for ours, theirs in _SIZES.items()}, _ACTIVATIONS[config["hidden_act"]], epsilon


def _huggingface_tokenizer(directory: Path) -> tuple[list[str], tuple[bool, bool, bool]]:
    """Read the vocabulary, and (lowercase, strip_accents, split_on_cjk), of a Hugging Face directory.

    Newer versions of transformers write no vocab.txt: tokenizer.json holds both.
    """
    config_path, fast_path = directory / "tokenizer_config.json", directory / "tokenizer.json"
    said = read_json(config_path) if config_path.is_file() else {}
    fast = read_json(fast_path) if fast_path.is_file() else {}
    name = said.get("tokenizer_class", _TOKENIZERS[0])
    if name not in _TOKENIZERS and not (fast and name == "PreTrainedTokenizerFast"):
        raise ValueError(f"{config_path}: tokenizer_class is {name!r}; wanted one of {', '.join(_TOKENIZERS)}")
    if said.get("do_basic_tokenize") is False:
        raise ValueError(f"{config_path}: do_basic_tokenize is false; wanted true: text is split at spaces")
    keys = ("do_lower_case", "strip_accents", "tokenize_chinese_chars")
    if said.get("do_lower_case") is None:
        said, keys = fast.get("normalizer") or {}, ("lowercase", "strip_accents", "handle_chinese_chars")
        if said.get("type") != "BertNormalizer":
            raise ValueError(
                f"{directory}: nothing says whether the model is cased; wanted a tokenizer_config.json with "
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


def _load_safetensors(backbone: BertBackbone, path: Path) -> bool:
    """Assign all tensors, each checked for its shape; returns whether there was a pooler."""
    try:
        with safe_open(path, framework="np") as file:
            names = set(file.keys())
            # Before BERT's own names stands nothing, or `bert.` where a head was saved with it.
            words = "embeddings.word_embeddings.weight"
            prefixes = [name.removesuffix(words) for name in names if f".{name}".endswith(f".{words}")]
            if len(prefixes) != 1:
                raise ValueError(f"{path}: {len(prefixes)} tensors are called {words!r}; wanted one")
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


def _tensors(backbone: BertBackbone, has_pooler: bool) -> Iterator[tuple[Any, str, tuple[int, ...]]]:
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
        place, attention = f"encoder.layer.{index}", layer._self_attention_layer
        yield from dense(attention.query_dense, f"{place}.attention.self.query", hidden, hidden)
        yield from dense(attention.key_dense, f"{place}.attention.self.key", hidden, hidden)
        yield from dense(attention.value_dense, f"{place}.attention.self.value", hidden, hidden)
        yield from dense(attention.output_dense, f"{place}.attention.output.dense", hidden, hidden)
        yield from norm(layer._self_attention_layer_norm, f"{place}.attention.output")
        yield from dense(layer._feedforward_intermediate_dense, f"{place}.intermediate.dense", intermediate, hidden)
        yield from dense(layer._feedforward_output_dense, f"{place}.output.dense", hidden, intermediate)
        yield from norm(layer._feedforward_layer_norm, f"{place}.output")
    if has_pooler:
        yield from dense(backbone.pooled_dense, "pooler.dense", hidden, hidden)


def _tensor(file: Any, names: set[str], name: str, shape: tuple[int, ...], path: Path) -> np.ndarray:
    """Read one tensor as float32, a Dense kernel the Keras way round (inputs, outputs)."""
    if name not in names:
        raise ValueError(f"{path}: no tensor {name!r}; wanted one of shape {shape}")
    tensor = file.get_tensor(name)
    if tensor.shape != shape:
        raise ValueError(f"{path}: tensor {name!r} has shape {tensor.shape}; config.json wants {shape}")
    tensor = tensor.astype(np.float32)
    if not np.isfinite(tensor).all():
        raise ValueError(f"{path}: tensor {name!r} holds NaN or infinity")
    return tensor if "embeddings." in name or tensor.ndim == 1 else tensor.T


def _randomize(backbone: BertBackbone, seed: int) -> None:
    """Draw kernels and embeddings anew, normal with deviation 0.02 cut at two deviations, the same for a seed."""
    generator = np.random.default_rng(seed)
    for variable in backbone.weights:
        if len(variable.shape) > 1 and not variable.path.endswith("bias"):
            draw = generator.standard_normal(variable.shape, dtype=np.float32)
            variable.assign(0.02 * np.clip(draw, -2, 2))
