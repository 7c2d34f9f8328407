"""Health checks and reflection of the gRPC server."""

import itertools

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from benchmarks.processes import free_ports
from tfbert.serving.server import grpc_api

SERVICES = {
    "grpc.reflection.v1alpha.ServerReflection",
    "tensorflow.serving.ModelService",
    "tensorflow.serving.PredictionService",
}
SERVING = health_pb2.HealthCheckResponse.SERVING


@pytest.fixture(params=[True, False], ids=["health", "no health"])
def has_health(request):
    return request.param


@pytest.fixture
def channel(has_health):
    (port,) = free_ports(1)
    server = grpc_api.start(None, [f"127.0.0.1:{port}"], 2, with_health=has_health)
    with grpc.insecure_channel(f"127.0.0.1:{port}") as found:
        yield found
    server.stop(0).wait()


def checked(channel, name):
    """Return the health of a service, or the code of the error."""
    request = health_pb2.HealthCheckRequest(service=name)
    try:
        return health_pb2_grpc.HealthStub(channel).Check(request, timeout=20).status
    except grpc.RpcError as error:
        return error.code()


def test_health(channel, has_health):
    found = {name: checked(channel, name) for name in ("", "PredictionService", "ModelService", "bank")}
    if not has_health:
        assert set(found.values()) == {grpc.StatusCode.UNIMPLEMENTED}
        return
    assert found.pop("bank") is grpc.StatusCode.NOT_FOUND
    assert set(found.values()) == {SERVING}
    # More of those who watch than there are threads: none takes one away from the calls.
    stub, request = health_pb2_grpc.HealthStub(channel), health_pb2.HealthCheckRequest()
    watchers = [stub.Watch(request, timeout=60) for _ in range(4)]
    assert [next(watcher).status for watcher in watchers] == [SERVING] * 4
    assert checked(channel, "") == SERVING
    for watcher in watchers:
        watcher.cancel()


def test_reflection(channel, has_health):
    database = ProtoReflectionDescriptorDatabase(channel)
    health = {"grpc.health.v1.Health"} if has_health else set()
    assert set(database.get_services()) == SERVICES | health
    # All that a client needs to make a request, with nothing but the server.
    pool = DescriptorPool(database)
    methods = [
        pool.FindServiceByName(f"tensorflow.serving.{name}").methods for name in ("PredictionService", "ModelService")
    ]
    names = {method.name for method in itertools.chain(*methods)}
    assert names >= {"Predict", "Classify", "Regress", "MultiInference", "GetModelMetadata", "GetModelStatus"}
    request = pool.FindMessageTypeByName("tensorflow.serving.PredictRequest")
    assert request.fields_by_name["inputs"].message_type.fields_by_name["value"].message_type.name == "TensorProto"
