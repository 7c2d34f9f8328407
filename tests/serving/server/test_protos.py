"""Configuration files as text protos: errors have file, line and what was expected."""

import pytest
from google.protobuf import wrappers_pb2

from tfbert.serving.server.protos import InvalidFileError, empty, read_proto


def test_a_file_is_read(tmp_path):
    path = tmp_path / "monitoring.config"
    path.write_text('# where Prometheus looks\nprometheus_config { enable: true path: "/metrics" }', encoding="utf-8")
    found = read_proto(path, empty("MonitoringConfig"))
    assert (found.prometheus_config.enable, found.prometheus_config.path) == (True, "/metrics")


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("SSLConfig", {"server_key": "key", "server_cert": "certificate", "custom_ca": "ca", "client_verify": True}),
        ("MonitoringConfig", {"prometheus_config": {"enable": True, "path": "/m"}}),
        ("BatchingParameters", {"max_batch_size": {"value": 4}, "allowed_batch_sizes": [2, 4]}),
    ],
)
def test_each_message_has_the_fields_of_the_real_server(name, made):
    message = empty(name)
    again = type(message)(**made)
    assert type(message)().FromString(again.SerializeToString()) == again != message
    assert message.DESCRIPTOR.full_name == f"tensorflow.serving.{name}"


def test_numbers_of_fields_are_those_of_the_real_server():
    # On the wire: field 1 is a message of the package protobuf, field 6 a packed list.
    message = type(empty("BatchingParameters"))(max_batch_size={"value": 5}, allowed_batch_sizes=[5])
    inner = wrappers_pb2.Int64Value(value=5).SerializeToString()
    assert message.SerializeToString() == b"\x0a" + bytes([len(inner)]) + inner + b"\x32\x01\x05"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"enable: true", 'has no field named "enable"'),
        (b"prometheus_config {", "expected a text proto of MonitoringConfig"),
        (b"\xff", "can't decode byte 0xff"),
    ],
)
def test_a_file_that_is_no_such_message_is_refused(tmp_path, content, reason):
    path = tmp_path / "monitoring.config"
    path.write_bytes(content)
    with pytest.raises(InvalidFileError) as caught:
        read_proto(path, empty("MonitoringConfig"))
    message = str(caught.value)
    assert message.startswith(f"INVALID_ARGUMENT: Invalid protobuf file: '{path}' (") and reason in message
    assert "\n" not in message and message.endswith("; expected a text proto of MonitoringConfig)")


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InvalidFileError, match="^NOT_FOUND: .*none; No such file or directory$"):
        read_proto(tmp_path / "none", empty("SSLConfig"))
