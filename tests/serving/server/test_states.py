"""States of a model's versions: which one is served, which are unloaded, and their status."""

import pytest
from support.version_fakes import refused
from tensorflow_serving.apis.get_model_status_pb2 import ModelVersionStatus
from tensorflow_serving.config.model_server_config_pb2 import ModelConfig

from tfbert.serving.server.states import AVAILABLE, END, LOADING, START, UNLOADING, Model, Version
from tfbert.serving.server.status import Code, ServingError


def model_of(states, wanted=(), labels=None, config=True):
    """Return a model with versions in these states, of which some are wanted."""
    model = Model("m", ModelConfig() if config else None, labels or {})
    for number, state in states.items():
        version = Version(number, f"/m/{number}", state, is_wanted=number in wanted)
        model.versions[number] = version
        if state == AVAILABLE:
            model.serving[number] = version
    return model


def test_the_newest_available_version_answers_unless_another_is_asked_for():
    model = model_of({1: AVAILABLE, 2: AVAILABLE, 3: LOADING}, wanted={1, 2, 3}, labels={"old": 1, "next": 3})
    assert model.find(None, None).number == 2
    assert model.find(1, None).number == model.find(None, "old").number == 1
    assert refused(model.find, 3, None) == (Code.NOT_FOUND, "Servable not found for request: Specific(m, 3)")
    assert refused(model.find, None, "next") == (Code.NOT_FOUND, "Servable not found for request: Specific(m, 3)")
    unknown = Code.INVALID_ARGUMENT, "Unrecognized servable version label: canary"
    assert refused(model.find, None, "canary") == unknown
    assert refused(Model("n").find, None, None) == (Code.NOT_FOUND, "Servable not found for request: Latest(n)")


@pytest.mark.parametrize(
    ("states", "wanted", "expected"),
    [
        # The newest of the old ones answers until a wanted one does.
        ({1: AVAILABLE, 2: AVAILABLE, 3: LOADING}, {3}, [1]),
        ({1: AVAILABLE, 2: AVAILABLE, 3: AVAILABLE}, {3}, [1, 2]),
        ({1: AVAILABLE, 2: AVAILABLE, 3: END}, {3}, [1]),
        ({1: AVAILABLE, 2: AVAILABLE}, set(), [1, 2]),
        ({1: AVAILABLE, 2: LOADING}, {1, 2}, []),
    ],
)
def test_versions_that_are_no_longer_wanted_go(states, wanted, expected):
    assert [version.number for version in model_of(states, wanted).stale()] == expected


@pytest.mark.parametrize(
    ("states", "wanted", "config", "is_settled", "has_ended"),
    [
        ({1: START}, {1}, True, False, False),
        ({1: END, 2: LOADING}, {1, 2}, True, False, False),
        ({1: END, 2: END}, {1, 2}, True, True, False),
        ({1: AVAILABLE, 2: LOADING}, {1, 2}, True, True, False),
        ({}, set(), True, False, False),
        ({1: UNLOADING}, set(), False, True, False),
        ({1: END}, set(), False, True, True),
    ],
)
def test_whether_to_wait_for_it(states, wanted, config, is_settled, has_ended):
    model = model_of(states, wanted, config=config)
    assert (model.is_settled, model.has_ended) == (is_settled, has_ended)


@pytest.mark.parametrize(
    ("state", "is_wanted", "expected"),
    [(START, True, True), (LOADING, True, True), (AVAILABLE, True, False), (LOADING, False, False), (END, True, False)],
)
def test_versions_that_are_to_be_loaded(state, is_wanted, expected):
    assert Version(1, "/m/1", state, is_wanted=is_wanted).is_waiting is expected


def test_the_status_is_that_of_one_version_or_of_all_newest_first():
    model = model_of({2: AVAILABLE, 11: END}, wanted={2, 11})
    model.versions[11].error = ServingError(Code.DATA_LOSS, "broken")
    newest, oldest = model.status(None).model_version_status
    assert (newest.version, newest.state, oldest.version, oldest.state) == (11, END, 2, AVAILABLE)
    assert (newest.status.error_code, newest.status.error_message) == (Code.DATA_LOSS.number, "broken")
    assert (oldest.status.error_code, oldest.status.error_message) == (0, "")
    assert model.status(2).model_version_status == [oldest]
    assert isinstance(oldest, ModelVersionStatus)
    assert refused(model.status, 3) == (Code.NOT_FOUND, "Could not find version 3 of model m")
    assert refused(Model("n").status, None) == (Code.NOT_FOUND, "Could not find any versions of model n")


def test_a_failure_is_that_of_the_newest_version():
    model = model_of({1: END, 2: END}, wanted={1, 2})
    assert model.failure == "{name: m version: 2}"
    model.versions[2].error = ServingError(Code.UNKNOWN, "no memory")
    assert model.failure == "{name: m version: 2} due to error: UNKNOWN: no memory"
    assert Model("n").failure == "{name: n}"


@pytest.mark.parametrize(
    ("labels", "allow_unavailable", "is_refused"),
    [
        ({"now": 1}, False, False),
        ({"next": 2}, False, True),
        ({"next": 2}, True, False),
        # A label in use is not moved to where nothing answers.
        ({"now": 2}, True, True),
        ({"now": 1, "next": 2}, False, True),
    ],
)
def test_labels_name_versions_that_are_available(labels, allow_unavailable, is_refused):
    model = model_of({1: AVAILABLE, 2: LOADING}, wanted={1, 2}, labels={"now": 1})
    if not is_refused:
        model.check_labels(labels, allow_unavailable)
        return
    code, message = refused(model.check_labels, labels, allow_unavailable)
    assert code is Code.FAILED_PRECONDITION
    assert message.startswith("Request to assign label to version 2 of model m, which is not currently available")
