"""Small data, small configs, a finished run, and the command-line tools run as processes."""

import csv
import functools
import importlib
import itertools
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / "tools"
TOPICS = {
    "card": ["card", "pin", "atm"],
    "fee": ["fee", "cost", "price"],
    "loan": ["loan", "rate", "house"],
}
COMMON = ["the", "my", "is", "was", "please", "with", "today", "and", "for", "a"]


def rows(count, seed):
    """Return texts with labels, different for every seed. Every label occurs, with different frequencies."""
    rng = random.Random(seed)
    pairs = []
    for index in range(count):
        label = rng.choices(sorted(TOPICS), weights=[5, 3, 2])[0] if index >= len(TOPICS) else sorted(TOPICS)[index]
        words = rng.choices(COMMON, k=rng.randint(1, 7)) + rng.choices(TOPICS[label], k=2)
        rng.shuffle(words)
        pairs.append((" ".join([*words, str(1000 * seed + index)]), label))
    return pairs


def write_csv(path, pairs):
    with open(path, "w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["text", "label"])
        writer.writerows(pairs)


def write_data(directory, train=24, validation=12, test=12):
    """Write a data directory. A split of 0 rows is omitted."""
    directory.mkdir(parents=True, exist_ok=True)
    for seed, (name, count) in enumerate({"train": train, "validation": validation, "test": test}.items(), 1):
        if count:
            write_csv(directory / f"{name}.csv", rows(count, seed))
    return directory


def write_scored_pairs(directory, train=16, validation=8):
    """Write a data directory of text pairs with scores from 0 to 5, for the task matching."""
    directory.mkdir(parents=True, exist_ok=True)
    for seed, (name, count) in enumerate({"train": train, "validation": validation}.items(), 1):
        with open(directory / f"{name}.csv", "w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream)
            writer.writerow(["text", "text_pair", "score"])
            for index, ((text, _), (other, _)) in enumerate(itertools.pairwise(rows(count + 1, seed))):
                writer.writerow([text, other, index % 6])
    return directory


def config(data_dir, **values):
    """Return the config of a small run. Keywords are config paths with `__` instead of the dot."""
    from tfbert.config import Config, override

    base = {
        "data.path": str(data_dir),
        "encoder.name": "tiny",
        "encoder.sequence_length": 32,
        "encoder.precision": "float32",
        "train.epochs": 2,
        "train.batch_size": 8,
        "train.learning_rate": 2e-3,
    }
    return override(Config(), base | {path.replace("__", "."): value for path, value in values.items()})


def assignments(values):
    """Return `--set` options for config paths."""
    return [argument for path, value in values.items() for argument in ("--set", f"{path}={value}")]


def load_command(name):
    """Import the module of a command."""
    return importlib.import_module(f"tfbert.commands.{name}")


@functools.cache
def finished_run():
    """Return the directories of a finished run and of its SavedModel, made once per process."""
    from tfbert.serving import export_run
    from tfbert.training import run
    from tfbert.training.problem import prepare

    # An attribute of the function, so that the temporary directory exists until the process ends.
    finished_run.folder = tempfile.TemporaryDirectory(prefix="tfbert-run-", ignore_cleanup_errors=True)
    folder = Path(finished_run.folder.name)
    problem = prepare(config(write_data(folder / "data", train=48), train__epochs=3))
    run.train(problem, folder / "run", command="python tools/train.py")
    export_run.export_run(folder / "run", folder / "model")
    return folder / "run", folder / "model"


def two_workers():
    """Return the environment variables that make two processes train together, over free ports."""
    sockets = [socket.socket() for _ in range(2)]
    for worker_socket in sockets:
        worker_socket.bind(("127.0.0.1", 0))
    addresses = [f"127.0.0.1:{worker_socket.getsockname()[1]}" for worker_socket in sockets]
    for worker_socket in sockets:
        worker_socket.close()
    tasks = [{"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}} for index in range(2)]
    return [{"TF_CONFIG": json.dumps(task)} for task in tasks]


@dataclass(frozen=True)
class ToolResult:
    """The exit code and the output of a tool."""

    code: int
    out: str
    err: str


class Tools:
    """Runs tools as processes that `forked_tools.py` forks."""

    def __init__(self, folder):
        self._folder = folder
        self._numbers = itertools.count()
        self._notes = open(folder / "notes", "wb")  # noqa: SIM115 (open as long as the process)
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("forked_tools.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._notes,
            cwd=ROOT,
            env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
            text=True,
        )

    def step(self, tool, *args, cwd, stdin=b"", kill=None, env=()):
        """Return one step of a chain for `run`. `env` has environment variables to set."""
        base = self._folder / str(next(self._numbers))
        base.with_suffix(".in").write_bytes(stdin)
        files = {name: str(base.with_suffix(suffix)) for name, suffix in FILES.items()}
        fields = {"tool": tool, "args": [str(arg) for arg in args], "cwd": str(cwd), "kill": kill, "env": dict(env)}
        return fields | files

    def run(self, *chains):
        """Run chains of steps, and return the result of every step of every chain."""
        self._process.stdin.write(json.dumps(chains) + "\n")
        self._process.stdin.flush()
        codes = json.loads(self._process.stdout.readline())
        paths = [[(Path(step["stdout"]), Path(step["stderr"])) for step in steps] for steps in chains]
        return [
            [
                ToolResult(code, out.read_text(encoding="utf-8"), err.read_text(encoding="utf-8"))
                for code, (out, err) in zip(chain_codes, files, strict=True)
            ]
            for chain_codes, files in zip(codes, paths, strict=True)
        ]

    def __call__(self, tool, *args, cwd, stdin=b""):
        """Run one tool and return its result."""
        return self.run([self.step(tool, *args, cwd=cwd, stdin=stdin)])[0][0]

    def close(self):
        """End the forking process."""
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
        self._notes.close()


FILES = {"stdin": ".in", "stdout": ".out", "stderr": ".err"}


@functools.cache
def tools():
    """Return the `Tools` of this process. They end with it, because their input is then closed."""
    tools.folder = tempfile.TemporaryDirectory(prefix="tfbert-tools-", ignore_cleanup_errors=True)
    return Tools(Path(tools.folder.name))
