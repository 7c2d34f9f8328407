"""Problems of tasks: the checked and tokenized data of a run, the task fitted to them, and the encoder."""

import contextlib
import hashlib
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

import tfbert.text.checks as checks
from tfbert.calibration.prediction_sets import min_records
from tfbert.config import Config, override
from tfbert.data_quality.doubtful import LabelledData
from tfbert.encoder.backbone import load_encoder
from tfbert.fields import as_typed
from tfbert.models.build import check_sizes, make_tokenizer
from tfbert.models.data import data_fields, load_task_splits, tokenize_split
from tfbert.tasks.base import Embed, FittedTask, Task, load_task
from tfbert.tasks.base_config import check_fitted_options, check_options, require_known_labels
from tfbert.tasks.base_options import Options
from tfbert.text.datasets import TokenizedSplit
from tfbert.text.inputs import Item
from tfbert.text.interpretation import Interpretation, interpret
from tfbert.text.splits import Split
from tfbert.text.tokenizer import Tokenizer
from tfbert.text.unknown_tokens import measure_unknown
from tfbert.training.base_problem import BaseProblem, timed
from tfbert.training.distribution import join
from tfbert.training.mitigations import Mitigation, mitigate
from tfbert.training.trackers import require_package

# Each of the first epochs has typing errors of its own; further epochs repeat them.
NOISY_COPIES = 5

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Problem(BaseProblem[Config]):
    """Everything about the training of a task that does not depend on its seed.

    Args:
        task: fitted to the training records.
        splits: records by split name; there is always a `train` split.
        tokenized: tokens of the same splits.
        tokenizer: the tokenizer of that encoder.
        checked: result of the data checks.
        mitigation: what the mitigations of bias add to training; `None` without them.
        vectors: cache of the untrained encoder's vectors, which several trainings share; `None` caches none.
        explains: whether reports explain mistakes, which takes a few seconds.
    """

    task: FittedTask
    splits: dict[str, Split]
    tokenized: dict[str, TokenizedSplit]
    tokenizer: Tokenizer
    checked: checks.DataReport
    mitigation: Mitigation | None = None
    vectors: dict[bytes, np.ndarray] | None = None
    explains: bool = False

    @property
    def training_examples(self) -> TokenizedSplit:
        """The tokens that the model is trained on: those of train, and of its counterfactual copies."""
        return self.mitigation.examples if self.mitigation else self.tokenized["train"]

    def with_config(self, config: Config) -> "Problem":
        """Return the problem of another config, without preparing again what the two have in common.

        Raises:
            ValueError: as for `prepare`, or a file has changed since it was read.
        """
        check_options(config)
        if data_fields(config) == data_fields(self.config):
            check_fitted_options(config, self.task)
            options = _options(type(self.task.options), config, self.splits)
            _check_coverage(options, config, self.tokenized)
            return replace(self, config=config, task=replace(self.task, options=options))
        other = prepare(config)
        for name, split in other.splits.items() if config.data == self.config.data else ():
            if name not in self.splits or split.sha256 != self.splits[name].sha256:
                raise ValueError(
                    f"{split.path}: has changed since it was read; results on different data cannot be compared"
                )
        return replace(other, vectors=None if self.vectors is None else {}, explains=self.explains)

    def labelled_data(self) -> LabelledData:
        """Return the data and the encoder that judges their labels."""
        return LabelledData(
            task=self.task,
            splits=self.splits,
            tokenized=self.tokenized,
            encoder=self.encoder,
            config=self.config,
        )

    def samples(self, count: int = 8) -> list[Item]:
        """Return the inputs of a few records, spread evenly over a held-out split if there is one, else over train."""
        name = next(name for name in ("validation", "test", "train") if name in self.splits)
        indices = np.linspace(0, len(self.tokenized[name].num_tokens) - 1, count).astype(int)
        records = self.splits[name].records_at(sorted({int(index) for index in indices}))
        return [self.task.inputs_of(record) for record in records]

    def embedded(self, sequences: np.ndarray, embed: Embed, method: str) -> np.ndarray:
        """Return the vectors of sequences of train by the untrained encoder, from the cache `vectors` if there is one.

        Args:
            sequences: indices of the sequences.
            embed: computes their vectors.
            method: text that differs between different ways to compute them.
        """
        if self.vectors is None:
            return embed(sequences)
        key = hashlib.sha256(f"{method} {sequences.dtype} ".encode() + sequences.tobytes()).digest()
        if key not in self.vectors:
            self.vectors[key] = embed(sequences)
        return self.vectors[key]

    def training_split(self, config: Config) -> TokenizedSplit:
        """Return `training_examples`, or with `train.noise` copies of them, each with other typing errors."""
        if not config.train.noise:
            return self.training_examples
        records = self.mitigation.records if self.mitigation else self.splits["train"]
        tokenize = partial(tokenize_split, records, self.task, self.tokenizer, config)
        first_seed = config.train.seed * NOISY_COPIES
        return TokenizedSplit.concatenated(
            [tokenize(noise_seed=seed) for seed in range(first_seed, first_seed + NOISY_COPIES)]
        )

    def identity(self, config: Config) -> list[Any]:
        """Return the config and the hashes of the splits and of lists of terms."""
        digests = [self.mitigation.digests] if self.mitigation else []
        return [config.to_dict(), [(name, split.sha256) for name, split in self.splits.items()], *digests]


