"""A loaded SavedModel as a predictor: items in, outputs out, in constant memory."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from tfbert.serving.loading import load
from tfbert.serving.ops import load_text_ops
from tfbert.text.inputs import Item, batch_of, rough_lengths


def find_version(path: Path, version: int | None = None) -> Path:
    """Return the directory of one version.

    Args:
        path: `saved_models/NAME`, or a version's own directory.
        version: a number; `None` takes the highest.

    Raises:
        ValueError: there is no such version.
    """
    if version is None and (path / "saved_model.pb").exists():
        return path
    entries = path.glob("*") if path.is_dir() else ()
    versions = sorted(int(e.name) for e in entries if e.name.isdecimal() and (e / "saved_model.pb").exists())
    if not versions:
        raise ValueError(f"{path}: holds no SavedModel; wanted saved_models/NAME or a version in it")
    if version is not None and version not in versions:
        raise ValueError(f"{path}: has no version {version}; there are {', '.join(map(str, versions))}")
    return path / str(versions[-1] if version is None else version)


class SavedPredictor:
    """A loaded SavedModel.

    Args:
        path: `saved_models/NAME`, or a version's own directory.
        version: a number; `None` takes the highest.
        num_pooled: batches that `answers` reads together, to group items of similar length; with 1 no item waits for
            more than the rest of its batch.

    Raises:
        ValueError: there is no such version, or a file of it is damaged.
    """

    def __init__(self, path: Path, version: int | None = None, num_pooled: int = 1):
        self.version_dir, self.num_pooled = find_version(path, version), num_pooled
        load_text_ops()
        # Kept: the signatures die with the object they were loaded with.
        self._model = load(self.version_dir)
        self._served = self._model.signatures["serving_default"]
        specs = self._served.structured_input_signature[1]
        self.input_ranks = {name: spec.shape.rank for name, spec in sorted(specs.items())}
        self.output_names = sorted(self._served.structured_outputs)

    def __call__(self, items: Sequence[Item]) -> dict[str, np.ndarray]:
        """Return what the server would answer: output name to array with the item first."""
        tensors = batch_of(items, list(self.input_ranks))
        return {name: tensor.numpy() for name, tensor in self._served(**tensors).items()}

    def answers(self, items: Iterable[Item], batch_size: int = 64) -> Iterator[tuple[Item, dict]]:
        """Yield each item with its JSON-ready answer, in order.

        Args:
            items: any number, read as they are needed.
            batch_size: how many are asked at once.
        """
        stream = iter(items)
        while pool := list(itertools.islice(stream, self.num_pooled * batch_size)):
            order = np.argsort(-rough_lengths(pool), kind="stable").tolist()
            answers: list[dict] = [{}] * len(pool)
            for start in range(0, len(order), batch_size):
                batch = order[start : start + batch_size]
                outputs = self([pool[index] for index in batch])
                for row, index in enumerate(batch):
                    answers[index] = {name: _plain(values[row]) for name, values in sorted(outputs.items())}
            yield from zip(pool, answers, strict=True)


def _plain(value):
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    # A float32 printed as a double shows digits it does not have.
    if isinstance(value, np.floating):
        return float(f"{value:.6g}")
    return [_plain(item) for item in value] if isinstance(value, np.ndarray) else value.item()
