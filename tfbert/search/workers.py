"""One oracle in, trials by several processes out: Keras Tuner's chief and workers over gRPC, which may be killed.

All of them see the same directory. Keras Tuner's own environment variables say who is who: `KERASTUNER_TUNER_ID`
(`chief`, or any other name for a worker), `KERASTUNER_ORACLE_IP` and `KERASTUNER_ORACLE_PORT`, of the chief.
"""

import contextlib
import io
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from dataclasses import replace
from pathlib import Path

import grpc
from keras_tuner.src import protos
from keras_tuner.src.distribute.oracle_chief import OracleServicer
from keras_tuner.src.distribute.oracle_client import OracleClient

from tfbert.search import trials as records
from tfbert.search.loop import Searcher, halve

logger = logging.getLogger(__name__)

_ID, _IP, _PORT = "KERASTUNER_TUNER_ID", "KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT"
_CHIEF = "chief"
SIGNS = "workers"
_LOOK_SECONDS = 0.5
_BEAT_SECONDS = 5.0
# A worker that gave no sign for so long is gone, and its trial is another's.
_GONE_SECONDS = 60.0
# A trial whose process is killed so often probably needs more memory than there is.
_MOST_KILLS = 2
# One worker, however often its trials change: then it is not they that are too large.
_MOST_RESTARTS = 10


def role() -> str | None:
    """Return the name that the environment gives to this process, `chief` or a worker's, or `None` if it is alone.

    Raises:
        ValueError: some of the variables are set and some are not.
    """
    found = {name: os.environ.get(name) for name in (_ID, _IP, _PORT)}
    missing = [name for name, value in found.items() if not value]
    if len(missing) == len(found):
        return None
    if missing:
        raise ValueError(f"{missing[0]} is not set, though others of {', '.join(found)} are; wanted all or none")
    return _CHIEF if _CHIEF in found[_ID] else found[_ID]


def is_chief() -> bool:
    """Say whether this process has the oracle that others ask."""
    return role() == _CHIEF


def asking_the_chief(searcher: Searcher) -> Searcher:
    """Return a searcher that takes its trials from the chief; its own oracle knows objective and space only."""
    return replace(searcher, oracle=OracleClient(searcher.oracle), is_alone=False)


def quiet() -> contextlib.redirect_stdout:
    """Return what keeps to itself, inside a `with` block, what Keras Tuner prints when it sends a condition."""
    return contextlib.redirect_stdout(io.StringIO())


@contextlib.contextmanager
def heartbeat(out_dir: Path, name: str) -> Iterator[None]:
    """Let the chief see inside a `with` block that this worker is there."""
    path = out_dir / SIGNS / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(_BEAT_SECONDS):
            path.touch()

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        path.unlink(missing_ok=True)


class Processes:
    """Workers on this machine, each a process.

    Args:
        number: of workers.
        command: that each runs, which finds its role in the environment.
    """

    def __init__(self, number: int, command: Sequence[str]):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        os.environ |= {_ID: _CHIEF, _IP: "127.0.0.1", _PORT: str(port)}
        self.number, self.command = number, list(command)
        self.running: dict[str, subprocess.Popen] = {}
        self.restarts: dict[str, int] = {}

    def start(self) -> None:
        """Start all of them."""
        self.running = {name: self._start(name) for name in (f"worker{index}" for index in range(self.number))}

    def killed(self) -> list[str]:
        """Return the workers that were killed since the last call, all of which are started again.

        Raises:
            ValueError: a worker could not do its work, which it has said itself, or is killed again and again.
        """
        found = []
        for name, process in list(self.running.items()):
            code = process.poll()
            if code is None:
                continue
            if code == 128 + signal.SIGTERM:
                # It has saved a checkpoint, from which another process goes on.
                code = -signal.SIGTERM
            del self.running[name]
            if code > 0:
                # It would end so again.
                raise ValueError(f"{name} could not go on; it said why above")
            if code < 0:
                self.restarts[name] = self.restarts.get(name, 0) + 1
                if self.restarts[name] > _MOST_RESTARTS:
                    raise ValueError(
                        f"{name} was killed {self.restarts[name]} times; wanted a machine that lets it live"
                    )
                logger.info("%s ended by %s; another takes its place", name, signal.Signals(-code).name)
                found.append(name)
                self.running[name] = self._start(name)
        return found

    def stop(self) -> None:
        """End all that still run."""
        for process in self.running.values():
            process.terminate()
        for process in self.running.values():
            process.wait()

    def _start(self, name: str) -> subprocess.Popen:
        return subprocess.Popen([sys.executable, *self.command], env=os.environ | {_ID: name})


def serve(searcher: Searcher, killed: Callable[[], list[str]] = list) -> None:
    """Give out trials to workers until there are no more and all that were given out have ended.

    Args:
        searcher: whose oracle gives them out, and whose directory all workers see.
        killed: called now and then; names of workers that are known to be gone.

    Raises:
        ValueError: the address cannot be served, or `killed` says so.
    """
    oracle = searcher.oracle
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=1))
    servicer = OracleServicer(oracle)
    protos.get_service_grpc().add_OracleServicer_to_server(servicer, server)
    address = f"{os.environ[_IP]}:{os.environ[_PORT]}"
    try:
        server.add_insecure_port(address)
    except RuntimeError as error:
        raise ValueError(f"{_IP}:{_PORT}={address}: cannot be served ({error}); wanted a free port") from error
    server.start()
    logger.info("%s", searcher.table.head())
    try:
        while not (servicer.stop_triggered and not oracle.ongoing_trials and not oracle.tuner_ids):
            time.sleep(_LOOK_SECONDS)
            for name in {*killed(), *_silent(searcher)}:
                trial_id = oracle.give_back(name)
                if trial_id is not None:
                    logger.info("%s is gone; trial %s goes to another worker", name, trial_id)
                    _note_kill(searcher, trial_id)
    finally:
        server.stop(grace=None)


def _silent(searcher: Searcher) -> list[str]:
    """Return the workers that began and gave no sign for long."""
    now = time.time()
    found = []
    for name in {*searcher.oracle.ongoing_trials, *searcher.oracle.tuner_ids}:
        path = searcher.out_dir / SIGNS / name
        if path.exists() and now - path.stat().st_mtime > _GONE_SECONDS:
            path.unlink(missing_ok=True)
            found.append(name)
    return found


def _note_kill(searcher: Searcher, trial_id: str) -> None:
    out_dir = searcher.out_dir
    trial = records.read_trial(out_dir, trial_id)
    if trial is None or trial.state != records.RUNNING:
        return
    trial.kills += 1
    config = searcher.config_of(trial)
    if trial.kills % _MOST_KILLS == 0 and config.train.batch_size == 1:
        trial.state = records.FAILED
        trial.notes.append(f"killed {trial.kills} times, with batches of 1 in the end")
    elif trial.kills % _MOST_KILLS == 0:
        halve(trial, config, f"killed {trial.kills} times, maybe for lack of memory,")
        for folder in records.trial_dir(out_dir, trial_id).glob("*/"):
            (folder / records.CHECKPOINT).unlink(missing_ok=True)
    records.write_trial(out_dir, trial)
