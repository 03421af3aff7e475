"""The command line and the request of a job's page order the same job: both are carried out and compared."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page
from typer.testing import CliRunner

from app.domain.states import DatasetKind
from cleanclip.command.main import app
from tests.browser import left_jobs as left
from tests.fixtures.tiny_png import RED_SQUARE
from tests.integration.api.service import Service
from tests.integration.api.test_scans import scan_order
from tests.integration.api.test_vettings import anchor

PICTURE = {"attack": "custom_patch", "image": RED_SQUARE}
AUDITS: dict[str, dict[str, Any]] = {
    "usual": {},
    "a suite": {"suite": "paper"},
    "several": {
        "attacks": [
            {"attack": "badnet", "pattern": "yellow", "target": "zero"},
            {"attack": "text_trigger", "text": 'it\'s, a=b; "$HOME" `id`'},
        ]
    },
    "the rebound": {"rebound": {}},
    "the probe": {"linear_probe": {}, "attacks": [{"attack": "sig"}]},
    "what has no option": {"gate": 0.25, "templates": ["a photo of it's {c}."], "linear_probe": {"folds": 3}},
    "fewer examples": {"examples": 2},
    "a picture": {"attacks": [PICTURE]},
}
RECIPES: dict[str, Any] = {
    "none": None,
    "defaults given": {"epochs": 10},
    "cleanclip": {"learning_rate": 1e-4, "precision": "fp32", "max_grad_norm": None, "eda_alpha": 0.2},
    "par": {"method": "par", "threshold": 2, "push_share": 0.25},
    "supervised": {"method": "supervised", "epochs": 3},
}
OTHERS: dict[str, dict[str, Any]] = {
    "seed and notes": {"seed": 7, "metadata": {"a.b": 'it\'s <b>\n$(id) = "x"', "flag": "--wait"}},
    "limits": {"policy": {"asr_at_most": 0.1}},
    "limits of some": {"policy": {"asr_at_most": 0.1, "asr_at_most_for": {"badnet": 0.2}}},
    "as uploaded": {"output_layout": "as_uploaded"},
    "a scan first": {"scan": {"significance": 0.01, "null": "none"}},
    "a scan first, and no target": {"scan": True, "audit": {"target": None}},
}


def what_was_ordered(service: Service, job_id: str) -> dict[str, Any]:
    job: dict[str, Any] = service.ours.http.get(f"/v1/jobs/{job_id}").json()
    names = (
        *("kind", "checkpoint_id", "dataset_id", "audit", "recipe", "policy"),
        *("policy_source", "seed", "output_layout", "max_attempts", "metadata", "scan"),
    )
    return {name: job[name] for name in names}


def typed(commands: str, folder: Path, monkeypatch: pytest.MonkeyPatch, service: Service) -> str:
    """By a shell that reads the lines, then by the real command with the words that it was given."""
    stub = folder / "cleanclip"
    stub.write_text(f"#!{sys.executable}\nimport json, sys\nprint(json.dumps(sys.argv[1:]))\n")
    stub.chmod(0o700)
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-euc", commands], cwd=folder, env={"PATH": path}, capture_output=True, check=True
    )
    monkeypatch.chdir(folder)
    environment = {
        "CLEANCLIP_URL": service.url,
        "CLEANCLIP_API_KEY": service.ours.key,
        "CLEANCLIP_CONFIG": str(folder / "config.json"),
        "CLEANCLIP_CACHE_DIR": str(folder / "cache"),
    }
    result = CliRunner().invoke(app, json.loads(done.stdout), env=environment)
    assert result.exit_code == 0, result.output
    return result.stdout.strip()


def sent(line: str, service: Service) -> str:
    """What curl would send."""
    words = shlex.split(line)
    headers = dict(words[place + 1].split(": ", 1) for place, word in enumerate(words) if word == "--header")
    assert headers["Authorization"] == "Bearer $CLEANCLIP_API_KEY"
    headers["Authorization"] = f"Bearer {service.ours.key}"
    [url] = [word for word in words if word.startswith("http")]
    answer = httpx.post(url, headers=headers, content=words[words.index("--data") + 1].encode())
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def cases() -> list[Any]:
    found = [pytest.param({"audit": one}, id=f"audit-{name}") for name, one in AUDITS.items()]
    found += [pytest.param({"recipe": one}, id=f"recipe-{name}") for name, one in RECIPES.items()]
    found += [pytest.param(one, id=name) for name, one in OTHERS.items()]
    found.append(
        pytest.param({"kind": "audit", "audit": AUDITS["what has no option"], "seed": 3}, id="kind-audit")
    )
    return found


@pytest.mark.parametrize("changes", cases())
def test_both_order_the_same_job(
    page: Page, service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    audit = {"dataset_id": service.dataset(DatasetKind.LABELLED), "target": "banana"}
    changes = changes | {"audit": audit | changes.get("audit", {})}
    recipe = changes.get("recipe") or {}
    if recipe.get("method") == "supervised":
        changes["dataset_id"] = service.dataset(DatasetKind.LABELLED)
    if changes.get("recipe", 0) is None:
        del changes["recipe"]
    job_id = left.ordered(service, **changes)
    page.goto(f"/ui/jobs/{job_id}")
    commands, curl = page.locator("#job-order pre.command").all()
    expected = what_was_ordered(service, job_id)
    assert what_was_ordered(service, typed(str(commands.text_content()), tmp_path, monkeypatch, service)) == (
        expected
    )
    assert what_was_ordered(service, sent(str(curl.text_content()), service)) == expected


def test_limits_that_are_kept_are_named_and_so_is_a_set_for_retrieval(
    page: Page, service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = service.ours.http.put("/v1/policies/strict", json={"asr_at_most": 0.2})
    assert answer.is_success, answer.text
    audit = {
        "dataset_id": service.dataset(DatasetKind.LABELLED, class_names=("zero", "--wait")),
        "retrieval_dataset_id": service.dataset(DatasetKind.PAIRS),
        "target": "--wait",
    }
    job_id = left.ordered(service, audit=audit, policy_name="strict")
    page.goto(f"/ui/jobs/{job_id}")
    commands, curl = page.locator("#job-order pre.command").all()
    expected = what_was_ordered(service, job_id)
    assert what_was_ordered(service, typed(str(commands.text_content()), tmp_path, monkeypatch, service)) == (
        expected
    )
    assert what_was_ordered(service, sent(str(curl.text_content()), service)) == expected


@pytest.mark.parametrize("detectors", [["collapse", "edits", "residual"], ["residual"]])
def test_a_scan_with_an_anchor_is_ordered_again_with_its_detectors(
    page: Page,
    service: Service,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    detectors: list[str],
) -> None:
    body = scan_order(service, anchor_checkpoint_id=anchor(service), detectors=detectors)
    job_id = service.ours.http.post("/v1/jobs", json=body).json()["id"]
    expected = what_was_scanned(service, job_id)
    page.goto(f"/ui/jobs/{job_id}")
    commands, curl = page.locator("#job-order pre.command").all()
    again = typed(str(commands.text_content()), tmp_path, monkeypatch, service)
    assert what_was_scanned(service, again) == expected
    assert what_was_scanned(service, sent(str(curl.text_content()), service)) == expected


def what_was_scanned(service: Service, job_id: str) -> dict[str, Any]:
    scan: dict[str, Any] = service.ours.http.get(f"/v1/jobs/{job_id}").json()["scan"]
    return scan
