"""Errors inside TensorFlow: the message for a client has the reason, but no details of the graph."""

import pytest
import tensorflow as tf

from tfbert.serving.server.failures import as_serving_errors, plain
from tfbert.serving.server.status import Code, ServingError

NODE = "\n\t [[{{function_node __inference_answer_rows_10630}}{{node task_model_1/embedding/GatherV2}}]]"


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("indices[0,1] = 7 is not in [0, 2)" + NODE, "indices[0,1] = 7 is not in [0, 2)"),
        ("no number: [[1, 2]]" + NODE + "\n\t [[Identity/_5]]", "no number: [[1, 2]]"),
        ("bad [[{{node a/b}}]]", "bad [[a node of the graph]]"),
        (
            f"2 root error(s) found.\n  (0) INVALID_ARGUMENT: first\nline{NODE}\n\t [[X/_1]]\n"
            f"  (1) INVALID_ARGUMENT: second{NODE}\n0 successful operations.\n0 derived errors ignored.",
            "first\nline",
        ),
        (
            f"1 root error(s) found.\n  (0) Invalid argument: only{NODE}\n0 successful operations.\n0 derived errors",
            "only",
        ),
        (
            "No OpKernel was registered to support Op 'Foo' used by {{node x/Foo}} with these attrs: []",
            "No OpKernel was registered to support Op 'Foo' used by a node of the graph with these attrs: []",
        ),
        ("wrong\n\nOriginal stack trace for 'x/y':\n  File 'a.py', line 3", "wrong"),
        (
            "Shape of tensor _arg_token_ids_token_ids_0_2 [2] is not compatible with expected shape [?,?]." + NODE,
            "Shape of tensor token_ids [2] is not compatible with expected shape [?,?].",
        ),
        ("Shape of tensor _arg_x_0_2 [2] is not", "Shape of tensor fed [2] is not"),
        ("{{function_node f}} {{node g/h}} bad", "bad"),
        ("Timed out waiting for notification", "Timed out waiting for notification"),
    ],
)
def test_messages_are_about_the_request(message, expected):
    assert plain(message, {"token_ids_token_ids": "token_ids"}) == expected


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (tf.errors.InvalidArgumentError(None, None, "bad" + NODE), Code.INVALID_ARGUMENT, "bad"),
        (tf.errors.ResourceExhaustedError(None, None, "too much" + NODE), Code.RESOURCE_EXHAUSTED, "too much"),
        (UnicodeDecodeError("utf-8", b"bytes \xff of a client", 6, 7, "why"), Code.INVALID_ARGUMENT, "bytes � of a"),
        (ValueError("bad" + NODE), Code.INVALID_ARGUMENT, "bad"),
        (OSError("no file"), Code.NOT_FOUND, "no file"),
    ],
)
def test_errors_have_a_status(error, code, message):
    with pytest.raises(ServingError) as caught, as_serving_errors():
        raise error
    assert caught.value.code is code and caught.value.message.startswith(message)
    assert "{{" not in caught.value.message
