"""Verdicts by the digest of the weights: worst first, of every checkpoint with them, of the own project."""

import json
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine, event

from app.domain.ids import new_id
from app.domain.states import JobState
from tests.integration.api.service import Service, Tenant, refused

OUTCOMES = ("fail", "undecided", "inconclusive", "pass")


@pytest.fixture
def weights() -> str:
    """A digest that no other test has."""
    return new_id("art")[4:].rjust(64, "0")


def checkpoint(service: Service, weights: str, *, tenant: Tenant | None = None) -> str:
    found = service.checkpoint(project_id=None if tenant is None else tenant.project_id)
    service.execute(
        "UPDATE checkpoints SET weights_sha256 = :sha256 WHERE id = :id", sha256=weights, id=found
    )
    return found


def judged(
    service: Service, weights: str, outcome: str, *, tenant: Tenant | None = None, stage: str = "audit"
) -> str:
    """A finished job that found this out about weights with that digest."""
    owner = tenant or service.ours
    order = service.sanitize_order() if tenant is None else None
    if order is None:
        job_id = new_id("job")
        service.execute(
            "INSERT INTO jobs (id, project_id, kind, state, phases, progress, spec, seed, metadata, attempt,"
            " attempts_used, attempts_lost, max_attempts, version, event_seq)"
            " SELECT :id, :project, kind, state, phases,"
            " progress, spec, seed, metadata, attempt, attempts_used, attempts_lost, max_attempts,"
            " version, event_seq"
            " FROM jobs LIMIT 1",
            id=job_id,
            project=owner.project_id,
        )
    else:
        job_id = owner.http.post("/v1/jobs", json=order).json()["id"]
        service.set_job(job_id, JobState.SUCCEEDED)
    service.execute(
        "INSERT INTO verdicts (job_id, stage, project_id, weights_sha256, outcome, num_triggers)"
        " VALUES (:job, :stage, :project, :sha256, :outcome, 4)",
        job=job_id,
        stage=stage,
        project=owner.project_id,
        sha256=weights,
        outcome=outcome,
    )
    return str(job_id)


def shown(answer: dict[str, Any], name: str = "verdicts") -> list[tuple[str, str]]:
    return [(one["outcome"], one["job_id"]) for one in answer[name]]


def test_a_checkpoint_carries_every_verdict_on_its_weights_worst_first(
    service: Service, api: httpx.Client, weights: str
) -> None:
    one, same = checkpoint(service, weights), checkpoint(service, weights)
    first = api.get(f"/v1/checkpoints/{one}")
    assert (first.json()["verdicts"], first.json()["num_verdicts"]) == ([], 0)
    jobs = {outcome: judged(service, weights, outcome) for outcome in reversed(OUTCOMES)}
    newer = judged(service, weights, "fail", stage="after_cleaning")
    expected = [("fail", newer), *((outcome, jobs[outcome]) for outcome in OUTCOMES)]
    for found in (one, same):
        answer = api.get(f"/v1/checkpoints/{found}").json()
        assert shown(answer) == expected
        assert answer["num_verdicts"] == 5
    assert [verdict["headline"] for verdict in answer["verdicts"]] == [
        "Not cleaned: fail",
        "A trigger works on this model: fail",
        "Too few test images: undecided",
        "Nothing found with the 4 triggers tested: inconclusive",
        "Cleaned, as far as tested: pass",
    ]
    listed = {row["id"]: row for row in api.get("/v1/checkpoints", params={"limit": 100}).json()["data"]}
    assert shown(listed[one]) == shown(listed[same]) == expected[:3], "lists are bounded"
    assert listed[one]["num_verdicts"] == 5
    held = {"If-None-Match": first.headers["etag"]}
    assert api.get(f"/v1/checkpoints/{one}", headers=held).status_code == 200, "what was held is old"


