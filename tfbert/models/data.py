"""The data of a fitted task: its path, the config fields it depends on, and tokenization into sequences and targets."""

import json
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path, PurePath
from typing import Any

from tfbert.config import Config
from tfbert.encoder.presets import cache_dir
from tfbert.fields import flatten, metadata_at
from tfbert.files import writing
from tfbert.models.predictor import make_preprocessor
from tfbert.tasks.base import FittedTask, Task, load_task
from tfbert.text.counterfactuals import TrainingRecords
from tfbert.text.datasets import Recipe, TokenizedSplit, chunks, tokenize
from tfbert.text.inputs import specs_of
from tfbert.text.perturbations.spelling import TYPOS_VERSION, typos
from tfbert.text.readers.compression import uncompressed_name
from tfbert.text.record_sequences import RecordSequences
from tfbert.text.records import Record
from tfbert.text.splits import SPLIT_OF_STEM, Split, load_splits
from tfbert.text.tokenizer import Tokenizer


def data_fields(config: Config) -> dict[str, Any]:
    """Return the config fields that the records or their tokens may depend on, by path."""
    return {path: value for path, value in flatten(config.to_dict()) if _affects_data(path)}


def _affects_data(path: str) -> bool:
    return metadata_at(Config, path)["affects_data"]


def data_path(config: Config) -> Path:
    """Return the path of the records: `data.path`, `data.train`, or the samples of the task."""
    path = config.data.path or config.data.train
    return Path(path) if path else load_task(config.task).samples_dir


def data_name(config: Config) -> str:
    """Return the name of a run's data: the last component of its absolute path, without the extensions of a file.

    A file that is only named after its split, such as `train.csv` in `data.train`, gives the name of its directory. The
    name is empty for data in the root directory.
    """
    path = data_path(config).resolve()
    name = path.name if path.is_dir() else PurePath(uncompressed_name(path.name)).stem
    return path.parent.name if config.data.train and name in SPLIT_OF_STEM else name


def data_title(config: Config) -> str:
    """Return the name of a run's data for its report: `samples` for those of the task."""
    return data_name(config) if config.data.path or config.data.train else "samples"


def load_task_splits(config: Config, task: Task) -> dict[str, Split]:
    """Return the splits of a run's data, in the order train, validation, calibration, test.

    Raises:
        ValueError: as for `load_splits`.
    """
    return load_splits(config.data, data_path(config), task.schema, calibrates=task.calibrates)


def tokenize_split(
    split: Split | TrainingRecords,
    task: FittedTask,
    tokenizer: Tokenizer,
    config: Config,
    *,
    noise_seed: int | None = None,
) -> TokenizedSplit:
    """Return the token sequences and targets of a split, from the cache if it has them.

    Args:
        split: the records.
        task: the fitted task.
        tokenizer: the tokenizer of the encoder.
        config: the config of the training.
        noise_seed: random seed of typing errors in the texts, with the probability `train.noise`; `None` makes none.

    Raises:
        ValueError: a record cannot be converted to an example.
    """
    records: Iterable[Record] = split
    noise: tuple[str, ...] = ()
    if noise_seed is not None:
        noise = (f"noise {TYPOS_VERSION} {config.train.noise} {noise_seed}",)
        edits_of = partial(typos(config.train.noise).edits, seed=noise_seed)
        records = (task.definition.edited(record, list(map(edits_of, record.texts))) for record in split)
    fitted = task.to_json()
    option_paths = type(task.options).paths()
    fitted["options"] = {name: v for name, v in fitted["options"].items() if _affects_data(option_paths[name])}
    key = [split.name, split.sha256, split.note, json.dumps(data_fields(config)), json.dumps(fitted), *noise]
    directory = cache_dir() / "tokens"
    with writing(directory):
        return tokenize(records, _recipe(task, tokenizer, config, key), directory)


def record_sequences(
    records: Iterable[Record], task: FittedTask, tokenizer: Tokenizer, config: Config
) -> Iterator[RecordSequences]:
    """Yield the token sequences of each record with all that is known about its tokens, such as their offsets.

    Args:
        records: the records.
        task: the fitted task.
        tokenizer: the tokenizer of the encoder.
        config: the config of the training.
    """
    for chunk in chunks(records, _recipe(task, tokenizer, config, ())):
        yield from (chunk.sequences_of(index) for index in range(len(chunk.records)))


def _recipe(task: FittedTask, tokenizer: Tokenizer, config: Config, key: Sequence[str]) -> Recipe:
    preprocessor = make_preprocessor(tokenizer, config)
    return Recipe(
        preprocessor=preprocessor,
        inputs_of=partial(task.inputs_of, training=True),
        specs=specs_of(task.training_inputs or task.inputs),
        sequences=lambda inputs: task.sequences(inputs, preprocessor),
        targets_of=task.targets_of,
        targets=task.targets,
        by_record=task.by_record,
        key=key,
    )
