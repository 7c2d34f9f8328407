"""Pretraining problems: the initial encoder, pretrained or new, and the packed sequences of the corpus."""

import hashlib
import json
import logging
import time
from dataclasses import dataclass
from pathlib import Path

import keras

from tfbert.config import override
from tfbert.encoder import presets
from tfbert.encoder.backbone import Encoder, load_encoder, new_encoder
from tfbert.encoder.bert import build_encoder
from tfbert.encoder.precision import Precision
from tfbert.encoder.weights import copy_weights
from tfbert.models.build import build_in_two_precisions
from tfbert.pretraining.batches import Batcher
from tfbert.pretraining.config import PretrainConfig
from tfbert.pretraining.heads import PretrainingHead, PretrainingModel
from tfbert.pretraining.masking import Masker
from tfbert.pretraining.preparation import prepare
from tfbert.pretraining.sequences import check_vocabulary, load_sequences, read_index
from tfbert.pretraining.vocabulary import SPECIAL_TOKENS, train_vocabulary
from tfbert.pretraining.wordpieces import WordPieces
from tfbert.text.tokenizer import SpecialTokens
from tfbert.training.distribution import ALONE, Replicas

logger = logging.getLogger(__name__)

_SIZES = ("num_layers", "num_heads", "hidden_dim", "intermediate_dim", "max_sequence_length")


