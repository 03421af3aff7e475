"""docker/ and docker-compose.yml, checked as text: no Docker engine is needed, none is used."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
SECRETS = {
    name: f"{name}-value"
    for name in (
        "POSTGRES_PASSWORD",
        "DB_OWNER_PASSWORD",
        "DB_API_PASSWORD",
        "DB_WORKER_PASSWORD",
        "DB_SWEEPER_PASSWORD",
        "DB_WEBHOOKS_PASSWORD",
        "DB_OPERATOR_PASSWORD",
        "VALKEY_PASSWORD",
        "STORAGE_ACCESS_KEY",
        "STORAGE_SECRET_KEY",
    )
}
SERVERS = {"postgres", "valkey", "seaweedfs"}
REACH = {
    "migrate": {"postgres"},
    "operator": {"postgres"},
    "webhooks": {"postgres"},
    "api": SERVERS,
    "sweeper": SERVERS,
    "worker": SERVERS,
    "worker-gpu": SERVERS,
}
LOGINS = {
    "migrate": "owner_login",
    "operator": "operator_login",
    "webhooks": "webhooks_login",
    "api": "api_login",
    "sweeper": "sweeper_login",
    "worker": "worker_login",
    "worker-gpu": "worker_login",
}


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
    services: dict[str, Any] = _configuration(*options)["services"]
    return services


@cache
def _configuration(*options: str) -> dict[str, Any]:
    answer = _compose(*options, "config", secrets=SECRETS)
    assert answer.returncode == 0, answer.stderr
    return dict(yaml.safe_load(answer.stdout))


@pytest.mark.skipif(shutil.which("docker") is None, reason="docker's command is not installed here")
class TestCompose:
    def test_it_refuses_to_start_without_secrets(self) -> None:
        for given in ({}, {name: "x" for name in SECRETS if name != "VALKEY_PASSWORD"}):
            answer = _compose("config", "--quiet", secrets=given)
            assert answer.returncode != 0
            assert "set " in answer.stderr
        assert "VALKEY_PASSWORD" in answer.stderr

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

    def test_each_service_reaches_the_servers_that_it_needs_and_no_others(self) -> None:
        """Over a network that both are on. Those who talk to the world reach nobody else that way."""
        services = _services("gpu", "operator")
        networks = {name: set(service["networks"]) for name, service in services.items()}
        assert {
            name: {server for server in SERVERS if networks[server] & networks[name]}
            for name in set(services) - SERVERS
        } == REACH
        assert not any(networks[one] & networks[other] for one, other in combinations(SERVERS, 2))
        open_ones = {
            name for name, network in _configuration()["networks"].items() if not network.get("internal")
        }
        for network in open_ones:
            assert len([name for name in services if network in networks[name]]) == 1, network

    def test_no_server_does_without_a_password(self) -> None:
        services = _services()
        assert services["postgres"]["environment"]["POSTGRES_PASSWORD"] == SECRETS["POSTGRES_PASSWORD"]
        assert "POSTGRES_HOST_AUTH_METHOD" not in services["postgres"]["environment"]
        assert "requirepass" in services["valkey"]["command"][-1]
        assert services["valkey"]["environment"]["VALKEYCLI_AUTH"] == SECRETS["VALKEY_PASSWORD"]
        assert SECRETS["VALKEY_PASSWORD"] not in str(services["valkey"]["command"])
        assert services["seaweedfs"]["environment"]["AWS_SECRET_ACCESS_KEY"] == SECRETS["STORAGE_SECRET_KEY"]
        options = dict(word.partition("=")[::2] for word in services["seaweedfs"]["command"])
        assert options["-ip.bind"] == "127.0.0.1", "master, volumes and filer ask nobody who they are"
        assert options["-s3.ip.bind"] == "0.0.0.0"
        assert [port["target"] for port in services["seaweedfs"]["ports"]] == [8333]
        for name in ("postgres", "valkey"):
            assert "ports" not in services[name]

    def test_each_process_has_a_login_of_its_own_and_no_other_secret(self) -> None:
        services = _services("gpu", "operator")
        for name, login in LOGINS.items():
            environment = services[name]["environment"]
            url = urlsplit(environment["CLEANCLIP_DATABASE__URL"])
            owner = login.removesuffix("_login").upper()
            assert (url.username, url.password) == (login, SECRETS[f"DB_{owner}_PASSWORD"]), name
            held = {secret for secret, value in SECRETS.items() if value in str(environment)}
            expected = {f"DB_{owner}_PASSWORD"}
            if "valkey" in REACH[name]:
                expected |= {"VALKEY_PASSWORD", "STORAGE_ACCESS_KEY", "STORAGE_SECRET_KEY"}
            assert held == expected, name


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
