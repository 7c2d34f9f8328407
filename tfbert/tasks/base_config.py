"""Checks of a config and of labels against a task: its defaults, the options that it uses, the monitored metric."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tfbert.config import Config, describe, from_dict, override, value_at
from tfbert.data_config import NO_SPLITS
from tfbert.evaluation.metric import Metric
from tfbert.fields import either
from tfbert.files import naming, read_json
from tfbert.nearest import did_you_mean
from tfbert.tasks.base import FittedTask, Task, fitted_kinds, list_tasks, load_task
from tfbert.text.labels import require_known
from tfbert.text.records import Record

DEFAULT_TASK = "classification"


def read_config(task: str | None, path: Path | None, values: Mapping[str, Any]) -> Config:
    """Return the config of a run: the defaults of the task, or a stored config, with values replaced.

    Args:
        task: the task's name or alias from `--task`; `None` if the stored config or the values name the task.
        path: `config.json` of an earlier run; `None` to start from the defaults.
        values: config path to value.

    Raises:
        ValueError: the task, the stored config and the values name different tasks, one of them is invalid, or the
            values set an option that the task does not use.
    """
    stored = _read_stored(path) if path else None
    names = {"--task": task, f"--config {path}": stored and stored.task, "--set task=": values.get("task")}
    tasks = {source: load_task(name).name for source, name in names.items() if name is not None}
    if len(set(tasks.values())) > 1:
        sources = " and ".join(f"{source} ({name})" for source, name in tasks.items())
        raise ValueError(f"{sources} name different tasks; expected one task")
    definition = load_task(next(iter(tasks.values()), DEFAULT_TASK))
    reject_unused_options(definition, values)
    base = stored or override(Config(), definition.defaults)
    return override(base, {**values, "task": definition.name})


def _read_stored(path: Path) -> Config:
    tree = read_json(path)
    with naming(path):
        config = from_dict(tree)
        check_options(config)
    return config


def monitored_metric(task: FittedTask, name: str | None) -> Metric:
    """Return the metric that selects the best epoch.

    Args:
        task: a fitted task.
        name: the name of one of its metrics that are computed after every epoch; `None` for the default one.

    Raises:
        ValueError: the task has no such metric; a similar one is named.
    """
    if name is None:
        return task.monitor
    metrics = {metric.name: metric for metric in task.metrics if metric.every_epoch}
    if name not in metrics:
        raise ValueError(f"train.monitor={name}: expected one of {', '.join(metrics)}{did_you_mean(name, metrics)}")
    return metrics[name]


def list_options(task: str) -> list[tuple[str, Any, str, str]]:
    """Return the path, default, allowed values and description of each config field that a task uses.

    Raises:
        ValueError: there is no such task.
    """
    definition = load_task(task)
    others = {path for name in list_tasks() for path in used_options(load_task(name))} - used_options(definition)
    config = override(Config(task=definition.name), definition.defaults)
    allowed_names = {"task": list_tasks(), "train.monitor": [*_epoch_metrics(definition.name), "none"]}
    return [
        (path, value_at(config, path), either(allowed_names[path]) if path in allowed_names else allowed, description)
        for path, (allowed, description) in describe().items()
        if path not in others
    ]


def _epoch_metrics(task: str) -> list[str]:
    metrics = (metric for kind in fitted_kinds(task) for metric in kind.metrics if metric.every_epoch)
    return list(dict.fromkeys(metric.name for metric in metrics))


def check_options(config: Config) -> None:
    """Reject options that differ from their defaults although the task of the config does not use them.

    Raises:
        ValueError: the task does not use an option; the message names the tasks that do.
    """
    values = {path: value_at(config, path) for path in describe()}
    changed = {path: value for path, value in values.items() if value != value_at(Config(), path)}
    reject_unused_options(load_task(config.task), changed)


def check_fitted_options(config: Config, fitted: FittedTask) -> None:
    """Reject options that differ from their defaults although they have no effect with the task's training data.

    Raises:
        ValueError: an option has no effect; the message names its default.
    """
    for path in sorted(options_without_effect(fitted)):
        value, default = value_at(config, path), value_at(Config(), path)
        if value != default:
            raise ValueError(f"{path}={value}: has no effect with these training data; expected {default}")


def options_without_effect(fitted: FittedTask) -> set[str]:
    """Return the config paths that the task uses, but not with the training data that it was fitted to."""
    return fitted.definition.options.own_paths() - fitted.options.own_paths()


def used_options(task: Task) -> set[str]:
    """Return the config paths of the options that a task uses, without those that all tasks use."""
    calibration = ("data.calibration", "data.calibration_fraction") if task.calibrates else ()
    return {*task.options.own_paths(), *task.data_options, *calibration}


def defaults_with_effect(task: FittedTask) -> dict[str, Any]:
    """Return the default of each config field that a fitted task uses, by path."""
    unused = options_without_effect(task)
    return {path: default for path, default, *_ in list_options(task.name) if path not in unused}


def reject_unused_options(task: Task, values: Mapping[str, Any]) -> None:
    """Reject options that a task does not use.

    Args:
        task: the task.
        values: config path to value.

    Raises:
        ValueError: the task does not use an option; the message names the tasks that do.
    """
    users: dict[str, list[str]] = {}
    for name in list_tasks():
        for path in used_options(load_task(name)):
            users.setdefault(path, []).append(name)
    used = used_options(task)
    for path, value in values.items():
        # Other locations of the data take back the files of a stored config.
        if path in users and path not in used and (path, value) not in NO_SPLITS.items():
            raise ValueError(f"{path}={value}: {task.name} does not use it; {_users_sentence(users[path])}")


def _users_sentence(names: Sequence[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last} do" if others else f"only {last} does"


def require_known_labels(task: FittedTask, splits: Iterable[Iterable[Record]]) -> None:
    """Check that train has every label of other splits, and report all missing labels in one error.

    Raises:
        ValueError: some records have labels that train lacks.
    """
    definition = task.definition
    if definition.has_labels:
        require_known(splits, definition.labels_of, task.known_labels, definition.label_noun)
