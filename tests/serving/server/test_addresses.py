"""Addresses of a server: TLS and unix sockets; and a config file that changes while the server runs."""

import time

import grpc
import pytest
import tensorflow as tf
from support import small
from support.certificates import CERTIFICATE, KEY
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from benchmarks.processes import free_ports
from tfbert.serving.client import Client
from tfbert.serving.server.flags import Options
from tfbert.serving.server.server import Server


def one_line(pem):
    return pem.replace("\n", "\\n")


def label_of(channel, name, timeout=60):
    request = predict_pb2.PredictRequest(output_filter=["label"])
    request.model_spec.name = name
    request.inputs["text"].CopyFrom(tf.make_tensor_proto([b"my card pin"], tf.string))
    answer = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(request, timeout=timeout)
    return tf.make_ndarray(answer.outputs["label"]).tolist()


def config_of(*names):
    path = small.finished_run()[1].resolve()
    each = "".join(f'config {{ name: "{n}" base_path: "{path}" model_platform: "tensorflow" }}\n' for n in names)
    return f"model_config_list {{\n{each}}}\n"


@pytest.fixture
def files(tmp_path):
    (tmp_path / "models").write_text(config_of("bank"))
    (tmp_path / "ssl").write_text(f'server_key: "{one_line(KEY)}"\nserver_cert: "{one_line(CERTIFICATE)}"\n')
    return tmp_path


def test_tls_unix_socket_and_a_config_file_that_changes(files):
    port, rest_port = free_ports(2)
    # The path of a socket may not be long.
    server = Server(
        Options(
            host="localhost",
            port=port,
            rest_api_port=rest_port,
            grpc_socket_path=str(files / "s"),
            ssl_config_file=str(files / "ssl"),
            model_config_file=str(files / "models"),
            model_config_file_poll_wait_seconds=1,
        )
    )
    try:
        trusted = grpc.ssl_channel_credentials(CERTIFICATE.encode())
        with grpc.secure_channel(f"localhost:{port}", trusted) as channel:
            assert label_of(channel, "bank") == [b"card"]
        with grpc.insecure_channel(f"unix:{files / 's'}") as channel:
            assert label_of(channel, "bank", timeout=None) == [b"card"]
        with grpc.insecure_channel(f"localhost:{port}") as channel, pytest.raises(grpc.RpcError) as caught:
            label_of(channel, "bank")
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        also = Client(f"localhost:{rest_port}", "also", retries=0)
        assert not also.is_ready()
        (files / "models").write_text("this is no config")
        (files / "models").write_text(config_of("bank", "also"))
        for _ in range(600):
            if also.is_ready():
                break
            time.sleep(0.05)
        assert also.is_ready() and Client(f"localhost:{rest_port}", "bank", retries=0).is_ready()
    finally:
        server.close()


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("ssl_config_file", "server_keys: 'x'", "expected a text proto of SSLConfig"),
        ("monitoring_config_file", "prometheus_config { enable: 3 }", "expected a text proto of MonitoringConfig"),
        ("model_config_file", "models {}", "expected a text proto of ModelServerConfig"),
    ],
)
def test_files_that_are_none(files, name, text, message):
    (files / "odd").write_text(text)
    options = {"model_config_file": str(files / "models")} | {name: str(files / "odd")}
    port, rest_port = free_ports(2)
    with pytest.raises(ValueError, match=message):
        Server(Options(port=port, rest_api_port=rest_port, **options))
