"""Everything that decides a pretraining, as one tree; read, overridden and written as `tfbert.config` does."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tfbert.config import OptimizationConfig, RootConfig, require
from tfbert.pretraining import segmenters

# What is read where no corpus is named. So little text needs more of it to measure on.
SAMPLES = {
    "corpus.paths": (str(Path(__file__).parent.parent / "samples" / "pretraining" / "office.txt"),),
    "corpus.held_out_fraction": 0.2,
}


@dataclass(frozen=True, kw_only=True)
class CorpusConfig:
    """Which text, and what a document of it is.

    Args:
        paths: files, or directories all of whose files are read, in the order of their names.
        format: `text` or `jsonl`, either gzipped or not; `auto` decides by the file name.
        text_key: of a jsonl object, that holds the document's text.
        documents: what a document of a text file is: the whole `file`, a `line`, or lines up to a `blank_line`; `auto`
            takes blank lines where there are any, a line each otherwise, and the file if it is one line.
        encoding: of every file; a byte order mark is dropped.
        encoding_errors: `strict` refuses bytes that do not decode, `replace` turns them into U+FFFD and counts them.
        held_out_fraction: of the documents, taken by the hash of their text, to measure on and never to learn from.
    """

    paths: tuple[str, ...] = ()
    format: Literal["auto", "text", "jsonl"] = "auto"
    text_key: str = "text"
    documents: Literal["auto", "file", "line", "blank_line"] = "auto"
    encoding: str = "utf-8"
    encoding_errors: Literal["strict", "replace"] = "strict"
    held_out_fraction: float = 0.05

    def __post_init__(self):
        fraction = self.held_out_fraction
        require(0 < fraction < 1, "corpus.held_out_fraction", fraction, "more than 0, below 1")


@dataclass(frozen=True, kw_only=True)
class ExamplesConfig:
    """How documents become rows of tokens. Masks are not part of it: they are drawn anew in every epoch.

    Args:
        sequence_length: longest row in tokens, special ones included.
        short_fraction: of the rows, which are filled to a random shorter length only, so that the encoder knows short
            texts too.
        pairs: what the second segment of a row is: half of the time another document's text (`next_sentence`), half of
            the time swapped with the first (`sentence_order`), or there is `none` and a row is one segment.
        passes: over the corpus, each cut into rows in another way.
        segmenter: what finds the words of a text, for languages written without blanks; it decides which tokens are
            masked together. `none` makes every ideograph a word, `whitespace` what stands between blanks,
            `punctuation` the same with punctuation marks apart, `jieba` the words that this library finds in Chinese.
            A `module:function` that takes a text and returns its words runs only where the command line allows it.
        num_shards: files that the rows are spread over by hash; 0 means one for some 4 MB of text, at most 500.
        seed: of the cuts and pairs.
    """

    sequence_length: int = 128
    short_fraction: float = 0.1
    pairs: Literal["next_sentence", "sentence_order", "none"] = "next_sentence"
    passes: int = 1
    segmenter: str | None = None
    num_shards: int = 0
    seed: int = 0

    def __post_init__(self):
        length = self.sequence_length
        require(8 <= length < 2**16, "examples.sequence_length", length, "8 to 65535 tokens")
        require(0 <= self.short_fraction < 1, "examples.short_fraction", self.short_fraction, "0 or more, below 1")
        require(self.passes >= 1, "examples.passes", self.passes, "1 or more")
        require(0 <= self.num_shards <= 10_000, "examples.num_shards", self.num_shards, "0 to 10000")
        require(0 <= self.seed < 2**31, "examples.seed", self.seed, "0 to 2147483647")
        name = self.segmenter
        wish = f"one of {segmenters.CHOICES}, or module:function"
        require(name is None or segmenters.is_known(name), segmenters.FIELD, name, wish)


@dataclass(frozen=True, kw_only=True)
class ObjectiveConfig:
    """What is asked about a row.

    Args:
        mask_fraction: of a row's tokens that are to be guessed. Of these 80 % become [MASK], 10 % a random token, 10 %
            stay.
        masking: what is chosen at random: `token`, `whole_word` with all its pieces, or `span` of whole words.
    """

    mask_fraction: float = 0.15
    masking: Literal["token", "whole_word", "span"] = "whole_word"

    def __post_init__(self):
        require(0 < self.mask_fraction < 1, "objective.mask_fraction", self.mask_fraction, "more than 0, below 1")


@dataclass(frozen=True, kw_only=True)
class PretrainedEncoderConfig:
    """The BERT that is trained: an encoder at hand, or a new one of these sizes.

    Args:
        name: as in `tfbert.config.EncoderConfig`; `None` starts from nothing.
        vocabulary: file with a token a line; `None` takes that of the encoder at hand, or trains one on the corpus.
        vocabulary_size: of one that is trained.
        lowercase: whether a trained vocabulary, and its tokenizer, ignore case and accents.
        num_layers, num_heads, hidden_dim, intermediate_dim: sizes of a new encoder.
        max_sequence_length: positions that a new encoder has.
        dropout: of hidden states and attention in training, 0 to below 1.
        precision, fast: as in `tfbert.config.EncoderConfig`.
    """

    name: str | None = "minilm"
    vocabulary: str | None = None
    vocabulary_size: int = 30_000
    lowercase: bool = True
    num_layers: int = 4
    num_heads: int = 4
    hidden_dim: int = 256
    intermediate_dim: int = 1024
    max_sequence_length: int = 512
    dropout: float = 0.1
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    fast: bool = True

    def __post_init__(self):
        sizes = ("num_layers", "num_heads", "hidden_dim", "intermediate_dim", "max_sequence_length")
        for name in sizes:
            require(getattr(self, name) >= 1, f"encoder.{name}", getattr(self, name), "1 or more")
        heads = self.num_heads
        require(self.hidden_dim % heads == 0, "encoder.hidden_dim", self.hidden_dim, f"a multiple of num_heads={heads}")
        require(self.vocabulary_size >= 100, "encoder.vocabulary_size", self.vocabulary_size, "100 or more")
        require(0 <= self.dropout < 1, "encoder.dropout", self.dropout, "0 or more, below 1")


@dataclass(frozen=True, kw_only=True)
class PretrainTrainConfig(OptimizationConfig):
    """How the weights are learned.

    Args:
        epochs: passes over the rows, each with masks of its own; `None` means as many as show some 20,000 rows, 3 to
            40.
        evaluations: on held-out text, evenly spread over the training, and one before it.
        patience_evaluations: evaluations without a gain after which training stops; 0 means never.
        held_out_rows: measured on in every evaluation, a fixed sample; 0 means all that are held out.
        head_updates_fraction: of the updates, the first ones, in which the encoder stays as it is, where it has
            learned something and its heads have not: they learn to read it before they change it.
        short_updates_fraction: of the updates, the first ones, that only see rows cut to a quarter of the sequence
            length.
    """

    epochs: int | None = None
    evaluations: int = 10
    patience_evaluations: int = 0
    held_out_rows: int = 1000
    head_updates_fraction: float = 0.1
    short_updates_fraction: float = 0.0

    def __post_init__(self):
        super().__post_init__()
        require(self.epochs is None or self.epochs >= 1, "train.epochs", self.epochs, "1 or more, or none")
        require(self.evaluations >= 1, "train.evaluations", self.evaluations, "1 or more")
        for name in ("patience_evaluations", "held_out_rows"):
            require(getattr(self, name) >= 0, f"train.{name}", getattr(self, name), "0 or more")
        for name in ("head_updates_fraction", "short_updates_fraction"):
            require(0 <= getattr(self, name) < 1, f"train.{name}", getattr(self, name), "0 or more, below 1")

    def num_epochs(self, num_rows: int) -> int:
        """Return how many epochs so many rows get."""
        return self.epochs or min(40, max(3, round(20_000 / num_rows)))


@dataclass(frozen=True, kw_only=True)
class PretrainConfig(RootConfig):
    """Everything that decides a pretraining.

    Args:
        prepared: directory of rows that `pretrain.py prepare` made, with their own `corpus` and `examples`; `None`
            makes rows of the corpus.
    """

    prepared: str | None = None
    corpus: CorpusConfig = field(default_factory=CorpusConfig)
    examples: ExamplesConfig = field(default_factory=ExamplesConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    encoder: PretrainedEncoderConfig = field(default_factory=PretrainedEncoderConfig)
    train: PretrainTrainConfig = field(default_factory=PretrainTrainConfig)
