"""The model manager: versions are found on disk, replaced while in use, and kept if new ones are broken."""

import logging
import shutil
import threading
import time

import pytest
from google.protobuf import json_format
from support import version_fakes
from support.version_fakes import PATIENCE_SECONDS, config_for, publish, refused, states, until, used

from tfbert.serving.server.models import ModelManager
from tfbert.serving.server.status import Code
from tfbert.serving.server.versions import config_of, wanted_versions

# By assignment: a fixture that is imported by name looks unused, and shadowed by the tests that ask for it.
loader, managed = version_fakes.loader, version_fakes.managed


def test_the_newest_number_is_served(tmp_path, managed, loader, caplog):
    names = ["1", "002", "x", ".3", "tmp-9", "-7", "1.5", "٤", str(2**63), "9" * 200]
    base = publish(tmp_path / "m", *names)
    assert wanted_versions(config_for(m=base).model_config_list.config[0])[0] == {2: base / "002"}
    manager = managed(config_of("m", base))
    manager.wait_until_available(PATIENCE_SECONDS)
    assert used(manager, "m") == used(manager, "m", 2) == ("m", 2)
    assert loader.given["m", 2].directory == base / "002"
    assert states(manager) == {2: "AVAILABLE"}
    assert loader.tried == [("m", 2)]


def test_two_spellings_of_a_number(tmp_path, managed, loader, caplog):
    base = publish(tmp_path / "m", "007", "7")
    managed(config_of("m", base)).wait_until_available(PATIENCE_SECONDS)
    assert loader.given["m", 7].directory == base / "7"
    assert f"Version 7 will be loaded from {base / '7'}, {base / '007'} will be ignored" in caplog.text


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ({}, [11]),
        ({"latest": {}}, [11]),
        ({"latest": {"num_versions": 2}}, [11, 5]),
        ({"latest": {"num_versions": 99}}, [11, 5, 3]),
        ({"all": {}}, [11, 5, 3]),
        ({"specific": {"versions": [3, 5]}}, [5, 3]),
    ],
)
def test_policies(tmp_path, managed, policy, expected):
    base = publish(tmp_path / "m", 3, 5, 11)
    manager = managed(config_for(m={"base_path": str(base), "model_version_policy": policy}))
    until(lambda: len(states(manager)) == len(expected) and set(states(manager).values()) == {"AVAILABLE"})
    assert list(states(manager)) == expected
    assert used(manager, "m") == ("m", expected[0])
    assert [used(manager, "m", version)[1] for version in expected] == expected


def test_a_specific_version_that_is_missing_is_said_once(tmp_path, managed, caplog):
    base = publish(tmp_path / "m", 3)
    policy = {"specific": {"versions": [3, 8, 9]}}
    manager = managed(config_for(m={"base_path": str(base), "model_version_policy": policy}))
    manager.wait_until_available(PATIENCE_SECONDS)
    publish(base, 9)
    until(lambda: states(manager).get(9) == "AVAILABLE")
    said = [record.message for record in caplog.records if "was not found" in record.message]
    assert [text.partition(" of")[0] for text in said] == ["Version 8, 9", "Version 8"]


def test_versions_are_swapped_under_use_without_an_error(tmp_path, managed, loader):
    base = publish(tmp_path / "m", 1)
    manager = managed(config_of("m", base))
    manager.wait_until_available(PATIENCE_SECONDS)
    newest, is_over, errors, answers = 9, threading.Event(), [], [[] for _ in range(4)]

    def ask(into):
        while not is_over.is_set():
            try:
                with manager.use("m") as found:
                    before = found.answer()
                    time.sleep(0.0005)
                    assert found.answer() == before
                    into.append(before[1])
            except BaseException as error:
                errors.append(error)
                return

    threads = [threading.Thread(target=ask, args=(into,)) for into in answers]
    for thread in threads:
        thread.start()
    for version in range(2, newest + 1):
        publish(base, version)
        until(lambda: states(manager) == dict.fromkeys(range(version - 1, 0, -1), "END") | {version: "AVAILABLE"})  # noqa: B023
    is_over.set()
    for thread in threads:
        thread.join()
    assert errors == []
    for found in answers:
        assert found == sorted(found)
        assert found[0] == 1
        assert found[-1] >= newest - 1
    assert [version for _, version in loader.tried] == list(range(1, newest + 1))
    assert [version for (_, version), fake in loader.given.items() if not fake.is_closed] == [newest]


