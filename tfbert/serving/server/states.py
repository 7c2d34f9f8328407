"""States of models and their versions in a server; the caller holds the lock."""

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusResponse, ModelVersionStatus
from tensorflow_serving.config.model_server_config_pb2 import ModelConfig

from tfbert.serving.server.status import Code, ServingError

START, LOADING, AVAILABLE = ModelVersionStatus.START, ModelVersionStatus.LOADING, ModelVersionStatus.AVAILABLE
UNLOADING, END = ModelVersionStatus.UNLOADING, ModelVersionStatus.END


@dataclass(eq=False)
class Version:
    """A version that is or was configured.

    Args:
        number: its name.
        directory: on disk.
        state: as TensorFlow Serving tells it.
        error: that it ended with.
        servable: while it is loaded.
        users: requests that hold it.
        is_wanted: whether it is on disk and asked for.
        failures: how often it could not be loaded.
        due: when it may be loaded next, by the monotonic clock.
    """

    number: int
    directory: Path
    state: int = START
    error: ServingError | None = None
    servable: Any = None
    users: int = 0
    is_wanted: bool = True
    failures: int = 0
    due: float = 0.0

    @property
    def is_waiting(self) -> bool:
        """Whether it should be loaded, now or again."""
        return self.is_wanted and self.state in (START, LOADING)


@dataclass(eq=False)
class Model:
    """A model that is or was configured.

    Args:
        name: of the model.
        config: `None` when it is no longer to be served.
        labels: names of versions.
        versions: all that were ever wanted, by number; one that has ended is kept for those who ask what became of it.
        serving: those of them that are available.
        next_look: when to look at the disk again, by the monotonic clock.
        complaint: what was wrong there at the last look.
        thread: that loads and closes its versions.
    """

    name: str
    config: ModelConfig | None = None
    labels: dict[str, int] = field(default_factory=dict)
    versions: dict[int, Version] = field(default_factory=dict)
    serving: dict[int, Version] = field(default_factory=dict)
    next_look: float = 0.0
    complaint: str = ""
    thread: threading.Thread | None = None

    @property
    def wanted(self) -> list[Version]:
        """The versions that are wanted."""
        return [version for version in self.versions.values() if version.is_wanted]

    @property
    def is_settled(self) -> bool:
        """Whether waiting for it has an end: it is available, it failed, or nobody wants it any more."""
        wanted = self.wanted
        has_failed = bool(wanted) and all(version.state == END for version in wanted)
        return self.config is None or bool(self.serving) or has_failed

    @property
    def has_ended(self) -> bool:
        """Whether nothing of it is left."""
        return self.config is None and all(version.state == END for version in self.versions.values())

    @property
    def failure(self) -> str:
        """TensorFlow Serving's error message if it did not become available."""
        version = max(self.wanted, key=lambda version: version.number, default=None)
        if version is None:
            return f"{{name: {self.name}}}"
        reason = f" due to error: {version.error}" if version.error else ""
        return f"{{name: {self.name} version: {version.number}}}{reason}"

    def find(self, number: int | None, label: str | None) -> Version:
        """Return a version that is available.

        Args:
            number: of the version; `None` for the one that `label` names.
            label: of a version; `None` for the highest that is available.

        Raises:
            ServingError: it is not available, or nothing has the label.
        """
        if number is None and label is not None:
            if label not in self.labels:
                raise ServingError(Code.INVALID_ARGUMENT, f"Unrecognized servable version label: {label}")
            number = self.labels[label]
        found = self.serving.get(max(self.serving, default=0) if number is None else number)
        if found is None:
            asked = f"Latest({self.name})" if number is None else f"Specific({self.name}, {number})"
            raise ServingError(Code.NOT_FOUND, f"Servable not found for request: {asked}")
        return found

    def status(self, number: int | None) -> GetModelStatusResponse:
        """Return the state of a version, or of all, newest first.

        Raises:
            ServingError: none is known.
        """
        if number is not None and number not in self.versions:
            raise ServingError(Code.NOT_FOUND, f"Could not find version {number} of model {self.name}")
        if not self.versions:
            raise ServingError(Code.NOT_FOUND, f"Could not find any versions of model {self.name}")
        response = GetModelStatusResponse()
        for each in sorted(self.versions, reverse=True) if number is None else [number]:
            version = self.versions[each]
            found = response.model_version_status.add(version=each, state=version.state)
            found.status.error_code = version.error.code.number if version.error else Code.OK.number
            found.status.error_message = version.error.message if version.error else ""
        return response

    def check_labels(self, labels: dict[str, int], allow_unavailable: bool) -> None:
        """Reject labels of versions that are not available.

        Args:
            labels: numbers by label.
            allow_unavailable: whether a label may name such a version, unless it names another one now.

        Raises:
            ServingError: there is such a label.
        """
        for label, number in sorted(labels.items()):
            is_free = allow_unavailable and self.labels.get(label, number) == number
            if not is_free and number not in self.serving:
                message = f"Request to assign label to version {number} of model {self.name}, "
                message += "which is not currently available for inference"
                raise ServingError(Code.FAILED_PRECONDITION, message)

    def stale(self) -> list[Version]:
        """Return the versions to unload now: a configured one is available, or none is configured.

        Otherwise the newest of the old ones stays, to answer until a wanted one does.
        """
        found = [self.serving[number] for number in sorted(self.serving) if not self.serving[number].is_wanted]
        wanted = self.wanted
        is_replaced = not wanted or any(version.state == AVAILABLE for version in wanted)
        return found if is_replaced else found[:-1]
