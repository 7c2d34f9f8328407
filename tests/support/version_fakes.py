"""Fakes for tests of served versions: a loader of fake versions, and managers that are closed after the test."""

import contextlib
import time

import pytest
from tensorflow_serving.apis.get_model_status_pb2 import ModelVersionStatus
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

from tfbert.serving.server.models import ModelManager
from tfbert.serving.server.status import Code, ServingError

PATIENCE_SECONDS = 20


class Fake:
    """A version that returns its name and number, and fails after it is closed."""

    def __init__(self, name, version, directory):
        self.name, self.version, self.directory = name, version, directory
        self.is_closed = False

    def answer(self):
        assert not self.is_closed
        return self.name, self.version

    def close(self):
        self.is_closed = True


class Loader:
    """Loads fakes, and records all attempts and loaded fakes. A version in `broken` fails that number of times."""

    def __init__(self):
        self.tried, self.given, self.broken = [], {}, {}

    def __call__(self, name, version, directory):
        self.tried.append((name, version))
        if self.broken.get(version, 0):
            self.broken[version] -= 1
            raise ServingError(Code.DATA_LOSS, f"{name} {version} is broken")
        self.given[name, version] = Fake(name, version, directory)
        return self.given[name, version]


@pytest.fixture
def loader():
    return Loader()


@pytest.fixture
def managed(loader):
    """Return a function that makes a manager of fakes, which is closed after the test."""
    with contextlib.ExitStack() as stack:

        def make(config, load=loader, **options):
            manager = ModelManager(config, load, **({"poll_seconds": 0.005, "retry_seconds": 0.0} | options))
            stack.callback(manager.close, PATIENCE_SECONDS)
            return manager

        yield make


def publish(base, *names):
    for name in names:
        (base / str(name)).mkdir(parents=True)
    return base


def config_for(**models):
    """Return a config of models. Each is given by its base path, or by a dictionary of fields."""
    config = ModelServerConfig()
    config.model_config_list.SetInParent()
    for name, fields in models.items():
        fields = fields if isinstance(fields, dict) else {"base_path": str(fields)}
        config.model_config_list.config.add(**({"name": name, "model_platform": "tensorflow"} | fields))
    return config


def until(condition):
    end = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < end, "never happened"
        time.sleep(0.001)


def states(manager, name="m"):
    """Return the states by version, newest first; empty if no version is known yet."""
    try:
        response = manager.status(name)
    except ServingError:
        return {}
    return {version.version: ModelVersionStatus.State.Name(version.state) for version in response.model_version_status}


def used(manager, *request, **kwargs):
    with manager.use(*request, **kwargs) as servable:
        return servable.answer()


def refused(function, *args, **kwargs):
    """Return the code and message of the error that a call raises."""
    with pytest.raises(ServingError) as caught:
        function(*args, **kwargs)
    return caught.value.code, caught.value.message