def test_a_jobs_verdicts_are_those_on_the_weights_that_it_judged(
    service: Service, api: httpx.Client, weights: str
) -> None:
    made = weights.replace("0", "f", 1)
    cleaning = judged(service, made, "pass", stage="after_cleaning")
    service.execute(
        "INSERT INTO verdicts (job_id, stage, project_id, weights_sha256, outcome, num_triggers)"
        " SELECT job_id, 'before_cleaning', project_id, :sha256, 'fail', 4 FROM verdicts WHERE job_id = :job",
        job=cleaning,
        sha256=weights,
    )
    audit = judged(service, weights, "inconclusive")
    answer = api.get(f"/v1/jobs/{cleaning}/verdicts").json()
    assert (answer["weights_sha256"], shown(answer, "data")) == (made, [("pass", cleaning)])
    answer = api.get(f"/v1/jobs/{audit}/verdicts").json()
    assert shown(answer, "data") == [("fail", cleaning), ("inconclusive", audit)]
    assert answer["data"][0]["stage"] == "before_cleaning"
    answer = api.get(f"/v1/jobs/{audit}/verdicts", params={"limit": 1}).json()
    assert (shown(answer, "data"), answer["num_verdicts"]) == ([("fail", cleaning)], 2)
    waiting = api.post("/v1/jobs", json=service.sanitize_order()).json()["id"]
    answer = api.get(f"/v1/jobs/{waiting}/verdicts").json()
    assert (answer["weights_sha256"], answer["data"], answer["num_verdicts"]) == (None, [], 0)


def test_another_projects_verdicts_on_the_same_weights_are_not_seen(
    service: Service, api: httpx.Client, others: httpx.Client, weights: str
) -> None:
    ours = judged(service, weights, "inconclusive")
    theirs = judged(service, weights, "fail", tenant=service.theirs)
    mine = checkpoint(service, weights)
    foreign = checkpoint(service, weights, tenant=service.theirs)
    assert shown(api.get(f"/v1/checkpoints/{mine}").json()) == [("inconclusive", ours)]
    assert shown(others.get(f"/v1/checkpoints/{foreign}").json()) == [("fail", theirs)]
    assert api.get(f"/v1/jobs/{ours}/verdicts").json()["num_verdicts"] == 1
    refused(others.get(f"/v1/jobs/{ours}/verdicts"), 404, "job_not_found")


def test_a_deleted_jobs_verdict_no_longer_counts(service: Service, api: httpx.Client, weights: str) -> None:
    found = checkpoint(service, weights)
    mistaken, kept = judged(service, weights, "fail"), judged(service, weights, "inconclusive")
    assert api.delete(f"/v1/jobs/{mistaken}").status_code == 202
    answer = api.get(f"/v1/checkpoints/{found}").json()
    assert (shown(answer), answer["num_verdicts"]) == ([("inconclusive", kept)], 1)


def test_a_list_asks_for_all_verdicts_at_once(service: Service, api: httpx.Client, weights: str) -> None:
    def num_statements() -> int:
        said: list[str] = []
        listen = ("before_cursor_execute", lambda _c, _u, statement, *_: said.append(statement))
        event.listen(Engine, *listen)
        try:
            assert api.get("/v1/checkpoints", params={"limit": 100}).status_code == 200
        finally:
            event.remove(Engine, *listen)
        return sum("verdicts" in statement for statement in said)

    made = []
    for number in range(3):
        digest = weights[:-1] + str(number)
        made.append(checkpoint(service, digest))
        for _ in range(number):
            judged(service, digest, "inconclusive")
    assert num_statements() == 2, "the worst of each, and how many there are"
    listed = api.get("/v1/checkpoints", params={"limit": 100}).json()["data"]
    assert [row["num_verdicts"] for row in reversed(listed) if row["id"] in made] == [0, 1, 2]


@pytest.mark.parametrize("judged", [{}, {"outcome": "inconclusive"}])
def test_the_end_of_a_job_is_told_to_webhooks_with_what_it_came_to(
    service: Service, api: httpx.Client, judged: dict[str, str]
) -> None:
    """Also of a kind that judges nothing; a receiver that starts a release reads it."""
    hook = {"url": "https://example.org/hooks", "events": ["job.succeeded"]}
    webhook = api.post("/v1/webhooks", json=hook).json()["id"]
    job_id = api.post("/v1/jobs", json=service.sanitize_order()).json()["id"]
    headline = {"headline": "9 of 192 samples are set aside"}
    result = headline | {"outcome": None} | judged | {"before": {"attacks": [{"target": "banana"}]}}
    with service.database.unit_of_work() as unit:
        claimed = unit.attempts.claim(job_id, owner="tests", lease_s=60)
        assert claimed is not None
        assert unit.attempts.finish_succeeded(job_id, claimed.attempt, result=result)
    (delivery,) = api.get(f"/v1/webhooks/{webhook}/deliveries").json()["data"]
    told = {name: delivery["data"].get(name) for name in ("outcome", "headline")}
    assert told == {"outcome": None} | judged | headline
    assert json.dumps(delivery["data"]).count("banana") == 0
