"""Keys: no key, wrong keys, scopes; and that other tenants' things are simply not there."""

from datetime import UTC, datetime, timedelta

import httpx
import pytest
from fastapi.routing import APIRoute

from app.api.turns import IN_TURN
from app.domain.states import DatasetKind
from app.services import api_keys
from tests.integration.api.service import Service, refused

OPEN = {"/healthz", "/readyz", "/metrics"}


def routes(service: Service) -> list[tuple[str, str]]:
    """(method, path) of every operation of the document, ids filled in."""
    paths = httpx.get(f"{service.url}/v1/openapi.json", timeout=60).json()["paths"]
    found = [(method.upper(), path) for path, operations in paths.items() for method in operations]
    assert len(found) > 25
    return found


def filled(path: str) -> str:
    prefixes = {
        "upload": "upl",
        "checkpoint": "ckpt",
        "dataset": "ds",
        "job": "job",
        "artifact": "art",
        "key": "key",
    }
    for noun, prefix in prefixes.items():
        path = path.replace(f"{{{noun}_id}}", f"{prefix}_{'0' * 26}")
    return path


def test_every_operation_needs_a_key_but_those_for_operators(service: Service) -> None:
    for method, path in routes(service):
        answer = httpx.request(method, service.url + filled(path), timeout=60)
        if path in OPEN:
            assert answer.status_code == 200, path
        else:
            refused(answer, 401, "key_missing")
            assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("spoilt", ["cclip_live_x", "Basic", "a" * 5000])
def test_a_malformed_key_is_refused(service: Service, spoilt: str) -> None:
    answer = httpx.get(f"{service.url}/v1/jobs", headers={"Authorization": f"Bearer {spoilt}"})
    refused(answer, 401, "invalid_key")


def with_key(service: Service, key: str) -> httpx.Response:
    return httpx.get(f"{service.url}/v1/jobs", headers={"Authorization": f"Bearer {key}"})


def test_an_unknown_a_revoked_and_an_expired_key_get_the_same_answer(service: Service) -> None:
    with service.database.unit_of_work() as unit:
        project = service.ours.project_id
        revoked, revoked_text = api_keys.issue(unit, project_id=project, name="revoked")
        _, expired_text = api_keys.issue(
            unit, project_id=project, name="expired", expires_at=datetime.now(UTC) - timedelta(seconds=1)
        )
    assert with_key(service, revoked_text).status_code == 200
    with service.database.unit_of_work() as unit:
        unit.api_keys.revoke(project, revoked.id)
        _, unknown_text = api_keys.issue(unit, project_id=project, name="forgotten")
    service.execute("DELETE FROM api_keys WHERE name = 'forgotten'")
    texts = (revoked_text, expired_text, unknown_text)
    problems = [refused(with_key(service, text), 401, "invalid_key") for text in texts]
    assert len({problem["detail"] for problem in problems}) == 1


def test_a_key_is_stored_as_its_digest_only(service: Service) -> None:
    with service.database.unit_of_work() as unit:
        rows = unit.api_keys.of_project(service.ours.project_id)
    for row in rows:
        for value in vars(row).values():
            assert service.ours.key not in str(value)
            assert service.ours.key[-38:] not in str(value)


def test_the_use_of_a_key_is_noted_at_most_once_a_minute(service: Service) -> None:
    with service.database.unit_of_work() as unit:
        row, text = api_keys.issue(unit, project_id=service.ours.project_id, name="noted")
    seen = []
    for _ in range(2):
        with_key(service, text)
        with service.database.unit_of_work() as unit:
            seen.append(unit.api_keys.get(service.ours.project_id, row.id).last_used_at)
    assert seen[0] is not None
    assert seen[0] == seen[1]


