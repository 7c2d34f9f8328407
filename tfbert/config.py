"""The config: one tree of frozen dataclasses that describes a run, with strict overrides by dotted path and JSON."""

import dataclasses
import hashlib
import json
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from tfbert.fields import (
    FRACTION,
    POSITIVE,
    SEED,
    Bounds,
    at_least,
    check_bounds,
    checked,
    flatten,
    parsed,
    setting,
    type_in_words,
)
from tfbert.nearest import did_you_mean_path

Tree = TypeVar("Tree")

EPOCHS = Bounds("1 or more, or none", 1)


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Where the records are and how they are read."""

    path: str | None = setting(None, "file or directory; none means the samples of the task")
    format: Literal["auto", "csv", "tsv", "jsonl", "json", "text", "conll", "folder"] = setting(
        "auto",
        "auto decides by the file name (.csv .tsv .jsonl .json .txt .conll) or, for a directory of directories, folder",
    )
    columns: str | None = setting(
        None,
        'names of columns or keys by role, such as text=review,label=stars or, in JSON, {"text": "review"}; those that '
        "are not given are looked for under their usual names, and ambiguity is refused",
    )
    ignored_columns: str | None = setting(
        None,
        "names of columns that are left out on purpose, separated by commas or as a JSON list; a column that seems to "
        "matter and is neither read nor listed here stops the run",
    )
    delimiter: str = setting("auto", "between the columns of csv and tsv; auto finds it among , ; TAB and |")
    header: Literal["auto", "none"] = setting(
        "auto", "whether the first line of csv and tsv names the columns; with none they are called 1, 2, ..."
    )
    separator: str = setting(
        "\t", "between text and label in text files, which are split at the last separator of a line"
    )
    quoting: Literal["auto", "minimal", "none"] = setting(
        "auto",
        "minimal honours double quotes, none takes them as text, auto is minimal for csv and none for tsv",
    )
    encoding: str = setting(
        "utf-8",
        "encoding of every file; a byte order mark is dropped, and UTF-16 files are recognized and read with utf-8",
    )
    encoding_errors: Literal["strict", "replace"] = setting(
        "strict", "strict refuses bytes that do not decode, replace turns them into U+FFFD and counts them"
    )
    tag_scheme: Literal["auto", "iob1", "iob2", "iobes"] = setting(
        "auto", "scheme of the tags of words; auto finds it from each file's own tags; iobes is also BILOU and BMES"
    )
    word_separator: str = setting(
        " ", "between the words of CoNLL columns that become a text; empty for a language without spaces"
    )
    span_end: Literal["exclusive", "inclusive"] = setting(
        "exclusive", "whether the end of a labelled span is its last character (inclusive) or the one after it"
    )
    nested_spans: Literal["outermost", "refuse"] = setting(
        "outermost", "of labelled spans that overlap, learn only the outermost and count the rest, or refuse them"
    )
    bad_rows: Literal["error", "skip"] = setting(
        "error", "error stops at the first row that is not a record; skip leaves it out, counts it and lists it"
    )
    validation_fraction: float = setting(
        0.1, "fraction of the texts, taken by hash, where no validation split is given; 0 means none", FRACTION
    )
    test_fraction: float = setting(
        0.1, "fraction of the texts, taken by hash, where no test split is given; 0 means none", FRACTION
    )
    max_unknown_fraction: float = setting(
        0.3, "largest fraction of the tokens of a split that the encoder may not know ([UNK])", Bounds("0 to 1", 0, 1)
    )

    def __post_init__(self):
        if not self.separator:
            raise ValueError("data.separator is empty; expected at least one character, such as '\\t' or '@'")
        check_bounds(self, "data")
        if self.validation_fraction + self.test_fraction >= 1:
            raise ValueError(
                f"data.validation_fraction={self.validation_fraction} and data.test_fraction={self.test_fraction} "
                "leave nothing to train on; expected a sum below 1"
            )


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """Which BERT, and how it computes."""

    name: str = setting(
        "minilm", "an encoder of tools/train.py --list, a KerasNLP preset name, hf://owner/name, or a directory"
    )
    sequence_length: int = setting(
        128, "longest input in tokens, [CLS] and [SEP] included", Bounds("3 or more tokens", 3)
    )
    long_text: Literal["cut", "mean", "max"] = setting(
        "cut",
        "what happens to longer texts: cut keeps their beginning and counts what is lost; mean and max read all of a "
        "text in windows and join the logits of the windows in this way",
    )
    window_overlap_fraction: float = setting(
        0.25, "fraction of a window that it shares with the previous one", Bounds("0 to 0.9", 0, 0.9)
    )
    precision: Literal["auto", "float32", "bfloat16", "float16"] = setting(
        "auto",
        "precision of the matrix products in training; auto takes bfloat16 where there are instructions for it: AMX, "
        "AVX-512 BF16, GPUs from compute capability 8.0 on. On a CPU everything else in training is float32; on a GPU "
        "the layers between the products are bfloat16 too. Weights stay float32; evaluation and export are float32",
    )
    dropout: float = setting(0.1, "dropout of hidden states and attention in training", FRACTION)
    fast: bool = setting(
        True,
        "whether attention and the work between matrix products are computed in tfbert's faster ways, equal to "
        "KerasNLP's within rounding; false computes by KerasNLP and Keras alone",
    )

    def __post_init__(self):
        check_bounds(self, "encoder")


@dataclass(frozen=True, kw_only=True)
class HeadConfig:
    """The layers between encoder and logits."""

    pooling: Literal["mean", "max", "cls", "pooler"] = setting(
        "mean",
        "how a text becomes one vector: mean or max over its tokens, cls (first token), or pooler (BERT's own "
        "pretrained dense layer over the first token)",
    )
    dropout: float = setting(0.1, "dropout before the last layer in training", FRACTION)
    start: Literal["probe", "random"] = setting(
        "probe",
        "initial weights: probe fits them to the vectors of the untrained encoder, so that training improves on the "
        "encoder instead of first forgetting it; random is the usual way",
    )

    def __post_init__(self):
        check_bounds(self, "head")


@dataclass(frozen=True, kw_only=True)
class OptimizationConfig:
    """How weights are learned, whatever the objective. Durations are epochs or fractions; steps are computed."""

    seed: int = setting(
        0, "random seed of weights, data order and dropout; a CPU run with the same seed repeats exactly", SEED
    )
    batch_size: int = setting(32, "examples in a batch, shared by all devices and machines", at_least(1))
    accumulation_steps: int = setting(1, "batches whose gradients are averaged into one update", at_least(1))
    optimizer: Literal["adamw", "lamb", "adafactor"] = setting(
        "adamw",
        "adamw, lamb (for batches of thousands) or adafactor (half of Adam's memory; its learning rate is relative to "
        "the size of the weights, some 10 to 100 times that of AdamW); none of them decays biases and LayerNorm",
    )
    learning_rate: float = setting(2e-4, "peak learning rate, of the head and of the last encoder layer", POSITIVE)
    head_learning_rate_factor: float = setting(
        1.0, "multiplies the learning rate of the weights of the new head", POSITIVE
    )
    layer_decay: float = setting(
        1.0,
        "factor on the learning rate for every encoder layer further from the head",
        Bounds("more than 0, at most 1", 0, 1, low_excluded=True),
    )
    schedule: Literal["linear", "cosine", "constant"] = setting(
        "linear", "what follows the warm-up: linear or cosine decay to zero, or a constant rate"
    )
    warmup_fraction: float = setting(
        0.1, "fraction of all updates during which the learning rate rises from zero", FRACTION
    )
    weight_decay: float = setting(0.01, "weight decay per unit of learning rate", at_least(0))
    clip_norm: float = setting(
        1.0, "largest norm of the gradient over all weights together; 0 means no clipping", at_least(0)
    )
    ema_momentum: float = setting(
        0.0, "momentum of the moving average of the weights that is evaluated and kept; 0 means none", FRACTION
    )
    checkpoint_seconds: float = setting(
        60.0, "shortest time between two checkpoints; 0 writes one after every update", at_least(0)
    )
    distribution: Literal["auto", "none", "mirrored", "multi_worker"] = setting(
        "auto",
        "mirrored over the devices of this machine, multi_worker over the machines of TF_CONFIG; auto takes the latter "
        "if TF_CONFIG names several, the former if there are several GPUs",
    )

    def __post_init__(self):
        check_bounds(self, "train")


@dataclass(frozen=True, kw_only=True)
class TrainConfig(OptimizationConfig):
    """Fine-tuning on a task."""

    epochs: int | None = setting(
        None, "passes over the training split; none means as many as show some 8,000 examples, 3 to 10", EPOCHS
    )
    trainable_layers: int | None = setting(
        None,
        "layers of the encoder that are learned, counted from the head; none means all and the embeddings, 0 the head "
        "alone; what is not learned computes without dropout",
        at_least(0),
    )
    patience_epochs: int = setting(
        0, "epochs without improvement after which training stops; 0 means never", at_least(0)
    )
    label_smoothing: float = setting(0.0, "probability mass spread over all labels", FRACTION)
    class_weights: Literal["none", "balanced"] = setting(
        "none", "balanced weighs every label alike, however often it occurs"
    )
    hard_negatives: int = setting(
        0,
        "wrong texts added to every record where the task learns by comparing: those that the untrained encoder finds "
        "nearest; 0 means none but the other texts of the batch",
        at_least(0),
    )
    monitor: str | None = setting(None, "validation metric that chooses the best epoch; none means the task's own")
    part_tokens: int | None = setting(
        None,
        "tokens of a micro-batch, padding included: a larger batch is learned in micro-batches whose gradients are "
        "added, the same update in less memory; none means 2,048 and on a GPU whole batches, as does 0",
        at_least(0),
    )

    def num_epochs(self, num_examples: int) -> int:
        """Return the number of epochs for a training split of this size."""
        return self.epochs or min(10, max(3, round(8_000 / num_examples)))


@dataclass(frozen=True, kw_only=True)
class RootConfig:
    """A complete tree."""

    def to_dict(self) -> dict:
        """Return the whole tree as plain dicts, ready for JSON."""
        return dataclasses.asdict(self)

    def fingerprint(self) -> str:
        """Return 8 hex digits that change with any field, for run directories."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()[:8]


