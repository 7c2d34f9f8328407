"""Programs in, running processes out: workers that are asked over their standard input, and servers on free ports."""

import contextlib
import http.client
import json
import logging
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

WORKERS = Path(__file__).with_name("workers")
_START_SECONDS = 180
_POLL_SECONDS = 0.1
# What a server gets to finish what it is answering.
_STOP_SECONDS = 30


class Worker:
    """A process that reads and writes JSON lines; it ends with the `with` block.

    Args:
        command: program and arguments; the first line it writes says that it is ready.

    Raises:
        RuntimeError: it ended before it was ready.
    """

    def __init__(self, command: Sequence[str]):
        logger.info("%s", " ".join(command))
        self._command = command
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
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
        """Return what it answers to a job.

        Raises:
            RuntimeError: it ended instead.
        """
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        return self.read()

    def read(self) -> dict:
        """Return the next line it writes.

        Raises:
            RuntimeError: it ended instead.
        """
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._command[1]}: ended with code {self._process.wait()}")
        return json.loads(line)

    def finish(self) -> dict:
        """End its input, and return the last line that it writes.

        Raises:
            RuntimeError: it wrote nothing more.
        """
        self._process.stdin.close()
        last = self.read()
        for line in self._process.stdout:
            last = json.loads(line)
        return last

    def close(self) -> None:
        """End its input and wait for its end."""
        if not self._process.stdin.closed:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


@contextlib.contextmanager
def server(command: Sequence[str], port: int, path: str, request: dict, log: Path) -> Iterator[subprocess.Popen]:
    """Run a server inside a `with` block, which begins when it has answered a request.

    Args:
        command: program and arguments.
        port: of HTTP, on 127.0.0.1.
        path: of a POST that it answers with status 200 as soon as it can.
        request: the JSON body of that.
        log: file for what it writes.

    Raises:
        RuntimeError: it ended, or did not answer in three minutes.
    """
    logger.info("%s", " ".join(command))
    # A session of its own, as some servers start processes that would outlive them.
    with open(log, "wb") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=stream, start_new_session=True)
        try:
            deadline = time.monotonic() + _START_SECONDS
            while _status(port, path, request) != 200:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{command[1]}: did not answer on port {port}; {log} says why")
                time.sleep(_POLL_SECONDS)
            yield process
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_STOP_SECONDS)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def free_ports(number: int) -> list[int]:
    """Return ports of this machine that nobody listens on now."""
    with contextlib.ExitStack() as opened:
        sockets = [opened.enter_context(socket.socket()) for _ in range(number)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _status(port: int, path: str, request: dict) -> int | None:
    """Return the HTTP status of a POST, or `None` where nobody answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_START_SECONDS)
    try:
        connection.request("POST", path, json.dumps(request), {"Content-Type": "application/json"})
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
