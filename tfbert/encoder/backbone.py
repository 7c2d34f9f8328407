"""Loading an encoder by name, and saving it for tfbert, KerasNLP and Hugging Face.

KerasNLP always builds BERT with the tanh approximation of GELU and a LayerNorm epsilon of 1e-12. A loaded encoder uses
the activation and the epsilon that its weights were trained with.
"""

import dataclasses
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

import tfbert
from tfbert.encoder import checksums, huggingface, kerasnlp, presets
from tfbert.encoder.activations import ACTIVATIONS
from tfbert.encoder.bert import BertEncoder
from tfbert.encoder.huggingface import SIZES
from tfbert.encoder.huggingface_tokenizer import read_tokenizer
from tfbert.encoder.presets import EncoderSource
from tfbert.encoder.spec import EncoderSpec
from tfbert.files import check_space, read_json, replace_directory, sha256_of
from tfbert.text.tokenizer_rules import TokenizerRules

logger = logging.getLogger(__name__)

_FORMAT = 1
_DTYPES = ("float32", "mixed_bfloat16", "mixed_float16")
# Space for groups and attributes in a weights file.
_HDF5_OVERHEAD_BYTES = 2**20
HEADS, _WEIGHTS = "heads.safetensors", "model.weights.h5"
# Position embeddings of `tiny` that are drawn along with the other weights; it has 512 in total, like other BERTs.
_TINY_POSITIONS = 64
_SAVED_FILES = {"config.json", "encoder.json", "metadata.json", "tokenizer.json", "assets", _WEIGHTS, HEADS}


@dataclass(frozen=True, eq=False)
class Encoder:
    """A BERT backbone with its vocabulary and the rules of its tokenizer.

    Args:
        backbone: returns sequence_output `(batch, length, hidden_dim)` and pooled_output `(batch, hidden_dim)` for
            token_ids, segment_ids and padding_mask, each int32 `(batch, length)`.
        vocabulary: the tokens in order of their ids. [PAD] is token 0. It may be shorter than the embedding table, but
            not longer.
        lowercase: as for `TokenizerRules`.
        strip_accents: as for `TokenizerRules`.
        split_on_cjk: as for `TokenizerRules`.
        source: the name or directory from which it was loaded, as the user wrote it; kept when saved and loaded again.
        spec: its architecture and origin.
    """

    backbone: BertEncoder
    vocabulary: list[str]
    lowercase: bool
    strip_accents: bool
    split_on_cjk: bool
    source: str
    spec: EncoderSpec

    @property
    def rules(self) -> TokenizerRules:
        """The rules of the tokenizer."""
        return TokenizerRules(self.lowercase, self.strip_accents, self.split_on_cjk)


def load_encoder(
    name: str | os.PathLike,
    *,
    dtype: str = "float32",
    dropout: float | None = None,
    load_weights: bool = True,
    uses_pooler: bool = True,
    seed: int = 0,
) -> Encoder:
    """Load an encoder by name.

    Args:
        name: any name that `presets.resolve` accepts.
        dtype: `float32`, `mixed_bfloat16` or `mixed_float16`; weights are always float32.
        dropout: rate for hidden states and attention weights, 0 to below 1; `None` keeps the encoder's own.
        load_weights: False means random weights.
        uses_pooler: whether to warn if a Hugging Face directory has no pooler.
        seed: random seed for the weights of `tiny`, for a missing pooler, and for `load_weights=False`.

    Returns:
        The encoder, whose weights are all trainable.

    Raises:
        ValueError: the name is unknown; the config requires a computation that is not supported; a file or a tensor is
            missing, damaged, or has the wrong shape; the vocabulary does not fit the embeddings.
    """
    if dtype not in _DTYPES:
        raise ValueError(f"dtype is {dtype!r}; expected one of {', '.join(_DTYPES)}")
    if dropout is not None and not 0 <= dropout < 1:
        raise ValueError(f"dropout is {dropout}; expected 0 or more, below 1")
    options = {"dtype": dtype} if dropout is None else {"dtype": dtype, "dropout": dropout}
    source = presets.resolve(name)
    load = {"tiny": _load_tiny, "huggingface": _load_huggingface}.get(source.kind, _load_kerasnlp)
    encoder = load(source, options, load_weights, seed)
    if uses_pooler and source.kind == "huggingface" and not encoder.spec.has_pooler:
        logger.warning("%s: the weights have no pooler; pooled_output comes from random weights", source.name)
    return encoder


