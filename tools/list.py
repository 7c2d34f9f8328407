"""List the tasks, the encoders, and the config fields of a task with defaults, allowed values and descriptions."""

from tfbert.commands import list

if __name__ == "__main__":
    list.run()
