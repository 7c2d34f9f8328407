"""Rendered Kubernetes manifests: valid objects, consistent references, and restricted pods."""

import kubernetes_validate
import pytest
import yaml
from support.kustomize import build, containers, named

OVERLAYS = ["cpu", "gpu", "keda", "canary"]
# Kinds that Kubernetes does not define; their schemas are part of their operators.
CUSTOM = {"ScaledObject"}
MONITORING = {"kubernetes.io/metadata.name": "monitoring"}


@pytest.fixture(scope="module")
def overlays(rendered):
    return {name: build(rendered / "kubernetes" / "overlays" / name) for name in OVERLAYS}


@pytest.fixture(params=OVERLAYS)
def objects(request, overlays):
    return overlays[request.param]


@pytest.mark.parametrize("release", ["1.29", "1.34"])
def test_objects_are_valid(objects, release):
    for entry in objects:
        if entry["kind"] not in CUSTOM:
            kubernetes_validate.validate(entry, release, strict=True)


def test_a_misspelt_field_is_not_valid(overlays):
    service = named(overlays["cpu"], "Service", "bank-faq-1")
    with pytest.raises(kubernetes_validate.ValidationError, match="clusterIp"):
        kubernetes_validate.validate({**service, "spec": {**service["spec"], "clusterIp": "None"}}, "1.34", strict=True)


def test_object_names_are_unique(objects):
    names = [(entry["kind"], entry["metadata"]["name"]) for entry in objects]
    assert len(set(names)) == len(names)


def test_mounted_files_exist(objects):
    generated = {entry["metadata"]["name"]: entry for entry in objects if entry["kind"] in ("ConfigMap", "Secret")}
    num_files = 0
    for deployment in (entry for entry in objects if entry["kind"] == "Deployment"):
        pod = deployment["spec"]["template"]["spec"]
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        for container in pod["containers"]:
            for mount in container["volumeMounts"]:
                volume = volumes[mount["name"]]
                source = volume.get("configMap", {}).get("name") or volume.get("secret", {}).get("secretName")
                if source is None or source == "bank-faq-1-tls":
                    continue
                files = generated[source].get("data") or generated[source]["stringData"]
                num_files += 1
                if "subPath" in mount:
                    assert mount["subPath"] in files
                for argument in [*container.get("command", ()), *container.get("args", ())]:
                    _, _, path = argument.rpartition("=")
                    if path.startswith(mount["mountPath"] + "/"):
                        assert path.rpartition("/")[2] in files
    assert num_files >= 6


def test_services_budgets_and_policies_select_existing_pods(objects):
    pods = [e["spec"]["template"]["metadata"]["labels"] for e in objects if e["kind"] == "Deployment"]
    selectors = [e["spec"]["selector"] for e in objects if e["kind"] == "Service"]
    selectors += [e["spec"]["selector"]["matchLabels"] for e in objects if e["kind"] == "PodDisruptionBudget"]
    selectors += [e["spec"]["podSelector"]["matchLabels"] for e in objects if e["kind"] == "NetworkPolicy"]
    assert len(selectors) >= 6
    for selector in selectors:
        assert any(selector.items() <= labels.items() for labels in pods), selector


