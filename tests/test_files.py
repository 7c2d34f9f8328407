"""Directory names, locks, and failed writes, which name the file and keep its previous content."""

import errno
import fcntl
import logging
import os
import threading

import pytest

from tfbert import files

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class LibraryError(Exception):
    """Stand-in for the exceptions of TensorFlow and safetensors."""


@pytest.mark.parametrize("name", ["", ".", "..", "../../x", "a/b", "/tmp/x", "a\\b", "a\nb", "a\0b", "é" * 128])
def test_a_name_that_is_not_a_single_directory_is_rejected(name):
    with pytest.raises(ValueError, match=r"--name .*: expected the name of one directory"):
        files.check_name(name, "--name")


@pytest.mark.parametrize("name", ["tickets", "v1.2", "..x", "a b", "银行", "-", "x" * 255])
def test_the_name_of_a_single_directory_is_accepted(name):
    assert files.check_name(name, "--name") == name


def test_a_full_disk_is_distinguished_from_other_errors():
    wrapped = RuntimeError("save failed")
    wrapped.__cause__ = FULL
    text = LibraryError("Error while serializing: I/O error: No space left on device (os error 28)")
    quota = OSError(errno.EDQUOT, "Disk quota exceeded")
    assert all(map(files.is_disk_full, (FULL, wrapped, text, quota)))
    assert not any(map(files.is_disk_full, (None, OSError(errno.EACCES, "no"), ValueError("x"), MemoryError())))


@pytest.mark.parametrize("error", [FULL, LibraryError("x; No space left on device")])
def test_a_full_disk_names_what_was_written(tmp_path, error):
    with pytest.raises(files.WriteError) as caught, files.writing(tmp_path / "report.json"):
        raise error
    assert str(caught.value) == (
        f"{tmp_path / 'report.json'}: cannot be written: the disk is full; "
        "free some space and run the same command again"
    )


def test_other_write_errors_are_named_unless_they_name_a_file(tmp_path):
    with (
        pytest.raises(files.WriteError, match=r"a: cannot be written: Input/output error"),
        files.writing(tmp_path / "a"),
    ):
        raise OSError(errno.EIO, os.strerror(errno.EIO))
    with pytest.raises(FileNotFoundError, match="gone"), files.writing(tmp_path / "a"):
        (tmp_path / "gone" / "x").read_bytes()
    with pytest.raises(LibraryError), files.writing(tmp_path / "a"):
        raise LibraryError("diverged")


def test_a_write_that_fails_leaves_the_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "report.json"
    files.write_json(path, {"n": 1})

    def write_text(temporary, text, encoding):
        temporary.write_bytes(b"half")
        raise FULL

    monkeypatch.setattr(files.Path, "write_text", write_text)
    with pytest.raises(files.WriteError, match=r"report\.json: cannot be written: the disk is full"):
        files.write_json(path, {"n": 2})
    assert files.read_json(path) == {"n": 1} and os.listdir(tmp_path) == ["report.json"]


def test_disk_space_is_reserved_before_it_is_needed(tmp_path, monkeypatch):
    requests = []
    monkeypatch.setattr(files.os, "posix_fallocate", lambda descriptor, start, size: requests.append((start, size)))
    files.check_space(tmp_path, 1000, tmp_path / "weights.h5")

    def fail(*_):
        raise FULL

    monkeypatch.setattr(files.os, "posix_fallocate", fail)
    with pytest.raises(files.WriteError, match=r"weights\.h5: cannot be written: the disk is full"):
        files.check_space(tmp_path, 1000, tmp_path / "weights.h5")
    assert requests == [(0, 1000)] and os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["", ".lock"])
def test_a_lock_excludes_others_until_it_is_released(tmp_path, name):
    path = tmp_path / name
    with files.acquire_lock(path):
        for wait_seconds in (0, 0.2):
            with pytest.raises(BlockingIOError, match="another process holds the lock"):
                files.acquire_lock(path, wait_seconds)
    with files.acquire_lock(path):
        pass


def test_waiting_for_a_lock_is_logged_once(tmp_path, caplog):
    caplog.set_level(logging.INFO, "tfbert")
    path = tmp_path / "lock"
    release = threading.Timer(0.35, files.acquire_lock(path).close)
    release.start()
    with files.acquire_lock(path, 60, "waiting for another process"):
        release.join()
    assert caplog.messages == [f"waiting for another process ({path})"]


def test_a_missing_lock_support_is_distinguished_from_a_held_lock(tmp_path, monkeypatch):
    def refuse(file, operation):
        raise OSError(95, "Operation not supported")

    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", refuse)
        with pytest.raises(files.LocksUnsupported, match="Operation not supported"):
            files.acquire_lock(tmp_path, 60)
    monkeypatch.setattr(files, "fcntl", None)
    with pytest.raises(files.LocksUnsupported), files.locked(tmp_path, "training in it"):
        pass


def test_a_locked_directory_is_rejected_with_the_activity_of_the_other_process(tmp_path):
    with files.locked(tmp_path, "training in it"):
        message = f"{tmp_path}: another process is exporting it; expected another --out directory"
        with pytest.raises(ValueError, match=message), files.locked(tmp_path, "exporting it"):
            pass
    # Another process looked whether the directory is locked.
    release = threading.Timer(0.05, files.acquire_lock(tmp_path / ".lock").close)
    release.start()
    with files.locked(tmp_path, "exporting it"):
        release.join()
        assert (tmp_path / ".lock").exists()
