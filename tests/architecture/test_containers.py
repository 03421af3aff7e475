"""docker/ and docker-compose.yml, checked as text: no Docker engine is needed, none is used."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from app.queue.names import HEAVY_QUEUE, LIGHT_QUEUE
from tools import make_seccomp

ROOT = Path(__file__).resolve().parents[2]
SECRETS_OF = {
    "migrate": {"DB_OWNER_PASSWORD"},
    "bucket": {"STORAGE_OWNER_SECRET"},
    "operator": {"DB_OPERATOR_PASSWORD", "STORAGE_OPERATOR_SECRET"},
    "webhooks": {"DB_WEBHOOKS_PASSWORD"},
    "api": {"DB_API_PASSWORD", "VALKEY_API_PASSWORD", "STORAGE_API_SECRET"},
    "sweeper": {"DB_SWEEPER_PASSWORD", "VALKEY_SWEEPER_PASSWORD", "STORAGE_SWEEPER_SECRET"},
    "worker": {"DB_WORKER_PASSWORD", "VALKEY_WORKER_PASSWORD", "STORAGE_WORKER_SECRET"},
}
SECRETS_OF |= {"worker-light": SECRETS_OF["worker"], "worker-gpu": SECRETS_OF["worker"]}
OF_SERVERS = {"POSTGRES_PASSWORD", "VALKEY_PASSWORD"}
SECRETS = {name: f"{name}-@#:/value" for name in {*OF_SERVERS, *set.union(*SECRETS_OF.values())}}
SERVERS = {"postgres", "valkey", "store"}
REACH = {
    "signing-key": set(),
    "migrate": {"postgres"},
    "bucket": {"store"},
    "operator": {"postgres", "store"},
    "webhooks": {"postgres"},
    **dict.fromkeys(("api", "sweeper", "worker", "worker-light", "worker-gpu"), SERVERS),
}
COMPOSE_FILES = ("docker-compose.yml", "docker/sources.yml")
WORKERS = {"worker", "worker-light", "worker-gpu"}


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
        ours = {"migrate", "bucket", "signing-key", "api", "sweeper", "webhooks", "worker", "worker-light"}
        assert set(services) == ours | {"postgres", "valkey", "seaweedfs", "store"}
        for name, service in services.items():
            assert (
                not service.get("deploy", {}).get("resources", {}).get("reservations", {}).get("devices")
            ), name

    def test_a_key_is_made_before_the_workers_whose_results_it_signs(self) -> None:
        services = _services("gpu")
        assert services["signing-key"]["network_mode"] == "none"
        assert "environment" not in services["signing-key"]
        for name, service in services.items():
            path = service.get("environment", {}).get("CLEANCLIP_SIGNING__KEY_FILE")
            mounted = [one for one in service.get("volumes", ()) if one["target"] == "/signing"]
            if name in {"worker", "worker-gpu"}:
                assert path == "/signing/signing-key.pem"
                assert service["depends_on"]["signing-key"]["condition"] == "service_completed_successfully"
                assert [one["read_only"] for one in mounted] == [True]
            else:
                assert path is None
                assert len(mounted) == (name == "signing-key")

    def test_the_gpu_worker_reserves_a_device_in_its_profile(self) -> None:
        devices = _services("gpu")["worker-gpu"]["deploy"]["resources"]["reservations"]["devices"]
        assert devices[0]["driver"] == "nvidia"
        assert devices[0]["capabilities"] == ["gpu"]

    def test_every_service_is_bounded_read_only_and_without_privileges(self) -> None:
        for name, service in _services("gpu", "operator").items():
            limits = service["deploy"]["resources"]["limits"]
            assert limits["memory"], name
            assert "cpus" not in limits, f"{name}: a host with fewer cores would refuse to start it"
            assert service["read_only"] is True, name
            assert service["cap_drop"] == ["ALL"], name
            assert "no-new-privileges:true" in service["security_opt"], name
            assert not any("uid=" in place for place in service.get("tmpfs", ())), (
                "Podman knows no such option"
            )

    def test_workers_alone_have_the_profile_that_lets_them_cut_children_off(self) -> None:
        for name, service in _services("gpu", "operator").items():
            has_profile = any(option.startswith("seccomp") for option in service["security_opt"])
            assert has_profile == (name in WORKERS), name
            if name in WORKERS:
                assert service["environment"]["CLEANCLIP_WORKER__REQUIRE_ISOLATION"] == "network"

    def test_servers_with_data_are_given_the_time_that_they_take_to_stop(self) -> None:
        """Compose's own ten seconds killed SeaweedFS before it had closed its volumes; it takes 25 s."""
        services = _services()
        for name in ("postgres", "seaweedfs"):
            assert services[name]["stop_grace_period"] == "1m0s", name
        assert "-volume.preStopSeconds=1 " in (ROOT / "docker/seaweedfs.sh").read_text()

    def test_each_queue_has_a_worker_of_its_own(self) -> None:
        services = _services("gpu")
        queues = {
            name: services[name]["command"][services[name]["command"].index("--queues") + 1]
            for name in WORKERS
        }
        assert queues == {"worker": HEAVY_QUEUE, "worker-gpu": HEAVY_QUEUE, "worker-light": LIGHT_QUEUE}

    def test_every_long_running_part_can_say_whether_it_is_well(self) -> None:
        services = _services("gpu")
        once = {"migrate", "bucket", "signing-key"}
        for name in set(services) - once - {"api"}:  # the API's check is in the image
            assert services[name]["healthcheck"]["test"], name
        assert "HEALTHCHECK" in (ROOT / "docker/api.Dockerfile").read_text()

    def test_each_service_reaches_the_servers_that_it_needs_and_no_others(self) -> None:
        """Over a network that both are on. Those who talk to the world reach nobody else that way."""
        services = _services("gpu", "operator")
        servers = {*SERVERS, "seaweedfs"}
        networks = {name: set(service.get("networks", ())) for name, service in services.items()}
        assert {
            name: {server for server in servers if networks[server] & networks[name]}
            for name in set(services) - servers
        } == REACH
        meet = {
            (one, other) for one, other in combinations(sorted(servers), 2) if networks[one] & networks[other]
        }
        assert meet == {("seaweedfs", "store")}, (
            "its port for its own kind is open to the one that passes S3 on"
        )
        open_ones = {
            name for name, network in _configuration()["networks"].items() if not network.get("internal")
        }
        for network in open_ones:
            assert len([name for name in services if network in networks[name]]) == 1, network

    def test_only_the_api_and_the_stores_s3_port_are_published(self) -> None:
        published = {
            (name, port["target"])
            for name, service in _services("gpu").items()
            for port in service.get("ports", ())
        }
        assert published == {("api", 8000), ("store", 8333)}
        metrics = _services("gpu")["api"]["environment"]["CLEANCLIP_METRICS__PORT"]
        assert metrics not in ("8000", "8333")

    def test_each_process_has_a_login_of_its_own_at_each_server_and_no_other_secret(self) -> None:
        services = _services("gpu", "operator")
        logins: set[tuple[str, str]] = set()
        for name, secrets in SECRETS_OF.items():
            environment = services[name]["environment"]
            assert {secret for secret, value in SECRETS.items() if value in str(environment)} == secrets, name
            for variable in ("CLEANCLIP_DATABASE__URL", "CLEANCLIP_BROKER__URL"):
                assert urlsplit(environment.get(variable, "")).password is None, "it would have to be quoted"
            role = name.split("-")[0]
            if any(secret.startswith("DB_") for secret in secrets):
                user = {"migrate": "owner"}.get(role, role)
                assert urlsplit(environment["CLEANCLIP_DATABASE__URL"]).username == f"{user}_login", name
                logins.add(("postgres", user))
            if any(secret.startswith("VALKEY_") for secret in secrets):
                assert urlsplit(environment["CLEANCLIP_BROKER__URL"]).username == role, name
                logins.add(("valkey", role))
            if any(secret.startswith("STORAGE_") for secret in secrets):
                user = {"bucket": "owner"}.get(role, role)
                assert environment["CLEANCLIP_STORAGE__ACCESS_KEY"] == user, name
                logins.add(("store", user))
        assert len(logins) == len(SECRETS) - len(OF_SERVERS), "no two of them share one"


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
    assert "requirements/api.txt" in (ROOT / "docker/api.Dockerfile").read_text()
    names = {line.split("==")[0] for line in (ROOT / "docker/requirements/api.txt").read_text().splitlines()}
    assert "sqlalchemy" in names
    assert not names & {"torch", "numpy", "open-clip-torch"}


