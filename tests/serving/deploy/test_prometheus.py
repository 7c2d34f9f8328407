"""Alerts and dashboard: expressions that parse, over metrics that exist, and alerts that fire when they should."""

import json
import re
import shutil
import subprocess

import promql_parser
import pytest
import yaml

# Metrics of TensorFlow Serving, Envoy and drift/exporter.py.
SERVING = {
    ":tensorflow:serving:request_count",
    ":tensorflow:serving:request_latency_bucket",
    ":tensorflow:serving:request_latency_count",
    ":tensorflow:serving:batching_session:queuing_latency_bucket",
    ":tensorflow:serving:batching_session:queuing_latency_count",
    ":tensorflow:serving:batching_session:queuing_latency_sum",
    ":tensorflow:serving:batching_session:processed_batch_size_count",
    ":tensorflow:serving:batching_session:processed_batch_size_sum",
    ":tensorflow:cc:saved_model:load_attempt_count",
}
ENVOY = {"envoy_cluster_upstream_rq", "envoy_cluster_upstream_rq_time_bucket", "envoy_http_downstream_rq_xx"}
DRIFT = {
    "tfbert_answers_total",
    "tfbert_answer_score_sum",
    "tfbert_answer_abstentions_total",
    "tfbert_answer_unusual_total",
    "tfbert_answer_labels_total",
}


