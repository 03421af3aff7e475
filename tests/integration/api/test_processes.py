"""`python -m app.main` with several processes on one port: metrics speak for all, SIGTERM ends all."""

import re
import subprocess
import sys
import time
from pathlib import Path

import httpx

from app.local.processes import free_ports
from tests.integration.local.processes import assert_all_gone, processes_below

ROOT = Path(__file__).resolve().parents[3]
NUM_REQUESTS = 60


def counted(metrics: str, path: str) -> int:
    found = re.search(
        rf'^cleanclip_http_requests_total{{method="GET",route="{path}",status="200"}} (\S+)$', metrics, re.M
    )
    return 0 if found is None else int(float(found[1]))


def test_several_processes_serve_one_port_and_count_together(
    service_environment: dict[str, str], tmp_path: Path
) -> None:
    (port,) = free_ports(1)
    own = {"API__NUM_PROCESSES": "2", "API__PORT": str(port)}
    environment = service_environment | {f"CLEANCLIP_{name}": value for name, value in own.items()}
    url = f"http://127.0.0.1:{port}"
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "app.main"], cwd=ROOT, env=environment, stdout=log, stderr=log
        )
    try:
        _wait(url, process, tmp_path / "log")
        for _ in range(NUM_REQUESTS):  # a connection each, so that both processes get some
            assert httpx.get(f"{url}/healthz").status_code == 200
        scrapes = [httpx.get(f"{url}/metrics").text for _ in range(6)]
        below = processes_below(tmp_path)
    finally:
        process.terminate()
        process.wait(20)
    assert len(below) >= 2
    numbers = {counted(text, "/healthz") for text in scrapes}
    assert len(numbers) == 1, "whichever process is asked, the answer is the same"
    assert NUM_REQUESTS <= numbers.pop() <= NUM_REQUESTS + 40  # and those that waited for the start
    assert all("# TYPE cleanclip_jobs gauge" in text for text in scrapes)
    assert_all_gone(tmp_path)


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        try:
            if httpx.get(f"{url}/healthz").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.2)
