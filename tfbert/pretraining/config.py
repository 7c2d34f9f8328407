"""The config of pretraining, one tree; read, overridden and written as `tfbert.config` does."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tfbert.config import EPOCHS, OptimizationConfig, RootConfig, require
from tfbert.fields import FRACTION, SEED, Bounds, at_least, check_bounds, setting
from tfbert.pretraining import segmenters

# What is read where no corpus is named. So little text needs a larger fraction of it to measure on.
SAMPLES = {
    "corpus.paths": (str(Path(__file__).parent.parent / "samples" / "pretraining" / "office.txt"),),
    "corpus.held_out_fraction": 0.2,
}
_INSIDE = Bounds("more than 0, below 1", 0, 1, low_excluded=True, high_excluded=True)


@dataclass(frozen=True, kw_only=True)
class CorpusConfig:
    """Which text, and what one document of it is."""

    paths: tuple[str, ...] = setting(
        (), "files, or directories all of whose files are read, in the order of their names"
    )
    format: Literal["auto", "text", "jsonl"] = setting(
        "auto", "text or jsonl, either gzipped or not; auto decides by the file name"
    )
    text_key: str = setting("text", "key of a jsonl object that holds the text of the document")
    documents: Literal["auto", "file", "line", "blank_line"] = setting(
        "auto",
        "what a document of a text file is: the whole file, a line, or lines up to a blank line; auto takes blank "
        "lines where there are any, otherwise each line, and the file if it is one line",
    )
    encoding: str = setting("utf-8", "encoding of every file; a byte order mark is dropped")
    encoding_errors: Literal["strict", "replace"] = setting(
        "strict", "strict refuses bytes that do not decode, replace turns them into U+FFFD and counts them"
    )
    held_out_fraction: float = setting(
        0.05,
        "fraction of the documents, taken by the hash of their text, to measure on and never to learn from",
        _INSIDE,
    )

    def __post_init__(self):
        check_bounds(self, "corpus")


@dataclass(frozen=True, kw_only=True)
class ExamplesConfig:
    """How documents become token sequences. Masks are not part of it: they are drawn again in every epoch."""

    sequence_length: int = setting(
        128, "longest sequence in tokens, special tokens included", Bounds("8 to 65535 tokens", 8, 2**16 - 1)
    )
    short_fraction: float = setting(
        0.1,
        "fraction of the sequences that are filled to a random shorter length only, so that the encoder knows short "
        "texts too",
        FRACTION,
    )
    pairs: Literal["next_sentence", "sentence_order", "none"] = setting(
        "next_sentence",
        "what the second segment of a sequence is: half of the time the text of another document (next_sentence), half "
        "of the time swapped with the first (sentence_order), or none and a sequence is one segment",
    )
    passes: int = setting(1, "passes over the corpus, each cut into sequences in another way", at_least(1))
    segmenter: str | None = setting(
        None,
        "what finds the words of a text, for languages written without spaces; it decides which tokens are masked "
        "together. none makes every ideograph a word, whitespace what stands between spaces, punctuation the same with "
        "punctuation marks apart, jieba the words that this library finds in Chinese. A module:function that takes a "
        "text and returns its words runs only where the command line allows it",
    )
    num_shards: int = setting(
        0,
        "files that the sequences are spread over by hash; 0 means one for some 4 MB of text, at most 500",
        Bounds("0 to 10000", 0, 10_000),
    )
    seed: int = setting(0, "random seed of the cuts and pairs", SEED)

    def __post_init__(self):
        check_bounds(self, "examples")
        name = self.segmenter
        wish = f"one of {segmenters.CHOICES}, or module:function"
        require(name is None or segmenters.is_known(name), segmenters.FIELD, name, wish)


@dataclass(frozen=True, kw_only=True)
class ObjectiveConfig:
    """What is asked about a sequence."""

    mask_fraction: float = setting(
        0.15,
        "fraction of a sequence's tokens that are to be guessed; of these 80 % become [MASK], 10 % a random token, and "
        "10 % stay",
        _INSIDE,
    )
    masking: Literal["token", "whole_word", "span"] = setting(
        "whole_word", "what is chosen at random: token, whole_word with all its pieces, or span of whole words"
    )

    def __post_init__(self):
        check_bounds(self, "objective")


@dataclass(frozen=True, kw_only=True)
class PretrainedEncoderConfig:
    """The BERT that is trained: an existing encoder, or a new one of these sizes."""

    name: str | None = setting(
        "minilm",
        "an encoder of tools/train.py --list, a KerasNLP preset name, hf://owner/name, or a directory; none starts "
        "from random weights",
    )
    vocabulary: str | None = setting(
        None, "file with one token per line; none takes that of the encoder, or trains one on the corpus"
    )
    vocabulary_size: int = setting(30_000, "tokens of a vocabulary that is trained", at_least(100))
    lowercase: bool = setting(True, "whether a trained vocabulary, and its tokenizer, ignore case and accents")
    num_layers: int = setting(4, "layers of a new encoder", at_least(1))
    num_heads: int = setting(4, "attention heads of a new encoder", at_least(1))
    hidden_dim: int = setting(256, "width of a new encoder", at_least(1))
    intermediate_dim: int = setting(1024, "width of the feed-forward layers of a new encoder", at_least(1))
    max_sequence_length: int = setting(512, "positions of a new encoder", at_least(1))
    dropout: float = setting(0.1, "dropout of hidden states and attention in training", FRACTION)
    precision: Literal["auto", "float32", "bfloat16", "float16"] = setting(
        "auto", "precision of the matrix products in training, as for fine-tuning"
    )
    fast: bool = setting(True, "whether layers are computed in tfbert's faster ways, as for fine-tuning")

    def __post_init__(self):
        check_bounds(self, "encoder")
        heads = self.num_heads
        require(self.hidden_dim % heads == 0, "encoder.hidden_dim", self.hidden_dim, f"a multiple of num_heads={heads}")


@dataclass(frozen=True, kw_only=True)
class PretrainTrainConfig(OptimizationConfig):
    """How the weights are learned."""

    epochs: int | None = setting(
        None,
        "passes over the sequences, each with its own masks; none means as many as show some 20,000 sequences, 3 to 40",
        EPOCHS,
    )
    evaluations: int = setting(
        10, "evaluations on held-out text, evenly spread over the training, besides the one before it", at_least(1)
    )
    patience_evaluations: int = setting(
        0, "evaluations without improvement after which training stops; 0 means never", at_least(0)
    )
    held_out_rows: int = setting(
        1000, "held-out sequences measured on in every evaluation, a fixed sample; 0 means all", at_least(0)
    )
    head_updates_fraction: float = setting(
        0.1,
        "fraction of the updates, the first ones, in which the encoder stays as it is, where it has learned something "
        "and its heads have not: they learn to read it before they change it",
        FRACTION,
    )
    short_updates_fraction: float = setting(
        0.0,
        "fraction of the updates, the first ones, that only see sequences cut to a quarter of the sequence length",
        FRACTION,
    )

    def num_epochs(self, num_sequences: int) -> int:
        """Return the number of epochs for this many sequences."""
        return self.epochs or min(40, max(3, round(20_000 / num_sequences)))


@dataclass(frozen=True, kw_only=True)
class PretrainConfig(RootConfig):
    """Everything that decides a pretraining run."""

    prepared: str | None = setting(
        None,
        "directory of sequences that `pretrain.py prepare` made, with their own corpus and examples; none makes them "
        "of the corpus",
    )
    corpus: CorpusConfig = field(default_factory=CorpusConfig)
    examples: ExamplesConfig = field(default_factory=ExamplesConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    encoder: PretrainedEncoderConfig = field(default_factory=PretrainedEncoderConfig)
    train: PretrainTrainConfig = field(default_factory=PretrainTrainConfig)
