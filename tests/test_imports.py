"""Imports exempt from garbage collection, quiet imports, and TensorFlow imported without Keras."""

import contextlib
import gc
import os
import subprocess
import sys
import weakref

import pytest

from tfbert.imports import exempt_from_garbage_collection, quiet


class Node:
    pass


def cycle():
    node = Node()
    node.own = node
    return weakref.ref(node)


@pytest.fixture(autouse=True)
def unfrozen(monkeypatch):
    monkeypatch.setattr("atexit.register", lambda _: None)
    yield
    gc.unfreeze()


def test_imported_objects_are_exempt_and_later_ones_are_collected():
    gc.collect()
    with exempt_from_garbage_collection():
        assert not gc.isenabled()
        imported = cycle()
    assert gc.isenabled() and gc.get_freeze_count() > 0
    later = cycle()
    gc.collect()
    assert imported() is not None and later() is None


def test_a_failed_import_exempts_nothing():
    with pytest.raises(ImportError), exempt_from_garbage_collection():
        raise ImportError("no such library")
    assert gc.isenabled() and gc.get_freeze_count() == 0


@pytest.mark.parametrize(("fails", "shown"), [(False, "later message\n"), (True, "startup message\nlater message\n")])
def test_startup_messages_are_shown_only_if_the_import_fails(capfd, fails, shown):
    with contextlib.suppress(ImportError), quiet():
        os.write(2, b"startup message\n")
        if fails:
            raise ImportError("libmissing.so")
    os.write(2, b"later message\n")
    assert capfd.readouterr().err == shown


PROGRAM = """
import sys
from tfbert.imports import import_tensorflow_without_keras
import_tensorflow_without_keras()
import tfbert.serving.saved_predictor
import tfbert.serving.server.servable
print(sorted({name.partition(".")[0] for name in sys.modules if sys.modules[name]} & {"keras", "sklearn"}))
print("tensorflow" in sys.modules)
"""


def test_prediction_and_serving_do_not_import_keras_or_scikit_learn():
    result = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert result.stdout.splitlines() == ["[]", "True"], result.stderr
