"""What `tools/train.py --list` prints."""


def print_list() -> None:
    """Print what can be chosen, without loading TensorFlow for the encoders and fields."""
    from tfbert.config import Config, paths
    from tfbert.encoder.presets import list_encoders
    from tfbert.tasks.base import list_tasks, load_task

    print("tasks")
    for name in list_tasks():
        task = load_task(name)
        also = f" (also: {', '.join(task.aliases)})" if task.aliases else ""
        print(f"  {name:32}{task.title}{also}")
    print("encoders")
    for name, description in list_encoders():
        print(f"  {name:32}{description}")
    print("config fields (--set)")
    defaults = Config().to_dict()
    for path in paths():
        section, _, name = path.rpartition(".")
        print(f"  {path:36}{(defaults[section] if section else defaults)[name]!r}")
