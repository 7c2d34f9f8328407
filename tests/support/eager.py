"""Training without traced graphs, which for a few updates is faster than tracing and compiling."""


def run_eagerly(trainer):
    """Let a trainer call its graph functions as plain Python."""
    updater = trainer.updater
    updater._gradients = {name: function.python_function for name, function in updater._gradients.items()}
    for name in ("_add", "_apply"):
        setattr(updater, name, getattr(updater, name).python_function)
