"""docs/how-to/operating/alerts: every rule is tried, and asks for nothing that no process shows."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from app.live.metrics import Metrics
from worker import metrics as of_workers

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "operating" / "alerts"
RULES = yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"][0]["rules"]


def test_promtool_finds_that_each_fires_when_it_should() -> None:
    if shutil.which("promtool") is None:
        if os.environ.get("CI"):
            pytest.fail("promtool is missing; .ci/run installs it (Debian's package prometheus)")
        pytest.skip("promtool is not installed here")
    command = ["promtool", "test", "rules", FOLDER / "tests.yml"]
    tried = subprocess.run(command, capture_output=True, text=True, check=False)
    assert tried.returncode == 0, tried.stdout + tried.stderr


def test_every_alert_has_a_test_in_which_it_fires() -> None:
    cases = yaml.safe_load((FOLDER / "tests.yml").read_text())["tests"]
    fired = {
        tried["alertname"]
        for case in cases
        for tried in case.get("alert_rule_test", ())
        if tried["exp_alerts"]
    }
    assert {rule["alert"] for rule in RULES} == fired


def test_every_metric_that_a_rule_asks_for_is_shown_by_some_process() -> None:
    collectors = [*Metrics(dict, lambda: 0).registry.collect(), *of_workers.REGISTRY.collect()]
    shown = {family.name for family in collectors}
    for rule in RULES:
        for name in re.findall(r"cleanclip_\w+", rule["expr"]):
            assert re.sub(r"_(total|bucket)$", "", name) in shown, f"{rule['alert']}: {name}"


def test_the_page_names_every_alert_and_every_metric() -> None:
    page = (FOLDER.parent / "monitoring.md").read_text()
    for rule in RULES:
        assert f"`{rule['alert']}`" in page
    for family in (*Metrics(dict, lambda: 0).registry.collect(), *of_workers.REGISTRY.collect()):
        assert family.name in page, family.name
