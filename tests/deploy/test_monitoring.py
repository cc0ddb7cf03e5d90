"""Alert rules and dashboard ask for metrics that exist, and each alert says what to do."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY

from contracts.registry import MESSAGES
from deploy.local.home import PROJECT
from docs.generate import OPERATIONS, metrics
from services.payment import provider

RULES = PROJECT / "deploy" / "prometheus" / "alerts.yml"
RULES_TEST = RULES.with_name("alerts_test.yml")
GRAFANA = PROJECT / "deploy" / "grafana"
DASHBOARD: dict[str, Any] = json.loads((GRAFANA / "orderflow.json").read_text())
COMPOSE = (PROJECT / "docker-compose.yml").read_text()
ALERTMANAGER = RULES.with_name("alertmanager.yml")
DEPLOYMENT = PROJECT / "docs" / "deployment.md"

ALERTS: dict[str, str] = {
    block.partition("\n")[0]: block for block in RULES.read_text().split("- alert: ")[1:]
}
"""The text of each alert, by its name."""
EXPRESSIONS = {
    **{
        name: re.sub(r"^ +#.*", "", found[1], flags=re.MULTILINE)
        for name, block in ALERTS.items()
        if (
            found := re.search(r"^ +expr: (.*?)^ +(?:for|labels):", block, re.DOTALL | re.MULTILINE)
        )
    },
    **{
        f"{panel['title']} {target['refId']}": target["expr"]
        for panel in DASHBOARD["panels"]
        for target in panel.get("targets", ())
    },
}

GIVEN_BY_PROMETHEUS = {"job", "service", "instance", "le"}
SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "gauge": ("",), "counter": ("",)}


def documented() -> Iterator[tuple[str, set[str]]]:
    """Every series of the table in the operations manual, and its labels."""
    for line in metrics().splitlines()[2:]:
        name, kind, _, labels, _ = (cell.strip() for cell in line.strip("|").split("|"))
        for suffix in SUFFIXES[kind]:
            yield name.strip("`") + suffix, set(re.findall(r"\w+", labels))


SERIES = dict(documented())


def test_the_table_holds_what_the_processes_serve() -> None:
    served = {
        metric.name + ("_total" if metric.type == "counter" else "")
        for metric in REGISTRY.collect()
        if metric.name.startswith("orderflow_")
    }
    table = {line.split("`")[1] for line in metrics().splitlines()[2:]}
    assert served == table


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_what_is_asked_for_exists(name: str) -> None:
    expression = EXPRESSIONS[name]
    asked = set(re.findall(r"\borderflow_\w+", expression))
    assert asked or "up{" in expression
    assert asked <= SERIES.keys()
    known = GIVEN_BY_PROMETHEUS.union(*(SERIES[series] for series in asked))
    labels = set(re.findall(r"(\w+)\s*(?:=~|!=|=)\s*\"", expression))
    for grouped in re.findall(r"\bby \(([^)]*)\)", expression):
        labels |= set(grouped.split(", "))
    assert labels <= known


def test_messages_and_outcomes_are_written_as_they_are() -> None:
    text = "\n".join(EXPRESSIONS.values())
    types = re.findall(r"type=~?\"([^\"]+)\"", text)
    outcomes = re.findall(r"stripe_calls_total\{outcome!?=~?\"([\w|]+)\"", text)
    assert types
    assert outcomes
    for pattern in types:
        assert any(re.fullmatch(pattern, wire_type) for wire_type in MESSAGES), pattern
    for outcome in {one for several in outcomes for one in several.split("|")}:
        assert hasattr(provider, outcome)


def labels(name: str) -> list[str]:
    """Of an alert, as `name=value`."""
    pattern = r"^ +labels: \{(severity: (?:page|ticket)(?:, audience: staff)?)\}$"
    found = re.search(pattern, ALERTS[name], re.MULTILINE)
    assert found, name
    return found[1].replace(": ", "=").split(", ")


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_how_bad_what_and_what_to_do(name: str) -> None:
    block = ALERTS[name]
    assert name in EXPRESSIONS
    assert labels(name)
    assert re.search(r"^ +summary: \"\S.*\"$", block, re.MULTILINE)
    assert f"runbook: docs/operations.md#{name.lower()}\n" in block
    section = OPERATIONS.read_text().partition(f"\n### {name}\n")[2].partition("\n#")[0]
    for said in ("**Means:**", "**Look:**", "**Do:**"):
        assert said in section, f"{said} is not in the section {name}"


def test_every_alert_is_explained_and_no_other() -> None:
    section = OPERATIONS.read_text().partition("\n## Alerts\n")[2].partition("\n## ")[0]
    assert re.findall(r"^### (\w+)$", section, re.MULTILINE) == list(ALERTS)


def test_the_staff_hear_of_their_business_and_of_nothing_else() -> None:
    assert {name for name in ALERTS if "audience=staff" in labels(name)} == {
        "LowStock",
        "PaymentsFailing",
        "CancellationsHigh",
        "DisputesOpen",
        "RefundsRefused",
        "OrdersStuck",
        "DeadLettersWaiting",
    }


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_was_seen_to_fire_and_to_rest(name: str) -> None:
    tests = RULES_TEST.read_text()
    assert f"alertname: {name}\n" in tests
    assert re.search(rf"alertname: {name}, eval_time: \w+, exp_alerts: \[\]", tests)


def test_the_dashboard_asks_the_source_that_is_provisioned() -> None:
    folder = GRAFANA / "provisioning"
    source = (folder / "datasources" / "prometheus.yml").read_text()
    assert f"    uid: {DASHBOARD['uid']}\n" in source
    asked = {panel["datasource"]["uid"] for panel in DASHBOARD["panels"] if "targets" in panel}
    assert asked == {DASHBOARD["uid"]}
    (path,) = re.findall(r"path: ([\w/]+)", (folder / "dashboards" / "orderflow.yml").read_text())
    assert f"./deploy/grafana/orderflow.json:{path}/orderflow.json:ro" in COMPOSE
    assert f"GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH: {path}/orderflow.json" in COMPOSE


def test_panels_do_not_lie_upon_each_other() -> None:
    places: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        covered = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not covered & places, panel["title"]
        assert at["x"] + at["w"] <= 24
        places |= covered


def test_alerts_go_to_the_alertmanager_and_from_there_to_the_mail_sink() -> None:
    assert '- static_configs: [{targets: ["alertmanager:9093"]}]\n' in (
        RULES.with_name("prometheus.yml").read_text()
    )
    assert "  smtp_smarthost: mailpit:1025\n" in ALERTMANAGER.read_text()
    alertmanager, mailpit = (
        COMPOSE.partition(f"\n  {name}:\n")[2].partition("\n\n")[0]
        for name in ("alertmanager", "mailpit")
    )
    assert "/alertmanager.yml:/etc/alertmanager/alertmanager.yml:ro" in alertmanager
    for block in (alertmanager, mailpit):
        assert "    networks: [inside, doors]\n" in block


@pytest.mark.parametrize("name", ["prometheus", "alertmanager", "grafana"])
def test_monitoring_runs_as_nobody_of_note_on_files_that_it_cannot_change(name: str) -> None:
    block = COMPOSE.partition(f"\n  {name}:\n")[2].partition("\n\n")[0]
    assert "<<: *hardened" in block
    assert "profiles: [monitoring]" in block
    assert re.search(r"image: [\w/]+:v?\d+\.\d+\.\d+$", block, re.MULTILINE)
    assert re.search(r"user: \"[1-9]\d*:\d+\"", block)
    assert re.search(r"mem_limit: \d+m$", block, re.MULTILINE)
    mounted = re.findall(r"- (\./[^:]+):[^:\n]+(:ro)?$", block, re.MULTILINE)
    assert mounted
    for path, read_only in mounted:
        assert read_only
        assert (PROJECT / path).exists()
    assert all(port.startswith("127.0.0.1:") for port in re.findall(r"- (\S+):\d+$", block))


def run(tool: str, package: str, *arguments: object) -> None:
    path = shutil.which(tool)
    if path is None:
        pytest.skip(f"{tool} is not here; it is in Debian's package {package}")
    done = subprocess.run(
        [path, *map(str, arguments)], cwd=RULES.parent, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def promtool(*arguments: object) -> None:
    run("promtool", "prometheus", *arguments)


def amtool(*arguments: object) -> None:
    run("amtool", "prometheus-alertmanager", *arguments)


def test_promtool_takes_the_settings_and_the_rules() -> None:
    promtool("check", "config", "prometheus.yml")


def test_promtool_sees_each_alert_fire_when_it_should() -> None:
    promtool("test", "rules", RULES_TEST.name)


def test_promtool_understands_what_the_dashboard_asks(tmp_path: Path) -> None:
    asked = [
        {"record": f"panel:{number}", "expr": expression.replace("$__rate_interval", "1m")}
        for number, (name, expression) in enumerate(EXPRESSIONS.items())
        if name not in ALERTS
    ]
    rules = tmp_path / "dashboard.yml"
    rules.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": asked}]}))
    promtool("check", "rules", rules)


def test_amtool_takes_the_routes() -> None:
    amtool("check-config", ALERTMANAGER.name)


def test_amtool_takes_the_settings_of_a_real_shop(tmp_path: Path) -> None:
    """What docs/deployment.md puts in the place of Mailpit."""
    shown = re.search(
        r"^```yaml\n(global:\n.*?)^```$", DEPLOYMENT.read_text(), re.DOTALL | re.MULTILINE
    )
    assert shown
    assert "smtp_auth_password_file: /run/secrets/smtp_password\n" in shown[1]
    shipped = ALERTMANAGER.read_text()
    settings = re.sub(r"^global:\n(  .*\n)+", shown[1], shipped, flags=re.MULTILINE)
    assert settings.count("global:") == 1
    assert "mailpit:" not in settings
    (file := tmp_path / "alertmanager.yml").write_text(settings)
    amtool("check-config", file)


@pytest.mark.parametrize("name", ALERTS)
def test_amtool_sees_whom_an_alert_reaches(name: str) -> None:
    of = labels(name)
    receivers = ["staff"] if "audience=staff" in of else ["on-call"]
    if receivers == ["staff"] and "severity=page" in of:
        receivers.append("on-call")
    amtool(
        *("config", "routes", "test", f"--config.file={ALERTMANAGER.name}"),
        f"--verify.receivers={','.join(receivers)}",
        *(f"alertname={name}", *of),
    )
