"""A SavedModel and a stream of texts in, a stream of answers out, in constant memory."""

import itertools
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import tensorflow as tf
import tensorflow_text  # noqa: F401  (registers the tokenizer's ops)


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

    def predict(self, texts: list[str]) -> dict[str, np.ndarray]:
        """Return what the server would answer: output name to array with the batch first."""
        encoded = tf.constant([text.encode("utf-8", "replace") for text in texts])
        return {name: tensor.numpy() for name, tensor in self._served(text=encoded).items()}

    def answers(self, texts: Iterable[str], batch_size: int = 64) -> Iterator[tuple[str, dict]]:
        """Yield each text with its JSON-ready answer, in order.

        Args:
            texts: any number, read as they are needed.
            batch_size: how many are asked at once.
        """
        stream = iter(texts)
        while batch := list(itertools.islice(stream, batch_size)):
            outputs = self.predict(batch)
            for row, text in enumerate(batch):
                yield text, {name: _plain(values[row]) for name, values in sorted(outputs.items())}


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