@pytest.fixture(scope="module")
def rules(rendered):
    groups = yaml.safe_load((rendered / "config" / "alerts.yaml").read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


@pytest.fixture(scope="module")
def dashboard(rendered):
    return json.loads((rendered / "config" / "dashboard.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def expressions(rules, dashboard):
    sources = [rule["expr"] for rule in rules]
    sources += [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    return [expression.replace("$__rate_interval", "1m") for expression in sources]


def test_expressions_parse(expressions):
    assert len(expressions) > 25
    for expression in expressions:
        promql_parser.parse(expression)


def test_an_invalid_expression_is_rejected():
    with pytest.raises(ValueError, match="."):
        promql_parser.parse("sum(rate(tfbert_answers_total[5m])")


def test_expressions_use_existing_metrics(expressions, rules):
    own = {rule["record"] for rule in rules if "record" in rule}
    used = set()
    for expression in expressions:
        bare = re.sub(r'"[^"]*"|\{[^}]*\}|\[[^]]*\]|\b(by|on) \([^)]*\)', "", expression)
        used |= {name for name in re.findall(r"[a-z_:][\w:]*", bare) if ":" in name or name[:6] in ("envoy_", "tfbert")}
    assert used - SERVING - ENVOY - DRIFT - own == set()
    assert used >= DRIFT - {"tfbert_answer_abstentions_total", "tfbert_answer_unusual_total"}


def test_expressions_over_server_metrics_select_the_model(expressions):
    counted = [e for e in expressions if "request_count" in e or "request_latency" in e]
    assert counted
    assert all('model_name="Bank.FAQ_1"' in expression for expression in counted)


def test_a_model_that_never_abstains_has_no_alert_for_it(rules, dashboard):
    names = {rule.get("alert") for rule in rules}
    assert {"OtherLabels", "LessSure"} <= names
    assert "MoreAbstentions" not in names
    assert not [panel for panel in dashboard["panels"] if "without an answer" in panel["title"]]


def test_panels_do_not_overlap(dashboard):
    positions = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in dashboard["panels"]]
    assert len(set(positions)) == len(positions)
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(positions)


def test_the_rules_of_the_operator_are_equal(rendered):
    wrapped = yaml.safe_load((rendered / "kubernetes/monitoring/rules.yaml").read_text(encoding="utf-8"))
    plain = yaml.safe_load((rendered / "config/alerts.yaml").read_text(encoding="utf-8"))
    assert wrapped["spec"] == plain


REQUESTS = ':tensorflow:serving:request_count{model_name="Bank.FAQ_1", status='
LATENCY = ':tensorflow:serving:request_latency_bucket{model_name="Bank.FAQ_1", API="predict", le='
SLOWER = {LATENCY + '"708235"}': "0+100x30", LATENCY + '"+Inf"}': "0+100x30"}
LOADS = ':tensorflow:cc:saved_model:load_attempt_count{model_path="/models/Bank.FAQ_1/4", status='
UP = 'up{job="serving", instance="a"}'
ANSWERS, SCORES = 'tfbert_answers_total{model_name="Bank.FAQ_1"}', 'tfbert_answer_score_sum{model_name="Bank.FAQ_1"}'
LABELS = 'tfbert_answer_labels_total{model_name="Bank.FAQ_1", label='
# A week in minutes, and in samples of two minutes each.
WEEK = 7 * 24 * 60
SAMPLES = WEEK // 2


@pytest.mark.skipif(not shutil.which("promtool"), reason="Prometheus' own promtool is not installed")
@pytest.mark.parametrize(
    ("alert", "series", "minutes", "fires"),
    [
        ("ServerDown", {UP: "1x10 0x10"}, 15, True),
        ("ServerDown", {UP: "1x20"}, 15, False),
        ("ModelDoesNotLoad", {LOADS + '"fail"}': "_x10 1x20"}, 20, True),
        ("ModelDoesNotLoad", {LOADS + '"success"}': "_x10 1x20"}, 20, False),
        ("ServerErrors", {REQUESTS + '"OK"}': "0+100x20", REQUESTS + '"INTERNAL"}': "0+2x20"}, 15, True),
        ("ServerErrors", {REQUESTS + '"OK"}': "0+100x20", REQUESTS + '"INVALID_ARGUMENT"}': "0+9x20"}, 15, False),
        ("BadRequests", {REQUESTS + '"OK"}': "0+10x60", REQUESTS + '"INVALID_ARGUMENT"}': "0+9x60"}, 50, True),
        ("SlowAnswers", {LATENCY + '"393464"}': "0+90x30", **SLOWER}, 25, True),
        ("SlowAnswers", {LATENCY + '"393464"}': "0+100x30", **SLOWER}, 25, False),
        (
            "LessSure",
            {ANSWERS: f"0+10x{SAMPLES + 90}", SCORES: f"0+9x{SAMPLES} {9 * SAMPLES + 6}+6x90"},
            WEEK + 170,
            True,
        ),
        ("LessSure", {ANSWERS: f"0+10x{SAMPLES}", SCORES: f"0+9x{SAMPLES}"}, WEEK - 6, False),
        (
            "OtherLabels",
            {
                ANSWERS: f"0+10x{SAMPLES + 90}",
                LABELS + '"fee"}': f"0+10x{SAMPLES} {10 * SAMPLES}+0x90",
                LABELS + '"card"}': f"0+0x{SAMPLES} 10+10x90",
            },
            WEEK + 170,
            True,
        ),
    ],
)
def test_alerts_fire_as_expected(rendered, tmp_path, rules, alert, series, minutes, fires):
    # Only this alert is queried, because the series may trigger others too.
    [rule] = [rule for rule in rules if rule.get("alert") == alert]
    is_drift = "tfbert:" in rule["expr"]
    records = [candidate for candidate in rules if "record" in candidate and is_drift]
    groups = [{"name": "tested", "rules": [*records, {**rule, "labels": {}, "annotations": {}}]}]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": groups}), encoding="utf-8")
    step = 2 if is_drift else 1
    query = {"eval_time": f"{minutes}m", "expr": f'count(ALERTS{{alertname="{alert}", alertstate="firing"}})'}
    query["exp_samples"] = [{"labels": "{}", "value": 1}] if fires else []
    tests = {
        "rule_files": ["rules.yaml"],
        "evaluation_interval": "5m" if is_drift else "1m",
        "tests": [
            {
                "interval": f"{step}m",
                "input_series": [{"series": name, "values": values} for name, values in series.items()],
                "promql_expr_test": [query],
            }
        ],
    }
    (tmp_path / "tests.yaml").write_text(yaml.safe_dump(tests), encoding="utf-8")
    result = subprocess.run(
        ["promtool", "test", "rules", "tests.yaml"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
