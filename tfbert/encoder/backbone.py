"""KerasNLP's BERT: an encoder's name goes in, a `BertBackbone` that computes as the original did comes out, and back.

KerasNLP always builds BERT with the tanh form of gelu and a LayerNorm epsilon of 1e-12. Here both follow the encoder.
"""

import dataclasses
import importlib.metadata
import json
import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras_hub.models import BertTokenizer
from safetensors.numpy import save_file

from tfbert.encoder import checksums, huggingface, kerasnlp, presets
from tfbert.encoder.activations import ACTIVATIONS
from tfbert.encoder.bert import BertEncoder
from tfbert.encoder.huggingface import SIZES
from tfbert.encoder.presets import EncoderSource
from tfbert.encoder.spec import EncoderSpec
from tfbert.files import check_space, read_json, replace_directory, sha256_of
from tfbert.text.normalization import RULES, rules_of

logger = logging.getLogger(__name__)

_FORMAT = 1
_DTYPES = ("float32", "mixed_bfloat16", "mixed_float16")
# Room for groups and attributes in a file of weights.
_HDF5_OVERHEAD_BYTES = 2**20
HEADS, _WEIGHTS = "heads.safetensors", "model.weights.h5"
# Positions of `tiny` whose weights are drawn in turn with the others; it has as many as other BERTs, 512.
_TINY_POSITIONS = 64
_SAVED = {"config.json", "encoder.json", "metadata.json", "tokenizer.json", "assets", _WEIGHTS, HEADS}


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
        spec: its architecture and origin.
    """

    backbone: BertEncoder
    vocabulary: list[str]
    lowercase: bool
    strip_accents: bool
    split_on_cjk: bool
    source: str
    spec: EncoderSpec


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
        raise ValueError(f"dtype is {dtype!r}; expected one of {', '.join(_DTYPES)}")
    if dropout is not None and not 0 <= dropout < 1:
        raise ValueError(f"dropout is {dropout}; expected 0 or more, below 1")
    options = {"dtype": dtype} if dropout is None else {"dtype": dtype, "dropout": dropout}
    source = presets.resolve(name)
    load = {"tiny": _load_tiny, "huggingface": _load_huggingface}.get(source.kind, _load_kerasnlp)
    return load(source, options, load_weights, seed)


def save_encoder(encoder: Encoder, directory: str | os.PathLike, heads: dict[str, np.ndarray] | None = None) -> None:
    """Write an encoder as a KerasNLP preset, with an encoder.json for what KerasNLP does not keep.

    `BertBackbone.from_preset` and `BertTokenizer.from_preset` read it too, the former with KerasNLP's own activation
    and epsilon. Written aside and renamed: the directory is there in full or not at all.

    Args:
        encoder: with its present weights.
        directory: new or empty, or an encoder saved by tfbert, which is replaced.
        heads: weights of the heads it was pretrained with, under Hugging Face's names; kept in heads.safetensors.

    Raises:
        ValueError: the directory holds something else.
        WriteError: the disk is full.
    """
    try:
        version = importlib.metadata.version("tfbert")
    except importlib.metadata.PackageNotFoundError:  # run from a checkout
        version = None
    rules = rules_of(encoder)
    spec = encoder.spec.to_json()
    kept = {key: spec[key] for key in ("activation", "layer_norm_epsilon", "has_pooler", "pretraining") if key in spec}
    document = {"format": _FORMAT, "tfbert_version": version, "source": encoder.source, **rules, **kept}
    with replace_directory(directory, _SAVED, "a saved encoder") as aside:
        # HDF5 crashes the process when it cannot write to the end.
        num_bytes = sum(np.asarray(weight).nbytes for weight in encoder.backbone.weights)
        check_space(aside, num_bytes + _HDF5_OVERHEAD_BYTES, Path(directory) / _WEIGHTS)
        encoder.backbone.save_to_preset(str(aside))
        BertTokenizer(encoder.vocabulary, **rules).save_to_preset(str(aside))
        if heads:
            save_file(heads, aside / HEADS)
        document["sha256"] = {name: sha256_of(aside / name) for name in (_WEIGHTS, HEADS) if (aside / name).exists()}
        (aside / "encoder.json").write_text(json.dumps(document, indent=1), encoding="utf-8")


def save_huggingface(
    encoder: Encoder, directory: str | os.PathLike, heads: dict[str, np.ndarray] | None = None
) -> None:
    """Write an encoder in Hugging Face's layout, for PyTorch transformers' `AutoModel` and `AutoTokenizer`.

    `load_encoder` reads it too. Written aside and renamed: the directory is there in full or not at all.

    Args:
        encoder: with its present weights.
        directory: new or empty, or one that was written so before, which is replaced.
        heads: as for `save_encoder`; `AutoModelForMaskedLM` and `BertForPreTraining` read them.

    Raises:
        ValueError: the directory holds something else.
    """
    with replace_directory(directory, huggingface.FILES, "a saved encoder") as aside:
        rules = tuple(rules_of(encoder).values())
        huggingface.write(aside, encoder.backbone, encoder.vocabulary, rules, encoder.spec, heads or {})


def new_encoder(vocabulary: list[str], sizes: dict[str, int], *, lowercase: bool, dropout: float, name: str) -> Encoder:
    """Make an encoder that has learned nothing, which computes as KerasNLP's BERT does.

    Weights are drawn as the original BERT's are, by Keras' random state.

    Args:
        vocabulary: token of each id.
        sizes: `num_layers`, `num_heads`, `hidden_dim`, `intermediate_dim`, `max_sequence_length`.
        lowercase: whether its tokenizer ignores case and accents.
        dropout: of hidden states and attention.
        name: of its origin.

    Raises:
        ValueError: the vocabulary is not one of BERT's kind.
    """
    backbone = BertEncoder(vocabulary_size=len(vocabulary), **sizes, dropout=dropout)
    source, rules = EncoderSource(name, "tfbert"), (lowercase, lowercase, True)
    return _encoder(source, backbone, vocabulary, rules, has_pooler=False)


def _encoder(source, backbone: BertEncoder, vocabulary, rules, has_pooler=True) -> Encoder:
    """Check the vocabulary, and describe the encoder."""
    computed = {key: getattr(backbone, key) for key in (*SIZES, "dropout", "activation", "layer_norm_epsilon")}
    spec = EncoderSpec(kind=source.kind, has_pooler=has_pooler, commit=source.commit, **computed)
    if len(vocabulary) > backbone.vocabulary_size:
        raise ValueError(
            f"{source.name}: {len(vocabulary)} tokens in the vocabulary; the embeddings have {backbone.vocabulary_size}"
        )
    presets.check_vocabulary(vocabulary, source.name)
    return Encoder(backbone, vocabulary, *rules, source.name, spec)


def _load_tiny(source: EncoderSource, options: dict, load_weights: bool, seed: int) -> Encoder:
    """Build the random encoder for tests; `load_weights` makes no difference."""
    vocabulary = presets.tiny_vocabulary()
    sizes = {"num_layers": 2, "num_heads": 2, "hidden_dim": 32, "intermediate_dim": 64, "max_sequence_length": 512}
    backbone = BertEncoder(len(vocabulary), **sizes, activation="gelu", draw_weights=False, **options)
    _randomize(backbone.weights, seed, _TINY_POSITIONS)
    return _encoder(source, backbone, vocabulary, (True, True, True))


def _load_kerasnlp(source: EncoderSource, options: dict, load_weights: bool, seed: int) -> Encoder:
    """Load a KerasNLP preset, and encoder.json where tfbert saved it."""
    preset = source.preset or str(source.directory)
    said = _read_encoder_json(source.directory / "encoder.json") if source.kind == "tfbert" else {}
    if source.directory:
        _check_files(source.directory, said)
    computation = {key: said[key] for key in ("activation", "layer_norm_epsilon") if key in said}
    try:
        backbone = BertEncoder.from_preset(preset, load_weights, **computation, **options)
        tokenizer = BertTokenizer.from_preset(preset)
    except (OSError, ValueError, KeyError, ImportError, TypeError, RuntimeError, AttributeError) as error:
        raise ValueError(f"encoder {source.name!r}: KerasNLP could not load it: {error}") from error
    if source.preset:
        _check_download(source.preset)
    if not load_weights:
        _randomize(backbone.weights, seed)
    rules = rules_of(tokenizer)
    # KerasNLP leaves accents in by default; the uncased models were trained on text without them.
    rules["strip_accents"] = rules["strip_accents"] or rules["lowercase"]
    rules = [said.get(key, value) for key, value in rules.items()]
    encoder = _encoder(source, backbone, list(tokenizer.vocabulary), rules, said.get("has_pooler", True))
    spec = dataclasses.replace(encoder.spec, pretraining=said.get("pretraining"))
    return dataclasses.replace(encoder, source=said.get("source", source.name), spec=spec)


def _check_files(directory: Path, said: dict[str, Any]) -> None:
    """Compare the files of a saved encoder with its checksums, which older versions of tfbert did not write."""
    files = checksums.parse(said.get("sha256", {}), directory / "encoder.json")
    damaged = checksums.find_damaged(directory, files)
    if damaged:
        raise ValueError(
            f"{damaged}: damaged: its SHA-256 is not the one in encoder.json; restore it from a copy, or pretrain again"
        )


def _check_download(preset: str) -> None:
    """Compare the files of a preset in KerasNLP's cache with what they were when they were first seen."""
    try:
        directory = kerasnlp.preset_dir(preset)
    except Exception as error:
        logger.warning("%s: its files are not checked for damage: they cannot be found: %s", preset, error)
        return
    checksums.check_download(directory, presets.cache_dir() / checksums.CHECKSUMS)