def save_encoder(encoder: Encoder, directory: str | os.PathLike, heads: dict[str, np.ndarray] | None = None) -> None:
    """Write an encoder as a KerasNLP preset, with an encoder.json for everything that a preset does not contain.

    `BertBackbone.from_preset` and `BertTokenizer.from_preset` read it too, the former with KerasNLP's own activation
    and epsilon. Files are written to a temporary directory, which is renamed at the end, so that an interruption never
    leaves a partial encoder.

    Args:
        encoder: the encoder with its current weights.
        directory: new or empty, or an encoder saved by tfbert, which is replaced.
        heads: weights of the pretraining heads under Hugging Face's names, written to heads.safetensors.

    Raises:
        ValueError: the directory contains something else.
        WriteError: the disk is full.
    """
    rules, spec = encoder.rules._asdict(), encoder.spec.to_json()
    keys = ("activation", "layer_norm_epsilon", "has_pooler", "pretraining")
    document = {"format": _FORMAT, "tfbert_version": tfbert.__version__, "source": encoder.source, **rules}
    document |= {key: spec[key] for key in keys if key in spec}
    with replace_directory(directory, _SAVED_FILES, "a saved encoder") as temporary_dir:
        # HDF5 crashes the process if the disk is full.
        num_bytes = sum(np.asarray(weight).nbytes for weight in encoder.backbone.weights)
        check_space(temporary_dir, num_bytes + _HDF5_OVERHEAD_BYTES, Path(directory) / _WEIGHTS)
        encoder.backbone.save_to_preset(str(temporary_dir))
        BertTokenizer(encoder.vocabulary, **rules).save_to_preset(str(temporary_dir))
        if heads:
            save_file(heads, temporary_dir / HEADS)
        paths = [temporary_dir / name for name in (_WEIGHTS, HEADS)]
        document["sha256"] = {path.name: sha256_of(path) for path in paths if path.exists()}
        (temporary_dir / "encoder.json").write_text(json.dumps(document, indent=1), encoding="utf-8")


def write_huggingface(encoder: Encoder, directory: Path, head: huggingface.ModelHead) -> None:
    """Write an encoder with a head into an existing directory, in Hugging Face's layout."""
    huggingface.write(directory, encoder.backbone, encoder.vocabulary, encoder.rules, encoder.spec, head)


def new_encoder(vocabulary: list[str], sizes: dict[str, int], *, lowercase: bool, dropout: float, name: str) -> Encoder:
    """Return an encoder with random weights, with the activation and epsilon of KerasNLP's BERT.

    Weights are initialized as in the original BERT, from Keras' random state.

    Args:
        vocabulary: the tokens in order of their ids.
        sizes: `num_layers`, `num_heads`, `hidden_dim`, `intermediate_dim`, `max_sequence_length`.
        lowercase: whether the tokenizer ignores case and accents.
        dropout: rate for hidden states and attention weights.
        name: the name of its source.

    Raises:
        ValueError: the vocabulary is not suitable for BERT's tokenizer.
    """
    backbone = BertEncoder(vocabulary_size=len(vocabulary), **sizes, dropout=dropout)
    rules = TokenizerRules(lowercase, strip_accents=lowercase, split_on_cjk=True)
    return _checked_encoder(EncoderSource(name, "tfbert"), backbone, vocabulary, rules, has_pooler=False)


def _checked_encoder(
    source: EncoderSource,
    backbone: BertEncoder,
    vocabulary: list[str],
    rules: TokenizerRules,
    has_pooler: bool = True,
) -> Encoder:
    """Return an encoder with its spec, after checking the vocabulary."""
    architecture = {key: getattr(backbone, key) for key in (*SIZES, "dropout", "activation", "layer_norm_epsilon")}
    spec = EncoderSpec(kind=source.kind, has_pooler=has_pooler, commit=source.commit, **architecture)
    if len(vocabulary) > backbone.vocabulary_size:
        raise ValueError(
            f"{source.name}: the vocabulary has {len(vocabulary)} tokens; expected at most {backbone.vocabulary_size}, "
            "the number of embeddings"
        )
    presets.check_vocabulary(vocabulary, source.name)
    return Encoder(backbone, vocabulary, *rules, source.name, spec)


def _load_tiny(source: EncoderSource, options: dict, load_weights: bool, seed: int) -> Encoder:
    """Build the random encoder for tests; `load_weights` has no effect."""
    vocabulary = presets.tiny_vocabulary()
    sizes = {"num_layers": 2, "num_heads": 2, "hidden_dim": 32, "intermediate_dim": 64, "max_sequence_length": 512}
    backbone = BertEncoder(len(vocabulary), **sizes, activation="gelu", draw_weights=False, **options)
    _randomize(backbone.weights, seed, _TINY_POSITIONS)
    return _checked_encoder(source, backbone, vocabulary, TokenizerRules(True, True, True))


