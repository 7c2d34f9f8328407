"""Pretraining problems: the initial encoder and the packed sequences of the corpus."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfbert.config import override
from tfbert.pretraining.batches import Batcher
from tfbert.pretraining.config import PretrainConfig
from tfbert.pretraining.initial_encoder import load_initial_encoder, make_word_pieces
from tfbert.pretraining.masking import Masker
from tfbert.pretraining.preparation import prepare
from tfbert.pretraining.sequences import Index, check_vocabulary, load_sequences, read_index
from tfbert.pretraining.vocabulary import SPECIAL_TOKENS
from tfbert.text.tokenizer import SpecialTokens
from tfbert.training.base_problem import BaseProblem, timed
from tfbert.training.distribution import ALONE, Replicas
from tfbert.training.trackers import require_package

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class PretrainingProblem(BaseProblem[PretrainConfig]):
    """Everything that a pretraining needs before it starts; the config has the settings of prepared sequences.

    Args:
        index: content of the `index.json` of the sequences.
        train: sequences to train on.
        held_out: sequences to evaluate on.
    """

    index: Index
    train: Batcher
    held_out: Batcher

    def identity(self, config: PretrainConfig) -> list[Any]:
        """Return the config and the hashes of shards and vocabulary."""
        tree = config.to_dict()
        for name in ("corpus", "prepared"):
            tree.pop(name)  # represented by the hashes of the shards, wherever the files are
        shards = {name: split["shards"] for name, split in self.index["splits"].items()}
        return [tree, shards, self.index["vocabulary"]]


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
    require_package(config)
    directory, index = work_dir / "rows", None
    if config.prepared:
        directory = Path(config.prepared)
        index = read_index(directory)
        stored = {f"{section}.{name}": v for section, fields in index["config"].items() for name, v in fields.items()}
        config = override(config, stored)
    seconds: dict[str, float] = {}
    with timed(seconds, "load_encoder"):
        encoder = load_initial_encoder(config, work_dir)
        word_pieces = make_word_pieces(encoder)
    with timed(seconds, "prepare"):
        if index is None:
            index = prepare(config.corpus, config.examples, word_pieces, directory)
        check_vocabulary(index, word_pieces, directory)
        special = SpecialTokens(*map(encoder.vocabulary.index, SPECIAL_TOKENS))
        masker = Masker(config.objective, special, len(encoder.vocabulary), config.train.seed)
        train, held_out = (Batcher(load_sequences(directory, split), masker) for split in ("train", "held_out"))
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