def prepare(config: Config, *, log_warnings: bool = True, refusals: list[str] | None = None) -> Problem:
    """Join the other processes of a run, if any; read, check and tokenize its data, fit the task, load the encoder.

    Args:
        config: config of the run; its task may be an alias.
        log_warnings: whether to log the warnings of the data checks; otherwise the caller shows them.
        refusals: collects the reasons not to train that do not prevent further checks; `None` raises the first one.

    Raises:
        ValueError: the config, the data or the encoder cannot be used; the message says where the fault is.
    """
    replicas = join(config.train.distribution)
    replicas.check_batch_size(config.train.batch_size)
    task = load_task(config.task)
    config = override(config, {"task": task.name})
    check_options(config)
    require_package(config)
    seconds: dict[str, float] = {}
    with timed(seconds, "read"):
        splits, interpretation = _read_splits(config, task, refusals)
        with _collected(refusals):
            _check_needs_validation(config, splits)
        fitted = _fit(task, splits, config)
    with timed(seconds, "load_encoder"):
        encoder = load_encoder(config.encoder.name, dropout=config.encoder.dropout)
        check_sizes(config, encoder)
        tokenizer = make_tokenizer(encoder)
    with timed(seconds, "tokenize"):
        tokens_of = partial(tokenize_split, task=fitted, tokenizer=tokenizer, config=config)
        tokenized = {name: tokens_of(split) for name, split in splits.items()}
        with _collected(refusals):
            _check_coverage(fitted.options, config, tokenized)
        mitigation = mitigate(splits, tokenized["train"], config, tokens_of)
    unknown = measure_unknown(splits, tokenized, tokenizer, config.encoder.name)
    with _collected(refusals):
        unknown.require_at_most(config.data.max_unknown_fraction)
    labelling = checks.Labelling(labels_of=task.labels_of, several=task.several_labels)
    tokenization = checks.Tokenization(
        token_lengths={name: split.num_tokens for name, split in tokenized.items()},
        sequence_length=config.encoder.sequence_length if fitted.cuts_texts else None,
        warnings={name: split.warnings for name, split in tokenized.items()},
        unknown=unknown,
    )
    checked = checks.check(splits, labelling, tokenization, interpretation)
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
        mitigation=mitigation,
        seconds=seconds,
        replicas=replicas,
    )


@contextlib.contextmanager
def _collected(refusals: list[str] | None) -> Iterator[None]:
    """Collect the message of a `ValueError` raised inside a `with` block, or raise it if there is no list."""
    try:
        yield
    except ValueError as error:
        if refusals is None:
            raise
        refusals.append(str(error))


def _check_needs_validation(config: Config, splits: Mapping[str, Split]) -> None:
    """Reject options about validation scores if there is no validation split."""
    for name in ("monitor", "patience_epochs", "averaged_epochs") if "validation" not in splits else ():
        value, default = getattr(config.train, name), getattr(Config().train, name)
        # 0 disables what needs a validation split.
        if value not in (default, 0):
            raise ValueError(
                f"train.{name}={value}: has no effect without a validation split; expected {as_typed(default)}"
            )


def _read_splits(config: Config, task: Task, refusals: list[str] | None) -> tuple[dict[str, Split], Interpretation]:
    """Return the splits and the interpretation of their files, which is logged before the task is fitted."""
    splits = load_task_splits(config, task)
    interpretation = interpret(splits, config.data, task.columns)
    for line in interpretation.lines():
        logger.info("%s", line)
    with _collected(refusals):
        if interpretation.refusal:
            raise ValueError(interpretation.refusal)
    return splits, interpretation


def _options(kind: type[Options], config: Config, splits: Mapping[str, Split]) -> Options:
    """Return the options of a task, without those that need a calibration split if there is none."""
    options = kind.from_config(config)
    return options if "calibration" in splits else options.without_calibration()


def _check_coverage(options: Options, config: Config, tokenized: Mapping[str, TokenizedSplit]) -> None:
    """Reject a coverage that no set or interval can have with this number of calibration records."""
    path = "decision.coverage"
    coverage, calibration = config.decision.coverage, tokenized.get("calibration")
    if coverage is None or calibration is None or path not in options.paths().values():
        return
    number, needed = len(calibration.num_tokens), min_records(coverage)
    if number < needed:
        raise ValueError(f"{path}={coverage:g}: expected {needed:,} or more calibration records; there are {number:,}")


def _fit(task: Task, splits: dict[str, Split], config: Config) -> FittedTask:
    """Return a task fitted to train, after checking that train has the labels of the other files."""
    fitted = task.fit(splits["train"], _options(task.options, config, splits))
    # A split that was cut from the file of train is excluded: its labels are those of train.
    from_files = [split for split in splits.values() if split.reader is not splits["train"].reader]
    require_known_labels(fitted, from_files)
    return fitted
