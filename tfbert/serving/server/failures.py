"""Converts TensorFlow's exceptions into errors for clients: a status, and a message without details of the graph."""

import contextlib
import re
from collections.abc import Iterator, Mapping

import tensorflow as tf

from tfbert.serving.server.status import Code, ServingError

_CODES = {code.number: code for code in Code}
# What the executor appends to the message of an op. Source: TensorFlow 2.20.0, `framework/op_kernel.cc`, `AttachDef`.
_APPENDED = re.compile(r"\n\t \[\[.*?\]\]", re.DOTALL)
_NODE = re.compile(r"(?:\{\{(?:function_)?node [^{}]*\}\})+")
_LEADING = re.compile(rf"(?:{_NODE.pattern}\s*)*")
# Of several errors the first, without its status. Source: TensorFlow 2.20.0, `platform/status.cc`, `StatusGroup`.
_SEVERAL = re.compile(
    r"\d+ root error\(s\) found\.\n\s*\(0\) [A-Za-z_ ]+: (.*?)(?:\n\s*\(1\) .*)?\n\d+ successful operations\..*",
    re.DOTALL,
)
# What Python appends about the place where the graph was made.
_PLACE = re.compile(
    r"\n+(?:Original stack trace|Errors may have originated from|Detected at node|Node: ').*", re.DOTALL
)
# What a session calls a tensor that is fed. Source: TensorFlow 2.20.0, `graph/subgraph.cc`.
_ARGUMENT = re.compile(r"_arg_(\S+?)_\d+_\d+(?!\S)")


def plain(message: str, inputs: Mapping[str, str] | None = None) -> str:
    """Return an error message of TensorFlow without the names of graph nodes and their source locations.

    Args:
        message: from TensorFlow.
        inputs: name of each input by that of the node that is fed.
    """
    several = _SEVERAL.fullmatch(message)
    if several:
        message = several[1]
    message = _PLACE.sub("", _APPENDED.sub("", message))
    message = _NODE.sub("a node of the graph", message[_LEADING.match(message).end() :])
    return _ARGUMENT.sub(lambda found: (inputs or {}).get(found[1], "fed"), message).strip()


@contextlib.contextmanager
def as_serving_errors(inputs: Mapping[str, str] | None = None) -> Iterator[None]:
    """Convert TensorFlow's exceptions inside a `with` block into errors for clients.

    Args:
        inputs: as of `plain`.
    """
    try:
        yield
    except tf.errors.OpError as error:
        # TensorFlow's Python adds the source location where the graph was made, which is irrelevant to a client.
        found = error.__context__ if isinstance(error.__context__, tf.errors.OpError) else error
        raise ServingError(_CODES.get(found.error_code, Code.UNKNOWN), plain(found.message, inputs)) from error
    except UnicodeDecodeError as error:
        # An op quotes bytes of the client in its message, which may not be valid UTF-8.
        raise ServingError(Code.INVALID_ARGUMENT, plain(error.object.decode("utf-8", "replace"), inputs)) from error
    except (TypeError, ValueError) as error:
        raise ServingError(Code.INVALID_ARGUMENT, plain(str(error))) from error
    except (OSError, RuntimeError) as error:
        # No file, or no graph with the tag.
        raise ServingError(Code.NOT_FOUND, plain(str(error))) from error
