"""Shared by both clients: errors with a status, and the inputs of a signature."""

import pytest

from tfbert.serving.connection import ServerError, signature_inputs

INPUTS = {"text": {"dtype": "DT_STRING", "tensor_shape": {"dim": [{"size": "-1"}]}}}
METADATA = {
    "metadata": {"signature_def": {"signature_def": {"serving_default": {"inputs": INPUTS}, "labels": {"inputs": {}}}}}
}


def test_inputs_belong_to_the_signature():
    assert signature_inputs(METADATA, "serving_default", "host:1") == INPUTS
    assert signature_inputs(METADATA, "labels", "host:1") == {}


def test_an_unknown_signature_is_an_error_that_lists_the_known_ones():
    with pytest.raises(ServerError) as caught:
        signature_inputs(METADATA, "tags", "host:1")
    assert str(caught.value) == "host:1: no signature 'tags' among labels, serving_default"


def test_an_error_is_an_oserror_that_cannot_be_repeated_by_default():
    error = ServerError("host:1: no answer")
    assert isinstance(error, OSError)
    assert (str(error), error.status, error.can_repeat) == ("host:1: no answer", None, False)
    repeatable = ServerError("host:1: busy", 503, can_repeat=True)
    assert (repeatable.status, repeatable.can_repeat) == (503, True)
