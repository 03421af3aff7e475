"""The sweep finds what it is for: routes planted in an application of their own, each with one fault."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import pytest
from fastapi import APIRouter, FastAPI
from sqlalchemy import text
from starlette.responses import JSONResponse, Response

from app.api.auth import Known, Reader, Runner
from app.api.paths import JobPath
from app.domain.errors import NotFound
from app.main import create_app
from app.settings import Settings
from tests.fakes.job_publisher import FakeJobPublisher
from tests.integration.access import sweep
from tests.integration.access.calls import Caller
from tests.integration.access.conftest import Street
from tests.integration.access.coverage import OPEN, SCOPES, Coverage
from tests.integration.access.document import Operation, operations
from tests.integration.access.watching import Watched, bucket_of, differences, rows_of
from tests.integration.api.service import Service, running

PLACED = {
    "shows_any_job": "read",
    "forbids_foreign_jobs": "read",
    "words_it_differently": "read",
    "looks_twice": "read",
    "adds_a_header": "read",
    "changes_the_row": "run",
    "writes_an_object": "run",
    "takes_any_scope": "run",
    "tells_everybody": OPEN,
    "forgets_the_key": "read",
    "lets_it_be_cached": "read",
    "behaves": "read",
}


def not_found(job_id: str, remark: str = "") -> NotFound:
    return NotFound("job_not_found", f"There is no job {job_id!r}{remark}.", "Look again.")


def planted(service: Service) -> APIRouter:
    """Routes that reach every project's rows, past row-level security."""
    router = APIRouter(prefix="/v1/planted")

    def there_is(job_id: str) -> Mapping[str, object] | None:
        with service.engine.connect() as connection:
            query = text("SELECT metadata FROM jobs WHERE id = :id")
            row = connection.execute(query, {"id": job_id}).one_or_none()
            return None if row is None else {"metadata": row.metadata}

    @router.get("/shown/{job_id}", operation_id="shows_any_job")
    def shows_any_job(job_id: JobPath, caller: Reader) -> Response:
        found = there_is(job_id)
        if found is None:
            raise not_found(job_id)
        return JSONResponse(found)

    @router.get("/forbidden/{job_id}", operation_id="forbids_foreign_jobs")
    def forbids_foreign_jobs(job_id: JobPath, caller: Reader) -> Response:
        if there_is(job_id):
            return JSONResponse({"code": "forbidden"}, 403)
        raise not_found(job_id)

    @router.get("/worded/{job_id}", operation_id="words_it_differently")
    def words_it_differently(job_id: JobPath, caller: Reader) -> Response:
        raise not_found(job_id, " of yours" if there_is(job_id) else " any more")

    @router.get("/twice/{job_id}", operation_id="looks_twice")
    def looks_twice(job_id: JobPath, caller: Reader) -> Response:
        if there_is(job_id):
            there_is(job_id)
        raise not_found(job_id)

    @router.get("/header/{job_id}", operation_id="adds_a_header")
    def adds_a_header(job_id: JobPath, caller: Reader) -> Response:
        body = {"code": "job_not_found", "job": job_id}
        headers = {"X-Owner": "another project"} if there_is(job_id) else {}
        return JSONResponse(body, 404, headers, "application/problem+json")

    @router.post("/changed/{job_id}", operation_id="changes_the_row")
    def changes_the_row(job_id: JobPath, caller: Runner) -> Response:
        service.execute("UPDATE jobs SET version = version + 1 WHERE id = :id", id=job_id)
        raise not_found(job_id)

    @router.post("/written/{job_id}", operation_id="writes_an_object")
    def writes_an_object(job_id: JobPath, caller: Runner) -> Response:
        service.store.put_bytes(f"outputs/{caller.project_id}/{job_id}", b"x")
        raise not_found(job_id)

    @router.post("/any/{job_id}", operation_id="takes_any_scope")
    def takes_any_scope(job_id: JobPath, caller: Known) -> Response:
        raise not_found(job_id)

    @router.get("/told", operation_id="tells_everybody")
    def tells_everybody() -> Response:
        with service.engine.connect() as connection:
            rows = connection.execute(text("SELECT filename FROM uploads"))
            return JSONResponse([row.filename for row in rows])

    @router.get("/keyless/{job_id}", operation_id="forgets_the_key")
    def forgets_the_key(job_id: JobPath) -> Response:
        raise not_found(job_id)

    @router.get("/kept/{job_id}", operation_id="lets_it_be_cached")
    def lets_it_be_cached(job_id: JobPath, caller: Reader) -> Response:
        headers = {"Cache-Control": "public, max-age=60", "Server": "planted/1.0"}
        return JSONResponse({}, 404, headers)

    @router.get("/fine/{job_id}", operation_id="behaves")
    def behaves(job_id: JobPath, caller: Reader) -> Response:
        there_is(job_id)
        raise not_found(job_id)

    @router.get("/named", operation_id="is_not_placed")
    def is_not_placed(caller: Reader, of: str) -> Response:
        return JSONResponse(there_is(of))

    return router


