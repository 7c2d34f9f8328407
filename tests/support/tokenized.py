"""Tokenized records, for a fitted task or with a minimal recipe."""

import tempfile
from pathlib import Path

from tfbert.text.datasets import Recipe, Target, tokenize
from tfbert.text.inputs import Text, specs_of
from tfbert.text.preprocessor import Preprocessor


def recipe_of(task, preprocessor, key=("train",)):
    """Return the recipe that turns the records of a split into sequences and targets of a task."""
    return Recipe(
        preprocessor=preprocessor,
        inputs_of=task.inputs_of,
        specs=specs_of(task.inputs),
        sequences=lambda inputs: task.sequences(inputs, preprocessor),
        targets_of=task.targets_of,
        targets=task.targets,
        by_record=task.by_record,
        key=list(key),
    )


def plain_recipe(tokenizer, key=("train",), sequence_length=16, num_texts=1, **fields):
    """Return a recipe for records of one or two texts whose label ends with a digit, the target `label_id`.

    Args:
        num_texts: 1, or 2 for pairs.
        fields: other fields of `Recipe`; the function `sequences` is also passed the preprocessor.
    """
    preprocessor, names = Preprocessor(tokenizer, sequence_length), ("text", "text_pair")[:num_texts]

    def sequences(inputs, preprocessor):
        texts = {name: preprocessor.tokenize(text) for name, text in inputs.items()}
        return preprocessor.pack([text.ids for text in texts.values()], texts=texts)

    def targets_of(record, sequences, warn):
        return [{"label_id": int(record.target[-1])}] * len(sequences)

    make = fields.pop("sequences", sequences)
    fields = {"targets_of": targets_of, "targets": {"label_id": Target("int64")}, "by_record": False} | fields
    return Recipe(
        preprocessor=preprocessor,
        inputs_of=lambda record: dict(zip(names, record.texts, strict=True)),
        specs=specs_of(map(Text, names)),
        sequences=lambda inputs: make(inputs, preprocessor),
        key=list(key),
        **fields,
    )


def by_token(inputs, preprocessor):
    """Return one sequence per token of a text, and at least one."""
    text = preprocessor.tokenize(inputs["text"], with_offsets=True)
    windows = preprocessor.windows(text.ids, 1, 0.0)
    values = {"is_first": text.starts == 0}
    return preprocessor.pack(
        [windows.token_ids], records=windows.records, windows=windows, texts={"text": text}, token_values=values
    )


def positions_of(record, sequences, warn):
    """Return the position of each token, and warn about records with many tokens."""
    if len(sequences) > 4:
        warn("texts are long")
    return [{"position": start} for start in sequences.window_starts]


# Fields of a recipe in which every token is a sequence, whose target is its position.
BY_TOKEN = {"sequences": by_token, "targets_of": positions_of, "targets": {"position": Target("int32")}}


def tokenized(task, records, preprocessor):
    """Return the `TokenizedSplit` of records of a task, cached in a temporary directory."""
    with tempfile.TemporaryDirectory() as directory:
        return tokenize(records, recipe_of(task, preprocessor), Path(directory))


def warnings_of(split):
    """Return the warnings about records of a split, one per record."""
    return [warning for warning, places in split.warnings.items() for _ in places]
