"""The config of a task: its defaults or the config of an earlier run, with what a user sets."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tfbert.config import Config, describe, from_dict, override, value_at
from tfbert.files import read_json
from tfbert.tasks.base import FittedTask, Task, list_tasks, load_task

DEFAULT_TASK = "classification"


def read_config(task: str | None, path: Path | None, values: Mapping[str, Any]) -> Config:
    """Return a config: the defaults of the task, or a stored config, with values replaced.

    Args:
        task: name or alias, as `--task` gives it; `None` where the stored config or the values name it.
        path: `config.json` of an earlier run; `None` starts from the defaults.
        values: config paths to values.

    Raises:
        ValueError: the task, the stored config and the values name different tasks, one of them cannot be used, or a
            path of the values is an option that the task does not use.
    """
    stored = from_dict(read_json(path)) if path else None
    named = {"--task": task, f"--config {path}": stored and stored.task, "--set task=": values.get("task")}
    tasks = {source: load_task(name).name for source, name in named.items() if name is not None}
    if len(set(tasks.values())) > 1:
        contradiction = " and ".join(f"{source} ({name})" for source, name in tasks.items())
        raise ValueError(f"{contradiction} name different tasks; expected one task")
    definition = load_task(next(iter(tasks.values()), DEFAULT_TASK))
    refuse_unused(definition, values)
    base = stored or override(Config(), definition.defaults)
    return override(base, {**values, "task": definition.name})


def list_options(task: str) -> list[tuple[str, Any, str, str]]:
    """Return the config fields that a task uses, each with its default for the task, allowed values and description."""
    definition = load_task(task)
    others = {path for name in list_tasks() for path in used_options(load_task(name))} - used_options(definition)
    config = override(Config(task=definition.name), definition.defaults)
    return [
        (path, value_at(config, path), allowed, description)
        for path, (allowed, description) in describe().items()
        if path not in others
    ]


def check_options(config: Config) -> None:
    """Refuse options that differ from their defaults and that the task of a config does not use.

    Raises:
        ValueError: names the option, the task, and the tasks that use the option.
    """
    values = {path: value_at(config, path) for path in describe()}
    refuse_unused(
        load_task(config.task), {path: value for path, value in values.items() if value != value_at(Config(), path)}
    )


def check_fitted_options(config: Config, fitted: FittedTask) -> None:
    """Refuse options that differ from their defaults and have no effect with the training data of a fitted task.

    Raises:
        ValueError: names the option and its default.
    """
    for path in sorted(options_without_effect(fitted)):
        value, default = value_at(config, path), value_at(Config(), path)
        if value != default:
            raise ValueError(f"{path}={value}: has no effect with these training data; expected {default}")


def options_without_effect(fitted: FittedTask) -> set[str]:
    """Return the config paths that the task uses, but not with the training data that it was fitted to."""
    return fitted.definition.options.own_paths() - fitted.options.own_paths()


def used_options(task: Task) -> set[str]:
    """Return the config paths of the options that a task uses and that not every task needs to."""
    return {*task.options.own_paths(), *task.data_options}


def refuse_unused(task: Task, values: Mapping[str, Any]) -> None:
    """Refuse options that a task does not use.

    Args:
        task: the task.
        values: config paths to values.

    Raises:
        ValueError: names the option, its value, the task, and the tasks that use the option.
    """
    users: dict[str, list[str]] = {}
    for name in list_tasks():
        for path in used_options(load_task(name)):
            users.setdefault(path, []).append(name)
    used = used_options(task)
    for path, value in values.items():
        if path in users and path not in used:
            raise ValueError(f"{path}={value}: {task.name} does not use it; {_listed(users[path])}")


def _listed(names: Sequence[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last} do" if others else f"only {last} does"
