"""Prometheus's own tool takes the alert rules."""

from __future__ import annotations

import subprocess

from tests.unit.infra.test_grafana import RULES


def test_promtool_takes_the_rules() -> None:
    done = subprocess.run(["promtool", "check", "rules", str(RULES)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