@pytest.mark.parametrize(
    ("scope", "method", "path"),
    [
        ("upload", "GET", "/v1/jobs"),
        ("run", "GET", "/v1/checkpoints"),
        ("read", "POST", "/v1/uploads"),
        ("read", "POST", f"/v1/jobs/job_{'0' * 26}/cancel"),
        ("run", "DELETE", f"/v1/datasets/ds_{'0' * 26}"),
        ("upload", "POST", f"/v1/jobs/job_{'0' * 26}/retry"),
    ],
)
def test_a_key_without_the_scope_is_refused(service: Service, scope: str, method: str, path: str) -> None:
    with service.database.unit_of_work() as unit:
        _, key = api_keys.issue(unit, project_id=service.ours.project_id, name=scope, scopes=[scope])
    with service.nothing_left_behind():
        body = {"filename": "x", "size_bytes": 1} if path == "/v1/uploads" else None
        headers = {"Authorization": f"Bearer {key}"}
        answer = httpx.request(method, service.url + path, json=body, headers=headers)
        refused(answer, 403, "scope_missing")


def test_a_stranger_learns_nothing_from_the_validation_of_a_body(service: Service) -> None:
    answer = httpx.post(f"{service.url}/v1/jobs", json={"nonsense": 1})
    refused(answer, 401, "key_missing")


def test_lists_show_our_own_things_only(service: Service, api: httpx.Client, others: httpx.Client) -> None:
    checkpoint = service.checkpoint()
    dataset = service.dataset(DatasetKind.PAIRS)
    job = api.post("/v1/jobs", json=service.sanitize_order()).json()["id"]
    for path, mine in (("checkpoints", checkpoint), ("datasets", dataset), ("jobs", job)):
        assert mine in [row["id"] for row in api.get(f"/v1/{path}").json()["data"]]
        assert others.get(f"/v1/{path}").json()["data"] == []


def test_foreign_checkpoints_data_sets_and_jobs_are_not_found(
    service: Service, api: httpx.Client, others: httpx.Client
) -> None:
    checkpoint = service.checkpoint()
    dataset = service.dataset(DatasetKind.PAIRS)
    job = api.post("/v1/jobs", json=service.sanitize_order()).json()["id"]
    with service.nothing_left_behind():
        for method in ("GET", "DELETE"):
            refused(others.request(method, f"/v1/checkpoints/{checkpoint}"), 404, "checkpoint_not_found")
            refused(others.request(method, f"/v1/datasets/{dataset}"), 404, "dataset_not_found")
        for action in ("cancel", "pause", "resume", "retry"):
            refused(others.post(f"/v1/jobs/{job}/{action}"), 404, "job_not_found")
        for view in ("", "/events", "/artifacts", "/report"):
            refused(others.get(f"/v1/jobs/{job}{view}"), 404, "job_not_found")
    assert api.get(f"/v1/jobs/{job}").json()["state"] == "queued"


@pytest.mark.parametrize("field", ["checkpoint_id", "dataset_id", "/audit/dataset_id"])
def test_a_job_cannot_use_foreign_things(service: Service, api: httpx.Client, field: str) -> None:
    order = service.sanitize_order()
    theirs = service.theirs.project_id
    if field == "checkpoint_id":
        order["checkpoint_id"] = service.checkpoint(project_id=theirs)
    elif field == "dataset_id":
        order["dataset_id"] = service.dataset(DatasetKind.PAIRS, project_id=theirs)
    else:
        order["audit"]["dataset_id"] = service.dataset(DatasetKind.LABELLED, project_id=theirs)
    code = "checkpoint_not_found" if field == "checkpoint_id" else "dataset_not_found"
    with service.nothing_left_behind():
        refused(api.post("/v1/jobs", json=order), 404, code, "/" + field.lstrip("/"))


def test_every_route_with_pages_takes_turns(service: Service) -> None:
    included = [part.original_router for part in service.app.routes if hasattr(part, "original_router")]
    routes = [route for router in included for route in router.routes if isinstance(route, APIRoute)]
    paged = [one for one in routes if any(field.name == "limit" for field in one.dependant.query_params)]
    assert len(paged) > 10
    assert [route.path for route in paged if IN_TURN not in route.dependencies] == []


def test_no_route_is_outside_the_document(service: Service) -> None:
    document = httpx.get(f"{service.url}/v1/openapi.json", timeout=60).json()
    included = [part.original_router for part in service.app.routes if hasattr(part, "original_router")]
    paths = {route.path for router in included for route in router.routes if isinstance(route, APIRoute)}
    assert len(paths) > 30
    assert paths <= document["paths"].keys()
