"""The config: a tree of frozen dataclasses that describes a run, with strict overrides by dotted path and from JSON."""

import dataclasses
import hashlib
import json
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from tfbert.data_config import DataConfig
from tfbert.decision_config import DecisionConfig
from tfbert.fields import (
    FRACTION,
    POSITIVE,
    SEED,
    Bounds,
    at_least,
    check_bounds,
    check_value,
    flatten,
    metadata_at,
    parse_value,
    setting,
    training_setting,
    type_in_words,
)
from tfbert.nearest import did_you_mean_path

Tree = TypeVar("Tree")

EPOCHS = Bounds("1 or more, or none", 1)
# Encoders up to this hidden size take a higher learning rate.
_NARROW = 512


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """The encoder, its input length, precision and dropout."""

    name: str = setting(
        "minilm", "an encoder name from `tfbert list`, a KerasNLP preset name, hf://owner/name, or a directory"
    )
    sequence_length: int = setting(
        128, "maximum length of an input in tokens, including [CLS] and [SEP]", Bounds("3 or more tokens", 3)
    )
    long_text: Literal["cut", "mean", "max"] = setting(
        "cut",
        "how longer texts are read: cut keeps their beginning and reports how much is lost; mean and max read the "
        "whole text in windows and combine the logits of the windows",
    )
    window_overlap_fraction: float = setting(
        0.25, "fraction of a window that overlaps the previous one", Bounds("0 to 0.9", 0, 0.9)
    )
    precision: Literal["auto", "float32", "bfloat16", "float16"] = training_setting(
        "auto",
        "precision of the matrix products in training; auto chooses bfloat16 on hardware that supports it: CPUs with "
        "AMX or AVX-512 BF16, GPUs of compute capability 8.0 or higher. On a CPU, everything else in training is "
        "float32; on a GPU, the layers between the products are bfloat16 too. Weights, evaluation and export are "
        "float32",
    )
    dropout: float = training_setting(0.1, "dropout rate of hidden states and attention in training", FRACTION)
    fast: bool = training_setting(
        True,
        "whether attention and the operations between matrix products use tfbert's faster implementations, which equal "
        "KerasNLP's within rounding errors; false uses only KerasNLP and Keras",
    )

    def __post_init__(self):
        check_bounds(self, "encoder")


@dataclass(frozen=True, kw_only=True)
class HeadConfig:
    """The head: the layers between encoder and logits."""

    pooling: Literal["mean", "max", "cls", "pooler"] = training_setting(
        "mean",
        "how token vectors become one vector per text: mean or max over the tokens, cls (the first token), or pooler "
        "(BERT's pretrained dense layer on the first token)",
    )
    dropout: float = training_setting(
        0.1, "dropout rate in training before the last layer, or of the vectors if there is no layer", FRACTION
    )
    start: Literal["probe", "random"] = training_setting(
        "probe",
        "initial weights of the head: probe fits them to the vectors of the pretrained encoder, so that training does "
        "not first destroy what the encoder has learned; random is the usual initialization",
    )

    def __post_init__(self):
        check_bounds(self, "head")