@dataclass(frozen=True, kw_only=True)
class Config(RootConfig):
    """Everything that decides a fine-tuning run."""

    task: str = setting("classification", "name of the task: a file in tfbert/tasks/")
    data: DataConfig = field(default_factory=DataConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    head: HeadConfig = field(default_factory=HeadConfig)
    train: TrainConfig = field(default_factory=TrainConfig)


def require(condition: bool, path: str, value: Any, expected: str) -> None:
    """Refuse a value unless a condition holds.

    Args:
        condition: whether the value is allowed.
        path: the field.
        value: its value.
        expected: the allowed values in words.

    Raises:
        ValueError: names the field, its value and the allowed values.
    """
    if not condition:
        raise ValueError(f"{path}={value}: expected {expected}")


def paths(node: type = Config, prefix: str = "") -> dict[str, Any]:
    """Return every settable dotted path of a tree with the type of its value, in the order of definition."""
    hints = {}
    for name, hint in typing.get_type_hints(node).items():
        if dataclasses.is_dataclass(hint):
            hints |= paths(hint, f"{prefix}{name}.")
        else:
            hints[f"{prefix}{name}"] = hint
    return hints


def describe(root: type = Config) -> dict[str, tuple[str, str]]:
    """Return the allowed values and the description of every settable path, in the order of definition."""
    hints, described = typing.get_type_hints(root), {}
    sections = {f"{name}.": hint for name, hint in hints.items() if dataclasses.is_dataclass(hint)}
    for path, hint in paths(root).items():
        section, _, name = path.rpartition(".")
        node = sections[f"{section}."] if section else root
        metadata = next(each.metadata for each in dataclasses.fields(node) if each.name == name)
        allowed = metadata["bounds"].description if metadata["bounds"] else type_in_words(hint)
        if metadata["bounds"] and type(None) in typing.get_args(hint) and "none" not in allowed:
            allowed += ", or none"
        described[path] = allowed, metadata["description"]
    return described


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
            raise ValueError(f"--set {assignment}: expected section.field=value")
        path = path.strip()
        hint = known.get(path)
        values[path] = text if hint is None else parsed(path, text, hint)
    return values
