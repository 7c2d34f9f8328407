"""A config in; splits read, checked and tokenized out, with the encoder that fits them."""

import contextlib
import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

import tfbert.text.checks as checks
from tfbert.config import Config, override
from tfbert.encoder.backbone import Encoder, load_encoder
from tfbert.encoder.bert import build_encoder
from tfbert.encoder.precision import Precision, choose_precision
from tfbert.encoder.presets import cache_dir
from tfbert.encoder.spec import EncoderSpec
from tfbert.encoder.tuning import check_layers
from tfbert.encoder.weights import copy_weights
from tfbert.files import writing
from tfbert.tasks.base import Task, TaskModel, load_task
from tfbert.text.datasets import TokenizedSplit, tokenize
from tfbert.text.interpretation import Interpretation, interpret
from tfbert.text.splits import Split, load_splits
from tfbert.text.tokenizer import Tokenizer
from tfbert.text.unknown_tokens import measure_unknown
from tfbert.training.answering import Answering, make_packer
from tfbert.training.distribution import Replicas, join

logger = logging.getLogger(__name__)

# What may differ between two trainings of one problem: neither the records nor the rows made of them depend on it.
_OF_TRAINING = ("train", "head.dropout", "head.start", "head.pooling")
_OF_TRAINING += ("encoder.dropout", "encoder.precision", "encoder.fast")
_FLOAT32 = Precision("float32")


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Everything about a training that does not depend on its seed.

    Args:
        config: of the run.
        task: by `config.task`.
        facts: what the task learned from the training records.
        splits: records by split name; `train` is always there.
        tokenized: the same splits as integers.
        encoder: freshly loaded, float32; its weights are where every seed starts.
        tokenizer: of that encoder.
        checked: what is wrong with the data.
        seconds: by stage.
        replicas: that train together.
        vectors: of the untrained encoder, by what they depend on, for trainings that want the same; `None` keeps none.
    """

    config: Config
    task: Task
    facts: dict
    splits: dict[str, Split]
    tokenized: dict[str, TokenizedSplit]
    encoder: Encoder
    tokenizer: Tokenizer
    checked: checks.DataReport
    seconds: dict[str, float]
    replicas: Replicas
    vectors: dict[bytes, np.ndarray] | None = None

    def with_config(self, config: Config) -> "Problem":
        """Return the problem of another config; what it shares with this one is not read, tokenized or loaded again.

        Raises:
            ValueError: as `prepare` does; the same files have changed since they were read.
        """
        if _without(config, _OF_TRAINING) == _without(self.config, _OF_TRAINING):
            return replace(self, config=config)
        other = prepare(config)
        for name, split in other.splits.items() if config.data == self.config.data else ():
            if name not in self.splits or split.sha256 != self.splits[name].sha256:
                raise ValueError(
                    f"{split.path}: has changed since it was read; results on different data do not compare"
                )
        return replace(other, vectors=None if self.vectors is None else {})

    def remembered(self, embed: Callable[[np.ndarray], np.ndarray], way: str) -> Callable[[np.ndarray], np.ndarray]:
        """Return what gives the vectors of rows of train by the untrained encoder, kept in `vectors`.

        Args:
            embed: row numbers to vectors.
            way: how they are computed, if there are several.
        """

        def vectors(rows: np.ndarray) -> np.ndarray:
            if self.vectors is None:
                return embed(rows)
            key = hashlib.sha256(f"{way} {rows.dtype} ".encode() + rows.tobytes()).digest()
            if key not in self.vectors:
                self.vectors[key] = embed(rows)
            return self.vectors[key]

        return vectors

    def identity(self, config: Config) -> str:
        """Return a hash of the config and of the data's bytes: equal identities give equal weights on one machine."""
        data = [(name, split.sha256) for name, split in self.splits.items()]
        text = json.dumps([config.to_dict(), data, self.encoder.spec.to_json()], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()


def _without(config: Config, left_out: tuple[str, ...]) -> dict:
    """Return the tree of a config without some sections and fields."""
    tree = config.to_dict()
    for path in left_out:
        section, _, name = path.partition(".")
        tree[section].pop(name) if name else tree.pop(section)
    return tree


def data_path(config: Config, task: Task) -> Path:
    """Return where the records are: `data.path`, or the task's samples."""
    return Path(config.data.path) if config.data.path else task.samples_dir


def prepare(config: Config, *, log_warnings: bool = True, refusals: list[str] | None = None) -> Problem:
    """Join the other processes of a run, if there are any; read, check and tokenize its data and load its encoder.

    Args:
        config: of the run.
        log_warnings: whether the warnings of the data checks are logged here; otherwise the caller shows them.
        refusals: takes in why training should not start, as far as reading can go on nevertheless; with `None` the
            first reason is raised.

    Raises:
        ValueError: anything about data or encoder that a user has to mend; the message says where.
    """
    replicas = join(config.train.distribution)
    replicas.check_batch_size(config.train.batch_size)
    task = load_task(config.task)
    config = override(config, {"task": task.name})  # it may be an alias
    started = time.monotonic()
    splits, interpretation = _read_splits(config, task, refusals)
    facts = task.read_facts(splits["train"])
    # Splits that were cut from the file of train have no label that train lacks.
    given = [split for name, split in splits.items() if name != "train" and split.interval is None]
    task.require_known_labels(given, facts)
    seconds = {"read": time.monotonic() - started}
    started = time.monotonic()
    encoder = load_encoder(config.encoder.name, dropout=config.encoder.dropout)
    check_sizes(config, encoder)
    tokenizer = make_tokenizer(encoder)
    seconds["load_encoder"] = time.monotonic() - started
    started = time.monotonic()
    tokenized = {name: tokenize_split(split, task, facts, tokenizer, config) for name, split in splits.items()}
    seconds["tokenize"] = time.monotonic() - started
    unknown = measure_unknown(splits, tokenized, tokenizer, config.encoder.name)
    with _collected(refusals):
        unknown.require_at_most(config.data.max_unknown_fraction)
    lengths = {name: split.num_tokens for name, split in tokenized.items()}
    remarks = {name: split.remarks for name, split in tokenized.items()}
    checked = checks.check(
        splits,
        lengths,
        task.cut_length(facts, config),
        task.labels_of,
        remarks,
        interpretation,
        several_labels=task.several_labels,
        unknown=unknown,
    )
    for line in checked.lines(with_warnings=log_warnings):
        logger.info("%s", line)
    return Problem(
        config=config,
        task=task,
        facts=facts,
        splits=splits,
        tokenized=tokenized,
        encoder=encoder,
        tokenizer=tokenizer,
        checked=checked,
        seconds=seconds,
        replicas=replicas,
    )


@contextlib.contextmanager
def _collected(refusals: list[str] | None) -> Iterator[None]:
    """Take in what is raised inside instead of raising it, if there is a list for it."""
    try:
        yield
    except ValueError as error:
        if refusals is None:
            raise
        refusals.append(str(error))


def _read_splits(config: Config, task: Task, refusals: list[str] | None) -> tuple[dict[str, Split], Interpretation]:
    """Return the splits, and how their files were interpreted, which is logged before anything is learned of them."""
    splits = load_splits(config.data, data_path(config, task), task.schema)
    interpretation = interpret(splits, config.data, task.columns)
    for line in interpretation.lines():
        logger.info("%s", line)
    with _collected(refusals):
        if interpretation.refusal:
            raise ValueError(interpretation.refusal)
    return splits, interpretation


def tokenize_split(split: Split, task: Task, facts: dict, tokenizer: Tokenizer, config: Config) -> TokenizedSplit:
    """Return a split as the rows that are learned from it.

    Raises:
        ValueError: a record that cannot be learned.
    """
    packer = make_packer(tokenizer, config)
    tree = config.to_dict()
    texts = [json.dumps(part) for part in (tree["data"], tree["encoder"], tree["head"], facts)]
    with writing(cache_dir() / "tokens"):
        return tokenize(
            split,
            tokenizer,
            lambda record, tokens, remark: task.examples(record, tokens, packer, facts, config, remark),
            [task.name, split.name, split.sha256, split.note, *texts],
            cache_dir() / "tokens",
            with_offsets=task.with_offsets,
            by_record=task.by_record,
            by_token=task.by_token,
        )


def make_answering(problem: Problem, model: TaskModel, config: Config) -> Answering:
    """Return what answers with a model of this problem."""
    return Answering(problem.task, problem.facts, model, problem.tokenizer, config)


def check_sizes(config: Config, encoder: Encoder) -> None:
    """Refuse inputs longer than the encoder has positions for, and more layers to learn than it has.

    Raises:
        ValueError: `encoder.sequence_length` is more than the encoder's `max_sequence_length`, or
            `train.trainable_layers` more than its `num_layers`.
    """
    check_layers(config.train.trainable_layers, encoder.backbone.num_layers, config.encoder.name)
    longest = encoder.backbone.max_sequence_length
    if config.encoder.sequence_length > longest:
        raise ValueError(
            f"encoder.sequence_length={config.encoder.sequence_length}: "
            f"{config.encoder.name} has positions for at most {longest} tokens"
        )


def make_tokenizer(encoder: Encoder) -> Tokenizer:
    """Return the tokenizer an encoder was pretrained with."""
    return Tokenizer(
        encoder.vocabulary,
        lowercase=encoder.lowercase,
        strip_accents=encoder.strip_accents,
        split_on_cjk=encoder.split_on_cjk,
    )


def build_models(problem: Problem, config: Config) -> tuple[TaskModel, TaskModel]:
    """Return a model to train, in the configured precision, and one to evaluate, in float32.

    They are one and the same where training is float32 between its matrix products. Both start from the encoder's
    weights; the caller has set Keras' random seed, on which the dropout of the run depends.

    Raises:
        ValueError: `train.trainable_layers` leaves nothing to learn, or is more than the encoder has.
    """
    precision = choose_precision(config.encoder.precision, config.encoder.fast)
    parts = (problem.task, problem.facts, problem.encoder.spec, config)
    evaluation_model = build_model(*parts, Precision("float32", precision.product_dtype))
    model = evaluation_model
    if precision.dtype != "float32":
        model = build_model(*parts, precision)
    copy_weights(problem.encoder.backbone, model.backbone)
    num_learned = config.train.trainable_layers
    if num_learned is not None:
        check_layers(num_learned, model.backbone.num_layers, config.encoder.name)
        model.backbone.freeze(num_learned)
        if not model.trainable_weights:
            raise ValueError(
                f"train.trainable_layers={num_learned}: {problem.task.name} has no weights outside the encoder; "
                "wanted 1 or more"
            )
    return model, evaluation_model


def build_model(
    task: Task, facts: dict, spec: EncoderSpec, config: Config, precision: Precision = _FLOAT32
) -> TaskModel:
    """Return a model with a new head on an encoder of this architecture with random weights."""
    options = {"dropout": config.encoder.dropout, "fast": config.encoder.fast}
    backbone = build_encoder(spec, **precision._asdict(), **options)
    return TaskModel(backbone, task.build_head(facts, config))
