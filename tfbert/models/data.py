"""The data of a fitted task: where the records of a config are, and splits as token sequences and targets."""

import json
from functools import partial
from pathlib import Path

from tfbert.config import Config
from tfbert.encoder.presets import cache_dir
from tfbert.files import writing
from tfbert.models.predictor import make_preprocessor
from tfbert.tasks.base import FittedTask, load_task
from tfbert.text.datasets import Recipe, TokenizedSplit, tokenize
from tfbert.text.splits import Split
from tfbert.text.tokenizer import Tokenizer


def data_path(config: Config) -> Path:
    """Return where the records are: `data.path`, or the samples of the task."""
    return Path(config.data.path) if config.data.path else load_task(config.task).samples_dir


def tokenize_split(split: Split, task: FittedTask, tokenizer: Tokenizer, config: Config) -> TokenizedSplit:
    """Return a split as the sequences and targets that are learned from it.

    Raises:
        ValueError: a record that cannot be learned.
    """
    preprocessor = make_preprocessor(tokenizer, config)
    tree, fitted = config.to_dict(), task.to_json()
    # Options that decide how sequences are made are fields of the encoder's or the data's section.
    del fitted["options"]
    key = [json.dumps(part) for part in (tree["data"], tree["encoder"], tree["head"], fitted)]
    recipe = Recipe(
        preprocessor=preprocessor,
        inputs_of=partial(task.inputs_of, training=True),
        sequences=lambda inputs: task.sequences(inputs, preprocessor),
        targets_of=task.targets_of,
        targets=task.targets,
        by_record=task.by_record,
        key=[split.name, split.sha256, split.note, *key],
    )
    directory = cache_dir() / "tokens"
    with writing(directory):
        return tokenize(split, recipe, directory)