@dataclass(frozen=True, kw_only=True)
class OptimizationConfig:
    """Optimization settings that all objectives share. Durations are in epochs or fractions; steps are computed."""

    seed: int = training_setting(
        0, "random seed for weights, data order and dropout; with the same seed, a run on a CPU repeats exactly", SEED
    )
    batch_size: int = training_setting(32, "examples per batch, over all devices and machines", at_least(1))
    accumulation_steps: int = training_setting(
        1, "number of batches whose gradients are averaged for one update", at_least(1)
    )
    optimizer: Literal["adamw", "lamb", "adafactor"] = training_setting(
        "adamw",
        "adamw, lamb (for batches of thousands) or adafactor (half of Adam's memory; its learning rate is relative to "
        "the size of the weights, about 10 to 100 times that of AdamW); none of them decays biases or LayerNorm",
    )
    learning_rate: float | None = training_setting(
        None,
        "peak learning rate of the head and of the last encoder layer; none means 2e-4 for encoders of up to 512 "
        "hidden units and 5e-5 for wider ones, such as BERT base",
        POSITIVE,
    )
    head_learning_rate_factor: float = training_setting(1.0, "factor on the learning rate of the new head", POSITIVE)
    layer_decay: float = training_setting(
        1.0,
        "factor on the learning rate for each further encoder layer, counted from the head",
        Bounds("more than 0, at most 1", 0, 1, low_excluded=True),
    )
    schedule: Literal["linear", "cosine", "constant"] = training_setting(
        "linear", "learning rate after the warm-up: linear or cosine decay to zero, or constant"
    )
    warmup_fraction: float = training_setting(0.1, "fraction of all updates in which the rate rises from 0", FRACTION)
    weight_decay: float = training_setting(0.01, "weight decay per unit of learning rate", at_least(0))
    clip_norm: float = training_setting(
        1.0,
        "gradient clipping: maximum norm of the gradient over all weights together; 0 means no clipping",
        at_least(0),
    )
    ema_momentum: float = training_setting(
        0.0,
        "momentum of the moving average of the weights, which is evaluated and kept; 0 means no averaging",
        FRACTION,
    )
    checkpoint_seconds: float = training_setting(
        60.0, "minimum time between two checkpoints; 0 writes one after every update", at_least(0)
    )
    distribution: Literal["auto", "none", "mirrored", "multi_worker"] = training_setting(
        "auto",
        "mirrored trains on all devices of this machine, multi_worker on the machines in TF_CONFIG; auto chooses "
        "multi_worker if TF_CONFIG names several machines, and mirrored if this machine has several GPUs",
    )
    track: Literal["none", "wandb", "mlflow"] = training_setting(
        "none",
        "experiment tracker to send config, metrics and report to, besides TensorBoard: Weights & Biases or MLflow, in "
        "the run directory unless WANDB_MODE or MLFLOW_TRACKING_URI name a server",
    )

    def __post_init__(self):
        check_bounds(self, "train")

    def peak_learning_rate(self, hidden_dim: int) -> float:
        """Return the learning rate for an encoder of this width.

        Source: 5e-5 is the highest rate of Devlin et al. 2019, "BERT", appendix A.3, for BERT base and large; the small
            default encoder needs a higher one.
        """
        return self.learning_rate or (2e-4 if hidden_dim <= _NARROW else 5e-5)


@dataclass(frozen=True, kw_only=True)
class TrainConfig(OptimizationConfig):
    """Settings for fine-tuning on a task."""

    epochs: int | None = training_setting(
        None,
        "passes over the training split; none means 3 to 5, or 3 to 10 for a head with random weights, so that "
        "training sees about 8,000 examples",
        EPOCHS,
    )
    trainable_layers: int | None = training_setting(
        None,
        "number of encoder layers to train, counted from the head; none trains all layers and the embeddings, 0 only "
        "the head; frozen layers compute without dropout",
        at_least(0),
    )
    patience_epochs: int = training_setting(
        2,
        "early stopping: epochs after which training stops if neither the score nor the loss on validation improves; "
        "0 means never",
        at_least(0),
    )
    label_smoothing: float = training_setting(0.0, "probability mass that is spread over all labels", FRACTION)
    class_weights: Literal["none", "balanced"] = training_setting(
        "none",
        "balanced gives every label the same total weight, however often it occurs; in answers, windows with and "
        "without an answer",
    )
    noise: float = training_setting(
        0.0,
        "probability of a typing error in each word of the training texts, others in every epoch; 0 trains on the "
        "original texts",
        FRACTION,
    )
    counterfactuals: str | None = setting(
        None,
        "lists of identity terms, separated by commas: gender, names, countries, religions, or files; training also "
        "sees a copy of each text that mentions them, with the terms of the groups exchanged and the same label",
    )
    group_weights: str | None = setting(
        None,
        "weights of the training texts with which labels are as frequent in every group: column for the groups in "
        "data.group_column, or a list of identity terms, as for counterfactuals; none means equal weights",
    )
    hard_negatives: int = training_setting(
        0,
        "number of wrong texts added to each record: those most similar according to the pretrained encoder; 0 "
        "compares only with the other texts of the batch",
        at_least(0),
    )
    averaged_epochs: int = training_setting(
        3,
        "maximum number of best epochs whose weights are averaged after training, with and without those before "
        "training; of the averages and the single weights with about the best score on validation, those with the "
        "lowest loss are kept; 0 keeps the best epoch",
        at_least(0),
    )
    monitor: str | None = training_setting(
        None, "validation metric that selects the best epoch; none means the default metric of the task"
    )
    part_tokens: int | None = training_setting(
        None,
        "maximum tokens in a micro-batch, including padding: larger batches are split into micro-batches whose "
        "gradients are summed, for the same update in less memory; 0 disables it; none means 2,048, and 0 on a GPU",
        at_least(0),
    )

    def num_epochs(self, num_examples: int, predicts_untrained: bool) -> int:
        """Return the number of epochs of a training.

        Args:
            num_examples: size of the training split.
            predicts_untrained: whether the model predicts before training. If not, its head starts with random weights,
                for which five epochs of a small split are too few.
        """
        most = 5 if predicts_untrained else 10
        return self.epochs or min(most, max(3, round(8_000 / num_examples)))


