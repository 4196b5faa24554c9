"""Dashboards and alert rules name metrics, labels and values that the code exports."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from console.fleet import metrics_of
from data.fleet.summary import FleetSummary
from edge_client.metrics import FAMILIES
from edge_client.serving.counts import ServerCounts

FOLDER = Path(__file__).parents[3] / "infra" / "grafana"
BOARDS = sorted(FOLDER.glob("*.json"))
RULES = FOLDER / "alerts.yaml"
OF_DEVICE = {"device", "inspection", "outcome", "verdict", "class", "engine", "sha256", "slot", "state", "kind", "le"}
OF_PROMETHEUS = {"instance", "job"}
CLOSED = {("andon_edge_requests_total", "outcome"): {"answered", "refused", "lost"}}  # edge_client/metrics.py
METRIC = re.compile(r"\bandon_[a-z0-9_]+")
SELECTOR = re.compile(r"(andon_[a-z0-9_]+)\{([^}]*)\}")
MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')


@pytest.fixture(scope="module")
def exported() -> dict[str, dict[str, set[str]]]:
    """Metric → label → values, as the code writes them."""
    found: dict[str, dict[str, set[str]]] = {}
    for family in FAMILIES:
        for suffix in ("_bucket", "_sum", "_count") if family.kind == "histogram" else ("",):
            found[f"andon_edge_{family.name}{suffix}"] = {label: set() for label in OF_DEVICE}
    counts = ServerCounts()
    counts.begin()
    counts.end("http", "m", 200, 0.1)
    counts.refuse("busy")
    states = {"healthy": 1, "silent": 1, "revoked": 0}
    summary = FleetSummary(
        devices=2,
        states=states,
        outcomes={"confirmed": 1, "quarantined": 1},
        engines={},
        clients={},
        sites={"a": states},
    )
    text = counts.prometheus(running=0, waiting=0) + "\n" + "\n".join(metrics_of(summary, 1))
    for line in text.splitlines():
        if match := re.match(r"(andon_\w+)(?:\{(.*)\})? ", line):
            labels = found.setdefault(match[1], defaultdict(set))
            for name, _, value in MATCHER.findall(match[2] or ""):
                labels[name].add(value)
    return found


def expressions() -> Iterator[tuple[str, str]]:
    for path in BOARDS:
        board = json.loads(path.read_text())
        for panel in board["panels"]:
            for target in panel["targets"]:
                yield f"{path.name}: {panel['title']}", target["expr"]
        for variable in board["templating"]["list"]:
            if variable["type"] == "query":
                yield f"{path.name}: variable {variable['name']}", variable["query"]["query"]
    for group in yaml.safe_load(RULES.read_text())["groups"]:
        for rule in group["rules"]:
            yield f"{RULES.name}: {rule['alert']}", rule["expr"]


@pytest.mark.parametrize(("where", "expression"), list(expressions()), ids=[w for w, _ in expressions()])
def test_every_metric_and_label_is_one_that_the_code_exports(
    where: str, expression: str, exported: dict[str, dict[str, set[str]]]
) -> None:
    names = set(METRIC.findall(expression))
    assert names
    assert names <= set(exported)
    for metric, inside in SELECTOR.findall(expression):
        for label, operator, value in MATCHER.findall(inside):
            assert label in {*exported[metric], *OF_PROMETHEUS}, (metric, label)
            known = CLOSED.get((metric, label)) or exported[metric].get(label)
            if known and operator in ("=", "!=") and label in ("state", "outcome"):
                assert value in known, (metric, label, value)
    for opening, closing in ("()", "{}", "[]"):
        assert expression.count(opening) == expression.count(closing)


def test_dashboards_have_their_own_ids_and_panels_do_not_overlap() -> None:
    boards = [json.loads(path.read_text()) for path in BOARDS]
    assert len({board["uid"] for board in boards}) == len(boards) >= 2
    for board in boards:
        taken: set[tuple[int, int]] = set()
        for panel in board["panels"]:
            at = panel["gridPos"]
            cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
            assert not cells & taken
            assert at["x"] + at["w"] <= 24
            taken |= cells


def test_every_alert_says_what_it_is_and_what_to_do() -> None:
    rules: list[dict[str, Any]] = [
        rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]
    ]
    assert len({rule["alert"] for rule in rules}) == len(rules)
    for rule in rules:
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert set(rule["annotations"]) == {"summary", "description"}
        assert re.fullmatch(r"\d+[smh]", rule["for"])
