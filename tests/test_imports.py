"""What is imported for good is left alone by the garbage collector; all else is collected as ever."""

import gc
import subprocess
import sys
import weakref

import pytest

from tfbert.imports import kept_to_the_end


class Node:
    pass


def cycle():
    node = Node()
    node.own = node
    return weakref.ref(node)


@pytest.fixture(autouse=True)
def as_before(monkeypatch):
    monkeypatch.setattr("atexit.register", lambda _: None)
    yield
    gc.unfreeze()


def test_what_came_is_kept_and_what_comes_is_collected():
    gc.collect()
    with kept_to_the_end():
        assert not gc.isenabled()
        kept = cycle()
    assert gc.isenabled() and gc.get_freeze_count() > 0
    later = cycle()
    gc.collect()
    assert kept() is not None and later() is None


def test_an_import_that_fails_keeps_nothing():
    with pytest.raises(ImportError), kept_to_the_end():
        raise ImportError("no such library")
    assert gc.isenabled() and gc.get_freeze_count() == 0


ALONE = """
import sys
from tfbert.imports import import_tensorflow_alone
import_tensorflow_alone()
import tfbert.serving.saved_predictor
import tfbert.serving.server.servable
print(sorted({name.partition(".")[0] for name in sys.modules if sys.modules[name]} & {"keras", "sklearn"}))
print("tensorflow" in sys.modules)
"""


def test_a_model_is_asked_and_served_without_keras_and_what_it_brings():
    done = subprocess.run([sys.executable, "-c", ALONE], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == ["[]", "True"], done.stderr