@dataclass(frozen=True, kw_only=True)
class Planted:
    street: Street
    url: str
    operations: Mapping[str, Operation]
    coverage: Coverage

    def caller(self) -> Caller:
        return Caller(self.url, self.street.work, self.coverage)


@pytest.fixture(scope="module")
def plants(street: Street, settings: Settings) -> Iterator[Planted]:
    store = Watched(street.service.store, street.work)
    app: FastAPI = create_app(settings, store=store, publisher=FakeJobPublisher())  # type: ignore[arg-type]
    app.include_router(planted(street.service))
    with running(app) as url:
        known = {operation.name: operation for operation in operations(app.openapi())}
        coverage = Coverage(scopes=SCOPES | PLACED)
        yield Planted(street=street, url=url, operations=known, coverage=coverage)


def foreign_ids(plants: Planted, name: str) -> list[str]:
    """What the sweep says of that one operation, with ids of the victim's."""
    street, caller = plants.street, plants.caller()
    project = street.victim.tenant.project_id
    rows, bucket = rows_of(street.service, project), bucket_of(street.service)
    operation = plants.operations[name]
    found = sweep.with_foreign_ids(caller, operation, street.stranger, street.victim, sweep.Timing())
    found += differences(rows, rows_of(street.service, project), allowed=lambda *_: False)
    found += sorted(set(bucket_of(street.service)) - set(bucket))
    caller.close()
    return found + caller.faults


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("shows_any_job", "is answered 200"),
        ("shows_any_job", "the answer shows victim-"),
        ("forbids_foreign_jobs", "is answered 403"),
        ("words_it_differently", "told apart from absent: body"),
        ("looks_twice", "told apart from absent: work"),
        ("adds_a_header", "told apart from absent: headers"),
        ("changes_the_row", '"version": 2'),
        ("writes_an_object", "outputs/prj_"),
        ("lets_it_be_cached", "Cache-Control is public"),
        ("lets_it_be_cached", "a banner: planted/1.0"),
    ],
)
def test_a_route_that_gives_something_away_is_found(plants: Planted, name: str, said: str) -> None:
    found = foreign_ids(plants, name)
    assert any(said in sentence for sentence in found), found


def test_a_route_that_behaves_is_not_accused(plants: Planted) -> None:
    assert foreign_ids(plants, "behaves") == []


@pytest.mark.parametrize(
    ("name", "look", "said"),
    [
        ("forgets_the_key", sweep.with_unusable_keys, "no key is answered 404"),
        ("tells_everybody", sweep.with_unusable_keys, "the answer shows victim-"),
        ("takes_any_scope", sweep.with_wrong_scopes, "scope read is answered 404"),
        ("forgets_the_key", sweep.with_wrong_scopes, "scope upload is answered 404"),
    ],
)
def test_a_route_that_takes_keys_it_must_not_is_found(
    plants: Planted, name: str, look: Callable[..., list[str]], said: str
) -> None:
    caller = plants.caller()
    found = look(caller, plants.operations[name], plants.street.victim, plants.street.keys)
    caller.close()
    assert any(said in sentence for sentence in found), found


def test_a_route_that_nobody_placed_and_an_id_under_an_odd_name_are_found(plants: Planted) -> None:
    known, victim = list(plants.operations.values()), plants.street.victim
    found = Coverage(scopes=SCOPES | PLACED | {"is_not_placed": "read"}).missing(known, victim)
    assert [one.partition(":")[0] for one in found] == ["forgets_the_key", "is_not_placed"]
    assert any(one.startswith("shows_any_job:") for one in Coverage().missing(known, victim))
    gone = Coverage(scopes=SCOPES | PLACED | {"was_removed": "read"}).missing(known, victim)
    assert "was_removed: there is no such operation" in gone


def test_a_route_that_answers_nobody_is_not_counted_as_swept(plants: Planted) -> None:
    caller = plants.caller()
    found = sweep.with_own_things(caller, plants.operations["behaves"], plants.street.own)
    caller.close()
    assert len(found) == 1
    assert "nothing of one's own is reached" in found[0]
