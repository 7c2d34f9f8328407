"""Model manager: finds, loads, replaces and unloads the versions of the configured models.

Each model has a thread of its own, which looks for versions, loads them and closes them one after another; a model that
is slow to load or keeps failing delays no other. Requests only look up what is loaded.
"""

import contextlib
import copy
import functools
import logging
import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusResponse, ModelVersionStatus
from tensorflow_serving.config.model_server_config_pb2 import ModelConfig, ModelServerConfig

from tfbert.serving.server.servable import Servable, load
from tfbert.serving.server.states import AVAILABLE, END, LOADING, START, UNLOADING, Model, Version
from tfbert.serving.server.status import Code, ServingError
from tfbert.serving.server.versions import check, wanted_versions

logger = logging.getLogger(__name__)

# Returns a version that is ready: loaded and warmed up. It is closed by `close()`.
Loader = Callable[[str, int, Path], Servable]


class ModelManager:
    """Keeps the configured versions on disk loaded. Thread-safe.

    A new version is loaded before the old one goes, so that there is always one to answer, and both need memory for a
    while. The old one is closed when the last request has let go of it. A version that cannot be loaded ends, and the
    old one stays; it is tried again when it was gone from the disk for a while.

    Args:
        config: which models, where, and which of their versions.
        load: returns a version that is loaded and warmed up, or raises.
        poll_seconds: between two looks at the disk; 0 looks once.
        max_load_retries: of a version that cannot be loaded.
        retry_seconds: between two of them.
        allow_unavailable_labels: whether a label that is not in use may name a version that is not available.

    Raises:
        ValueError: the config cannot be served; the message is TensorFlow Serving's.

    Source: TensorFlow Serving 2.20.0, `model_servers/server_core.cc`, `core/availability_preserving_policy.cc` and
        `sources/storage_path/file_system_storage_path_source.cc`. Ours looks at directories only, not at URIs, loads
        models at the same time, and goes on to look for others where the directory of one cannot be read.
    """

    def __init__(
        self,
        config: ModelServerConfig,
        load: Loader = load,
        *,
        poll_seconds: float = 1.0,
        max_load_retries: int = 5,
        retry_seconds: float = 60.0,
        allow_unavailable_labels: bool = False,
    ):
        self.poll_seconds, self.retry_seconds = poll_seconds, retry_seconds
        self.max_load_retries, self.allow_unavailable_labels = max_load_retries, allow_unavailable_labels
        self._load = load
        # Guards all that follows, and is told whenever a state changes. Never held while something is loaded, closed,
        # run, or read from the disk.
        self._changed = threading.Condition()
        self._models: dict[str, Model] = {}
        self._is_closed = False
        try:
            self._configure(config)
        except ServingError as error:
            raise ValueError(error.message) from None

    @contextlib.contextmanager
    def use(self, name: str, version: int | None = None, label: str | None = None) -> Iterator[Servable]:
        """Hold a version inside a `with` block, in which it is not closed.

        Args:
            name: of the model.
            version: its number; `None` for the one that `label` names.
            label: of a version; `None` for the highest that is available.

        Raises:
            ServingError: it is not available, or nothing is named so.
        """
        held = self._take(name, version, label)
        try:
            yield held.servable
        finally:
            with self._changed:
                held.users -= 1
                if not held.users and held.state == UNLOADING:
                    self._changed.notify_all()

    def status(self, name: str, version: int | None = None) -> GetModelStatusResponse:
        """Return the states of all versions that are or were wanted, newest first.

        Args:
            name: of the model.
            version: the only one to return; `None` for all.

        Raises:
            ServingError: none is known.
        """
        with self._changed:
            return (self._models.get(name) or Model(name)).status(version)

    def reload(self, config: ModelServerConfig, timeout_seconds: float | None = None) -> None:
        """Replace the config and wait until models that are new in it are available.

        Models that are left out are unloaded. A version that is loaded stays as it is, even if its number now means
        another directory, as in TensorFlow Serving.

        Args:
            config: of all models.
            timeout_seconds: to wait; `None` waits until each is available or has failed.

        Raises:
            ServingError: the config cannot be served, in which case nothing has changed, or a new model cannot.
        """
        if config.WhichOneof("config") is None:
            logger.info("took no action for an empty config")
            return
        self._await(self._configure(config), timeout_seconds)

    def wait_until_available(self, timeout_seconds: float | None = None) -> None:
        """Wait until each configured model has a version that is available.

        Args:
            timeout_seconds: `None` waits until each is available or has failed. A model without any version on disk
                does neither.

        Raises:
            ServingError: no version of some model could be loaded, or time is up.
        """
        with self._changed:
            names = [name for name, model in self._models.items() if model.config is not None]
        self._await(names, timeout_seconds)

    def close(self, timeout_seconds: float | None = None) -> None:
        """Unload everything and wait until that is done.

        Args:
            timeout_seconds: to wait; `None` waits until no request holds a version and no load is under way.
        """
        with self._changed:
            self._is_closed = True
            threads = [model.thread for model in self._models.values() if model.thread is not None]
            for model in self._models.values():
                self._reconfigure(model, None, {})
        end = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        for thread in threads:
            thread.join(None if end is None else max(0.0, end - time.monotonic()))

    def _take(self, name: str, version: int | None, label: str | None) -> Version:
        if not name:
            raise ServingError(Code.INVALID_ARGUMENT, "ModelSpec has no name specified.")
        with self._changed:
            held = (self._models.get(name) or Model(name)).find(version, label)
            held.users += 1
            return held

    def _configure(self, config: ModelServerConfig) -> list[str]:
        """Apply a config, or raise and change nothing; return the names of new models."""
        check(config)
        config = copy.deepcopy(config)
        configs = {each.name: each for each in config.model_config_list.config}
        with self._changed:
            if self._is_closed:
                raise ServingError(Code.UNAVAILABLE, "The server is shutting down")
            for each in configs.values():
                model = self._models.get(each.name) or Model(each.name)
                model.check_labels(dict(each.version_labels), self.allow_unavailable_labels)
            gone = [model for name, model in self._models.items() if name not in configs]
            for model in gone:
                self._reconfigure(model, None, {})
            new = []
            for name, each in configs.items():
                model = self._models.setdefault(name, Model(name))
                new += [name] if model.config is None else []
                self._reconfigure(model, each, dict(each.version_labels))
        return new

    def _reconfigure(self, model: Model, config: ModelConfig | None, labels: dict[str, int]) -> None:
        """Set the versions that a model's thread should serve. The lock is held."""
        model.config, model.labels, model.next_look = config, labels, 0.0
        if config is None:
            for version in model.versions.values():
                # One that failed is tried again if the model comes back, however soon.
                version.is_wanted &= version.state != END
        elif model.thread is None:
            name = f"tfbert-model-{model.name}"
            model.thread = threading.Thread(target=self._keep, args=(model,), name=name, daemon=True)
            model.thread.start()
        self._changed.notify_all()

    def _await(self, names: Iterable[str], timeout_seconds: float | None) -> None:
        with self._changed:
            models = [self._models[name] for name in names]
            is_done = self._changed.wait_for(lambda: all(model.is_settled for model in models), timeout_seconds)
            missing = [model for model in models if model.config is not None and not model.serving]
            if not missing:
                return
            if not is_done:
                listed = ", ".join(model.name for model in missing if not model.is_settled)
                message = f"{len(missing)} model(s) did not become available in {timeout_seconds:g} s: {{{listed}}}"
                raise ServingError(Code.DEADLINE_EXCEEDED, message)
            said = "".join(f"{{{model.failure}}}, " for model in missing)
        raise ServingError(Code.UNKNOWN, f"{len(missing)} model(s) did not become available: {{{said}}}")

    def _keep(self, model: Model) -> None:
        """Load and unload versions of a model until it is no longer served. Runs in the model's thread."""
        while True:
            self._look(model)
            with self._changed:
                step = self._next_step(model)
                if step is None:
                    if model.has_ended:
                        model.thread = None
                        return
                    due = [version.due for version in model.versions.values() if version.is_waiting]
                    seconds = min([model.next_look, *due]) - time.monotonic()
                    if seconds > 0:
                        self._changed.wait(None if math.isinf(seconds) else seconds)
                    continue
            step()

    def _look(self, model: Model) -> None:
        """Search for new versions if it is time to."""
        with self._changed:
            now, config = time.monotonic(), model.config
            if now < model.next_look:
                return
            model.next_look = now + self.poll_seconds if self.poll_seconds and config is not None else math.inf
        wanted, complaint = wanted_versions(config) if config is not None else ({}, "")
        with self._changed:
            # Logged once, not at every poll.
            if complaint and complaint != model.complaint:
                logger.warning("%s", complaint)
            model.complaint = complaint
            # A new config has scheduled its own search.
            if wanted is not None and model.config is config:
                self._want(model, wanted)

    def _want(self, model: Model, wanted: dict[int, Path]) -> None:
        """Record which versions should be served. The lock is held, and this thread is not loading any."""
        for number, version in model.versions.items():
            if number not in wanted and version.is_wanted:
                if version.is_waiting:
                    self._become(model, version, END, version.error)
                version.is_wanted = False
        for number, directory in wanted.items():
            version = model.versions.get(number)
            has_ended = version is not None and version.state == END
            if version is None or (has_ended and not (version.is_wanted and version.directory == directory)):
                self._begin(model, number, directory)
            else:
                version.is_wanted = True

    def _begin(self, model: Model, number: int, directory: Path) -> None:
        version = model.versions[number] = Version(number, directory)
        self._become(model, version, START)

    def _next_step(self, model: Model) -> Callable[[], None] | None:
        """Return what to do next without the lock, or `None`. The lock is held."""
        for version in model.stale():
            self._become(model, version, UNLOADING)
        for version in model.versions.values():
            if version.state == UNLOADING and not version.users:
                return functools.partial(self._close_version, model, version)
        now = time.monotonic()
        due = [version for version in model.versions.values() if version.is_waiting and version.due <= now]
        if not due:
            return None
        newest = max(due, key=lambda version: version.number)
        self._become(model, newest, LOADING)
        return functools.partial(self._load_version, model, newest)

    def _load_version(self, model: Model, version: Version) -> None:
        try:
            servable = self._load(model.name, version.number, version.directory)
        except Exception as error:
            # An error of one version must not stop the others.
            failure = error if isinstance(error, ServingError) else ServingError(Code.UNKNOWN, repr(error))
            logger.warning("model %s version %d: cannot be loaded: %s", model.name, version.number, failure)
            with self._changed:
                version.failures += 1
                version.due = time.monotonic() + self.retry_seconds
                if version.failures > self.max_load_retries:
                    self._become(model, version, END, failure)
            return
        with self._changed:
            version.servable = servable
            self._become(model, version, AVAILABLE)

    def _close_version(self, model: Model, version: Version) -> None:
        try:
            version.servable.close()
        except Exception:
            logger.exception("model %s version %d: could not be closed", model.name, version.number)
        with self._changed:
            version.servable = None
            self._become(model, version, END)
            if version.is_wanted:
                # Wanted again after unloading began.
                self._begin(model, version.number, version.directory)

    def _become(self, model: Model, version: Version, state: int, error: ServingError | None = None) -> None:
        """Record a state. The lock is held."""
        version.state, version.error = state, error
        if state == AVAILABLE:
            model.serving[version.number] = version
        else:
            model.serving.pop(version.number, None)
        name = ModelVersionStatus.State.Name(state)
        logger.info("model %s version %d: %s", model.name, version.number, name)
        self._changed.notify_all()