def test_every_pod_has_a_policy_and_only_proxy_and_prometheus_reach_the_servers(objects):
    policies = [entry["spec"] for entry in objects if entry["kind"] == "NetworkPolicy"]
    for entry in objects:
        if entry["kind"] == "Deployment":
            labels = entry["spec"]["template"]["metadata"]["labels"]
            [policy] = [p for p in policies if p["podSelector"]["matchLabels"].items() <= labels.items()]
            if labels["app.kubernetes.io/component"] == "serving":
                assert policy["egress"] == []
                assert all("from" in rule for rule in policy["ingress"])
                by_proxy, by_prometheus = policy["ingress"]
                [proxy] = by_proxy["from"]
                assert proxy["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "proxy"
                assert {entry["port"] for entry in by_proxy["ports"]} == {8500, 8501}
                # Only the port of metrics, not the REST port, which would serve predictions without a key.
                assert by_prometheus["from"][0]["namespaceSelector"]["matchLabels"] == MONITORING
                assert by_prometheus["ports"] == [{"port": 9904}]


def test_the_monitoring_namespace_reaches_only_metrics_and_ports_with_a_key(objects, rendered):
    reachable_ports = {}
    for entry in objects:
        if entry["kind"] != "NetworkPolicy":
            continue
        component = entry["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/component"]
        for rule in entry["spec"]["ingress"]:
            sources = rule.get("from", [{"namespaceSelector": {"matchLabels": MONITORING}}])
            if any(s.get("namespaceSelector", {}).get("matchLabels") == MONITORING for s in sources):
                reachable_ports.setdefault(component, set()).update(entry["port"] for entry in rule["ports"])
    # 8443 requires a key; 9902 of the proxy and 9903 of drift have no routes to the model.
    assert reachable_ports == {"serving": {9904}, "proxy": {8443, 9902, 9903}}
    envoys = {9904: "config/metrics.yaml", 9902: "config/envoy.yaml"}
    published = {9904: ["/monitoring/prometheus/metrics"], 9902: ["/stats/prometheus", "/ready"]}
    for port, name in envoys.items():
        resources = yaml.safe_load((rendered / name).read_text(encoding="utf-8"))["static_resources"]
        [listener] = [e for e in resources["listeners"] if e["address"]["socket_address"]["port_value"] == port]
        [host] = listener["filter_chains"][0]["filters"][0]["typed_config"]["route_config"]["virtual_hosts"]
        assert [route["match"]["path"] for route in host["routes"]] == published[port]
        assert all(route["match"].keys() <= {"path", "headers"} for route in host["routes"])


def test_inter_op_parallelism_equals_the_number_of_cores(objects):
    for container in (c for c in containers(objects) if c["name"] == "serving"):
        resources = container["resources"]
        assert resources["requests"] == resources["limits"]
        assert resources["limits"]["cpu"] == "6"
        assert {"--tensorflow_intra_op_parallelism=1", "--tensorflow_inter_op_parallelism=6"} <= set(container["args"])


def test_probes_check_the_model_and_the_grpc_service(objects):
    for container in (c for c in containers(objects) if c["name"] == "serving"):
        for probe in ("startupProbe", "readinessProbe"):
            assert container[probe]["httpGet"]["path"] == "/v1/models/Bank.FAQ_1/metadata"
        assert container["livenessProbe"]["grpc"]["service"] == "PredictionService"
        assert "--enable_grpc_healthcheck_service=true" in container["args"]


def test_the_grace_period_exceeds_the_pre_stop_wait(objects):
    for entry in (entry for entry in objects if entry["kind"] == "Deployment"):
        pod = entry["spec"]["template"]["spec"]
        waits = [int(c["lifecycle"]["preStop"]["exec"]["command"][1]) for c in pod["containers"] if "lifecycle" in c]
        assert waits
        assert pod["terminationGracePeriodSeconds"] >= max(waits) + 30


def test_containers_have_minimal_privileges_and_limits(objects):
    for pod in (entry["spec"]["template"]["spec"] for entry in objects if entry["kind"] == "Deployment"):
        assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
    for container in containers(objects):
        assert container["resources"]["limits"].keys() >= {"cpu", "memory"}
        context = container["securityContext"]
        assert not context["allowPrivilegeEscalation"]
        assert context["readOnlyRootFilesystem"]
        assert context["capabilities"]["drop"] == ["ALL"]
        assert ":" in container["image"]
        assert not container["image"].endswith(":latest")


def test_the_kserve_runtime_has_the_same_restrictions(rendered, overlays):
    text = (rendered / "kserve" / "serving_runtime.yaml").read_text(encoding="utf-8")
    runtime, _ = yaml.safe_load_all(text)
    [container] = runtime["spec"]["containers"]
    [base] = [c for c in containers(overlays["cpu"]) if c["name"] == "serving"]
    pod = named(overlays["cpu"], "Deployment", "bank-faq-1")["spec"]["template"]["spec"]["securityContext"]
    pod = {name: value for name, value in pod.items() if name != "runAsGroup"}
    assert container["securityContext"] == base["securityContext"] | pod
    assert container["resources"] == base["resources"]
    mount_paths = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert mount_paths == {"config": "/etc/serving", "tmp": "/tmp"}
    assert {volume["name"] for volume in runtime["spec"]["volumes"]} == mount_paths.keys()
    # Validated as a pod, which KServe creates from it.
    spec = {"containers": [container], "volumes": runtime["spec"]["volumes"]}
    kubernetes_validate.validate(
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "kserve"}, "spec": spec}, "1.34", strict=True
    )


def test_the_gpu_overlay(overlays):
    [container] = [c for c in containers(overlays["gpu"]) if c["name"] == "serving"]
    assert container["image"] == "registry.example.com/bank-faq-1:3-gpu"
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert {entry["name"] for entry in container["env"]} == {"TF_CPP_MIN_LOG_LEVEL", "TF_FORCE_GPU_ALLOW_GROWTH"}
    assert named(overlays["gpu"], "HorizontalPodAutoscaler")["spec"]["maxReplicas"] == 2


def test_keda_replaces_the_autoscaler(overlays):
    assert not [entry for entry in overlays["keda"] if entry["kind"] == "HorizontalPodAutoscaler"]
    scaled = named(overlays["keda"], "ScaledObject")
    assert scaled["spec"]["scaleTargetRef"]["name"] == "bank-faq-1"
    assert 'model_name="Bank.FAQ_1"' in scaled["spec"]["triggers"][0]["metadata"]["query"]


def test_each_service_selects_only_its_own_deployment(overlays):
    objects = overlays["canary"]
    canary, stable = (named(objects, "Deployment", name) for name in ("bank-faq-1-canary", "bank-faq-1"))
    labels = {d["metadata"]["name"]: d["spec"]["template"]["metadata"]["labels"] for d in (canary, stable)}
    for name in labels:
        selector = named(objects, "Service", name)["spec"]["selector"]
        selected = [other for other in labels if selector.items() <= labels[other].items()]
        assert selected == [name]
    images = [c["image"] for c in containers([canary, stable]) if c["name"] == "serving"]
    assert images == ["registry.example.com/bank-faq-1:4", "registry.example.com/bank-faq-1:3"]
    assert canary["spec"]["replicas"] == 1


def test_monitors_scrape_existing_ports(rendered, overlays):
    monitoring = build(rendered / "kubernetes" / "monitoring")
    pods = [e["spec"]["template"] for e in overlays["cpu"] if e["kind"] == "Deployment"]
    monitors = [entry for entry in monitoring if entry["kind"] == "PodMonitor"]
    assert len(monitors) == 3
    for monitor in monitors:
        expected = monitor["spec"]["selector"]["matchLabels"].items()
        [pod] = [pod for pod in pods if expected <= pod["metadata"]["labels"].items()]
        ports = {port["name"] for container in pod["spec"]["containers"] for port in container["ports"]}
        assert monitor["spec"]["podMetricsEndpoints"][0]["port"] in ports
