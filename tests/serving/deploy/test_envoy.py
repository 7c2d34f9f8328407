"""The files of the proxy, parsed as Envoy's messages, and its script, run by Lua."""

import importlib
import json
import re

import lupa
import pytest
import yaml
from google.protobuf import json_format

# `@type` can only name imported messages. These are the official ones, packaged by gRPC's xDS.
TYPES = [
    "envoy.config.bootstrap.v3.bootstrap_pb2",
    "envoy.config.route.v3.route_pb2",
    "envoy.extensions.access_loggers.file.v3.file_pb2",
    "envoy.extensions.access_loggers.stream.v3.stream_pb2",
    "envoy.extensions.filters.http.api_key_auth.v3.api_key_auth_pb2",
    "envoy.extensions.filters.http.buffer.v3.buffer_pb2",
    "envoy.extensions.filters.http.jwt_authn.v3.config_pb2",
    "envoy.extensions.filters.http.local_ratelimit.v3.local_rate_limit_pb2",
    "envoy.extensions.filters.http.lua.v3.lua_pb2",
    "envoy.extensions.filters.http.router.v3.router_pb2",
    "envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2",
    "envoy.extensions.http.early_header_mutation.header_mutation.v3.header_mutation_pb2",
    "envoy.extensions.transport_sockets.tls.v3.tls_pb2",
    "envoy.extensions.upstreams.http.v3.http_protocol_options_pb2",
    "envoy.service.discovery.v3.discovery_pb2",
]


@pytest.fixture(scope="module")
def messages():
    return {name.rpartition(".")[2]: importlib.import_module(name) for name in TYPES}


def read(rendered, name):
    return yaml.safe_load((rendered / name).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def bootstrap(rendered):
    return read(rendered, "config/envoy.yaml")


@pytest.fixture(scope="module")
def virtual_host(rendered):
    [host] = read(rendered, "clients/routes.yaml")["resources"][0]["virtual_hosts"]
    return host


@pytest.fixture(scope="module")
def clients_filter(bootstrap):
    """Return the connection manager of the listener for clients."""
    listener = bootstrap["static_resources"]["listeners"][0]
    return listener["filter_chains"][0]["filters"][0]["typed_config"]


def test_the_files_are_valid_envoy_messages(rendered, messages, bootstrap):
    json_format.ParseDict(bootstrap, messages["bootstrap_pb2"].Bootstrap())
    for name in ("config/metrics.yaml", "compose/metrics.yaml"):
        json_format.ParseDict(read(rendered, name), messages["bootstrap_pb2"].Bootstrap())
    for name in ("config/certificate.yaml", "clients/routes.yaml"):
        json_format.ParseDict(read(rendered, name), messages["discovery_pb2"].DiscoveryResponse())


def test_a_misspelt_nested_field_is_rejected(rendered, messages):
    text = (rendered / "config/envoy.yaml").read_text(encoding="utf-8").replace("max_request_bytes", "max_bytes")
    with pytest.raises(json_format.ParseError, match="max_bytes"):
        json_format.ParseDict(yaml.safe_load(text), messages["bootstrap_pb2"].Bootstrap())


def route_of(host, path):
    """Return the first route that matches a path in a request without a token."""
    for route in host["routes"]:
        match = route["match"]
        if "headers" in match:
            continue
        is_hit = re.fullmatch(match["safe_regex"]["regex"], path) if "safe_regex" in match else True
        if is_hit:
            return route
    raise AssertionError(path)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/v1/models/Bank.FAQ_1:predict", "rest"),
        ("/v1/models/Bank.FAQ_1/versions/3:predict", "rest"),
        ("/v1/models/Bank.FAQ_1/labels/stable:classify", "rest"),
        ("/v1/models/Bank.FAQ_1/metadata", "rest"),
        ("/v1/models/Bank.FAQ_1", "rest"),
        ("/tensorflow.serving.PredictionService/Predict", "grpc"),
        ("/tensorflow.serving.ModelService/GetModelStatus", "grpc"),
        ("/v1/models/BankxFAQ_1:predict", None),
        ("/v1/models/other:predict", None),
        ("/v1/models/Bank.FAQ_1:predict/../../../monitoring/prometheus/metrics", None),
        ("/monitoring/prometheus/metrics", None),
        ("/tensorflow.serving.ModelService/HandleReloadConfigRequest", None),
        ("/tensorflow.ProfilerService/Profile", None),
        ("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", None),
        ("/tensorflow.serving.SessionService/SessionRun", None),
        ("/", None),
    ],
)
def test_only_calls_of_the_model_are_routed(virtual_host, path, kind):
    route = route_of(virtual_host, path)
    if kind is None:
        assert route["direct_response"]["status"] == 404
    else:
        assert [entry["name"] for entry in route["route"]["weighted_clusters"]["clusters"]] == [kind, f"{kind}_canary"]


