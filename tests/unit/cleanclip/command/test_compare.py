"""Jobs side by side on a terminal: a scan, the cleaning after it, and the scan of what it made."""

import json
from typing import Any

import httpx
import pytest

from cleanclip.command.exit_codes import ExitCode
from cleanclip.command.main import main
from cleanclip.command.session import Session
from tests.unit.cleanclip.service import KEY, URL, FakeClock, FakeService, job


def share(value: float) -> dict[str, Any]:
    return {"value": value, "low": value, "high": value, "successes": 1, "n": 400}


def led(value: float) -> list[dict[str, Any]]:
    one = {"family": "patch:0.25", "class_name": "yellow seven", "led": share(value), "without": share(0.01)}
    colour = one | {"family": "colour:0.3", "judged": False}
    return [one | {"judged": True}, colour]


def scan(name: str, value: float, outcome: str) -> dict[str, Any]:
    found = {"verdict": {"outcome": outcome}, "p_value": None, "control": led(value)}
    ordered = {"audit": None, "scan": {"dataset_id": "ds_9"}}
    return job(id=name, kind="scan", state="succeeded", result={"outcome": outcome, "scan": found}, **ordered)


CLEANING = job(
    id="job_2",
    kind="sanitize",
    state="succeeded",
    recipe={"method": "uar"},
    result={
        "outcome": "pass",
        "verdict": {"outcome": "pass"},
        "before": {"ca": share(0.9), "attacks": []},
        "after": {"ca": share(0.8), "attacks": []},
        "control": led(0.2),
    },
)


VETTING = job(id="job_4", kind="vet", state="succeeded")


def asked(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    named = {"job_1": scan("job_1", 1.0, "controlled"), "job_2": CLEANING, "job_4": VETTING}
    named["job_3"] = scan("job_3", 0.19, "inconclusive")
    rows = [named[one] for one in arguments if one in named]
    service = FakeService(*(httpx.Response(200, json=row) for row in rows))
    with pytest.raises(SystemExit) as ended:
        main(
            ["--url", URL, "--api-key", KEY, "compare", *arguments],
            session=Session(transport=service, clock=FakeClock().clock()),
        )
    shown = capsys.readouterr()
    return int(ended.value.code or 0), shown.out, shown.err


def test_a_scan_a_cleaning_and_the_next_scan_stand_side_by_side(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = asked(capsys, "job_1", "job_2", "job_3")
    lines = {line[: len("strongest patch:0.25")].strip(): line for line in out.splitlines()}
    assert status == 0
    assert lines["verdict"].split() == ["verdict", "controlled", "pass", "inconclusive"]
    strongest = lines["strongest patch:0.25"]
    assert [strongest.count(f"{value} % [") for value in ("100.0", "20.0", "19.0")] == [1, 1, 1]
    assert "90.0 % [90.0, 90.0] n=400 → 80.0 %" in lines["CA"]
    assert "strongest colour:0.3 (not judged)" in out
    assert "not all measured on the same test images" in err


def test_as_a_document_it_has_the_jobs_in_their_order(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = asked(capsys, "job_1", "job_2", "job_3", "--json")
    jobs = json.loads(out)["jobs"]
    assert [one["id"] for one in jobs] == ["job_1", "job_2", "job_3"]
    assert jobs[1]["result"]["control"][0]["led"]["value"] == 0.2


@pytest.mark.parametrize("jobs", [("job_1",), ("job_1", "job_1"), tuple("abcdefg")])
def test_one_job_and_the_same_job_twice_are_refused(
    jobs: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert asked(capsys, *jobs)[0] == ExitCode.USAGE


def test_a_vetting_is_refused_as_the_page_refuses_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert asked(capsys, "job_1", "job_4")[:2] == (ExitCode.USAGE, "")
