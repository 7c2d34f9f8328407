"""Config fields as keyword arguments, such as `epochs=3` for `train.epochs`, and calls as shell commands."""

import json
import os
import shlex
from collections.abc import Mapping
from typing import Any

from tfbert.config import RootConfig, paths
from tfbert.fields import as_typed
from tfbert.nearest import did_you_mean

# Fields that the functions of the API have other arguments for.
_OTHER_ARGUMENTS = {
    "task": "task",
    "data.path": "data",
    "data.train": "data",
    "data.validation": "data",
    "data.calibration": "data",
    "data.test": "data",
    "encoder.name": "encoder",
    "corpus.paths": "corpus",
    "train.seed": "seed",
}


def config_values(function: str, options: Mapping[str, Any], root: type[RootConfig]) -> dict[str, Any]:
    """Return the config values that keyword arguments set, by config path.

    Args:
        function: the name of the function, for messages.
        options: keyword to value. A keyword is the name of a config field, or `section__name`.
        root: the class of the config.

    Raises:
        TypeError: a keyword is not the name of a field, or of several, or two keywords name the same field.
    """
    fields: dict[str, list[str]] = {}
    for path in paths(root):
        if path in _OTHER_ARGUMENTS:
            continue
        for keyword in {path.rpartition(".")[2], path.replace(".", "__")}:
            fields.setdefault(keyword, []).append(path)
    values = {}
    for keyword, value in options.items():
        matches = fields.get(keyword, [])
        if len(matches) > 1:
            expected = " or ".join(path.replace(".", "__") for path in matches)
            raise TypeError(f"{function}() got an ambiguous keyword argument {keyword!r}; expected {expected}")
        if not matches:
            raise TypeError(
                f"{function}() got an unexpected keyword argument {keyword!r}{_hint(keyword, fields)}; see tfbert list"
            )
        if matches[0] in values:
            raise TypeError(f"{function}() got two keyword arguments for {matches[0]}; expected one of them")
        values[matches[0]] = _config_value(matches[0], value)
    return values


def _hint(keyword: str, fields: Mapping[str, Any]) -> str:
    path = keyword.replace("__", ".")
    argument = next((a for p, a in _OTHER_ARGUMENTS.items() if path in (p, p.rpartition(".")[2])), None)
    return f"; did you mean {argument!r}?" if argument else did_you_mean(keyword, fields)


def _config_value(path: str, value: Any) -> Any:
    """Return a value as the config has it: no NumPy numbers or path objects, and JSON for names of columns."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if path in ("data.columns", "data.ignored_columns") and isinstance(value, Mapping | list | tuple):
        return json.dumps(value, ensure_ascii=False)
    return value.item() if hasattr(value, "item") else value


def command_line(name: str, values: Mapping[str, Any], **arguments: Any) -> str:
    """Return the shell command that does the same as a call.

    Args:
        name: the name of the command.
        values: config values by path.
        **arguments: other options of the command; those that are `None` are left out.
    """
    words = ["tfbert", name]
    own = {"task": "--task", "data.path": "--data", "encoder.name": "--encoder", "train.seed": "--seed"}
    own |= {"corpus.paths": "--corpus"}
    for path, value in values.items():
        texts = list(value) if isinstance(value, tuple) else [value if isinstance(value, str) else as_typed(value)]
        words += [own[path], *texts] if path in own else ["--set", f"{path}={','.join(texts)}"]
    for argument, value in arguments.items():
        if value is not None and value is not False:
            texts = [] if value is True else value if isinstance(value, list) else [value]
            words += [f"--{argument.replace('_', '-')}", *map(str, texts)]
    return shlex.join(words)
