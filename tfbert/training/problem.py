"""Problems: the data of a run, read, checked and tokenized, with the task fitted to it and the encoder."""

import contextlib
import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

import tfbert.text.checks as checks
from tfbert.config import Config, override
from tfbert.encoder.backbone import Encoder, load_encoder
from tfbert.models.build import check_sizes, make_tokenizer
from tfbert.models.data import data_path, tokenize_split
from tfbert.tasks.base import FittedTask, Task, load_task
from tfbert.tasks.base_config import check_options
from tfbert.text.datasets import TokenizedSplit
from tfbert.text.inputs import Item
from tfbert.text.interpretation import Interpretation, interpret
from tfbert.text.splits import Split, load_splits
from tfbert.text.tokenizer import Tokenizer
from tfbert.text.unknown_tokens import measure_unknown
from tfbert.training.distribution import Replicas, join

logger = logging.getLogger(__name__)

# What may differ between two trainings of one problem: neither the records nor the rows made of them depend on it.
_OF_TRAINING = ("train", "head.dropout", "head.start", "head.pooling")
_OF_TRAINING += ("encoder.dropout", "encoder.precision", "encoder.fast")


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Everything about a training that does not depend on its seed.

    Args:
        config: of the run.
        task: fitted to the training records.
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
    task: FittedTask
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
            options = load_task(config.task).options.from_config(config)
            return replace(self, config=config, task=replace(self.task, options=options))
        other = prepare(config)
        for name, split in other.splits.items() if config.data == self.config.data else ():
            if name not in self.splits or split.sha256 != self.splits[name].sha256:
                raise ValueError(
                    f"{split.path}: has changed since it was read; results on different data do not compare"
                )
        return replace(other, vectors=None if self.vectors is None else {})

    def samples(self, count: int = 8) -> list[Item]:
        """Return the inputs of a few records, evenly spread over a split that was not learned if there is one."""
        name = next(name for name in ("validation", "test", "train") if name in self.splits)
        indices = np.linspace(0, len(self.tokenized[name].num_tokens) - 1, count).astype(int)
        records = self.splits[name].records_at(sorted({int(index) for index in indices}))
        return [self.task.inputs_of(record) for record in records]

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

    def fingerprint(self, config: Config) -> str:
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
    check_options(config)
    options = task.options.from_config(config)
    started = time.monotonic()
    splits, interpretation = _read_splits(config, task, refusals)
    fitted = task.fit(splits["train"], options)
    # Splits that were cut from the file of train have no label that train lacks.
    given = [split for name, split in splits.items() if name != "train" and split.interval is None]
    fitted.require_known_labels(given)
    seconds = {"read": time.monotonic() - started}
    started = time.monotonic()
    encoder = load_encoder(config.encoder.name, dropout=config.encoder.dropout)
    check_sizes(config, encoder)
    tokenizer = make_tokenizer(encoder)
    seconds["load_encoder"] = time.monotonic() - started
    started = time.monotonic()
    tokenized = {name: tokenize_split(split, fitted, tokenizer, config) for name, split in splits.items()}
    seconds["tokenize"] = time.monotonic() - started
    unknown = measure_unknown(splits, tokenized, tokenizer, config.encoder.name)
    with _collected(refusals):
        unknown.require_at_most(config.data.max_unknown_fraction)
    lengths = {name: split.num_tokens for name, split in tokenized.items()}
    remarks = {name: split.remarks for name, split in tokenized.items()}
    checked = checks.check(
        splits,
        lengths,
        config.encoder.sequence_length if fitted.cuts_texts else None,
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
        task=fitted,
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
    splits = load_splits(config.data, data_path(config), task.schema)
    interpretation = interpret(splits, config.data, task.columns)
    for line in interpretation.lines():
        logger.info("%s", line)
    with _collected(refusals):
        if interpretation.refusal:
            raise ValueError(interpretation.refusal)
    return splits, interpretation
