"""The release gate: which verdicts end the command with 12, and what another job's verdict does to it."""

import re
import shlex
from pathlib import Path
from typing import Any

import httpx
import pytest

from cleanclip.command.exit_codes import ExitCode
from cleanclip.command.gate import OUTCOMES, Gate, gate_of
from cleanclip.models import Result, Verdict
from tests.unit.cleanclip.service import job, ran

PAGE = Path(__file__).parents[4] / "docs/how-to/ci-gate.md"
ORDERS = {
    "audit": ("--labelled", "ds_2", "--target", "banana"),
    "sanitize": ("--data", "ds_1", "--labelled", "ds_2", "--target", "banana"),
}
RECHECKED = {"done": True, "why": "by_default", "num_withheld": 600}
NOTHING_FOUND = "Nothing found with the 4 triggers tested: inconclusive"


class Service(httpx.MockTransport):
    """A job that ends with this verdict, and another job's verdict on the same weights."""

    def __init__(
        self, outcome: str | None, *, other: str | None = None, recheck: dict[str, Any] = RECHECKED
    ) -> None:
        super().__init__(self._handle)
        result = {
            "outcome": outcome,
            "verdict": {"outcome": outcome, "reason": "So it is."},
            "before": {"attacks": []},
            "recheck": recheck,
        }
        self.job = job(id="job_1", state="succeeded", result=None if outcome is None else result)
        self.others = [] if other is None else [_verdict(other)]
        self.asked: list[str] = []

    def _handle(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.url.path)
        if request.url.path.endswith("/verdicts"):
            return httpx.Response(200, json={"data": self.others, "num_verdicts": len(self.others)})
        return httpx.Response(202 if request.method == "POST" else 200, json=self.job)


def _verdict(outcome: str) -> dict[str, Any]:
    headline = NOTHING_FOUND if outcome == "inconclusive" else "A trigger works on this model: fail"
    return {"job_id": "job_9", "stage": "audit", "outcome": outcome, "headline": headline, "num_triggers": 4}


def ordered(kind: str, *arguments: str) -> tuple[str, ...]:
    return (kind, "--checkpoint", "ckpt_1", *ORDERS[kind], *arguments)


@pytest.mark.parametrize("kind", ["audit", "sanitize"])
@pytest.mark.parametrize(
    ("outcome", "plain", "all_of_them", "allowed"),
    [
        ("pass", 0, 0, 0),
        ("inconclusive", 0, 12, 0),
        ("undecided", 0, 12, 12),
        ("controlled", 0, 12, 12),
        ("fail", 0, 12, 12),
    ],
)
def test_the_gate_is_shut_but_for_a_pass_and_for_what_is_allowed_by_name(
    kind: str, outcome: str, plain: int, all_of_them: int, allowed: int
) -> None:
    every = ("--fail-on", ",".join(OUTCOMES))
    assert ran(Service(outcome), *ordered(kind, "--wait")) == plain
    assert ran(Service(outcome), *ordered(kind, *every)) == all_of_them, "it waits by itself"
    assert ran(Service(outcome), *ordered(kind, *every, "--allow-inconclusive")) == allowed
    assert ran(Service(outcome), *ordered(kind, "--allow-inconclusive")) == allowed
    assert ran(Service(outcome), "jobs", "wait", "job_1", *every) == all_of_them


@pytest.mark.parametrize("named", ["fail", "undecided", "fail,undecided"])
def test_what_found_nothing_or_failed_opens_no_gate_that_names_something_else(named: str) -> None:
    for outcome in ("fail", "inconclusive"):
        assert ran(Service(outcome), *ordered("audit", "--fail-on", named)) == ExitCode.GATE_SHUT
    allowed = ("--fail-on", named, "--allow-inconclusive")
    assert ran(Service("inconclusive"), *ordered("audit", *allowed)) == ExitCode.OK


@pytest.mark.parametrize("outcome", [None, "cleaned", "clean"])
def test_a_gate_is_shut_where_there_is_no_verdict_that_it_knows(outcome: str | None) -> None:
    for options in (("--fail-on", "fail"), ("--allow-inconclusive",)):
        assert ran(Service(outcome), *ordered("audit", *options)) == ExitCode.GATE_SHUT


