"""Processes that benchmarks start: the command-line tools, workers that answer JSON lines, and servers."""

import contextlib
import http.client
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tfbert.files import write_json

logger = logging.getLogger(__name__)

ROOT = Path(__file__).parents[1]
_START_SECONDS = 180
_POLL_SECONDS = 0.1
_STOP_SECONDS = 30


def run(command: Sequence[str], environment: Mapping[str, str] | None = None, cwd: Path | None = None) -> None:
    """Run a command to its end; its output goes where ours goes.

    Raises:
        ChildProcessError: the command failed.
    """
    logger.info("%s", " ".join(command[1:]))
    code = subprocess.run(command, check=False, cwd=cwd, env={**os.environ, **(environment or {})}).returncode
    if code:
        raise ChildProcessError(f"{' '.join(command[1:3])} ended with exit code {code}; its message is above")


def output_of(command: Sequence[str]) -> str:
    """Run a command to its end and return its standard output.

    Raises:
        ChildProcessError: the command failed.
    """
    logger.info("%s", " ".join(command[1:]))
    result = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)
    if result.returncode:
        raise ChildProcessError(f"{' '.join(command[1:3])} ended with exit code {result.returncode}")
    return result.stdout


def tool_command(
    name: str, arguments: Sequence[str], settings: Mapping[str, str] | None = None, checkout: Path = ROOT
) -> list[str]:
    """Return the command of a tool of a checkout; `settings` are config paths and values, passed by `--set`."""
    assignments = [part for path, value in (settings or {}).items() for part in ("--set", f"{path}={value}")]
    return [sys.executable, str(checkout / "tools" / f"{name}.py"), *arguments, *assignments]


def worker_command(module: str, job: Mapping[str, Any], job_path: Path, python: Path | None = None) -> list[str]:
    """Write the job of a worker, and return its command, to be run in `ROOT`.

    Args:
        module: of `benchmarks.workers`.
        job: JSON that the worker reads.
        job_path: absolute path of the file for it; the directory is made if missing.
        python: interpreter; `None` for ours.
    """
    job_path.parent.mkdir(parents=True, exist_ok=True)
    write_json(job_path, dict(job))
    return [str(python or sys.executable), "-m", f"benchmarks.workers.{module}", str(job_path)]


def run_worker(module: str, job: Mapping[str, Any], job_path: Path, python: Path | None = None) -> None:
    """Run a worker to its end; arguments as of `worker_command`."""
    run(worker_command(module, job, job_path, python), cwd=ROOT)


def peers_python() -> Path | None:
    """Return the interpreter of the other libraries' environment, or `None`, which is logged, if it is missing."""
    python = Path(os.environ.get("TFBERT_PEERS_PYTHON") or ROOT / ".venv-peers" / "bin" / "python")
    if python.exists():
        return python
    logger.info("no %s: other libraries are left out; `make peers` builds their environment", python)
    return None


class Worker:
    """A process that reads and writes JSON lines; it ends with the `with` block.

    Args:
        command: its first line of output says that it is ready.

    Raises:
        ChildProcessError: it ended before it was ready.
    """

    def __init__(self, command: Sequence[str]):
        logger.info("%s", " ".join(command[1:]))
        self._command = command
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        try:
            self.read()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def __call__(self, **job: Any) -> dict:
        """Send a job and return the answer; raise a `ChildProcessError` if the process has ended."""
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        return self.read()

    def read(self) -> dict:
        """Return the next line of output; raise a `ChildProcessError` if the process has ended."""
        line = self._process.stdout.readline()
        if not line:
            raise ChildProcessError(f"{' '.join(self._command[1:3])} ended with exit code {self._process.wait()}")
        return json.loads(line)

    def finish(self) -> dict:
        """Close the input and return the last line of output; raise a `ChildProcessError` if there is none."""
        self._process.stdin.close()
        return self.read()

    def close(self) -> None:
        """Close the input and wait for the end of the process."""
        if not self._process.stdin.closed:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


@contextlib.contextmanager
def server(command: Sequence[str], port: int, path: str, log: Path) -> Iterator[subprocess.Popen]:
    """Run a server inside a `with` block, which begins when the server has answered a request.

    Args:
        command: program and arguments.
        port: HTTP port on 127.0.0.1.
        path: of the POST that predicts.
        log: receives the server's output.

    Raises:
        ChildProcessError: the server ended, or did not answer within three minutes.
    """
    logger.info("%s", " ".join(command[1:]))
    # In a session of its own, because some servers start processes that would outlive them.
    with open(log, "wb") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=stream, start_new_session=True, cwd=ROOT)
        try:
            deadline = time.monotonic() + _START_SECONDS
            while _status(port, path) != 200:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise ChildProcessError(f"{command[1]} does not answer on port {port}; see {log}")
                time.sleep(_POLL_SECONDS)
            yield process
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_STOP_SECONDS)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def free_ports(count: int) -> list[int]:
    """Return TCP ports of this machine that are not in use."""
    with contextlib.ExitStack() as opened:
        sockets = [opened.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _status(port: int, path: str) -> int | None:
    """Return the HTTP status of a prediction, or `None` if nothing listens."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_START_SECONDS)
    try:
        connection.request("POST", path, json.dumps({"instances": ["a"]}), {"Content-Type": "application/json"})
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
