"""The base of all problems: what a training needs before it starts, its fingerprint and its checkpoints."""

import abc
import contextlib
import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from tfbert.config import RootConfig
from tfbert.encoder.backbone import Encoder
from tfbert.training.checkpoint import Checkpoints
from tfbert.training.distribution import Replicas

AnyConfig = TypeVar("AnyConfig", bound=RootConfig)


@dataclass(frozen=True, kw_only=True)
class BaseProblem(abc.ABC, Generic[AnyConfig]):
    """Everything that a training needs before it starts.

    Args:
        config: config of the run.
        encoder: freshly loaded, float32; training starts from its weights.
        seconds: duration of each stage of the preparation.
        replicas: devices that train together.
    """

    config: AnyConfig
    encoder: Encoder
    seconds: dict[str, float]
    replicas: Replicas

    @abc.abstractmethod
    def identity(self, config: AnyConfig) -> list[Any]:
        """Return JSON values that identify the config and the data of a training."""

    def fingerprint(self, config: AnyConfig | None = None) -> str:
        """Return a hash of config, data and encoder; equal fingerprints give equal weights on one machine.

        Args:
            config: config of the training; `None` means that of the problem.
        """
        values = [*self.identity(config or self.config), self.encoder.spec.to_json()]
        return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()

    def checkpoints(self, run_dir: Path, config: AnyConfig | None = None) -> Checkpoints:
        """Return the checkpoints of a training in a directory.

        Args:
            run_dir: directory of the run.
            config: as for `fingerprint`.
        """
        config = config or self.config
        return Checkpoints(run_dir, self.fingerprint(config), config.train.checkpoint_seconds)


@contextlib.contextmanager
def timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    """Store the duration of a `with` block under the name of a stage."""
    started = time.monotonic()
    yield
    seconds[stage] = time.monotonic() - started