@pytest.mark.parametrize(
    ("own", "other", "status", "warns"),
    [
        ("inconclusive", "fail", 12, True),
        ("pass", "fail", 12, True),
        ("pass", "undecided", 12, True),
        ("pass", "inconclusive", 0, False),
        ("inconclusive", "pass", 0, False),
        ("fail", "fail", 12, False),
    ],
)
def test_another_jobs_verdict_on_the_same_weights_counts_where_it_found_something(
    capsys: pytest.CaptureFixture[str], own: str, other: str, status: int, warns: bool
) -> None:
    assert ran(Service(own, other=other), *ordered("audit", "--allow-inconclusive", "--quiet")) == status
    reported = capsys.readouterr().err
    warning = "warning: another verdict on these weights is worse. A trigger works on this model: fail: job_9"
    assert (warning in reported) is warns
    assert ran(Service(own, other=other), *ordered("audit", "--wait")) == ExitCode.OK
    assert (warning in capsys.readouterr().err) is warns, "warned without a gate, too"


def test_a_service_that_does_not_say_what_others_found_opens_nothing() -> None:
    class Silent(Service):
        def _handle(self, request: httpx.Request) -> httpx.Response:
            if request.url.path.endswith("/verdicts"):
                return httpx.Response(503)
            return super()._handle(request)

    assert ran(Silent("pass"), *ordered("audit", "--fail-on", "fail")) == ExitCode.UNREACHABLE


def test_what_a_gate_cannot_fail_on_is_refused_before_anything_is_ordered() -> None:
    for options in (("--fail-on", "pass"), ("--fail-on", "fail,"), ("--fail-on", "fail", "--dry-run")):
        service = Service("pass")
        assert ran(service, *ordered("audit", *options)) == ExitCode.USAGE
        assert service.asked == []


def test_inconclusive_is_said_in_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    service = Service("inconclusive")
    service.job["result"]["verdict"]["reason"] = f"{NOTHING_FOUND}. A trigger that was not tested may work."
    assert ran(service, *ordered("audit", "--wait")) == ExitCode.OK
    assert f"\n{NOTHING_FOUND}. A trigger that was not tested may work.\n" in capsys.readouterr().out


def test_no_gate_is_asked_for_unless_it_is_named() -> None:
    assert gate_of(None, allow_inconclusive=False) == Gate(None)
    assert Gate(None).why_shut("fail", None, Verdict(job_id="job_9", outcome="fail")) is None


@pytest.mark.parametrize(
    ("outcome", "num_withheld", "options", "status"),
    [
        ("pass", None, ("--fail-on", "fail"), 12),
        ("pass", None, ("--allow-inconclusive",), 12),
        ("pass", None, ("--allow-unchecked",), 0),
        ("inconclusive", None, ("--allow-inconclusive",), 12),
        ("inconclusive", None, ("--allow-inconclusive", "--allow-unchecked"), 0),
        ("inconclusive", None, ("--allow-unchecked",), 12),
        ("pass", 0, ("--fail-on", "fail"), 12),
        ("pass", 0, ("--allow-inconclusive",), 0),
        ("pass", 0, ("--allow-unchecked",), 0),
        ("fail", None, ("--allow-unchecked",), 12),
    ],
)
def test_what_no_second_audit_confirmed_on_withheld_images_opens_a_gate_by_name_only(
    capsys: pytest.CaptureFixture[str],
    outcome: str,
    num_withheld: int | None,
    options: tuple[str, ...],
    status: int,
) -> None:
    """`num_withheld` None: no second audit; 0: it withheld nothing, so a pass is inconclusive."""
    recheck = {"done": num_withheld is not None, "num_withheld": num_withheld or 0}
    assert ran(Service(outcome, recheck=recheck), *ordered("sanitize", *options)) == status
    reported = capsys.readouterr().err
    assert ("no second audit confirmed the figures" in reported) is (
        status == 12 and num_withheld is None and (outcome == "pass" or "--allow-inconclusive" in options)
    )


@pytest.mark.parametrize(
    ("model", "outcome", "is_open"),
    [
        ("bad", "controlled", False),
        ("bad, where a null fits", "fail", False),
        ("cleaned", "inconclusive", True),
        ("badly cleaned", "controlled", False),
        ("clean", "inconclusive", True),
    ],
)
def test_the_gate_of_the_page_as_it_is_written_opens_on_a_clean_and_on_a_cleaned_model_only(
    model: str, outcome: str, is_open: bool
) -> None:
    """Nobody names a trigger, a target or a null."""
    [line] = re.findall(r"^cleanclip scan .*?\"\$@\"$", PAGE.read_text(), re.M | re.S)
    words = shlex.split(line.replace("\\\n", " "))
    assert not {"--target", "--null", "--attack", "--suite", "--allow-unchecked"} & {*words}
    given = gate_of(words[words.index("--fail-on") + 1], allow_inconclusive="--allow-inconclusive" in words)
    checked = Result.model_validate({"recheck": RECHECKED}).recheck
    assert (given.why_shut(outcome, checked, None) is None) == is_open, model