def test_the_new_version_is_loaded_before_the_old_one_goes(tmp_path, managed, loader):
    seen = []

    def load(name, version, directory):
        if version > 1:
            seen.append((dict(states(manager)), used(manager, name)))
        return loader(name, version, directory)

    base = publish(tmp_path / "m", 1)
    manager = managed(config_of("m", base), load)
    manager.wait_until_available(PATIENCE_SECONDS)
    publish(base, 2)
    until(lambda: states(manager) == {2: "AVAILABLE", 1: "END"})
    assert seen == [({2: "LOADING", 1: "AVAILABLE"}, ("m", 1))]


def test_one_of_several_old_versions_is_enough_meanwhile(tmp_path, managed, loader):
    seen = []

    def load(name, version, directory):
        if version > 2:
            seen.append((version, dict(states(manager))))
        return loader(name, version, directory)

    base = publish(tmp_path / "m", 1, 2)
    policy = {"specific": {"versions": [1, 2]}}
    manager = managed(config_for(m={"base_path": str(base), "model_version_policy": policy}), load)
    until(lambda: states(manager) == {2: "AVAILABLE", 1: "AVAILABLE"})
    publish(base, 3, 4)
    policy = {"specific": {"versions": [3, 4]}}
    manager.reload(config_for(m={"base_path": str(base), "model_version_policy": policy}))
    until(lambda: states(manager) == {4: "AVAILABLE", 3: "AVAILABLE", 2: "END", 1: "END"})
    assert [version for version, _ in seen] == [4, 3]
    assert [seen[0][1][version] for version in (1, 2)] == ["END", "AVAILABLE"]
    assert [seen[1][1][version] for version in (1, 2)] == ["END", "END"]


def test_unloading_waits_for_those_who_use_it(tmp_path, managed, loader):
    base = publish(tmp_path / "m", 1)
    manager = managed(config_of("m", base))
    manager.wait_until_available(PATIENCE_SECONDS)
    with manager.use("m") as first, manager.use("m", 1) as second:
        publish(base, 2)
        until(lambda: states(manager) == {2: "AVAILABLE", 1: "UNLOADING"})
        assert used(manager, "m") == ("m", 2)
        assert refused(used, manager, "m", 1) == (Code.NOT_FOUND, "Servable not found for request: Specific(m, 1)")
        # A newer one does not wait for that either.
        publish(base, 3)
        until(lambda: states(manager) == {3: "AVAILABLE", 2: "END", 1: "UNLOADING"})
        assert first.answer() == second.answer() == ("m", 1)
    until(lambda: states(manager)[1] == "END")
    assert first.is_closed


def test_a_version_that_comes_back_while_it_goes_is_loaded_again(tmp_path, managed, loader):
    base = publish(tmp_path / "m", 1)
    manager = managed(config_of("m", base))
    manager.wait_until_available(PATIENCE_SECONDS)
    with manager.use("m"):
        publish(base, 2)
        until(lambda: states(manager) == {2: "AVAILABLE", 1: "UNLOADING"})
        (base / "2").rmdir()
        time.sleep(0.05)
        # Version 2 answers on until version 1 can be loaded again.
        assert used(manager, "m") == ("m", 2)
    until(lambda: states(manager) == {2: "END", 1: "AVAILABLE"})
    assert loader.tried == [("m", 1), ("m", 2), ("m", 1)]
    assert used(manager, "m") == ("m", 1)


