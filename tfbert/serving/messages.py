"""Descriptions of protobuf messages in, their classes out, in a pool that nobody else's definitions reach."""

from collections.abc import Mapping, Sequence

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.message import Message

_FIELD = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "float": _FIELD.TYPE_FLOAT,
    "int64": _FIELD.TYPE_INT64,
    "int32": _FIELD.TYPE_INT32,
    "bool": _FIELD.TYPE_BOOL,
    "string": _FIELD.TYPE_STRING,
    "bytes": _FIELD.TYPE_BYTES,
}


def message_classes(
    packages: Mapping[str, Mapping[str, Mapping[str, str | int]]], known: Sequence[FileDescriptor]
) -> dict[str, type[Message]]:
    """Return the classes of messages by their names without the package.

    The default pool may get the true files from elsewhere in the process, which may not be defined twice; so these are
    in a pool of their own.

    Args:
        packages: for each, in an order in which none needs a later one, what it has by name. A message is its fields:
            to each its number and what it is, such as `"1 int64"`, `"2 repeated .package.Message"` or
            `"3 map .package.Message"`, whose keys are strings. An enum is its values, each with its number.
        known: files of the package protobuf whose messages are used.
    """
    pool = descriptor_pool.DescriptorPool()
    files = [file.name for file in known]
    for file in known:
        pool.AddSerializedFile(file.serialized_pb)
    for package, entries in packages.items():
        file = descriptor_pb2.FileDescriptorProto(
            name=f"tfbert/{package}.proto", package=package, syntax="proto3", dependency=files
        )
        for name, parts in entries.items():
            _add(file, name, parts)
        pool.AddSerializedFile(file.SerializeToString())
        files = [*files, file.name]
    found = [pool.FindFileByName(name) for name in files[len(known) :]]
    messages = [message for file in found for message in file.message_types_by_name.values()]
    return {message.name: message_factory.GetMessageClass(message) for message in messages}


def _add(file: descriptor_pb2.FileDescriptorProto, name: str, parts: Mapping[str, str | int]) -> None:
    """Add a message or an enum to a file."""
    if all(isinstance(part, int) for part in parts.values()):
        values = [descriptor_pb2.EnumValueDescriptorProto(name=each, number=number) for each, number in parts.items()]
        file.enum_type.add(name=name, value=values)
        return
    message = file.message_type.add(name=name)
    for field, text in parts.items():
        number, *marks, kind = text.split()
        added = message.field.add(name=field, number=int(number))
        added.label = _FIELD.LABEL_REPEATED if marks else _FIELD.LABEL_OPTIONAL
        if marks == ["map"]:
            kind = f".{file.package}.{name}.{_add_entry(message, field, kind)}"
        _set_kind(added, kind)


def _add_entry(message: descriptor_pb2.DescriptorProto, field: str, kind: str) -> str:
    """Add the message that a map is a list of, and return its name."""
    entry = message.nested_type.add(name="".join(part.capitalize() for part in field.split("_")) + "Entry")
    entry.options.map_entry = True
    for number, (name, each) in enumerate({"key": "string", "value": kind}.items(), start=1):
        added = entry.field.add(name=name, number=number, label=_FIELD.LABEL_OPTIONAL)
        _set_kind(added, each)
    return entry.name


def _set_kind(field: descriptor_pb2.FieldDescriptorProto, kind: str) -> None:
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
    else:
        # Whether it is a message or an enum is for the pool to see.
        field.type_name = kind
