"""Each page and each command of reading is shown for every kind, state, stage, outcome and detector there is.

The values are those of the code's own lists, so a new one is looked at as soon as it is added.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import get_args

import httpx
import pytest
from typer.testing import CliRunner

from app.domain.states import PUBLIC_KINDS, CheckpointState, DatasetKind, DatasetState, JobKind, JobState
from app.domain.verdicts import VerdictOutcome, VerdictStage
from app.services import api_keys, sessions
from cleanclip.command.main import app
from cleanclip.kinds.catalogue import KINDS
from cleanclip.vocabulary.found_triggers import has_pattern
from cleanclip.vocabulary.image_edits import Edit, EditName
from cleanclip.vocabulary.scan_options import Detector, FamilyName, PatternFamily
from cleanclip.vocabulary.scan_report import MOST_HYPOTHESES, ScanReport
from cleanclip.vocabulary.verdicts import state_words
from tests.browser import left_jobs
from tests.integration.api.service import Service, Tenant
from tests.integration.api.test_verdicts import checkpoint, judged
from tests.suites import pairs

FAMILIES: tuple[PatternFamily | Edit, ...] = (
    *(PatternFamily(family=name, budget=0.25) for name in get_args(FamilyName)),
    *(Edit(edit=name, strength=0.5) for name in get_args(EditName)),
)
LEFT: dict[JobKind, Callable[[Service], str]] = {
    JobKind.SANITIZE: left_jobs.finished,
    JobKind.AUDIT: lambda service: left_jobs.finished(service, "audit"),
    JobKind.SCAN: left_jobs.scanned,
    JobKind.TEXT_SCAN: left_jobs.text_scanned,
    JobKind.VET: left_jobs.vetted,
}


@pytest.fixture(scope="module")
def pages(service: Service) -> Iterator[httpx.Client]:
    with signed_in(service, service.ours) as client:
        yield client


@contextmanager
def signed_in(service: Service, tenant: Tenant) -> Iterator[httpx.Client]:
    """A browser without scripts."""
    presented = api_keys.read_key(tenant.key)
    with service.database.unit_of_work() as unit:
        token = sessions.make_link(unit, tenant.project_id, presented, lasts_s=600)
    with httpx.Client(base_url=f"{service.url}/ui", timeout=60) as client:
        client.get("/sign-in/once", params={"token": token})
        yield client


@pytest.fixture
def cleanclip(service: Service, tmp_path: Path) -> Callable[..., str]:
    """The command, in this process; what it printed."""
    environment = {
        "CLEANCLIP_URL": service.url,
        "CLEANCLIP_API_KEY": service.ours.key,
        "CLEANCLIP_CONFIG": str(tmp_path / "config.json"),
    }

    def run(*words: str) -> str:
        done = CliRunner().invoke(app, [*words], env=environment)
        assert done.exit_code == 0, (words, done.output, done.exception)
        return done.stdout

    return run


def shown(pages: httpx.Client, *paths: str) -> str:
    """The last of these pages."""
    for path in paths:
        answer = pages.get(path)
        assert answer.status_code == 200, (path, answer.status_code)
    return answer.text


@pytest.mark.parametrize(("stage", "outcome"), pairs(VerdictStage, VerdictOutcome))
def test_a_verdict_of_every_stage_stands_on_its_checkpoint(
    stage: VerdictStage,
    outcome: VerdictOutcome,
    service: Service,
    pages: httpx.Client,
    cleanclip: Callable[..., str],
) -> None:
    weights = hashlib.sha256(f"{stage} {outcome}".encode()).hexdigest()
    found = checkpoint(service, weights)
    judged(service, weights, outcome, stage=stage)
    page = shown(pages, "/checkpoints", f"/checkpoints/{found}/part", f"/checkpoints/{found}")
    assert f'<span class="badge {outcome}">' in page
    assert outcome in cleanclip("checkpoints", "show", found)
    assert outcome in cleanclip("checkpoints", "ls")
    leading = badges(page)[0]
    assert leading == outcome, "one badge leads, and it is the worst verdict"


def test_a_readable_file_is_called_neither_accepted_nor_good(
    service: Service, pages: httpx.Client, cleanclip: Callable[..., str]
) -> None:
    found = service.checkpoint()
    service.execute("UPDATE checkpoints SET weights_sha256 = :new WHERE id = :id", new=found, id=found)
    assert badges(shown(pages, f"/checkpoints/{found}"))[0] == "not yet audited"
    assert "accepted" not in badges(shown(pages, "/checkpoints"))
    for reported in (cleanclip("checkpoints", "show", found), cleanclip("checkpoints", "ls")):
        assert "readable" in reported
        assert "not yet audited" in reported
        assert "accepted" not in reported


def badges(page: str) -> list[str]:
    return re.findall('<span class="badge [^"]*">([^<]*)</span>', page)


@pytest.mark.parametrize("state", CheckpointState)
def test_a_checkpoint_is_shown_in_every_state(
    state: CheckpointState, service: Service, pages: httpx.Client, cleanclip: Callable[..., str]
) -> None:
    found = service.checkpoint(state)
    shown(pages, f"/checkpoints?state={state}", f"/checkpoints/{found}/part", f"/checkpoints/{found}")
    assert state_words(state) in cleanclip("checkpoints", "show", found)
    assert found in cleanclip("checkpoints", "ls", "--state", state_words(state))


@pytest.mark.parametrize(("kind", "state"), pairs(DatasetKind, DatasetState))
def test_a_dataset_is_shown_in_every_state(
    kind: DatasetKind,
    state: DatasetState,
    service: Service,
    pages: httpx.Client,
    cleanclip: Callable[..., str],
) -> None:
    found = service.dataset(kind, state)
    shown(pages, "/datasets", f"/datasets/{found}/part", f"/datasets/{found}")
    assert state in cleanclip("datasets", "show", found)
    assert found in cleanclip("datasets", "ls", "--kind", kind, "--state", state)


@pytest.mark.parametrize("kind", sorted(PUBLIC_KINDS))
def test_a_job_of_every_kind_is_shown_in_every_state(
    kind: JobKind, service: Service, pages: httpx.Client, cleanclip: Callable[..., str]
) -> None:
    job_id = LEFT[kind](service)
    cleanclip("report", job_id)
    for state in JobState:
        service.set_job(job_id, state)
        shown(pages, f"/jobs?kind={kind}&state={state}", f"/jobs/{job_id}/live", f"/jobs/{job_id}")
        assert state in cleanclip("jobs", "show", job_id)
        assert job_id in cleanclip("jobs", "ls", "--state", state)
    cleanclip("jobs", "events", job_id)
    if not KINDS[kind].measures_model:
        return
    for other in (left_jobs.scanned(service), left_jobs.finished(service)):
        assert other in cleanclip("compare", job_id, other)
        shown(pages, f"/compare?job={job_id}&job={other}")


@pytest.mark.parametrize(("detector", "with_null"), pairs(get_args(Detector), [True, False]))
def test_a_scan_that_found_something_of_any_family_is_shown(
    detector: Detector,
    with_null: bool,
    service: Service,
    pages: httpx.Client,
    cleanclip: Callable[..., str],
) -> None:
    """Each hypothesis in turn is of another family of patterns, and of another edit."""

    def with_families(report: ScanReport, families: Sequence[PatternFamily | Edit]) -> ScanReport:
        [first] = report.hypotheses
        trigger = first.trigger
        found = [
            replace(
                first,
                detector=detector,
                trigger=replace(
                    trigger,
                    family=family,
                    pattern=trigger.pattern if has_pattern(family) else None,
                    at=(0.5, 0.5) if family.name.endswith(":fixed") else None,
                ),
            )
            for family in families
        ]
        return replace(report, hypotheses=tuple(found))

    for place in range(0, len(FAMILIES), MOST_HYPOTHESES):
        some = FAMILIES[place : place + MOST_HYPOTHESES]
        job_id = left_jobs.scanned(service, with_null=with_null, change=partial(with_families, families=some))
        page = shown(pages, f"/jobs/{job_id}")
        for reported in (page, cleanclip("report", job_id), cleanclip("jobs", "show", job_id)):
            for family in some:
                assert family.name in reported


def test_a_project_without_a_job_is_led_to_what_it_can_do_next(service: Service) -> None:
    with signed_in(service, service.theirs) as pages:
        assert "Upload a checkpoint</a>" in shown(pages, "/jobs")
        service.checkpoint(project_id=service.theirs.project_id)
        page = shown(pages, "/jobs")
        assert "Scan a checkpoint</a>" in page
        assert "Upload a checkpoint</a>" not in page


def test_a_rejected_file_keeps_its_digest_and_what_scanners_say(
    service: Service, api: httpx.Client, pages: httpx.Client, cleanclip: Callable[..., str]
) -> None:
    found = service.checkpoint(CheckpointState.REJECTED)
    digest = hashlib.sha256(b"abc").hexdigest()
    scanner = {"name": "picklescan", "version": "1", "verdict": "dangerous", "num_issues": 1}
    service.execute(
        "UPDATE checkpoints SET inspection = cast(:kept AS jsonb) WHERE id = :id",
        kept=json.dumps({"scanners": [scanner | {"issues": ["dangerous: posix.system"]}]}),
        id=found,
    )
    row = api.get(f"/v1/checkpoints/{found}").json()
    assert (row["sha256"], row["scanners"][0]["issues"]) == (digest, ["dangerous: posix.system"])
    for reported in (shown(pages, f"/checkpoints/{found}"), cleanclip("checkpoints", "show", found)):
        assert digest in reported
        assert "dangerous: posix.system" in reported
