"""Configuration files of a server as text protos, including messages that the API package lacks."""

import functools
from pathlib import Path

from google.protobuf import text_format, wrappers_pb2
from google.protobuf.message import Message

from tfbert.serving.messages import message_classes

_PACKAGE = "tensorflow.serving"
# Source: TensorFlow Serving 2.20.0, `ssl_config.proto`, `monitoring_config.proto`, `session_bundle_config.proto`.
_MESSAGES = {
    "SSLConfig": {
        "server_key": "1 string",
        "server_cert": "2 string",
        "custom_ca": "3 string",
        "client_verify": "4 bool",
    },
    "PrometheusConfig": {"enable": "1 bool", "path": "2 string"},
    "MonitoringConfig": {"prometheus_config": f"1 .{_PACKAGE}.PrometheusConfig"},
    "BatchingParameters": {
        "max_batch_size": "1 .google.protobuf.Int64Value",
        "batch_timeout_micros": "2 .google.protobuf.Int64Value",
        "max_enqueued_batches": "3 .google.protobuf.Int64Value",
        "num_batch_threads": "4 .google.protobuf.Int64Value",
        "thread_pool_name": "5 .google.protobuf.StringValue",
        "allowed_batch_sizes": "6 repeated int64",
        "pad_variable_length_inputs": "7 bool",
        "enable_large_batch_splitting": "8 .google.protobuf.BoolValue",
        "max_execution_batch_size": "9 .google.protobuf.Int64Value",
    },
}


class InvalidFileError(ValueError):
    """A text proto cannot be read; the message begins with TensorFlow Serving's."""


def read_proto(path: Path, message: Message) -> Message:
    """Return a message read from a text proto.

    Raises:
        InvalidFileError: the file cannot be read, or is none of this message.

    Source: TensorFlow Serving 2.20.0, `util/proto_util.h`, `ParseProtoTextFile`. Ours adds what is wrong, and where.
    """
    try:
        return text_format.Parse(path.read_text(encoding="utf-8"), message)
    except OSError as error:
        raise InvalidFileError(f"NOT_FOUND: {path}; {error.strerror or error}") from error
    except (ValueError, text_format.ParseError) as error:
        reason = f"{' '.join(str(error).split()).rstrip('.')}; expected a text proto of {message.DESCRIPTOR.name}"
        raise InvalidFileError(f"INVALID_ARGUMENT: Invalid protobuf file: '{path}' ({reason})") from error


def empty(name: str) -> Message:
    """Return an empty `SSLConfig`, `MonitoringConfig` or `BatchingParameters`."""
    return _classes()[name]()


@functools.cache
def _classes() -> dict[str, type[Message]]:
    return message_classes({_PACKAGE: _MESSAGES}, [wrappers_pb2.DESCRIPTOR])
