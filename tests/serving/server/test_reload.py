"""Reloaded configs: labels, loaded and unloaded versions, and configs that are rejected as a whole."""

import pytest
from support import version_fakes
from support.version_fakes import PATIENCE_SECONDS, Loader, config_for, publish, refused, states, until, used
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

from tfbert.serving.server.models import ModelManager
from tfbert.serving.server.status import Code
from tfbert.serving.server.versions import config_of

# By assignment: a fixture that is imported by name looks unused, and shadowed by the tests that ask for it.
loader, managed = version_fakes.loader, version_fakes.managed


def test_labels(tmp_path, managed):
    base = publish(tmp_path / "m", 42, 43)
    fields = {"base_path": str(base), "model_version_policy": {"all": {}}}
    manager = managed(config_for(m=fields))
    until(lambda: set(states(manager).values()) == {"AVAILABLE"} and len(states(manager)) == 2)
    unknown = Code.INVALID_ARGUMENT, "Unrecognized servable version label: canary"
    assert refused(used, manager, "m", label="canary") == refused(used, manager, "other", label="canary") == unknown
    manager.reload(config_for(m=fields | {"version_labels": {"stable": 42, "canary": 43}}))
    assert used(manager, "m", label="stable") == ("m", 42)
    assert used(manager, "m", label="canary") == ("m", 43)
    refusal = "Request to assign label to version 44 of model m, which is not currently available for inference"
    config = config_for(m=fields | {"version_labels": {"stable": 44}}, new=publish(tmp_path / "new", 1))
    assert refused(manager.reload, config) == (Code.FAILED_PRECONDITION, refusal)
    # Nothing of it has happened.
    assert used(manager, "m", label="stable") == ("m", 42)
    assert refused(manager.status, "new")[0] is Code.NOT_FOUND
    manager.reload(config_for(m=fields))
    assert refused(used, manager, "m", label="canary") == unknown
    with pytest.raises(ValueError, match=r"^Request to assign label to version 43 of model m, which is not"):
        ModelManager(config_for(m=fields | {"version_labels": {"canary": 43}}), Loader())


def test_labels_of_versions_that_are_not_there_yet(tmp_path, managed):
    base = publish(tmp_path / "m", 1)
    config = config_for(m={"base_path": str(base), "version_labels": {"next": 2, "now": 1}})
    manager = managed(config, allow_unavailable_labels=True)
    manager.wait_until_available(PATIENCE_SECONDS)
    assert used(manager, "m", label="now") == ("m", 1)
    not_there = Code.NOT_FOUND, "Servable not found for request: Specific(m, 2)"
    assert refused(used, manager, "m", label="next") == not_there
    # One that is in use may not be moved to where nothing is.
    moved = config_for(m={"base_path": str(base), "version_labels": {"now": 3}})
    assert refused(manager.reload, moved)[0] is Code.FAILED_PRECONDITION
    publish(base, 2)
    until(lambda: states(manager).get(2) == "AVAILABLE")
    assert used(manager, "m", label="next") == ("m", 2)


def test_a_reload_replaces_the_config(tmp_path, managed, loader):
    bases = {name: publish(tmp_path / name, number) for number, name in enumerate("abc", 1)}
    manager = managed(config_for(a=bases["a"], b=bases["b"]))
    manager.wait_until_available(PATIENCE_SECONDS)
    with manager.use("a") as held:
        manager.reload(config_for(b=bases["b"], c=bases["c"]), PATIENCE_SECONDS)
        assert used(manager, "c") == ("c", 3)
        until(lambda: states(manager, "a") == {1: "UNLOADING"})
        held.answer()
    until(lambda: states(manager, "a") == {1: "END"})
    assert used(manager, "b") == ("b", 2)
    manager.reload(config_for(a=bases["a"]), PATIENCE_SECONDS)
    assert used(manager, "a") == ("a", 1)
    until(lambda: states(manager, "b") == {2: "END"} and states(manager, "c") == {3: "END"})
    assert loader.tried.count(("b", 2)) == 1
    manager.reload(ModelServerConfig())  # does nothing
    assert used(manager, "a") == ("a", 1)
    manager.reload(config_for())
    until(lambda: states(manager, "a") == {1: "END"})


def test_a_reload_says_when_a_new_model_cannot_be_loaded(tmp_path, managed, loader):
    config = config_for(a=publish(tmp_path / "a", 1))
    manager = managed(config, max_load_retries=0)
    manager.wait_until_available(PATIENCE_SECONDS)
    loader.broken[7] = 1
    both = config_for(a=tmp_path / "a", bad=publish(tmp_path / "bad", 7))
    code, message = refused(manager.reload, both, PATIENCE_SECONDS)
    assert code is Code.UNKNOWN
    assert "{{{name: bad version: 7} due to error: DATA_LOSS: bad 7 is broken}, }" in message
    assert used(manager, "a") == ("a", 1)
    # Taken out and in again, it is tried again.
    manager.reload(config)
    manager.reload(both, PATIENCE_SECONDS)
    assert used(manager, "bad") == ("bad", 7)


def models(*fields):
    config = ModelServerConfig()
    for each in fields:
        config.model_config_list.config.add(**({"name": "m", "model_platform": "tensorflow"} | each))
    return config


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (models({"base_path": "/a"}, {"base_path": "/b"}), "Illegal to list model m multiple times in config list"),
        (
            models({"base_path": "models/m"}),
            "Expected model m to have an absolute path or URI; got base_path()=models/m",
        ),
        (models({}), "Expected model m to have an absolute path or URI; got base_path()="),
        (
            models({"base_path": "gs://bucket/m"}),
            "Expected model m to have an absolute path; got the URI gs://bucket/m",
        ),
        (
            models({"base_path": "/a", "model_platform": ""}),
            "Illegal setting neither ModelServerConfig::model_type (deprecated) nor ModelServerConfig::model_platform.",
        ),
        (models({"base_path": "/a", "model_platform": "jax"}), "Model m requests unsupported platform jax"),
    ],
)
def test_configs_that_are_refused(tmp_path, managed, config, message):
    with pytest.raises(ValueError) as caught:
        ModelManager(config, Loader())
    assert str(caught.value) == message
    manager = managed(config_of("other", publish(tmp_path / "other", 1)))
    manager.wait_until_available(PATIENCE_SECONDS)
    assert refused(manager.reload, config) == (Code.INVALID_ARGUMENT, message)
    assert used(manager, "other") == ("other", 1)