def test_routes_use_existing_clusters_and_only_the_stable_ones(bootstrap, virtual_host):
    known = {cluster["name"] for cluster in bootstrap["static_resources"]["clusters"]}
    weighted = [r["route"]["weighted_clusters"]["clusters"] for r in virtual_host["routes"] if "route" in r]
    assert len(weighted) == 4
    for clusters in weighted:
        assert {cluster["name"] for cluster in clusters} <= known
        assert [cluster["weight"] for cluster in clusters] == [100, 0]


def test_a_key_is_required_unless_a_token_is_verified(clients_filter, virtual_host):
    [jwt] = [f["typed_config"] for f in clients_filter["http_filters"] if f["name"].endswith("jwt_authn")]
    [rule] = jwt["rules"]
    key_filter = "envoy.filters.http.api_key_auth"
    [credential] = virtual_host["typed_per_filter_config"][key_filter]["credentials"]
    assert len(credential["key"]) >= 32
    for route in virtual_host["routes"][:-1]:
        without_key = route.get("typed_per_filter_config", {}).get(key_filter, {}).get("disabled", False)
        # A key is unnecessary exactly if the token is verified.
        assert without_key == ("headers" in route["match"])
        if without_key:
            assert route["match"]["headers"] == rule["match"]["headers"]


def test_clients_are_authenticated_before_rate_limiting_and_cannot_set_their_name(clients_filter):
    names = [entry["name"].rpartition(".")[2] for entry in clients_filter["http_filters"]]
    assert names == ["answers", "jwt_authn", "api_key_auth", "local_ratelimit", "buffer", "router"]
    [mutation] = clients_filter["early_header_mutation_extensions"]
    assert mutation["typed_config"]["mutations"] == [{"remove": "x-client"}]


def test_the_access_log_has_neither_bodies_nor_keys(clients_filter):
    logged = json.dumps(clients_filter["access_log"]).lower()
    assert "x-client" in logged
    assert not re.search("body|x-api-key|authorization", logged)


class Handle:
    """A stand-in for Envoy's stream handle, with the methods that the script calls."""

    def __init__(self, headers, body):
        self.values = headers
        self.content = body
        self.metadata = {}

    def script_object(self, lua):
        make = lua.eval(
            """function(get, set, metadata, body, length) return {
              headers = function() return {get = function(_, name) return get(name) end} end,
              body = function() return {length = function() return length end,
                                        getBytes = function(_, from, size) return body end} end,
              streamInfo = function() return {dynamicMetadata = function() return {
                get = function(_, name) return metadata() end,
                set = function(_, name, key, value) set(key, value) end} end} end} end"""
        )
        metadata = lambda: lua.table_from(self.metadata) if self.metadata else None  # noqa: E731 (passed to Lua)
        return make(self.values.get, self.metadata.__setitem__, metadata, self.content, len(self.content))


@pytest.fixture
def script(rendered):
    lua = lupa.LuaRuntime()
    lua.execute((rendered / "config/answers.lua").read_text(encoding="utf-8"))
    return lua


BODY = """{
    "predictions": [
        {"label": "card \\"label\\": \\"x\\"", "probability": 0.5, "probabilities": [0.5, 0.25]},
        {"label": "fee", "probability": 9.5e-01, "probabilities": [0.01, 0.95]},
        {"label": "fee", "probability": 1.0, "probabilities": [0.0, 1.0]}
    ]
}"""


def numbers(script, body):
    result = script.globals().numbers_of(body)
    return {name: dict(value) if name == "labels" else value for name, value in result.items()}


def test_predictions_are_counted(script):
    counts = numbers(script, BODY)
    assert counts["answers"] == 3
    assert counts["score_sum"] == pytest.approx(2.45)
    assert counts["abstentions"] == 0
    # A label that contains a quote is omitted rather than truncated.
    assert counts["labels"] == {"fee": 2}


def test_text_in_a_prediction_is_not_parsed_as_numbers(script):
    body = json.dumps({"predictions": [{"answer": '"probability": 7, "label": "secret", "abstain": true'}]})
    assert numbers(script, body) == {"answers": 0, "score_sum": 0, "abstentions": 0, "unusual": 0, "labels": {}}


def respond(script, path=":predict", status="200", length=None, fraction=0.0):
    script.globals().math.random = lambda: fraction
    handle = Handle({":path": f"/v1/models/Bank.FAQ_1{path}"}, BODY)
    script_handle = handle.script_object(script)
    script.globals().envoy_on_request(script_handle)
    handle.values |= {":status": status, "content-length": str(len(BODY)) if length is None else length}
    script.globals().envoy_on_response(script_handle)
    return handle.metadata


def test_a_sampled_response_is_recorded(script):
    assert respond(script)["answers"] == 3


@pytest.mark.parametrize(
    "changed",
    [{"path": "/metadata"}, {"status": "400"}, {"length": ""}, {"length": "99999999"}, {"fraction": 0.99}],
    ids=["other call", "error", "no length", "too long", "not in the sample"],
)
def test_other_responses_are_not_recorded(script, changed):
    assert "answers" not in respond(script, **changed)
