"""What both protocols of the client share: errors with a status, and the inputs of a signature."""

import pytest

from tfbert.serving.connection import ServerError, inputs_of

INPUTS = {"text": {"dtype": "DT_STRING", "tensor_shape": {"dim": [{"size": "-1"}]}}}
METADATA = {
    "metadata": {"signature_def": {"signature_def": {"serving_default": {"inputs": INPUTS}, "labels": {"inputs": {}}}}}
}


def test_inputs_are_those_of_the_signature():
    assert inputs_of(METADATA, "serving_default", "host:1") == INPUTS
    assert inputs_of(METADATA, "labels", "host:1") == {}


def test_a_signature_that_is_not_there_is_named_beside_those_that_are():
    with pytest.raises(ServerError) as caught:
        inputs_of(METADATA, "tags", "host:1")
    assert str(caught.value) == "host:1: no signature 'tags' among labels, serving_default"


def test_an_error_is_one_of_the_system_that_is_not_repeated_unless_it_says_so():
    error = ServerError("host:1: no answer")
    assert isinstance(error, OSError)
    assert (str(error), error.status, error.can_repeat) == ("host:1: no answer", None, False)
    again = ServerError("host:1: busy", 503, can_repeat=True)
    assert (again.status, again.can_repeat) == (503, True)
