"""Distributed search: a chief with the oracle and workers that run trials, connected by gRPC and safe to kill.

All processes share a directory. Keras Tuner's environment variables define the roles: `KERASTUNER_TUNER_ID` (`chief`,
or any other name for a worker), and the chief's address `KERASTUNER_ORACLE_IP` and `KERASTUNER_ORACLE_PORT`.
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

from tfbert.hyperparameters import trials as trial_store
from tfbert.hyperparameters.loop import Searcher, halve_batch
from tfbert.training.checkpoint import remove_files

logger = logging.getLogger(__name__)

_ID, _IP, _PORT = "KERASTUNER_TUNER_ID", "KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT"
_CHIEF = "chief"
HEARTBEATS = "workers"
_POLL_SECONDS = 0.5
_BEAT_SECONDS = 5.0
# A worker without a heartbeat for this time is considered lost, and its trial is released.
_LOST_SECONDS = 60.0
# After this number of kills, a trial probably needs more memory than is available.
_KILLS_PER_HALVING = 2
# After this number of restarts of a worker, its trials are probably not the cause.
_MAX_RESTARTS = 10


def role() -> str | None:
    """Return this process' name from the environment, `chief` or that of a worker; `None` if no role is set.

    Raises:
        ValueError: only some of the variables are set.
    """
    variables = {name: os.environ.get(name) for name in (_ID, _IP, _PORT)}
    missing = [name for name, value in variables.items() if not value]
    if len(missing) == len(variables):
        return None
    if missing:
        raise ValueError(f"{missing[0]} is not set; expected all or none of {', '.join(variables)}")
    return _CHIEF if _CHIEF in variables[_ID] else variables[_ID]


def is_chief() -> bool:
    """Return whether this process has the oracle and serves it to the others."""
    return role() == _CHIEF


def with_chief_oracle(searcher: Searcher) -> Searcher:
    """Return a searcher that gets its trials from the chief."""
    return replace(searcher, oracle=OracleClient(searcher.oracle), is_alone=False)


def quiet() -> contextlib.redirect_stdout:
    """Return a context that suppresses what Keras Tuner prints when it sends a condition."""
    return contextlib.redirect_stdout(io.StringIO())


@contextlib.contextmanager
def heartbeat(out_dir: Path, name: str) -> Iterator[None]:
    """Show the chief that this worker is alive, inside a `with` block, by touching a file."""
    path = out_dir / HEARTBEATS / name
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
    """Worker processes on this machine.

    Args:
        num_workers: number of workers.
        command: command of each worker, which gets its role from the environment.
    """

    def __init__(self, num_workers: int, command: Sequence[str]):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        os.environ |= {_ID: _CHIEF, _IP: "127.0.0.1", _PORT: str(port)}
        self.num_workers, self.command = num_workers, list(command)
        self.running: dict[str, subprocess.Popen] = {}
        self.restarts: dict[str, int] = {}

    def start(self) -> None:
        """Start all workers."""
        self.running = {name: self._start(name) for name in (f"worker{index}" for index in range(self.num_workers))}

    def restart_killed(self) -> list[str]:
        """Restart the workers that were killed since the last call, and return their names.

        Raises:
            ValueError: a worker ended with an error, which it has printed, or is killed repeatedly.
        """
        restarted = []
        for name, process in list(self.running.items()):
            code = process.poll()
            if code is None:
                continue
            if code == 128 + signal.SIGTERM:
                # The worker has saved a checkpoint, from which another process resumes.
                code = -signal.SIGTERM
            del self.running[name]
            if code > 0:
                # A restart would end with the same error.
                raise ValueError(f"{name} ended with an error; see its message above")
            if code < 0:
                self.restarts[name] = self.restarts.get(name, 0) + 1
                if self.restarts[name] > _MAX_RESTARTS:
                    raise ValueError(f"{name} was killed {self.restarts[name]} times; check the memory limits")
                logger.info("%s was ended by %s; starting it again", name, signal.Signals(-code).name)
                restarted.append(name)
                self.running[name] = self._start(name)
        return restarted

    def stop(self) -> None:
        """Terminate the running workers."""
        for process in self.running.values():
            process.terminate()
        for process in self.running.values():
            process.wait()

    def _start(self, name: str) -> subprocess.Popen:
        return subprocess.Popen([sys.executable, *self.command], env=os.environ | {_ID: name})


def serve(searcher: Searcher, restart_killed: Callable[[], list[str]] = list) -> None:
    """Serve the oracle to workers until there are no more trials and all of them have ended.

    Args:
        searcher: its oracle is served; its directory is shared with all workers.
        restart_killed: called repeatedly; returns the names of workers that were killed.

    Raises:
        ValueError: the address cannot be used, or a worker cannot be restarted.
    """
    oracle = searcher.oracle
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=1))
    servicer = OracleServicer(oracle)
    protos.get_service_grpc().add_OracleServicer_to_server(servicer, server)
    address = f"{os.environ[_IP]}:{os.environ[_PORT]}"
    try:
        server.add_insecure_port(address)
    except RuntimeError as error:
        raise ValueError(f"{_IP}:{_PORT}={address}: cannot be used ({error}); expected a free port") from error
    server.start()
    logger.info("%s", searcher.table.header())
    try:
        while not (servicer.stop_triggered and not oracle.ongoing_trials and not oracle.tuner_ids):
            time.sleep(_POLL_SECONDS)
            for name in {*restart_killed(), *_lost_workers(searcher)}:
                trial_id = oracle.release(name)
                if trial_id is not None:
                    logger.info("%s is lost; trial %s is released for another worker", name, trial_id)
                    record_kill(searcher, trial_id)
    finally:
        server.stop(grace=None)


def _lost_workers(searcher: Searcher) -> list[str]:
    """Return the workers whose last heartbeat is too old."""
    now = time.time()
    lost = []
    for name in {*searcher.oracle.ongoing_trials, *searcher.oracle.tuner_ids}:
        path = searcher.out_dir / HEARTBEATS / name
        if path.exists() and now - path.stat().st_mtime > _LOST_SECONDS:
            path.unlink(missing_ok=True)
            lost.append(name)
    return lost


def record_kill(searcher: Searcher, trial_id: str) -> None:
    """Record that the worker of a running trial was killed; a trial that is killed repeatedly gets smaller batches."""
    out_dir = searcher.out_dir
    trial = trial_store.read_trial(out_dir, trial_id)
    if trial is None or trial.state != trial_store.RUNNING:
        return
    trial.kills += 1
    config = searcher.config_of(trial)
    if trial.kills % _KILLS_PER_HALVING == 0 and config.train.batch_size == 1:
        trial.state = trial_store.FAILED
        trial.notes.append(f"killed {trial.kills} times, the last time with batches of 1")
    elif trial.kills % _KILLS_PER_HALVING == 0:
        halve_batch(trial, config, f"killed {trial.kills} times, maybe for lack of memory,")
        for folder in trial_store.trial_dir(out_dir, trial_id).glob("*/"):
            remove_files(folder)
    trial_store.write_trial(out_dir, trial)
