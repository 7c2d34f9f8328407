"""Protobuf message classes, built from descriptions in Python in a descriptor pool of their own."""

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
    """Return message classes by name, without the package.

    They are in a pool of their own: other code in the process may add the official files to the default pool, where
    nothing may be defined twice.

    Args:
        packages: messages and enums by package and name; a package may use only those before it. A message maps each
            field to its number and type, such as `"1 int64"`, `"2 repeated .package.Message"` or
            `"3 map .package.Message"`, whose keys are strings. An enum maps each value to its number.
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
        for name, definition in entries.items():
            _add(file, name, definition)
        pool.AddSerializedFile(file.SerializeToString())
        files = [*files, file.name]
    added = [pool.FindFileByName(name) for name in files[len(known) :]]
    messages = [message for file in added for message in file.message_types_by_name.values()]
    return {message.name: message_factory.GetMessageClass(message) for message in messages}


def _add(file: descriptor_pb2.FileDescriptorProto, name: str, definition: Mapping[str, str | int]) -> None:
    """Add a message or an enum to a file."""
    if all(isinstance(number, int) for number in definition.values()):
        values = [descriptor_pb2.EnumValueDescriptorProto(name=key, number=n) for key, n in definition.items()]
        file.enum_type.add(name=name, value=values)
        return
    message = file.message_type.add(name=name)
    for field, text in definition.items():
        number, *modifiers, kind = text.split()
        added = message.field.add(name=field, number=int(number))
        added.label = _FIELD.LABEL_REPEATED if modifiers else _FIELD.LABEL_OPTIONAL
        if modifiers == ["map"]:
            kind = f".{file.package}.{name}.{_add_entry(message, field, kind)}"
        _set_type(added, kind)


def _add_entry(message: descriptor_pb2.DescriptorProto, field: str, kind: str) -> str:
    """Add the entry message of a map field, and return its name."""
    entry = message.nested_type.add(name="".join(part.capitalize() for part in field.split("_")) + "Entry")
    entry.options.map_entry = True
    for number, (name, entry_type) in enumerate({"key": "string", "value": kind}.items(), start=1):
        added = entry.field.add(name=name, number=number, label=_FIELD.LABEL_OPTIONAL)
        _set_type(added, entry_type)
    return entry.name


def _set_type(field: descriptor_pb2.FieldDescriptorProto, kind: str) -> None:
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
    else:
        # The pool finds out whether it is a message or an enum.
        field.type_name = kind
