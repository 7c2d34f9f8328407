"""Write the tables of the docs that are generated from declarations: `python docs/tables.py` (or `make docs`).

A table stands between `<!-- outputs TASK -->`, `<!-- metrics TASK -->` or `<!-- options TASK -->` and `<!-- end -->`.
"""

import re
import sys
from collections.abc import Callable
from pathlib import Path

from tfbert.tasks.base import fitted_kinds, load_task
from tfbert.tasks.base_config import list_options

DOCS = Path(__file__).parent
_BLOCK = re.compile(r"(<!-- (outputs|metrics|options) (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def updated(text: str) -> str:
    """Return a page with its generated tables as the declarations are now."""
    return _BLOCK.sub(lambda match: match[1] + TABLES[match[2]](match[3]) + match[4], text)


def outputs(task: str) -> str:
    """Return the inputs and outputs of the signature `serving_default`, a table for each kind of a task."""
    tables = []
    for kind in fitted_kinds(task):
        rows = [[f"in: `{each.name}`", each.kind, "string" + shape(each.many), ""] for each in load_task(task).inputs]
        rows += [[f"`{o.name}`", o.role, o.dtype + shape(o.is_list), o.description] for o in kind.outputs]
        tables.append(table(["`serving_default`", "role", "type", ""], rows))
    return "\n".join(tables)


def metrics(task: str) -> str:
    """Return the metrics of a task."""
    found = {metric.name: metric for kind in fitted_kinds(task) for metric in kind.metrics}
    rows = [[f"`{m.name}`", f"{m.better} is better", m.unit, m.description] for m in found.values()]
    return table(["metric", "direction", "unit", "what it measures"], rows)


def options(task: str) -> str:
    """Return the config fields that this task uses and that not every task does, with its defaults that differ."""
    definition = load_task(task)
    own = {*definition.options.paths().values(), *definition.data_options, *definition.defaults}
    rows = [
        [f"`{path}`", f"`{default!r}`", allowed.replace("|", "\\|"), description.replace("|", "\\|")]
        for path, default, allowed, description in list_options(task)
        if path in own
    ]
    return table(["field", "default", "allowed", "meaning"], rows)


def shape(is_list: bool) -> str:
    """Return the shape of an input or output in the docs' notation."""
    return " `[batch, n]`" if is_list else " `[batch]`"


def table(heads: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


TABLES: dict[str, Callable[[str], str]] = {"outputs": outputs, "metrics": metrics, "options": options}


if __name__ == "__main__":
    for page in sorted(DOCS.glob("*.md")):
        old = page.read_text(encoding="utf-8")
        if (new := updated(old)) != old:
            page.write_text(new, encoding="utf-8")
            print(page, file=sys.stderr)
