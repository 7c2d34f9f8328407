"""Predictions for reading on a terminal: labels with their probabilities, lists as tables, single values by name."""

import shutil
from collections.abc import Mapping, Sequence
from typing import Any

from tfbert.commands.table import table_lines
from tfbert.evaluation.formatting import percent, words
from tfbert.serving.label_probabilities import most_probable
from tfbert.tasks.base_outputs import Output, Outputs, declared

_DEFAULT_TOP = 3
_MAX_ROWS = 10
_BAR_WIDTH = 20
_INDENT = "  "


def prediction_lines(
    item: Mapping[str, Any], outputs: Mapping[str, Any], labels: Sequence[str], top: int | None
) -> list[str]:
    """Return the lines that show one prediction: the inputs, and below them, indented, the outputs.

    Args:
        item: the inputs by name.
        outputs: the prediction, without padding.
        labels: all labels of the model; empty if they are unknown.
        top: maximum number of labels; `None` means a few.
    """
    width = shutil.get_terminal_size().columns
    named = [(words(name), _text(value)) for name, value in item.items()]
    if len(named) == 1:
        named = [("", named[0][1])]
    inputs = [f"{name}: {text}" if name else text for name, text in named]
    known = declared(outputs) or tuple(Output(name, "string", "", "answer") for name in outputs)
    ranked = most_probable(item, outputs, labels)
    shown = _probability_lines(outputs, ranked, top) if ranked else _output_lines(known, outputs, width)
    notes = [words(name) for name in ("truncated", "abstain") if outputs.get(name) is True]
    return [*(_cut(line, width) for line in inputs), *(_cut(_INDENT + line, width) for line in [*shown, *notes])]


def _probability_lines(outputs: Mapping[str, Any], ranked: Sequence[tuple[str, float]], top: int | None) -> list[str]:
    """Return a line per label with its probability; of several labels, those above their thresholds are marked."""
    chosen = outputs.get("labels")
    num_shown = max(_DEFAULT_TOP, len(chosen or ())) if top is None else top
    ranked = ranked[:num_shown]
    label_width = max(len(label) for label, _ in ranked)
    lines = [] if chosen is None or chosen else ["no label reaches its threshold"]
    for label, probability in ranked:
        mark = "" if chosen is None else ("✓ " if label in chosen else "  ")
        bar = "█" * round(_BAR_WIDTH * probability)
        lines.append(f"{mark}{label:{label_width}}  {percent(probability):>7}  {bar}".rstrip())
    return lines


def _output_lines(known: Outputs, outputs: Mapping[str, Any], width: int) -> list[str]:
    """Return a line per single answer and its confidence, and a table of the lists of answers."""
    values = {output: outputs[output.name] for output in known if output.name in outputs}
    is_answer = {output: output.role in ("answer", "confidence") for output in values}
    lists = {output: value for output, value in values.items() if isinstance(value, list)}
    lines = [
        f"{words(output.name)}: {_number(output.name, value)}"
        for output, value in values.items()
        if output not in lists and (is_answer[output] or (output.role == "abstain" and output.dtype == "string"))
    ]
    length = next((len(value) for output, value in lists.items() if is_answer[output]), None)
    if length is None:
        return lines
    if length == 0:
        return [*lines, "nothing found"]
    columns = {output.name: value for output, value in lists.items() if len(value) == length}
    rows = [[_number(name, value[row]) for name, value in columns.items()] for row in range(min(length, _MAX_ROWS))]
    lines += table_lines(list(map(words, columns)), rows, width - len(_INDENT))
    return lines if length <= _MAX_ROWS else [*lines, f"and {length - _MAX_ROWS:,} more"]


def _number(name: str, value: Any) -> str:
    if isinstance(value, float):
        return percent(value) if name.endswith("probability") else f"{value:.4g}"
    return "(none)" if value == "" else _text(value)


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return " | ".join(map(_text, value))
    return " ".join(str(value).split())


def _cut(line: str, width: int) -> str:
    return line if len(line) <= width else f"{line[: width - 1]}…"