@dataclass(frozen=True, kw_only=True)
class RootConfig:
    """Base class of complete config trees."""

    def to_dict(self) -> dict:
        """Return the whole tree as plain dicts, ready for JSON."""
        return dataclasses.asdict(self)

    def fingerprint(self) -> str:
        """Return the fingerprint for run directories: 8 hex digits that change with any field."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()[:8]


@dataclass(frozen=True, kw_only=True)
class Config(RootConfig):
    """The complete config of a fine-tuning run."""

    task: str = setting("classification", "name of the task")
    data: DataConfig = field(default_factory=DataConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    head: HeadConfig = field(default_factory=HeadConfig)
    decision: DecisionConfig = field(default_factory=DecisionConfig)
    train: TrainConfig = field(default_factory=TrainConfig)


def require(condition: bool, path: str, value: Any, expected: str) -> None:
    """Reject a value unless a condition holds.

    Args:
        condition: whether the value is allowed.
        path: the path of the field.
        value: the value of the field.
        expected: a description of the allowed values.

    Raises:
        ValueError: the condition is false; the message names the path, the value and the allowed values.
    """
    if not condition:
        raise ValueError(f"{path}={value}: expected {expected}")


def paths(node: type = Config, prefix: str = "") -> dict[str, Any]:
    """Return every settable dotted path of a config with the type of its value, in the order of definition."""
    hints = {}
    for name, hint in typing.get_type_hints(node).items():
        if dataclasses.is_dataclass(hint):
            hints |= paths(hint, f"{prefix}{name}.")
        else:
            hints[f"{prefix}{name}"] = hint
    return hints


def describe(root: type = Config) -> dict[str, tuple[str, str]]:
    """Return the allowed values and the description of every settable path, in the order of definition."""
    described = {}
    for path, hint in paths(root).items():
        metadata = metadata_at(root, path)
        allowed = metadata["bounds"].description if metadata["bounds"] else type_in_words(hint)
        if metadata["bounds"] and type(None) in typing.get_args(hint) and "none" not in allowed:
            allowed += ", or none"
        described[path] = allowed, metadata["description"]
    return described


def value_at(config: "RootConfig", path: str) -> Any:
    """Return the value at a dotted path, which must exist."""
    for name in path.split("."):
        config = getattr(config, name)
    return config


def override(config: Tree, values: Mapping[str, Any]) -> Tree:
    """Return `config` with the dotted paths of `values` replaced.

    Args:
        config: the tree to start from, which is not modified.
        values: path to value, each of the type of its field; an int is accepted for a float.

    Raises:
        ValueError: a path does not exist (a similar one is named), or a value has the wrong type or is out of range.
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
        node[name] = check_value(path, value, known[path])
    return from_dict(tree, type(config))


def from_dict(tree: Mapping[str, Any], root: type[Tree] = Config) -> Tree:
    """Return the config that `dataclasses.asdict` turned into dicts; missing fields take their defaults.

    Args:
        tree: nested dicts from names to values.
        root: the class of the config.

    Raises:
        ValueError: a section or field is unknown, or a value has the wrong type or is out of range.
    """
    known = paths(root)
    sections: dict[str, Any] = {}
    for path, value in flatten(tree):
        if path not in known:
            raise ValueError(f"config has no field '{path}'{did_you_mean_path(path, known)}")
        value = check_value(path, value, known[path])
        section, _, name = path.rpartition(".")
        (sections.setdefault(section, {}) if section else sections)[name] = value
    for name, hint in typing.get_type_hints(root).items():
        if dataclasses.is_dataclass(hint) and name in sections:
            sections[name] = hint(**sections[name])
    return root(**sections)


def parse_assignments(assignments: Iterable[str], root: type = Config) -> dict[str, Any]:
    """Parse `section.field=value` strings, the form of `--set` options, into values of the fields' types.

    Raises:
        ValueError: a string has no `=`, or its value is not of the field's type.
    """
    known = paths(root)
    values = {}
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        if not equals:
            raise ValueError(f"--set {assignment}: expected section.field=value")
        path = path.strip()
        hint = known.get(path)
        values[path] = text if hint is None else parse_value(path, text, hint)
    return values
