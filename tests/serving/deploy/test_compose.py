"""The compose file: mounts, variables, services and networks that it refers to exist, and services are restricted."""

import re

import pytest
import yaml


@pytest.fixture(scope="module")
def compose(rendered):
    return yaml.safe_load((rendered / "compose" / "compose.yaml").read_text(encoding="utf-8"))


def test_mounted_files_exist(rendered, compose):
    created_by_user = {rendered / "tls"}
    num_mounts = 0
    for service in compose["services"].values():
        for mount in service.get("volumes", ()):
            source = mount.split(":")[0]
            if source.startswith("."):
                path = (rendered / "compose" / source).resolve()
                assert path.exists() or path in created_by_user, path
                num_mounts += 1
            elif not source.startswith("${"):
                assert source in compose["volumes"], source
    assert num_mounts >= 10


def test_variables_are_defined_in_the_environment_file(rendered, compose, model_dir):
    variables = set(re.findall(r"\$\{(\w+)", yaml.safe_dump(compose)))
    lines = (rendered / "compose" / ".env").read_text(encoding="utf-8").splitlines()
    values = dict(line.split("=", 1) for line in lines)
    assert values.keys() == variables
    assert values["MODEL_DIR"] == str(model_dir)
    assert len(values["GRAFANA_PASSWORD"]) >= 16


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


def test_only_the_proxy_and_grafana_have_ports_and_outside_access(compose):
    open_ports = {name: service["ports"] for name, service in compose["services"].items() if "ports" in service}
    assert open_ports == {"proxy": ["8443:8443"], "grafana": ["127.0.0.1:3000:3000"]}
    assert compose["networks"] == {"serving": {"internal": True}, "inside": {"internal": True}, "outside": {}}
    for name, service in compose["services"].items():
        assert ("outside" in service["networks"]) == (name in open_ports)


def test_only_the_proxy_and_the_metrics_proxy_reach_the_server(compose):
    reached = {name for name, service in compose["services"].items() if "serving" in service["networks"]}
    assert reached == {"bank-faq-1", "proxy", "metrics"}
    assert compose["services"]["bank-faq-1"]["networks"] == ["serving"]


def test_every_service_has_minimal_privileges_and_limits(rendered, compose):
    lines = (rendered / "compose" / ".env").read_text(encoding="utf-8").splitlines()
    environment = dict(line.split("=", 1) for line in lines)
    assert len(compose["services"]) == 6
    for name, service in compose["services"].items():
        user = re.sub(r"\$\{(\w+)[^}]*\}", lambda match: environment[match[1]], service["user"])
        assert re.fullmatch(r"[1-9]\d*:\d+", user), (name, user)
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"] and "cap_add" not in service
        # Without a seccomp entry, Docker's default profile applies.
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service.get("privileged", False) is False
        assert service["cpus"] > 0 and re.fullmatch(r"\d+[mg]", service["mem_limit"]) and service["pids_limit"] > 0


def test_proxy_and_drift_run_as_the_owner_of_the_shared_volume(compose):
    users = {name: s["user"] for name, s in compose["services"].items() if any("answers:" in v for v in s["volumes"])}
    assert users.keys() == {"proxy", "drift"} and len(set(users.values())) == 1
    owner = re.findall(r"uid=\$\{(\w+)[^}]*\},gid=\$\{(\w+)", compose["volumes"]["answers"]["driver_opts"]["o"])
    assert owner == [tuple(re.findall(r"\$\{(\w+)", users["proxy"]))]
