"""What a pretraining starts from: an encoder, pretrained or new, and the corpus as rows of its tokens."""

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
from tfbert.encoder.precision import Precision, choose_precision
from tfbert.encoder.weights import copy_weights
from tfbert.pretraining.batches import Batcher
from tfbert.pretraining.config import PretrainConfig
from tfbert.pretraining.heads import PretrainingHead, PretrainingModel
from tfbert.pretraining.masking import Masker
from tfbert.pretraining.preparation import prepare as prepare_rows
from tfbert.pretraining.rows import check_vocabulary, load_rows, read_index
from tfbert.pretraining.vocabulary import train_vocabulary
from tfbert.pretraining.wordpieces import WordPieces
from tfbert.text.tokenizer import SpecialTokens
from tfbert.training.distribution import ALONE, Replicas

logger = logging.getLogger(__name__)

_SIZES = ("num_layers", "num_heads", "hidden_dim", "intermediate_dim", "max_sequence_length")


@dataclass(frozen=True, kw_only=True)
class PretrainingProblem:
    """Everything that a pretraining needs before it starts.

    Args:
        config: of the run.
        encoder: float32, with the initial weights.
        index: content of the `index.json` of the rows.
        train: rows to learn from.
        held_out: rows to evaluate on.
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
        """A hash of config, rows and encoder: equal fingerprints give equal weights on one machine."""
        tree = self.config.to_dict()
        for name in ("corpus", "prepared"):
            tree.pop(name)  # the hashes of the rows stand for it, wherever its files are
        rows = {name: split["shards"] for name, split in self.index["splits"].items()}
        parts = [tree, rows, self.index["vocabulary"], self.encoder.spec.to_json()]
        text = json.dumps(parts, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()


def load_start(config: PretrainConfig, work_dir: Path) -> Encoder:
    """Return the encoder that training starts from, a pretrained or a new one.

    Keras' random state is set from the seed, which determines the weights of a new encoder.

    Args:
        config: of the run.
        work_dir: where a vocabulary is written if it has to be trained; created if missing.

    Raises:
        ValueError: the encoder or the vocabulary cannot be used, or the encoder has too few positions for the rows.
    """
    wanted = config.encoder
    keras.utils.set_random_seed(config.train.seed)
    if wanted.name is not None:
        if wanted.vocabulary is not None:
            raise ValueError(
                f"encoder.vocabulary={wanted.vocabulary}: {wanted.name} has a vocabulary of its own; a new encoder, "
                "encoder.name=none, takes any"
            )
        encoder = load_encoder(wanted.name, dropout=wanted.dropout)
    else:
        encoder = new_encoder(
            read_vocabulary(config, work_dir),
            {name: getattr(wanted, name) for name in _SIZES},
            lowercase=wanted.lowercase,
            dropout=wanted.dropout,
            name="none",
        )
    longest, length = encoder.backbone.max_sequence_length, config.examples.sequence_length
    if length > longest:
        raise ValueError(f"examples.sequence_length={length}: the encoder has positions for at most {longest} tokens")
    return encoder


def read_vocabulary(config: PretrainConfig, work_dir: Path) -> list[str]:
    """Return the vocabulary of a new encoder: from its file, or trained on the corpus and kept in `work_dir`.

    Raises:
        ValueError: the file cannot be read or is not a WordPiece vocabulary.
    """
    given = config.encoder.vocabulary
    path = Path(given) if given else work_dir / "vocabulary.txt"
    if not given and not path.is_file():
        work_dir.mkdir(parents=True, exist_ok=True)
        lowercase = config.encoder.lowercase
        return train_vocabulary(config.corpus, config.encoder.vocabulary_size, path, lowercase=lowercase)
    try:
        vocabulary = path.read_text(encoding="utf-8").replace("\r\n", "\n").removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: is not UTF-8 at byte {error.start}; wanted a token a line") from error
    presets.check_vocabulary(vocabulary, str(path))
    return vocabulary


def word_pieces_of(encoder: Encoder) -> WordPieces:
    """Return the tokenizer of an encoder that works without TensorFlow."""
    rules = {name: getattr(encoder, name) for name in ("lowercase", "strip_accents", "split_on_cjk")}
    return WordPieces(encoder.vocabulary, **rules)


def prepare(config: PretrainConfig, work_dir: Path, replicas: Replicas = ALONE) -> PretrainingProblem:
    """Load the encoder, and prepare the rows of the corpus unless they exist.

    Args:
        config: of the run.
        work_dir: where rows are prepared; rows that an earlier process prepared there are used again.
        replicas: devices that train together. Several processes need prepared rows, and a vocabulary for a new encoder.

    Raises:
        ValueError: corpus, vocabulary or encoder cannot be used; the message says where.
    """
    _check_shared(config, replicas)
    directory, index = work_dir / "rows", None
    if config.prepared:
        directory = Path(config.prepared)
        index = read_index(directory)
        # The settings that the rows were prepared with replace those of the config.
        settings = {f"{section}.{name}": v for section, fields in index["config"].items() for name, v in fields.items()}
        config = override(config, settings)
    started = time.monotonic()
    encoder = load_start(config, work_dir)
    word_pieces = word_pieces_of(encoder)
    seconds = {"load_encoder": time.monotonic() - started}
    started = time.monotonic()
    if index is None:
        index = prepare_rows(config.corpus, config.examples, word_pieces, directory)
    check_vocabulary(index, word_pieces, directory)
    ids = {token: encoder.vocabulary.index(token) for token in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")}
    special = SpecialTokens(*ids.values())
    masker = Masker(config.objective, special, len(encoder.vocabulary), config.train.seed)
    train, held_out = (Batcher(load_rows(directory, split), masker) for split in ("train", "held_out"))
    seconds["prepare"] = time.monotonic() - started
    longest, pairs = config.examples.sequence_length, config.examples.pairs
    counts = f"{len(train.rows):,} to learn from, {len(held_out.rows):,} held out"
    logger.info("rows: %s, of up to %d tokens, pairs: %s", counts, longest, pairs)
    return PretrainingProblem(
        config=config, encoder=encoder, index=index, train=train, held_out=held_out, seconds=seconds, replicas=replicas
    )


def _check_shared(config: PretrainConfig, replicas: Replicas) -> None:
    """Refuse a config by which every process would have to prepare rows or a vocabulary for itself."""
    replicas.check_batch_size(config.train.batch_size)
    if replicas.num_workers == 1:
        return
    if config.prepared is None:
        raise ValueError(
            "prepared=none: wanted --prepared DIR with rows for all workers; `pretrain prepare` makes them"
        )
    if config.encoder.name is None and config.encoder.vocabulary is None:
        raise ValueError(
            "encoder.vocabulary=none: wanted --vocabulary FILE for all workers; the rows were made with it"
        )


def build_models(problem: PretrainingProblem) -> tuple[PretrainingModel, PretrainingModel, bool]:
    """Return a model to train, in the configured precision, one to evaluate, in float32, and whether heads were found.

    They are one and the same where training is float32 between its matrix products. Both start from the encoder's
    weights, and from those of its heads where its directory has them.
    """
    config, encoder = problem.config, problem.encoder
    keras.utils.set_random_seed(config.train.seed)
    precision = choose_precision(config.encoder.precision, config.encoder.fast)
    models = []
    options = {"dropout": config.encoder.dropout, "fast": config.encoder.fast}
    for each in dict.fromkeys((Precision("float32", precision.product_dtype), precision)):
        backbone = build_encoder(encoder.spec, **each._asdict(), **options)
        head = PretrainingHead(
            backbone,
            activation=encoder.spec.activation,
            layer_norm_epsilon=encoder.spec.layer_norm_epsilon,
            with_pairs=config.examples.pairs != "none",
            product_dtype=each.product_dtype,
        )
        models.append(PretrainingModel(backbone, head))
        copy_weights(encoder.backbone, backbone)
    evaluation_model, model = models[0], models[-1]
    found = []
    if config.encoder.name is not None:
        source = presets.resolve(config.encoder.name)
        found = evaluation_model.head.load(source.directory) if source.directory else []
        logger.info("heads: %s", f"{len(found)} tensors of the encoder's own" if found else "new ones")
    copy_weights(evaluation_model.head, model.head)
    return model, evaluation_model, bool(found)
