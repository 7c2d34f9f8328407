"""The encoder that a pretraining starts from, pretrained or new, with its vocabulary."""

from pathlib import Path

import keras

from tfbert.encoder import presets
from tfbert.encoder.backbone import Encoder, load_encoder, new_encoder
from tfbert.pretraining.config import PretrainConfig
from tfbert.pretraining.vocabulary import train_vocabulary
from tfbert.pretraining.wordpieces import WordPieces

_SIZES = ("num_layers", "num_heads", "hidden_dim", "intermediate_dim", "max_sequence_length")


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