def test_a_broken_new_version_leaves_the_old_one(tmp_path, managed, loader, caplog):
    base = publish(tmp_path / "m", 1)
    manager = managed(config_of("m", base), max_load_retries=2)
    manager.wait_until_available(PATIENCE_SECONDS)
    loader.broken[2] = 3
    publish(base, 2)
    until(lambda: states(manager) == {2: "END", 1: "AVAILABLE"})
    broken, kept = manager.status("m").model_version_status
    assert (broken.version, broken.status.error_code) == (2, Code.DATA_LOSS.number)
    assert broken.status.error_message == "m 2 is broken"
    assert (kept.version, kept.status.error_code, kept.status.error_message) == (1, 0, "")
    assert used(manager, "m") == ("m", 1)
    assert caplog.text.count("model m version 2: cannot be loaded: DATA_LOSS: m 2 is broken") == 3
    # It is not tried for ever, but again once it was taken away and put back.
    time.sleep(0.05)
    assert loader.tried == [("m", 1)] + 3 * [("m", 2)]
    (base / "2").rmdir()
    time.sleep(0.05)
    publish(base, 2)
    until(lambda: states(manager) == {2: "AVAILABLE", 1: "END"})
    assert manager.status("m", 2).model_version_status[0].status.error_message == ""


def test_a_newer_version_need_not_wait_for_the_retries_of_a_broken_one(tmp_path, managed, loader):
    base = publish(tmp_path / "m", 1)
    manager = managed(config_of("m", base), retry_seconds=3600)
    manager.wait_until_available(PATIENCE_SECONDS)
    loader.broken[2] = 1
    publish(base, 2)
    until(lambda: ("m", 2) in loader.tried)
    assert states(manager) == {2: "LOADING", 1: "AVAILABLE"}
    publish(base, 3)
    until(lambda: states(manager) == {3: "AVAILABLE", 2: "END", 1: "END"})
    assert loader.tried == [("m", 1), ("m", 2), ("m", 3)]


def test_a_load_that_fails_is_tried_again(tmp_path, managed, loader):
    loader.broken[1] = 2
    manager = managed(config_of("m", publish(tmp_path / "m", 1)), max_load_retries=2, retry_seconds=0.02)
    started = time.monotonic()
    manager.wait_until_available(PATIENCE_SECONDS)
    assert time.monotonic() - started > 0.03
    assert loader.tried == 3 * [("m", 1)]


def test_whatever_a_loader_raises_ends_the_version(tmp_path, managed):
    def load(name, version, directory):
        raise MemoryError

    manager = managed(config_of("m", publish(tmp_path / "m", 4)), load, max_load_retries=0)
    assert refused(manager.wait_until_available, PATIENCE_SECONDS) == (
        Code.UNKNOWN,
        "1 model(s) did not become available: {{{name: m version: 4} due to error: UNKNOWN: MemoryError()}, }",
    )


def test_a_version_that_cannot_be_closed_ends(tmp_path, managed, loader, caplog):
    base = publish(tmp_path / "m", 1)
    manager = managed(config_of("m", base))
    manager.wait_until_available(PATIENCE_SECONDS)
    loader.given["m", 1].close = None  # cannot be called
    publish(base, 2)
    until(lambda: states(manager) == {2: "AVAILABLE", 1: "END"})
    assert "model m version 1: could not be closed" in caplog.text


def test_waiting_names_what_is_missing(tmp_path, managed, loader, caplog):
    loader.broken[1] = 1
    config = config_for(a=publish(tmp_path / "a", 1), b=publish(tmp_path / "b", 2), c=publish(tmp_path / "c", "x"))
    manager = managed(config, max_load_retries=0)
    until(lambda: len(loader.tried) == 2)
    code, message = refused(manager.wait_until_available, 0.05)
    assert code is Code.DEADLINE_EXCEEDED
    assert message == "2 model(s) did not become available in 0.05 s: {c}"
    assert f"No versions of servable c found under base path {tmp_path / 'c'}. Did you forget" in caplog.text
    shutil.rmtree(tmp_path / "c")
    until(lambda: f"Could not find base path {tmp_path / 'c'} for servable c with error No such file" in caplog.text)
    publish(tmp_path / "c", 3)
    until(lambda: ("c", 3) in loader.tried)
    assert refused(manager.wait_until_available, PATIENCE_SECONDS)[0] is Code.UNKNOWN
    assert used(manager, "c") == ("c", 3)


