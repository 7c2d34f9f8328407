"""Destinations of predictions: a terminal, JSON lines on standard output, or a file with the columns of the input."""

import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from tfbert.commands.prediction_view import prediction_lines
from tfbert.serving.label_probabilities import PROBABILITIES, most_probable
from tfbert.serving.prediction_file import PredictionFile, encodable
from tfbert.tasks.base_outputs import declared

# The inputs by name, the columns of their row, and the outputs.
Write = Callable[[Mapping[str, Any], Sequence[tuple[str, Any]], Mapping[str, Any]], None]


@contextlib.contextmanager
def opened(
    file: PredictionFile | None,
    labels: Sequence[str],
    top: int | None,
    lines: Callable[[Mapping[str, Any], Mapping[str, Any]], list[str]] | None = None,
) -> Iterator[Write]:
    """Yield the function that writes a prediction.

    Args:
        file: destination; `None` means standard output: for reading on a terminal, else one JSON object per line.
        labels: all labels of the model; empty if they are unknown.
        top: number of most probable labels to name; `None` writes the probabilities of all labels in their order.
        lines: returns what a terminal shows of the inputs and outputs; `None` for those of predictions.

    Raises:
        ValueError: the file cannot be written, or holds an incompatible row.
    """

    def reduced(item: Mapping[str, Any], outputs: Mapping[str, Any]) -> dict[str, Any]:
        ranked = None if top is None else most_probable(item, outputs, labels, top)
        return dict(outputs) if ranked is None else {**outputs, PROBABILITIES: dict(ranked)}

    if file is not None:
        with file:
            yield lambda item, cells, outputs: file.write(cells, _in_declared_order(reduced(item, outputs)))
        print(f"{file.path}  ({file.num_rows:,} predictions)")
        return
    if sys.stdout.isatty():
        shown = lines or (lambda item, outputs: prediction_lines(item, outputs, labels, top))
        yield lambda item, cells, outputs: _print([*shown(item, outputs), ""])
    else:
        yield lambda item, cells, outputs: _print([json.dumps({**item, **reduced(item, outputs)}, ensure_ascii=False)])
    sys.stdout.flush()


def _in_declared_order(outputs: Mapping[str, Any]) -> dict[str, Any]:
    known = declared(outputs)
    return {output.name: outputs[output.name] for output in known} if known else dict(outputs)


def _print(lines: Sequence[str]) -> None:
    sys.stdout.write("".join(f"{encodable(line)}\n" for line in lines))
