"""One tree of frozen dataclasses that describes a run: defaults in, strict dotted overrides, JSON in and out.

In: `section.field=value` strings, a `config.json`, a task's own defaults. Out: a `Config` that repeats the run.
"""

import dataclasses
import hashlib
import json
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from tfbert.fields import checked, flatten, parsed
from tfbert.nearest import did_you_mean_path

Tree = TypeVar("Tree")


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Where the records are and how they are read.

    Args:
        path: file or directory; `None` means the task's own samples.
        format: `auto` decides by the file name (`.csv .tsv .jsonl .json .txt .conll`) or, for a directory of
            directories, `folder`.
        columns: names of columns or keys by role, such as `text=review,label=stars` or, in JSON,
            `{"text": "review"}`; those that are not given are looked for under their usual names, and ambiguity is
            refused.
        ignored_columns: names of columns that are left out on purpose, with commas between them or as a JSON list. A
            column that seems to matter and is neither read nor listed here stops the run.
        delimiter: between the columns of csv and tsv; `auto` finds it among `,` `;` TAB and `|`.
        header: whether the first line of csv and tsv names the columns; with `none` they are called 1, 2, ....
        separator: between text and label in `text` files, which are split at the *last* one in a line.
        quoting: `minimal` honours double quotes, `none` takes them as text, `auto` is minimal for csv and none for tsv.
        encoding: of every file; a byte order mark is dropped. Where it is UTF-8, UTF-16 files are recognized and read.
        encoding_errors: `strict` refuses bytes that do not decode, `replace` turns them into U+FFFD and counts them.
        tag_scheme: of the tags of words, `auto` if each file's own tags are to tell; `iobes` is also BILOU and BMES.
        word_separator: between the words of CoNLL columns that become a text; empty for a language without blanks.
        span_end: whether the end of a labelled span is its last character (`inclusive`) or the one behind it.
        nested_spans: of labelled spans that overlap, learn only the `outermost` and count the rest, or `refuse` them.
        bad_rows: `error` stops at the first row that is not a record, `skip` leaves it out, counts it and lists it.
        validation_fraction: of the texts, taken by hash where no validation split is given; 0 means none.
        test_fraction: likewise for test.
        max_unknown_fraction: largest share of tokens in a split that the encoder may not know ([UNK]), 0 to 1.
    """

    path: str | None = None
    format: Literal["auto", "csv", "tsv", "jsonl", "json", "text", "conll", "folder"] = "auto"
    columns: str | None = None
    ignored_columns: str | None = None
    delimiter: str = "auto"
    header: Literal["auto", "none"] = "auto"
    separator: str = "\t"
    quoting: Literal["auto", "minimal", "none"] = "auto"
    encoding: str = "utf-8"
    encoding_errors: Literal["strict", "replace"] = "strict"
    tag_scheme: Literal["auto", "iob1", "iob2", "iobes"] = "auto"
    word_separator: str = " "
    span_end: Literal["exclusive", "inclusive"] = "exclusive"
    nested_spans: Literal["outermost", "refuse"] = "outermost"
    bad_rows: Literal["error", "skip"] = "error"
    validation_fraction: float = 0.1
    test_fraction: float = 0.1
    max_unknown_fraction: float = 0.3

    def __post_init__(self):
        if not self.separator:
            raise ValueError("data.separator is empty; wanted at least one character, such as '\\t' or '@'")
        for name in ("validation_fraction", "test_fraction"):
            require(0 <= getattr(self, name) < 1, f"data.{name}", getattr(self, name), "0 or more, below 1")
        require(0 <= self.max_unknown_fraction <= 1, "data.max_unknown_fraction", self.max_unknown_fraction, "0 to 1")
        if self.validation_fraction + self.test_fraction >= 1:
            raise ValueError(
                f"data.validation_fraction={self.validation_fraction} and data.test_fraction={self.test_fraction} "
                "leave nothing to train on; wanted a sum below 1"
            )


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """Which BERT, and how it computes.

    Args:
        name: an encoder of `tools/train.py --list`, a KerasNLP preset name, `hf://owner/name`, or a directory.
        sequence_length: longest input in tokens, [CLS] and [SEP] included.
        long_text: what becomes of longer texts where the task leaves the choice: `cut` keeps their beginning and
            counts what is lost; `mean` and `max` read all of it in windows and join their logits so.
        window_overlap_fraction: of a window, which it shares with the one before.
        precision: of training's matrix products; `auto` takes bfloat16 where there are instructions for it: AMX,
            AVX-512 BF16, GPUs from compute capability 8.0 on. On a processor all else in training is float32, on a GPU
            the layers between too are bfloat16. Weights stay float32; evaluation and export are float32 always.
        dropout: of hidden states and attention in training, 0 to below 1.
        fast: whether attention and the work between matrix products take our faster ways, equal to KerasNLP's within
            rounding; false computes by KerasNLP and Keras alone.
    """

    name: str = "minilm"
    sequence_length: int = 128
    long_text: Literal["cut", "mean", "max"] = "cut"
    window_overlap_fraction: float = 0.25
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    dropout: float = 0.1
    fast: bool = True

    def __post_init__(self):
        require(self.sequence_length >= 3, "encoder.sequence_length", self.sequence_length, "3 or more tokens")
        require(0 <= self.dropout < 1, "encoder.dropout", self.dropout, "0 or more, below 1")
        overlap = self.window_overlap_fraction
        require(0 <= overlap <= 0.9, "encoder.window_overlap_fraction", overlap, "0 to 0.9")


@dataclass(frozen=True, kw_only=True)
class HeadConfig:
    """The layers between encoder and logits.

    Args:
        pooling: how a text becomes one vector: `mean` or `max` over its tokens, `cls` (first token), or `pooler`
            (BERT's own pretrained dense layer over the first token).
        dropout: on that vector in training, 0 to below 1.
        start: of the new weights: `probe` fits them to the untrained encoder's vectors, so that training improves on
            the encoder instead of first forgetting it; `random` is the usual way.
    """

    pooling: Literal["mean", "max", "cls", "pooler"] = "mean"
    dropout: float = 0.1
    start: Literal["probe", "random"] = "probe"

    def __post_init__(self):
        require(0 <= self.dropout < 1, "head.dropout", self.dropout, "0 or more, below 1")


@dataclass(frozen=True, kw_only=True)
class OptimizationConfig:
    """How weights are learned, whatever from. Durations are epochs or fractions; steps are computed and logged.

    Args:
        seed: of weights, data order and dropout; a CPU run with the same seed repeats exactly.
        batch_size: examples of a batch, which all devices and machines together share.
        accumulation_steps: batches whose gradients are averaged into one update.
        optimizer: `adamw`, `lamb` (for batches of thousands) or `adafactor` (half of Adam's memory; its learning rate
            is relative to the size of the weights, some 10 to 100 times that of AdamW). None decays biases and
            LayerNorm.
        learning_rate: peak, of the head and of the last encoder layer.
        head_learning_rate_factor: multiplies the learning rate of the new head's weights.
        layer_decay: factor on the learning rate for every encoder layer further from the head, in (0, 1].
        schedule: what follows warm-up: `linear` or `cosine` to zero, or `constant`.
        warmup_fraction: of all updates, during which the learning rate rises from zero.
        weight_decay: per unit of learning rate.
        clip_norm: longest allowed gradient over all weights together; 0 means no clipping.
        ema_momentum: of the moving average of the weights that is evaluated and kept; 0 means none.
        checkpoint_seconds: at least so long between two checkpoints; 0 writes one after every update.
        distribution: `mirrored` over the devices of this machine, `multi_worker` over the machines of TF_CONFIG; `auto`
            takes the latter if TF_CONFIG names several, the former if there are several GPUs.
    """

    seed: int = 0
    batch_size: int = 32
    accumulation_steps: int = 1
    optimizer: Literal["adamw", "lamb", "adafactor"] = "adamw"
    learning_rate: float = 2e-4
    head_learning_rate_factor: float = 1.0
    layer_decay: float = 1.0
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    warmup_fraction: float = 0.1
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    ema_momentum: float = 0.0
    checkpoint_seconds: float = 60.0
    distribution: Literal["auto", "none", "mirrored", "multi_worker"] = "auto"

    def __post_init__(self):
        for name in ("batch_size", "accumulation_steps"):
            require(getattr(self, name) >= 1, f"train.{name}", getattr(self, name), "1 or more")
        require(self.learning_rate > 0, "train.learning_rate", self.learning_rate, "more than 0")
        require(0 <= self.seed < 2**31, "train.seed", self.seed, "0 to 2147483647")
        factor = self.head_learning_rate_factor
        require(factor > 0, "train.head_learning_rate_factor", factor, "more than 0")
        require(0 < self.layer_decay <= 1, "train.layer_decay", self.layer_decay, "more than 0, at most 1")
        for name in ("warmup_fraction", "ema_momentum"):
            require(0 <= getattr(self, name) < 1, f"train.{name}", getattr(self, name), "0 or more, below 1")
        for name in ("weight_decay", "clip_norm", "checkpoint_seconds"):
            require(getattr(self, name) >= 0, f"train.{name}", getattr(self, name), "0 or more")


@dataclass(frozen=True, kw_only=True)
class TrainConfig(OptimizationConfig):
    """Fine-tuning on a task.

    Args:
        epochs: passes over the training split; `None` means as many as show some 8,000 examples, 3 to 10.
        trainable_layers: layers of the encoder that are learned, those nearest the head; `None` means all and the
            embeddings, 0 the head alone. What is not learned computes without dropout.
        patience_epochs: epochs without a gain after which training stops; 0 means never.
        label_smoothing: probability mass spread over all labels, 0 to below 1.
        class_weights: `balanced` weighs every label alike whatever its count.
        hard_negatives: wrong texts added to every record where the task learns by comparing: those that the untrained
            encoder finds nearest; 0 means none but the other texts of the batch.
        monitor: validation metric that chooses the best epoch; `None` means the task's own.
        part_tokens: tokens, padding included, that a device learns from at once. A batch of more is cut into parts
            whose gradients are added: the same update, in the memory of a part. `None` means 2,048, and on a GPU whole
            batches, as does 0. A batch whose texts are compared with each other stays whole.
    """

    epochs: int | None = None
    trainable_layers: int | None = None
    patience_epochs: int = 0
    label_smoothing: float = 0.0
    class_weights: Literal["none", "balanced"] = "none"
    hard_negatives: int = 0
    monitor: str | None = None
    part_tokens: int | None = None

    def __post_init__(self):
        super().__post_init__()
        require(self.epochs is None or self.epochs >= 1, "train.epochs", self.epochs, "1 or more, or none")
        require(0 <= self.label_smoothing < 1, "train.label_smoothing", self.label_smoothing, "0 or more, below 1")
        for name in ("trainable_layers", "patience_epochs", "hard_negatives", "part_tokens"):
            require((getattr(self, name) or 0) >= 0, f"train.{name}", getattr(self, name), "0 or more")

    def num_epochs(self, num_examples: int) -> int:
        """Return how many epochs a training split of this size gets."""
        return self.epochs or min(10, max(3, round(8_000 / num_examples)))


@dataclass(frozen=True, kw_only=True)
class RootConfig:
    """What every whole tree can do."""

    def to_dict(self) -> dict:
        """Return the whole tree as plain dicts, ready for JSON."""
        return dataclasses.asdict(self)

    def fingerprint(self) -> str:
        """Return 8 hex digits that change with any field, for run directories."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()[:8]


@dataclass(frozen=True, kw_only=True)
class Config(RootConfig):
    """Everything that decides a run. `task` is the name of a file in `tfbert/tasks/`."""

    task: str = "classification"
    data: DataConfig = field(default_factory=DataConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    head: HeadConfig = field(default_factory=HeadConfig)
    train: TrainConfig = field(default_factory=TrainConfig)


def require(condition: bool, path: str, value: Any, wish: str) -> None:
    """Refuse a value unless a condition holds.

    Raises:
        ValueError: names the field, its value and the wish.
    """
    if not condition:
        raise ValueError(f"{path}={value}: wanted {wish}")


def paths(node: type = Config, prefix: str = "") -> dict[str, Any]:
    """Return every settable dotted path of a tree with the type of its value, in the order of definition."""
    found = {}
    for item, hint in typing.get_type_hints(node).items():
        if dataclasses.is_dataclass(hint):
            found |= paths(hint, f"{prefix}{item}.")
        else:
            found[f"{prefix}{item}"] = hint
    return found


def value_at(config: "RootConfig", path: str) -> Any:
    """Return the value of a dotted path that exists."""
    for name in path.split("."):
        config = getattr(config, name)
    return config


def override(config: Tree, values: Mapping[str, Any]) -> Tree:
    """Return `config` with the dotted paths of `values` replaced.

    Args:
        config: the tree to start from; it is not changed.
        values: path to value, each of the type of its field (an int is taken for a float).

    Raises:
        ValueError: a path that does not exist (a similar one is named), a value of the wrong type or out of range.
    """
    known = paths(type(config))
    tree = dataclasses.asdict(config)
    for path, value in values.items():
        if path not in known:
            raise ValueError(f"config has no field '{path}'{did_you_mean_path(path, known)}")
        *sections, name = path.split(".")
        node = tree
        for section in sections:
            node = node[section]
        node[name] = checked(path, value, known[path])
    return from_dict(tree, type(config))


def from_dict(tree: Mapping[str, Any], root: type[Tree] = Config) -> Tree:
    """Return the tree of dataclasses that `dataclasses.asdict` gave; missing fields take their defaults.

    Args:
        tree: names to values, or to further such dicts.
        root: class of the whole tree.

    Raises:
        ValueError: an unknown section or field, a value of the wrong type or out of range.
    """
    known = paths(root)
    sections: dict[str, Any] = {}
    for path, value in flatten(tree):
        if path not in known:
            raise ValueError(f"config has no field '{path}'{did_you_mean_path(path, known)}")
        value = checked(path, value, known[path])
        section, _, name = path.rpartition(".")
        (sections.setdefault(section, {}) if section else sections)[name] = value
    for name, hint in typing.get_type_hints(root).items():
        if dataclasses.is_dataclass(hint) and name in sections:
            sections[name] = hint(**sections[name])
    return root(**sections)


def parse_assignments(assignments: Iterable[str], root: type = Config) -> dict[str, Any]:
    """Read `section.field=value` strings, as `--set` gives them, into values of the fields' types.

    Raises:
        ValueError: no `=`, an unknown path, or text that is not a value of the field's type.
    """
    known = paths(root)
    values = {}
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        if not equals:
            raise ValueError(f"--set {assignment}: wanted section.field=value")
        path = path.strip()
        hint = known.get(path)
        values[path] = text if hint is None else parsed(path, text, hint)
    return values