def test_a_slow_model_delays_no_other(tmp_path, managed, loader):
    may_go_on = threading.Event()

    def load(name, version, directory):
        assert name != "slow" or may_go_on.wait(PATIENCE_SECONDS)
        return loader(name, version, directory)

    config = config_for(slow=publish(tmp_path / "slow", 1), fast=publish(tmp_path / "fast", 2))
    manager = managed(config, load)
    until(lambda: "AVAILABLE" in states(manager, "fast").values())
    # Its own thread may get there later.
    until(lambda: states(manager, "slow") == {1: "LOADING"})
    assert refused(used, manager, "slow") == (Code.NOT_FOUND, "Servable not found for request: Latest(slow)")
    may_go_on.set()
    manager.wait_until_available(PATIENCE_SECONDS)
    assert used(manager, "slow") == ("slow", 1)


def test_looking_once(tmp_path, managed, loader):
    base = publish(tmp_path / "m", 1)
    manager = managed(config_of("m", base), poll_seconds=0)
    manager.wait_until_available(PATIENCE_SECONDS)
    publish(base, 2)
    time.sleep(0.05)
    assert states(manager) == {1: "AVAILABLE"}
    manager.reload(config_of("m", base))
    until(lambda: states(manager) == {2: "AVAILABLE", 1: "END"})


def test_a_directory_that_cannot_be_read_unloads_nothing_and_an_empty_one_does(tmp_path, managed):
    base = publish(tmp_path / "m", 1)
    manager = managed(config_of("m", base))
    manager.wait_until_available(PATIENCE_SECONDS)
    base.rename(tmp_path / "away")
    time.sleep(0.05)
    assert used(manager, "m") == ("m", 1)
    publish(tmp_path, "m")
    until(lambda: states(manager) == {1: "END"})
    assert refused(used, manager, "m") == (Code.NOT_FOUND, "Servable not found for request: Latest(m)")


def test_a_path_that_no_system_has_stops_nothing(tmp_path, managed, caplog):
    manager = managed(config_for(a=publish(tmp_path / "a", 1), b="/b\0b"))
    until(lambda: "for servable b with error embedded null byte" in caplog.text)
    assert refused(manager.wait_until_available, 0.05)[0] is Code.DEADLINE_EXCEEDED
    assert used(manager, "a") == ("a", 1)


def test_what_clients_are_told(tmp_path, managed):
    manager = managed(config_of("m", publish(tmp_path / "m", 1)))
    manager.wait_until_available(PATIENCE_SECONDS)
    assert refused(used, manager, "") == (Code.INVALID_ARGUMENT, "ModelSpec has no name specified.")
    assert refused(used, manager, "n") == (Code.NOT_FOUND, "Servable not found for request: Latest(n)")
    assert refused(used, manager, "m", 99) == (Code.NOT_FOUND, "Servable not found for request: Specific(m, 99)")
    assert refused(manager.status, "n") == (Code.NOT_FOUND, "Could not find any versions of model n")
    assert refused(manager.status, "m", 99) == (Code.NOT_FOUND, "Could not find version 99 of model m")
    response = manager.status("m", 1)
    text = json_format.MessageToJson(
        response, always_print_fields_with_no_presence=True, preserving_proto_field_name=True, indent=None
    )
    expected = '{"version":"1","state":"AVAILABLE","status":{"error_code":"OK","error_message":""}}'
    assert text.replace(" ", "") == f'{{"model_version_status":[{expected}]}}'


def test_closing_waits_for_those_who_use_it(tmp_path, loader, caplog):
    caplog.set_level(logging.INFO)
    manager = ModelManager(config_of("m", publish(tmp_path / "m", 1)), loader)
    manager.wait_until_available(PATIENCE_SECONDS)
    threads = [thread for thread in threading.enumerate() if thread.name == "tfbert-model-m"]
    with manager.use("m") as held:
        manager.close(0.02)
        held.answer()
        assert refused(used, manager, "m")[0] is Code.NOT_FOUND
        assert refused(manager.reload, config_for()) == (Code.UNAVAILABLE, "The server is shutting down")
    manager.close(PATIENCE_SECONDS)
    assert held.is_closed
    assert [thread.is_alive() for thread in threads] == [False]
    said = [record.message for record in caplog.records if record.message.startswith("model m version 1: ")]
    assert [text.rpartition(" ")[2] for text in said] == ["START", "LOADING", "AVAILABLE", "UNLOADING", "END"]