@pytest.mark.parametrize("name", ["build.txt", "syft.txt", "api.txt", "worker.txt", "torch-cuda.txt"])
def test_packages_of_images_are_pinned_with_hashes(name: str) -> None:
    text = (ROOT / "docker/requirements" / name).read_text()
    packages = [line for line in text.splitlines() if not line.startswith(" ")]
    assert packages
    for line in packages:
        assert "==" in line, line
        assert line.endswith("\\"), f"{line}: no hash"
    assert "://" not in text


def test_images_have_the_versions_that_were_tried_together() -> None:
    """Made again by `python -m tools.lock_images` after a change of constraints.txt."""
    tried = dict(
        line.lower().split("==")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line and not line.startswith("#")
    )
    for name in ("api.txt", "worker.txt"):
        for line in (ROOT / "docker/requirements" / name).read_text().splitlines():
            if "==" in line:
                package, version = line.split()[0].split("==")
                package = package.partition("[")[0]
                expected = tried.get(package, tried.get(package.replace("-", "_")))
                assert expected in (None, version), f"{name}: {package}"


def test_the_seccomp_profile_is_made_of_the_calls_that_children_and_guards_make() -> None:
    assert make_seccomp.PLACE.read_text() == make_seccomp.profile(), "python -m tools.make_seccomp"
    names = make_seccomp.names()
    assert {"unshare", "mount", "landlock_restrict_self", "seccomp"} <= set(names)
    denied = {
        "bpf",
        "ptrace",
        "io_uring_setup",
        "keyctl",
        "userfaultfd",
        "perf_event_open",
        "init_module",
        "reboot",
    }
    assert not denied & set(names)


