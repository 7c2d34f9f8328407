"""Protobuf message classes built from descriptions: their wire format is that of the official files."""

import pytest
from google.protobuf import struct_pb2, timestamp_pb2, wrappers_pb2

from tfbert.serving.messages import message_classes

PACKAGES = {
    "first": {
        "Color": {"RED": 0, "BLUE": 2},
        "Point": {"x": "1 int64", "y": "2 float", "color": "3 .first.Color", "tags": "4 repeated string"},
    },
    "second": {
        "Map": {"points": "1 map .first.Point", "counts": "2 map int32", "all": "3 repeated .first.Point"},
        "Wrapped": {"number": "1 .google.protobuf.Int64Value", "raw": "2 bytes", "is_set": "3 bool"},
    },
}


@pytest.fixture(scope="module")
def classes():
    return message_classes(PACKAGES, [wrappers_pb2.DESCRIPTOR])


def test_classes_have_their_package(classes):
    assert classes.keys() == {"Point", "Map", "Wrapped"}
    assert classes["Point"].DESCRIPTOR.full_name == "first.Point"
    assert classes["Map"].DESCRIPTOR.full_name == "second.Map"


def test_values_survive_the_wire(classes):
    point = classes["Point"](x=-5, y=0.5, color=2, tags=["a", "é"])
    holder = classes["Map"](points={"p": point}, counts={"a": 3, "b": 4}, all=[point, point])
    parsed = classes["Map"].FromString(holder.SerializeToString())
    assert parsed == holder
    assert (parsed.points["p"].x, parsed.points["p"].tags[1], dict(parsed.counts)) == (-5, "é", {"a": 3, "b": 4})
    assert classes["Point"].DESCRIPTOR.fields_by_name["color"].enum_type.values_by_name["BLUE"].number == 2


def test_the_wire_format_follows_the_field_numbers(classes):
    # Field 1 as a varint, field 4 as text.
    assert classes["Point"](x=3, tags=["a"]).SerializeToString() == b"\x08\x03\x22\x01a"
    wrapped = classes["Wrapped"](number={"value": 7}, raw=b"\xff", is_set=True)
    assert wrapped.SerializeToString() == b"\x0a\x02\x08\x07\x12\x01\xff\x18\x01"


def test_maps_are_compatible_with_protobuf():
    # `google.protobuf.Struct` is a map from names to values.
    [struct_class] = message_classes(
        {"mine": {"Struct": {"fields": "1 map .google.protobuf.Value"}}}, [struct_pb2.DESCRIPTOR]
    ).values()
    real = struct_pb2.Struct()
    real.update({"a": 1.5, "b": ["c", None]})
    copied = struct_class.FromString(real.SerializeToString())
    assert copied.fields["a"].number_value == 1.5
    assert struct_pb2.Struct.FromString(copied.SerializeToString()) == real


def test_the_same_name_can_be_defined_twice():
    first, second = (message_classes({"same": {"Message": {"a": f"{n} int64"}}}, []) for n in (1, 2))
    assert first["Message"](a=1).SerializeToString() != second["Message"](a=1).SerializeToString()


def test_missing_known_files_are_an_error():
    with pytest.raises(TypeError, match="Timestamp"):
        message_classes({"p": {"M": {"at": "1 .google.protobuf.Timestamp"}}}, [])
    classes = message_classes({"p": {"M": {"at": "1 .google.protobuf.Timestamp"}}}, [timestamp_pb2.DESCRIPTOR])
    assert classes["M"](at={"seconds": 9}).at.seconds == 9