def _load_kerasnlp(source: EncoderSource, options: dict, load_weights: bool, seed: int) -> Encoder:
    """Load a KerasNLP preset, and the encoder.json of one that tfbert saved."""
    preset = source.preset or str(source.directory)
    saved = _read_encoder_json(source.directory / "encoder.json") if source.kind == "tfbert" else {}
    if source.directory:
        _check_files(source.directory, saved)
    computation = {key: saved[key] for key in ("activation", "layer_norm_epsilon") if key in saved}
    try:
        backbone = BertEncoder.from_preset(preset, load_weights, **computation, **options)
        tokenizer = BertTokenizer.from_preset(preset)
    except (OSError, ValueError, KeyError, ImportError, TypeError, RuntimeError, AttributeError) as error:
        raise ValueError(f"encoder {source.name!r}: KerasNLP could not load it: {error}") from error
    if source.preset:
        _check_download(source.preset)
    if not load_weights:
        _randomize(backbone.weights, seed)
    # KerasNLP keeps accents by default, but the uncased models were trained on text without them.
    rules = TokenizerRules(
        lowercase=saved.get("lowercase", tokenizer.lowercase),
        strip_accents=saved.get("strip_accents", tokenizer.strip_accents or tokenizer.lowercase),
        split_on_cjk=saved.get("split_on_cjk", tokenizer.split_on_cjk),
    )
    encoder = _checked_encoder(
        source, backbone, list(tokenizer.vocabulary), rules, has_pooler=saved.get("has_pooler", True)
    )
    spec = dataclasses.replace(encoder.spec, pretraining=saved.get("pretraining"))
    return dataclasses.replace(encoder, source=saved.get("source", source.name), spec=spec)


def _check_files(directory: Path, saved: dict[str, Any]) -> None:
    """Verify the checksums in encoder.json, which older versions of tfbert did not write."""
    files = checksums.parse(saved.get("sha256", {}), directory / "encoder.json")
    damaged = checksums.find_damaged(directory, files)
    if damaged:
        raise ValueError(
            f"{damaged}: damaged: its SHA-256 differs from that in encoder.json; restore it from a copy, or pretrain "
            "again"
        )


def _check_download(preset: str) -> None:
    """Check that the files of a preset in KerasNLP's cache have not changed since they were first seen."""
    try:
        directory = kerasnlp.preset_dir(preset)
    except Exception as error:
        logger.warning("%s: cannot check the preset's files for damage, because they were not found: %s", preset, error)
        return
    checksums.check_download(directory, presets.cache_dir() / checksums.CHECKSUMS_DIR)


def _read_encoder_json(path: Path) -> dict[str, Any]:
    saved = read_json(path)
    if saved.get("format") != _FORMAT:
        raise ValueError(
            f"{path}: format is {saved.get('format')!r}; expected {_FORMAT}; was it written by a newer tfbert?"
        )
    types = {**dict.fromkeys(TokenizerRules._fields, bool), "has_pooler": bool, "source": str}
    types |= {"activation": str, "layer_norm_epsilon": float}
    for key, value_type in types.items():
        if not isinstance(saved.get(key), value_type):
            raise ValueError(f"{path}: {key} is {saved.get(key)!r}; expected a {value_type.__name__}")
    if saved["activation"] not in ACTIVATIONS:
        raise ValueError(f"{path}: activation is {saved['activation']!r}; expected one of {', '.join(ACTIVATIONS)}")
    return saved


def _load_huggingface(source: EncoderSource, options: dict, load_weights: bool, seed: int) -> Encoder:
    """Load a Hugging Face directory without the transformers package."""
    path = source.directory / "config.json"
    config = read_json(path)
    sizes, activation, epsilon = huggingface.check_config(config, path)
    dropout, attention_dropout = (config.get(f"{key}_dropout_prob", 0.1) for key in ("hidden", "attention_probs"))
    if "dropout" not in options and dropout != attention_dropout:
        logger.warning(
            "%s: attention dropout is %s; using the hidden dropout, %s, for both", path, attention_dropout, dropout
        )
    vocabulary, rules = read_tokenizer(source.directory)
    options = {"dropout": dropout, "activation": activation, "layer_norm_epsilon": epsilon, **options}
    backbone = BertEncoder(**sizes, draw_weights=False, **options)
    has_pooler = not load_weights or huggingface.load_weights(backbone, source.directory / "model.safetensors")
    if not load_weights:
        _randomize(backbone.weights, seed)
    if not has_pooler:
        _randomize(backbone.pooled_dense.weights, seed)
    return _checked_encoder(source, backbone, vocabulary, rules, has_pooler)


def _randomize(weights: Iterable[keras.Variable], seed: int, num_first_positions: int | None = None) -> None:
    """Assign random values to kernels and embeddings: normal with deviation 0.02, truncated at two deviations.

    Args:
        weights: the weights of a backbone.
        seed: random seed; the same seed gives the same values.
        num_first_positions: how many position embeddings are drawn in sequence with the other weights. Those after them
            have their own generator, so that their number does not change any other weight. `None` means all.
    """
    generator = np.random.default_rng(seed)
    for variable in weights:
        if len(variable.shape) > 1 and not variable.path.endswith("bias"):
            size, *rest = variable.shape
            num_first = num_first_positions if num_first_positions and "position_embedding" in variable.path else size
            values = generator.standard_normal((num_first, *rest), dtype=np.float32)
            if num_first < size:
                own_generator = np.random.default_rng([seed, num_first])
                others = own_generator.standard_normal((size - num_first, *rest), dtype=np.float32)
                values = np.concatenate([values, others])
            variable.assign(0.02 * np.clip(values, -2, 2))
