"""Generated tables of the docs: outputs, metrics and options of the tasks, and perturbations, written by `make docs`.

A table goes between `<!-- outputs TASK -->`, `<!-- metrics TASK -->` or `<!-- options TASK -->` and `<!-- end -->`.
For a task with several fitted classes, the name of the class follows: `<!-- outputs matching FittedPairs -->`. The
table of `<!-- perturbations -->` belongs to no task. The contents come from the declarations in
`tfbert/tasks/base_outputs.py`, `tfbert/evaluation/`, `tfbert/config.py` and `tfbert/text/perturbations/catalog.py`.
"""

import dataclasses
import re
import sys
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tfbert.fields import as_typed
from tfbert.tasks.base import FittedTask, fitted_kinds, load_task
from tfbert.tasks.base_config import list_options
from tfbert.tasks.base_outputs import Output
from tfbert.text.perturbations.catalog import PERTURBATIONS

DOCS = Path(__file__).parent
BLOCK = re.compile(
    r"(<!-- (outputs|metrics|options|perturbations)(?: (\w+))?(?: (\w+))? -->\n).*?(<!-- end -->)", re.DOTALL
)


def updated(page: str) -> str:
    """Return a page with its generated tables as the declarations are now.

    Raises:
        ValueError: a block names no task, or no fitted class of its task.
    """
    return BLOCK.sub(lambda block: block[1] + TABLES[block[2]](*filter(None, block.group(3, 4))) + block[5], page)


def outputs(task: str, kind: str | None = None) -> str:
    """Return the inputs and outputs of the signature `serving_default`.

    Args:
        task: the name of the task.
        kind: the name of the fitted class; `None` for a task with only one.
    """
    fitted = fitted_class(task, kind)
    required = {each.name for each in placeholder(fitted, False).inputs}
    rows = [
        [
            f"`{each.name}`",
            f"{each.spec.dtype.name} {shape(each.many)}",
            "input",
            "" if each.name in required else "only for models trained on records that have it",
        ]
        for each in placeholder(fitted, True).inputs
    ]
    rows += [[f"`{o.name}`", f"{o.dtype} {shape(o.is_list)}", o.role, described(o)] for o in fitted.all_outputs]
    return table(["`serving_default`", "type", "role", "description"], rows)


def described(output: Output) -> str:
    """Return the description of an output, and the option that adds it."""
    return output.description + (f"; only with `{output.only_with}`" if output.only_with else "")


def metrics(task: str, kind: str | None = None) -> str:
    """Return the metrics of a task; arguments as for `outputs`."""
    fitted = fitted_class(task, kind)
    notes = {fitted.monitor.name: "; the default of `train.monitor`, which chooses the best epoch"}
    rows = [
        [
            f"`{metric.name}`",
            metric.better,
            {"target": "that of the data"}.get(metric.unit, metric.unit),
            metric.description + notes.get(metric.name, "" if metric.every_epoch else "; not measured in training"),
        ]
        for metric in fitted.metrics
    ]
    return table(["metric", "better", "unit", "description"], rows)


def options(task: str, kind: str | None = None) -> str:
    """Return the config fields that this task uses and not every task does, and those whose default it changes."""
    definition = load_task(task)
    own = {*definition.options.paths().values(), *definition.data_options, *definition.defaults}
    rows = [
        [f"`{path}`", f"`{as_typed(default)}`", allowed, description]
        for path, default, allowed, description in list_options(task)
        if path in own
    ]
    return table(["field", "default", "allowed", "description"], rows)


def perturbations() -> str:
    """Return the perturbations with which robustness is measured."""
    rows = [[f"`{each.name}`", ", ".join(each.languages), each.description] for each in PERTURBATIONS]
    return table(["perturbation", "texts in", "what it changes"], rows)


TABLES: dict[str, Callable[..., str]] = {
    "outputs": outputs,
    "metrics": metrics,
    "options": options,
    "perturbations": perturbations,
}


def fitted_class(task: str, kind: str | None) -> type[FittedTask]:
    """Return a fitted class of a task by name; `None` means the only one.

    Raises:
        ValueError: there is no such class, or several and no name.
    """
    classes = {each.__name__: each for each in fitted_kinds(task)}
    names = [kind] if kind else list(classes)
    if len(names) != 1 or names[0] not in classes:
        raise ValueError(f"{task} {kind or ''}: expected one of {', '.join(classes)}")
    return classes[names[0]]


def placeholder(kind: type[FittedTask], flag: bool) -> FittedTask:
    """Return a fitted task that has seen no data: empty and zero values, and one value for all of its flags."""
    hints = typing.get_type_hints(kind)
    return kind(**{field.name: _value(hints[field.name], flag) for field in dataclasses.fields(kind)})


def shape(is_list: bool) -> str:
    """Return the shape of an input or output."""
    return "`[batch, n]`" if is_list else "`[batch]`"


def table(heads: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table."""
    lines = [heads, ["---"] * len(heads), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _value(hint: Any, flag: bool) -> Any:
    if hint is bool:
        return flag
    if typing.get_origin(hint) is typing.Literal:
        return typing.get_args(hint)[0]
    return (typing.get_origin(hint) or hint)()


if __name__ == "__main__":
    for path in sorted(DOCS.glob("*.md")):
        old = path.read_text(encoding="utf-8")
        new = updated(old)
        if new != old:
            path.write_text(new, encoding="utf-8")
            print(path, file=sys.stderr)
