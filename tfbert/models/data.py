"""The data of a fitted task: its path, and tokenization of a split into sequences and targets."""

import json
from functools import partial
from pathlib import Path

from tfbert.config import Config
from tfbert.encoder.presets import cache_dir
from tfbert.files import writing
from tfbert.models.predictor import make_preprocessor
from tfbert.tasks.base import FittedTask, load_task
from tfbert.text.datasets import Recipe, TokenizedSplit, tokenize
from tfbert.text.inputs import specs_of
from tfbert.text.splits import Split
from tfbert.text.tokenizer import Tokenizer


def data_path(config: Config) -> Path:
    """Return the path of the records: `data.path`, or the samples of the task."""
    return Path(config.data.path) if config.data.path else load_task(config.task).samples_dir


def tokenize_split(split: Split, task: FittedTask, tokenizer: Tokenizer, config: Config) -> TokenizedSplit:
    """Return the token sequences and targets of a split, from the cache if it has them.

    Raises:
        ValueError: a record cannot be converted to an example.
    """
    preprocessor = make_preprocessor(tokenizer, config)
    tree, fitted = config.to_dict(), task.to_json()
    # Options that affect sequences are in the sections `encoder`, `data` and `head`, which are part of the key.
    del fitted["options"]
    key = [json.dumps(section) for section in (tree["data"], tree["encoder"], tree["head"], fitted)]
    recipe = Recipe(
        preprocessor=preprocessor,
        inputs_of=partial(task.inputs_of, training=True),
        specs=specs_of(task.training_inputs or task.inputs),
        sequences=lambda inputs: task.sequences(inputs, preprocessor),
        targets_of=task.targets_of,
        targets=task.targets,
        by_record=task.by_record,
        key=[split.name, split.sha256, split.note, *key],
    )
    directory = cache_dir() / "tokens"
    with writing(directory):
        return tokenize(split, recipe, directory)
