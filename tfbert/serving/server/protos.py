"""Text protos that configure a server in, messages out: those too that the package of the API does not bring."""

import functools
from pathlib import Path

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format, wrappers_pb2
from google.protobuf.message import Message

_PACKAGE = "tensorflow.serving"
_FIELD = descriptor_pb2.FieldDescriptorProto
_SCALARS = {"string": _FIELD.TYPE_STRING, "bool": _FIELD.TYPE_BOOL, "int64": _FIELD.TYPE_INT64}

# By message, the fields in the order of their numbers, which begin at 1, and what each is.
# Source: TensorFlow Serving 2.20.0, `ssl_config.proto`, `monitoring_config.proto`, `session_bundle_config.proto`.
_MESSAGES = {
    "SSLConfig": {"server_key": "string", "server_cert": "string", "custom_ca": "string", "client_verify": "bool"},
    "PrometheusConfig": {"enable": "bool", "path": "string"},
    "MonitoringConfig": {"prometheus_config": f".{_PACKAGE}.PrometheusConfig"},
    "BatchingParameters": {
        "max_batch_size": ".google.protobuf.Int64Value",
        "batch_timeout_micros": ".google.protobuf.Int64Value",
        "max_enqueued_batches": ".google.protobuf.Int64Value",
        "num_batch_threads": ".google.protobuf.Int64Value",
        "thread_pool_name": ".google.protobuf.StringValue",
        "allowed_batch_sizes": "repeated int64",
        "pad_variable_length_inputs": "bool",
        "enable_large_batch_splitting": ".google.protobuf.BoolValue",
        "max_execution_batch_size": ".google.protobuf.Int64Value",
    },
}


def read_proto(path: Path, message: Message) -> Message:
    """Return a message read from a text proto.

    Raises:
        ValueError: the file cannot be read, or is none of this message.
    """
    try:
        return text_format.Parse(path.read_text(encoding="utf-8"), message)
    except (OSError, UnicodeDecodeError, text_format.ParseError) as error:
        raise ValueError(f"{path}: {error}; wanted a text proto of {message.DESCRIPTOR.name}") from error


def empty(name: str) -> Message:
    """Return an empty `SSLConfig`, `MonitoringConfig` or `BatchingParameters`."""
    return message_factory.GetMessageClass(_pool().FindMessageTypeByName(f"{_PACKAGE}.{name}"))()


@functools.cache
def _pool() -> descriptor_pool.DescriptorPool:
    """Return a pool of its own: the default one may get the true files from elsewhere."""
    file = descriptor_pb2.FileDescriptorProto(
        name="tfbert_serving.proto", package=_PACKAGE, syntax="proto3", dependency=[wrappers_pb2.DESCRIPTOR.name]
    )
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for number, (field, kind) in enumerate(fields.items(), start=1):
            is_repeated, scalar = kind.startswith("repeated "), kind.removeprefix("repeated ")
            added = message.field.add(name=field, number=number, type=_SCALARS.get(scalar, _FIELD.TYPE_MESSAGE))
            added.label = _FIELD.LABEL_REPEATED if is_repeated else _FIELD.LABEL_OPTIONAL
            if scalar not in _SCALARS:
                added.type_name = kind
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(file.SerializeToString())
    return pool
