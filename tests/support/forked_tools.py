"""Run command-line tools in processes forked from this one, which has already imported their packages.

Importing TensorFlow takes longer than most tool runs in the tests. Each line of standard input is a JSON list of
chains, and a chain is a list of steps that run one after another; two chains run at a time. For each line, one JSON
line with the exit code of every step is printed; the code is negative if a signal ended the process.

A step has `tool`, `args`, `cwd`, `stdin`, `stdout`, `stderr` (paths), `env` (variables to set), and optionally `kill`:
`[file, n, moment]` sends SIGKILL when a file of that name is written for the n-th time, `before` or `after` it is moved
into place; `["update", n, "before"]` sends it before the n-th update, and an optional fourth element is the number of
another signal.
"""

import gc
import json
import os
import runpy
import signal
import sys
import traceback
from pathlib import Path

TOOLS = Path(__file__).parents[2] / "tools"
AT_ONCE = 2


def kill_at(name, count, moment):
    replace = os.replace
    num_writes = 0

    def counted_replace(source, target):
        nonlocal num_writes
        is_of_name = Path(target).name == name
        num_writes += is_of_name
        is_now = is_of_name and num_writes == count
        if is_now and moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        replace(source, target)
        if is_now:
            os.kill(os.getpid(), signal.SIGKILL)

    os.replace = counted_replace


def kill_before_update(count, number=signal.SIGKILL):
    from tfbert.training.updates import Updater

    update = Updater.update
    num_updates = 0

    def counted_update(*args):
        nonlocal num_updates
        num_updates += 1
        if num_updates == count:
            os.kill(os.getpid(), number)
        return update(*args)

    Updater.update = counted_update


def run_step(step):
    os.environ.update(step["env"])
    os.chdir(step["cwd"])
    os.dup2(os.open(step["stdin"], os.O_RDONLY), 0)
    for descriptor, path in ((1, step["stdout"]), (2, step["stderr"])):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), descriptor)
    if step.get("kill"):
        name, count, moment, *number = step["kill"]
        kill_before_update(count, *number) if name == "update" else kill_at(name, count, moment)
    tool = TOOLS / f"{step['tool']}.py"
    sys.argv = [str(tool), *step["args"]]
    try:
        runpy.run_path(str(tool), run_name="__main__")
        code = 0
    except SystemExit as exit_request:
        code = exit_request.code if isinstance(exit_request.code, int) else int(exit_request.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    return code


def fork(function):
    child = os.fork()
    if not child:
        code = 70
        try:
            code = function()
        finally:
            os._exit(code)
    return child


def run_chain(steps):
    for step in steps:
        _, status = os.waitpid(fork(lambda step=step: run_step(step)), 0)
        Path(step["stdout"] + ".code").write_text(str(os.waitstatus_to_exitcode(status)))
    return 0


def main():
    import keras_hub  # noqa: F401
    import tensorflow_text  # noqa: F401

    from tfbert.pretraining import adapt, commands  # noqa: F401
    from tfbert.serving import evaluate, export_run  # noqa: F401
    from tfbert.tasks.base import list_tasks, load_task

    for name in list_tasks():
        load_task(name)
    sys.path.insert(0, str(TOOLS))
    gc.freeze()
    for line in sys.stdin:
        running = set()
        chains = json.loads(line)
        for steps in chains:
            if len(running) == AT_ONCE:
                running.remove(os.wait()[0])
            running.add(fork(lambda steps=steps: run_chain(steps)))
        while running:
            running.remove(os.wait()[0])
        codes = [[int(Path(step["stdout"] + ".code").read_text()) for step in steps] for steps in chains]
        print(json.dumps(codes), flush=True)


if __name__ == "__main__":
    main()