@pytest.mark.parametrize(
    ("extra", "names"), [("api", ["api.txt"]), ("worker", ["worker.txt", "torch-cuda.txt"])]
)
def test_images_have_every_package_that_the_service_asks_for(extra: str, names: list[str]) -> None:
    asked = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    ours = tomllib.loads((ROOT / "cleanclip/pyproject.toml").read_text())["project"]["dependencies"]

    def packages(requirements: list[str]) -> set[str]:
        found: set[str] = set()
        for requirement in requirements:
            name, _, extras = re.split(r"[><=;~! ]", requirement)[0].partition("[")
            if name == "cleanclip-service":
                found |= packages([one for extra in extras.rstrip("]").split(",") for one in asked[extra]])
            else:
                found.add(name.lower().replace("_", "-"))
        return found

    locked = {
        re.split(r"[\[=]", line)[0]
        for name in names
        for line in (ROOT / "docker/requirements" / name).read_text().splitlines()
        if "==" in line
    }
    assert packages(asked[extra]) | packages(ours) <= locked, "python -m tools.lock_images"


def test_fetching_gives_a_way_out_to_the_worker_that_inspects_and_to_nobody_else() -> None:
    whole, more = (yaml.safe_load((ROOT / name).read_text()) for name in COMPOSE_FILES)
    assert more == {"services": {"worker-light": {"networks": ["way-out"]}}}
    assert "way-out" in whole["networks"]
    assert "way-out" not in whole["services"]["worker-light"]["networks"]
    reads_hosts = {
        name
        for name, one in whole["services"].items()
        if "CLEANCLIP_SOURCES__ALLOWED_HOSTS" in (one.get("environment") or {})
    }
    assert reads_hosts == {"api", "worker-light"}
