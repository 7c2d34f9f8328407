"""A SavedModel and a stream of texts in, a stream of answers out, in constant memory."""

import itertools
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
import tensorflow_text  # noqa: F401  (registers the tokenizer's ops)

from tfbert.text.items import Item, batch_of, from_json


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


class Predictor:
    """A loaded SavedModel.

    Args:
        path: `saved_models/NAME`, or a version's own directory.
        version: a number; `None` takes the highest.

    Raises:
        ValueError: there is no such version.
    """

    def __init__(self, path: Path, version: int | None = None):
        self.version_dir = find_version(path, version)
        # Kept: the signatures die with the object they were loaded with.
        self._model = tf.saved_model.load(str(self.version_dir))
        self._served = self._model.signatures["serving_default"]
        specs = self._served.structured_input_signature[1]
        self.input_ranks = {name: spec.shape.rank for name, spec in sorted(specs.items())}

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
        while batch := list(itertools.islice(stream, batch_size)):
            outputs = self(batch)
            for row, item in enumerate(batch):
                yield item, {name: _plain(values[row]) for name, values in sorted(outputs.items())}

    def item_of(self, line: str, where: str) -> Item:
        """Return what a line asks about: the line itself where the model takes one text, else a JSON object.

        Raises:
            ValueError: not an object, an input that is missing or unknown, or one that is not text.
        """
        if self.input_ranks == {"text": 1}:
            return {"text": line}
        wish = "wanted a JSON object with " + ", ".join(self.input_ranks)
        try:
            said = json.loads(line)
        except ValueError as error:
            raise ValueError(f"{where}: not JSON ({error}); {wish}") from None
        if not isinstance(said, dict) or said.keys() != self.input_ranks.keys():
            raise ValueError(f"{where}: {line[:80]}; {wish}")
        for name, rank in self.input_ranks.items():
            is_text = isinstance(said[name], str)
            is_list = isinstance(said[name], list) and said[name] and all(isinstance(v, str) for v in said[name])
            if not (is_text if rank == 1 else is_list):
                kind = "a string" if rank == 1 else "a list of strings"
                raise ValueError(f"{where}: {name} is {json.dumps(said[name])[:80]}; wanted {kind}")
        return from_json(said)


def read_lines(path: str) -> Iterator[str]:
    """Yield the lines of a UTF-8 file, `-` for standard input; only LF and CRLF end a line.

    Raises:
        ValueError: a line is not UTF-8; file and line are named.
    """
    with open(sys.stdin.fileno() if path == "-" else path, "rb") as stream:
        for number, line in enumerate(stream, 1):
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                byte = error.object[error.start]  # not `line`, of which the decoder has dropped the byte order mark
                raise ValueError(f"{path}:{number}: byte {byte:#04x} is not UTF-8; wanted UTF-8") from None
            yield text.removesuffix("\n").removesuffix("\r")


def _plain(value):
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    # A float32 printed as a double shows digits it does not have.
    if isinstance(value, np.floating):
        return float(f"{value:.6g}")
    return [_plain(item) for item in value] if isinstance(value, np.ndarray) else value.item()
