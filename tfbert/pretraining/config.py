"""Config of pretraining: corpus, examples, objective, encoder and training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tfbert.config import (
    EPOCHS,
    OptimizationConfig,
    RootConfig,
    from_dict,
    override,
    parse_assignments,
    require,
)
from tfbert.fields import FRACTION, POSITIVE, SEED, Bounds, at_least, check_bounds, setting
from tfbert.files import naming, read_json
from tfbert.pretraining import segmenters

# The corpus that is read if none is named. It is so small that a larger fraction of it is needed to evaluate on.
SAMPLES = {
    "corpus.paths": (str(Path(__file__).parent.parent / "samples" / "pretraining" / "office.txt"),),
    "corpus.held_out_fraction": 0.2,
}
_INSIDE = Bounds("more than 0, below 1", 0, 1, low_excluded=True, high_excluded=True)


@dataclass(frozen=True, kw_only=True)
class CorpusConfig:
    """Text files and how they are split into documents."""

    paths: tuple[str, ...] = setting((), "files, or directories whose files are all read in the order of their names")
    format: Literal["auto", "text", "jsonl"] = setting(
        "auto", "text or jsonl, either gzipped or not; auto decides by the file name"
    )
    text_key: str = setting("text", "key of a jsonl object that holds the text of the document")
    documents: Literal["auto", "file", "line", "blank_line"] = setting(
        "auto",
        "what a document of a text file is: the whole file, a line, or lines up to an empty line; auto splits at empty "
        "lines if there are any, otherwise at every line, and takes the whole file if it is one line",
    )
    encoding: str = setting("utf-8", "encoding of every file; a byte order mark is dropped")
    encoding_errors: Literal["strict", "replace"] = setting(
        "strict", "strict refuses bytes that do not decode, replace turns them into U+FFFD and counts them"
    )
    held_out_fraction: float = setting(
        0.05,
        "fraction of the documents, chosen by the hash of their text, that is used for evaluation only",
        _INSIDE,
    )

    def __post_init__(self):
        check_bounds(self, "corpus")


@dataclass(frozen=True, kw_only=True)
class ExamplesConfig:
    """How documents become token sequences. Masks are not included: they are drawn again in every epoch."""

    sequence_length: int = setting(
        128, "longest sequence in tokens, special tokens included", Bounds("8 to 65535 tokens", 8, 2**16 - 1)
    )
    short_fraction: float = setting(
        0.1,
        "fraction of the sequences that are filled only to a random shorter length, so that the encoder also learns "
        "short texts",
        FRACTION,
    )
    pairs: Literal["next_sentence", "sentence_order", "none"] = setting(
        "next_sentence",
        "the second segment of a sequence: next_sentence takes the text of another document half of the time, "
        "sentence_order swaps it with the first half of the time, none makes sequences of one segment",
    )
    passes: int = setting(1, "passes over the corpus, each packed into different sequences", at_least(1))
    segmenter: str | None = setting(
        None,
        "finds the words of a text in languages written without spaces; tokens of one word are masked together. none "
        "makes every ideograph a word, whitespace splits at spaces, punctuation also separates punctuation marks, "
        "jieba uses that library for Chinese. A module:function that takes a text and returns its words runs only if "
        "the command line allows it",
    )
    num_shards: int = setting(
        0,
        "number of files that the sequences are distributed over by hash; 0 means one per 4 MB of text, at most 500",
        Bounds("0 to 10000", 0, 10_000),
    )
    seed: int = setting(0, "random seed of the cuts and pairs", SEED)

    def __post_init__(self):
        check_bounds(self, "examples")
        name = self.segmenter
        expected = f"one of {segmenters.CHOICES}, or module:function"
        require(name is None or segmenters.is_known(name), segmenters.FIELD, name, expected)


@dataclass(frozen=True, kw_only=True)
class ObjectiveConfig:
    """How the tokens to predict are chosen."""

    mask_fraction: float = setting(
        0.15,
        "fraction of a sequence's tokens to predict; of these 80 % become [MASK], 10 % a random token, and 10 % stay "
        "unchanged",
        _INSIDE,
    )
    masking: Literal["token", "whole_word", "span"] = setting(
        "whole_word", "what is chosen at random: tokens, whole words with all their pieces, or spans of whole words"
    )

    def __post_init__(self):
        check_bounds(self, "objective")


@dataclass(frozen=True, kw_only=True)
class PretrainedEncoderConfig:
    """The encoder to pretrain: an existing one, or a new one of these sizes."""

    name: str | None = setting(
        "minilm",
        "an encoder name from `tfbert list`, a KerasNLP preset name, hf://owner/name, or a directory; none starts "
        "from random weights",
    )
    vocabulary: str | None = setting(
        None, "file with one token per line; none uses that of the encoder, or trains one on the corpus"
    )
    vocabulary_size: int = setting(30_000, "number of tokens of a trained vocabulary", at_least(100))
    lowercase: bool = setting(True, "whether a trained vocabulary and its tokenizer ignore case and accents")
    num_layers: int = setting(4, "layers of a new encoder", at_least(1))
    num_heads: int = setting(4, "attention heads of a new encoder", at_least(1))
    hidden_dim: int = setting(256, "width of a new encoder", at_least(1))
    intermediate_dim: int = setting(1024, "width of the feed-forward layers of a new encoder", at_least(1))
    max_sequence_length: int = setting(512, "positions of a new encoder", at_least(1))
    dropout: float = setting(0.1, "dropout rate of hidden states and attention during training", FRACTION)
    precision: Literal["auto", "float32", "bfloat16", "float16"] = setting(
        "auto", "precision of the matrix products during training, as in fine-tuning"
    )
    fast: bool = setting(True, "whether tfbert's faster implementations of the layers are used, as in fine-tuning")

    def __post_init__(self):
        check_bounds(self, "encoder")
        heads = self.num_heads
        require(self.hidden_dim % heads == 0, "encoder.hidden_dim", self.hidden_dim, f"a multiple of num_heads={heads}")


@dataclass(frozen=True, kw_only=True)
class PretrainTrainConfig(OptimizationConfig):
    """Training schedule and evaluation."""

    learning_rate: float = setting(2e-4, "peak learning rate of the heads and of the last encoder layer", POSITIVE)
    epochs: int | None = setting(
        None,
        "passes over the sequences, each with its own masks; none means the number that makes about 20,000 sequences, "
        "at least 3 and at most 40",
        EPOCHS,
    )
    evaluations: int = setting(
        10,
        "evaluations on held-out text, evenly spaced over the training, in addition to the one before it",
        at_least(1),
    )
    patience_evaluations: int = setting(
        0, "evaluations without improvement after which training stops; 0 means never", at_least(0)
    )
    held_out_rows: int = setting(
        1000, "number of held-out sequences in every evaluation, a fixed sample; 0 means all", at_least(0)
    )
    head_updates_fraction: float = setting(
        0.1,
        "fraction of the updates, at the start, in which only new heads on a pretrained encoder are trained, so that "
        "their random weights do not disturb the encoder",
        FRACTION,
    )
    short_updates_fraction: float = setting(
        0.0,
        "fraction of the updates, at the start, whose sequences are cut to a quarter of the sequence length",
        FRACTION,
    )

    def num_epochs(self, num_sequences: int) -> int:
        """Return the number of epochs for this many sequences."""
        return self.epochs or min(40, max(3, round(20_000 / num_sequences)))


@dataclass(frozen=True, kw_only=True)
class PretrainConfig(RootConfig):
    """Complete config of a pretraining run."""

    prepared: str | None = setting(
        None,
        "directory of sequences made by `tfbert pretrain prepare`, whose settings replace those of corpus and "
        "examples; none makes them from the corpus",
    )
    corpus: CorpusConfig = field(default_factory=CorpusConfig)
    examples: ExamplesConfig = field(default_factory=ExamplesConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    encoder: PretrainedEncoderConfig = field(default_factory=PretrainedEncoderConfig)
    train: PretrainTrainConfig = field(default_factory=PretrainTrainConfig)


def read_config(
    path: Path | None, assignments: Sequence[str], values: Mapping[str, Any], allow_code: bool
) -> PretrainConfig:
    """Return a config: defaults or a stored config, overridden by assignments, then by values.

    Args:
        path: `config.json` of an earlier run; `None` starts from the defaults, which read a sample corpus unless
            `values` name another.
        assignments: `--set` options.
        values: config paths to values.
        allow_code: whether the assignments may name a segmenter that is code.

    Raises:
        ValueError: the stored config, an assignment or a value cannot be used, or code is named that is not allowed.
    """
    if path:
        tree = read_json(path)
        with naming(path):
            config = from_dict(tree, PretrainConfig)
    else:
        config = override(PretrainConfig(), {} if values.keys() & {"corpus.paths", "prepared"} else SAMPLES)
    assigned = parse_assignments(assignments, PretrainConfig)
    segmenters.check_origin(config.examples.segmenter, path, assigned, allow_code)
    return override(config, {**assigned, **values})