@dataclass(frozen=True, kw_only=True)
class PretrainingProblem:
    """Everything that a pretraining needs before it starts.

    Args:
        config: config of the run, with the settings of prepared sequences.
        encoder: in float32, with the initial weights.
        index: content of the `index.json` of the sequences.
        train: sequences to train on.
        held_out: sequences to evaluate on.
        seconds: duration of each stage of the preparation.
        replicas: devices that train together.
    """

    config: PretrainConfig
    encoder: Encoder
    index: dict
    train: Batcher
    held_out: Batcher
    seconds: dict[str, float]
    replicas: Replicas

    @property
    def fingerprint(self) -> str:
        """Hash of config, sequences and encoder: equal fingerprints give equal weights on one machine."""
        tree = self.config.to_dict()
        for name in ("corpus", "prepared"):
            tree.pop(name)  # represented by the hashes of the shards, wherever the files are
        shards = {name: split["shards"] for name, split in self.index["splits"].items()}
        values = [tree, shards, self.index["vocabulary"], self.encoder.spec.to_json()]
        text = json.dumps(values, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()


def load_initial_encoder(config: PretrainConfig, work_dir: Path) -> Encoder:
    """Return the encoder that training starts from, a pretrained or a new one.

    Keras' random state is set from the seed, which determines the weights of a new encoder.

    Args:
        config: config of the run.
        work_dir: directory for a vocabulary that has to be trained; created if missing.

    Raises:
        ValueError: the encoder or the vocabulary cannot be used, or the encoder has too few positions for the
            sequences.
    """
    settings = config.encoder
    keras.utils.set_random_seed(config.train.seed)
    if settings.name is not None:
        if settings.vocabulary is not None:
            raise ValueError(
                f"encoder.vocabulary={settings.vocabulary}: {settings.name} has its own vocabulary; only a new "
                "encoder, encoder.name=none, takes another one"
            )
        encoder = load_encoder(settings.name, dropout=settings.dropout)
    else:
        encoder = new_encoder(
            read_vocabulary(config, work_dir),
            {name: getattr(settings, name) for name in _SIZES},
            lowercase=settings.lowercase,
            dropout=settings.dropout,
            name="none",
        )
    max_length, length = encoder.backbone.max_sequence_length, config.examples.sequence_length
    if length > max_length:
        raise ValueError(
            f"examples.sequence_length={length}: the encoder has positions for at most {max_length} tokens"
        )
    return encoder


def read_vocabulary(config: PretrainConfig, work_dir: Path) -> list[str]:
    """Return the vocabulary of a new encoder: read from its file, or trained on the corpus and stored in `work_dir`.

    Raises:
        ValueError: the file cannot be read or is not a WordPiece vocabulary.
    """
    settings = config.encoder
    path = Path(settings.vocabulary or work_dir / "vocabulary.txt")
    if settings.vocabulary is None and not path.is_file():
        work_dir.mkdir(parents=True, exist_ok=True)
        return train_vocabulary(config.corpus, settings.vocabulary_size, path, lowercase=settings.lowercase)
    try:
        vocabulary = path.read_text(encoding="utf-8").replace("\r\n", "\n").removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 at byte {error.start}; expected one token per line") from error
    presets.check_vocabulary(vocabulary, str(path))
    return vocabulary


def make_word_pieces(encoder: Encoder) -> WordPieces:
    """Return a tokenizer with the encoder's vocabulary and rules that works without TensorFlow."""
    return WordPieces(encoder.vocabulary, **encoder.rules._asdict())


def prepare_problem(config: PretrainConfig, work_dir: Path, replicas: Replicas = ALONE) -> PretrainingProblem:
    """Load the encoder, and prepare the sequences of the corpus unless they exist.

    Args:
        config: config of the run.
        work_dir: directory in which sequences are prepared; those of an earlier process are used again.
        replicas: devices that train together. Several processes need prepared sequences, and a vocabulary for a new
            encoder.

    Raises:
        ValueError: corpus, vocabulary or encoder cannot be used; the message names the file.
    """
    _check_workers(config, replicas)
    directory, index = work_dir / "rows", None
    if config.prepared:
        directory = Path(config.prepared)
        index = read_index(directory)
        stored = {f"{section}.{name}": v for section, fields in index["config"].items() for name, v in fields.items()}
        config = override(config, stored)
    started = time.monotonic()
    encoder = load_initial_encoder(config, work_dir)
    word_pieces = make_word_pieces(encoder)
    seconds = {"load_encoder": time.monotonic() - started}
    started = time.monotonic()
    if index is None:
        index = prepare(config.corpus, config.examples, word_pieces, directory)
    check_vocabulary(index, word_pieces, directory)
    special = SpecialTokens(*map(encoder.vocabulary.index, SPECIAL_TOKENS))
    masker = Masker(config.objective, special, len(encoder.vocabulary), config.train.seed)
    train, held_out = (Batcher(load_sequences(directory, split), masker) for split in ("train", "held_out"))
    seconds["prepare"] = time.monotonic() - started
    logger.info(
        "sequences: %s for training, %s held out, up to %d tokens, pairs: %s",
        f"{len(train.sequences):,}",
        f"{len(held_out.sequences):,}",
        config.examples.sequence_length,
        config.examples.pairs,
    )
    return PretrainingProblem(
        config=config, encoder=encoder, index=index, train=train, held_out=held_out, seconds=seconds, replicas=replicas
    )


def _check_workers(config: PretrainConfig, replicas: Replicas) -> None:
    """Refuse a config with which every process would have to prepare its own sequences or vocabulary."""
    replicas.check_batch_size(config.train.batch_size)
    if replicas.num_workers == 1:
        return
    if config.prepared is None:
        raise ValueError(
            "prepared=none: several workers need --prepared DIR with the same sequences; make them with "
            "`pretrain prepare`"
        )
    if config.encoder.name is None and config.encoder.vocabulary is None:
        raise ValueError(
            "encoder.vocabulary=none: several workers need --vocabulary FILE, the one that the sequences were "
            "prepared with"
        )


def build_models(problem: PretrainingProblem) -> tuple[PretrainingModel, PretrainingModel, bool]:
    """Return a model to train, in the configured precision, one to evaluate, in float32, and whether heads were loaded.

    The models may be the same. Both start from the encoder's weights, and from the heads in its directory if it has
    them.
    """
    config, encoder = problem.config, problem.encoder
    keras.utils.set_random_seed(config.train.seed)

    def build(precision: Precision) -> PretrainingModel:
        options = {"dropout": config.encoder.dropout, "fast": config.encoder.fast}
        backbone = build_encoder(encoder.spec, **precision._asdict(), **options)
        head = PretrainingHead(
            backbone,
            activation=encoder.spec.activation,
            layer_norm_epsilon=encoder.spec.layer_norm_epsilon,
            with_pairs=config.examples.pairs != "none",
            product_dtype=precision.product_dtype,
        )
        model = PretrainingModel(backbone, head)
        copy_weights(encoder.backbone, backbone)
        return model

    model, evaluation_model = build_in_two_precisions(build, config.encoder.precision, config.encoder.fast)
    loaded = []
    if config.encoder.name is not None:
        source = presets.resolve(config.encoder.name)
        loaded = evaluation_model.head.load(source.directory) if source.directory else []
        logger.info("heads: %s", f"{len(loaded)} tensors from the encoder's directory" if loaded else "new")
    copy_weights(evaluation_model.head, model.head)
    return model, evaluation_model, bool(loaded)
