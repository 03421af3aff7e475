"""docker/ and docker-compose.yml, checked as text: no Docker engine is needed, none is used."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
SECRETS = {"POSTGRES_PASSWORD": "p", "STORAGE_ACCESS_KEY": "a", "STORAGE_SECRET_KEY": "s"}


def _compose(*arguments: str, secrets: dict[str, str]) -> subprocess.CompletedProcess[str]:
    if subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode != 0:
        if os.environ.get("CI"):
            pytest.fail("docker compose is missing; .ci/run installs it")
        pytest.skip("docker compose is not installed here")
    environment = {k: v for k, v in os.environ.items() if k not in SECRETS} | secrets
    return subprocess.run(
        ["docker", "compose", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def _services(*profiles: str) -> dict[str, Any]:
    options = [option for profile in profiles for option in ("--profile", profile)]
    answer = _compose(*options, "config", secrets=SECRETS)
    assert answer.returncode == 0, answer.stderr
    services: dict[str, Any] = yaml.safe_load(answer.stdout)["services"]
    return services


@pytest.mark.skipif(shutil.which("docker") is None, reason="docker's command is not installed here")
class TestCompose:
    def test_it_refuses_to_start_without_secrets(self) -> None:
        answer = _compose("config", "--quiet", secrets={})
        assert answer.returncode != 0
        assert "POSTGRES_PASSWORD" in answer.stderr or "STORAGE_" in answer.stderr

    def test_a_machine_without_a_gpu_starts_everything_but_the_gpu_worker(self) -> None:
        services = _services()
        ours = {"migrate", "api", "sweeper", "webhooks", "worker"}
        assert set(services) == ours | {"postgres", "valkey", "seaweedfs"}
        for name, service in services.items():
            assert (
                not service.get("deploy", {}).get("resources", {}).get("reservations", {}).get("devices")
            ), name

    def test_the_gpu_worker_reserves_a_device_in_its_profile(self) -> None:
        devices = _services("gpu")["worker-gpu"]["deploy"]["resources"]["reservations"]["devices"]
        assert devices[0]["driver"] == "nvidia"
        assert devices[0]["capabilities"] == ["gpu"]

    def test_every_service_is_bounded_read_only_and_without_privileges(self) -> None:
        for name, service in _services("gpu").items():
            limits = service["deploy"]["resources"]["limits"]
            assert limits["memory"], name
            assert limits["cpus"], name
            assert service["read_only"] is True, name
            assert service["cap_drop"] == ["ALL"], name
            assert "no-new-privileges:true" in service["security_opt"], name

    def test_every_long_running_part_can_say_whether_it_is_well(self) -> None:
        services = _services("gpu")
        image_checks = {"api"}  # the check is in the image
        for name in set(services) - {"migrate", "sweeper", "webhooks"} - image_checks:
            assert services[name]["healthcheck"]["test"], name
        assert "HEALTHCHECK" in (ROOT / "docker/api.Dockerfile").read_text()


@pytest.mark.parametrize("name", ["api.Dockerfile", "worker.Dockerfile"])
class TestDockerfiles:
    def test_hadolint_finds_nothing(self, name: str) -> None:
        linter = Path(sys.executable).with_name("hadolint")
        answer = subprocess.run([linter, ROOT / "docker" / name], capture_output=True, text=True, check=False)
        assert answer.returncode == 0, answer.stdout + answer.stderr

    def test_the_image_does_not_run_as_root(self, name: str) -> None:
        lines = (ROOT / "docker" / name).read_text().splitlines()
        users = [line.split()[1] for line in lines if line.startswith("USER ")]
        assert users[-1:] == ["10001"]


def test_the_api_image_installs_no_torch() -> None:
    text = (ROOT / "docker/api.Dockerfile").read_text()
    assert '".[api]"' in text
    assert "sanitizer]" not in text
