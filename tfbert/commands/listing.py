"""Output of `--list`: tasks, encoders, and config fields with defaults, allowed values and descriptions."""

import shutil
import textwrap
from collections.abc import Iterable


def print_list(task: str) -> None:
    """Print tasks, encoders, and the config fields of a task."""
    from tfbert.encoder.presets import list_encoders
    from tfbert.tasks.base import list_tasks, load_task
    from tfbert.tasks.base_config import list_options

    print("tasks")
    for name in list_tasks():
        definition = load_task(name)
        aliases = f" (also: {', '.join(definition.aliases)})" if definition.aliases else ""
        print(f"  {name:32}{definition.title}{aliases}")
    print("encoders")
    for name, description in list_encoders():
        print(f"  {name:32}{description}")
    print(f"config fields (--set) of {task}, with their defaults")
    print_fields(list_options(task))


def print_pretraining_list() -> None:
    """Print the config fields of pretraining."""
    from tfbert.config import describe, value_at
    from tfbert.pretraining.config import PretrainConfig

    print("config fields (--set), with their defaults")
    config = PretrainConfig()
    print_fields((path, value_at(config, path), *details) for path, details in describe(PretrainConfig).items())


def print_fields(fields: Iterable[tuple]) -> None:
    """Print config fields: path and default, and below them description and allowed values.

    Args:
        fields: for each field its path, default, allowed values and description.
    """
    from tfbert.fields import as_typed

    width = max(60, shutil.get_terminal_size().columns - 1)
    for path, default, allowed, description in fields:
        print(f"  {path:36}{as_typed(default)}")
        text = f"{description} ({allowed})"
        print(textwrap.fill(text, width, initial_indent=" " * 6, subsequent_indent=" " * 6))