def _read_encoder_json(path: Path) -> dict[str, Any]:
    said = read_json(path)
    if said.get("format") != _FORMAT:
        raise ValueError(f"{path}: format is {said.get('format')!r}; expected {_FORMAT}; was a newer tfbert used?")
    expected = {**dict.fromkeys(RULES, bool), "has_pooler": bool, "source": str}
    for key, kind in (expected | {"activation": str, "layer_norm_epsilon": float}).items():
        if not isinstance(said.get(key), kind):
            raise ValueError(f"{path}: {key} is {said.get(key)!r}; expected a {kind.__name__}")
    if said["activation"] not in ACTIVATIONS:
        raise ValueError(f"{path}: activation is {said['activation']!r}; expected one of {', '.join(ACTIVATIONS)}")
    return said


def _load_huggingface(source: EncoderSource, options: dict, load_weights: bool, seed: int) -> Encoder:
    """Load a Hugging Face directory without the transformers package."""
    path = source.directory / "config.json"
    config = read_json(path)
    sizes, activation, epsilon = huggingface.check_config(config, path)
    dropout, attention = (config.get(f"{key}_dropout_prob", 0.1) for key in ("hidden", "attention_probs"))
    if "dropout" not in options and dropout != attention:
        logger.warning("%s: attention dropout %s is taken as %s, like the rest", path, attention, dropout)
    vocabulary, rules = huggingface.read_tokenizer(source.directory)
    options = {"dropout": dropout, "activation": activation, "layer_norm_epsilon": epsilon, **options}
    backbone = BertEncoder(**sizes, draw_weights=False, **options)
    has_pooler = not load_weights or huggingface.load_weights(backbone, source.directory / "model.safetensors")
    if not load_weights:
        _randomize(backbone.weights, seed)
    if not has_pooler:
        _randomize(backbone.pooled_dense.weights, seed)
        logger.warning("%s: the weights have no pooler; pooled_output comes from a random layer", source.name)
    return _encoder(source, backbone, vocabulary, rules, has_pooler)


def _randomize(weights: Iterable[keras.Variable], seed: int, num_first_positions: int | None = None) -> None:
    """Draw new kernels and embeddings, normal with deviation 0.02 cut at two deviations, the same for a seed.

    Args:
        weights: of a backbone.
        seed: of the draws.
        num_first_positions: position embeddings that are drawn in turn with the other weights. The positions behind
            them have a generator of their own, so that their number changes no other weight. `None` means all.
    """
    generator = np.random.default_rng(seed)
    for variable in weights:
        if len(variable.shape) > 1 and not variable.path.endswith("bias"):
            rows, *rest = variable.shape
            first = num_first_positions if num_first_positions and "position_embedding" in variable.path else rows
            draw = generator.standard_normal((first, *rest), dtype=np.float32)
            if first < rows:
                further = np.random.default_rng([seed, first])
                draw = np.concatenate([draw, further.standard_normal((rows - first, *rest), dtype=np.float32)])
            variable.assign(0.02 * np.clip(draw, -2, 2))
