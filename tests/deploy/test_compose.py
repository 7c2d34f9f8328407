"""The compose file: what it mounts, joins and waits for is there."""

import re

import pytest
import yaml


@pytest.fixture(scope="module")
def compose(rendered):
    return yaml.safe_load((rendered / "compose" / "compose.yaml").read_text(encoding="utf-8"))


def test_what_is_mounted_is_there(rendered, compose):
    made_by_the_user = {rendered / "tls"}
    num_mounts = 0
    for service in compose["services"].values():
        for mount in service.get("volumes", ()):
            source = mount.split(":")[0]
            if source.startswith("."):
                path = (rendered / "compose" / source).resolve()
                assert path.exists() or path in made_by_the_user, path
                num_mounts += 1
            elif not source.startswith("${"):
                assert source in compose["volumes"], source
    assert num_mounts >= 10


def test_what_is_asked_of_the_environment_is_in_its_file(rendered, compose, model_dir):
    asked = set(re.findall(r"\$\{(\w+)", yaml.safe_dump(compose)))
    lines = (rendered / "compose" / ".env").read_text(encoding="utf-8").splitlines()
    said = dict(line.split("=", 1) for line in lines)
    assert said.keys() == asked
    assert said["MODEL_DIR"] == str(model_dir)
    assert len(said["GRAFANA_PASSWORD"]) >= 16


def test_services_find_each_other_by_name(rendered, compose):
    names = compose["services"].keys()
    assert {name for service in compose["services"].values() for name in service.get("depends_on", ())} <= names
    envoy = yaml.safe_load((rendered / "config" / "envoy.yaml").read_text(encoding="utf-8"))
    clusters = {c["name"]: c["load_assignment"] for c in envoy["static_resources"]["clusters"]}
    endpoint = clusters["grpc"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
    assert endpoint["address"]["socket_address"] == {"address": "bank-faq-1", "port_value": 8500}
    assert "bank-faq-1" in names
    scraped = yaml.safe_load((rendered / "config" / "prometheus.yaml").read_text(encoding="utf-8"))["scrape_configs"]
    hosts = [t.split(":")[0] for s in scraped for c in s.get("static_configs", ()) for t in c["targets"]]
    assert set(hosts) == {"metrics", "proxy", "drift"} <= names
    metrics = yaml.safe_load((rendered / "compose" / "metrics.yaml").read_text(encoding="utf-8"))
    [cluster] = metrics["static_resources"]["clusters"]
    endpoint = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
    assert endpoint["address"]["socket_address"] == {"address": "bank-faq-1", "port_value": 8501}


def test_only_the_proxy_is_open_to_all_and_nothing_inside_calls_out(compose):
    open_ports = {name: service["ports"] for name, service in compose["services"].items() if "ports" in service}
    assert open_ports == {"proxy": ["8443:8443"], "grafana": ["127.0.0.1:3000:3000"]}
    assert compose["networks"] == {"serving": {"internal": True}, "inside": {"internal": True}, "outside": {}}
    for name, service in compose["services"].items():
        assert ("outside" in service["networks"]) == (name in open_ports)


def test_only_the_proxy_and_what_passes_on_metrics_reach_the_server(compose):
    reached = {name for name, service in compose["services"].items() if "serving" in service["networks"]}
    assert reached == {"bank-faq-1", "proxy", "metrics"}
    assert compose["services"]["bank-faq-1"]["networks"] == ["serving"]


def test_every_service_is_closed_as_far_as_it_can_be(rendered, compose):
    lines = (rendered / "compose" / ".env").read_text(encoding="utf-8").splitlines()
    environment = dict(line.split("=", 1) for line in lines)
    assert len(compose["services"]) == 6
    for name, service in compose["services"].items():
        user = re.sub(r"\$\{(\w+)[^}]*\}", lambda match: environment[match[1]], service["user"])
        assert re.fullmatch(r"[1-9]\d*:\d+", user), (name, user)
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"] and "cap_add" not in service
        # Without an entry of its own, Docker's default seccomp profile applies.
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service.get("privileged", False) is False
        assert service["cpus"] > 0 and re.fullmatch(r"\d+[mg]", service["mem_limit"]) and service["pids_limit"] > 0


def test_the_two_who_share_the_answers_are_one_user_to_whom_they_belong(compose):
    users = {name: s["user"] for name, s in compose["services"].items() if any("answers:" in v for v in s["volumes"])}
    assert users.keys() == {"proxy", "drift"} and len(set(users.values())) == 1
    asked = re.findall(r"uid=\$\{(\w+)[^}]*\},gid=\$\{(\w+)", compose["volumes"]["answers"]["driver_opts"]["o"])
    assert asked == [tuple(re.findall(r"\$\{(\w+)", users["proxy"]))]
