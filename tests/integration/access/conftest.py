"""A running API whose every statement is watched, and projects that have one of everything."""

import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
from fastapi import FastAPI

from app.db.roles import Role
from app.db.session import Database, build_engine
from app.main import create_app
from app.services import api_keys
from app.services.api_keys import SCOPES
from app.settings import Settings
from app.storage.s3 import S3Store
from app.storage.s3_client import make_client
from tests.fakes.job_publisher import FakeJobPublisher
from tests.integration.access.belongings import Belongings, furnish
from tests.integration.access.furnished import generous
from tests.integration.access.sweep import Keys
from tests.integration.access.watching import Watched, Work
from tests.integration.api.conftest import service_log  # noqa: F401 - a fixture: what is logged, kept apart
from tests.integration.api.service import Service, running, tenant


@dataclass(frozen=True, kw_only=True)
class Street:
    """Four projects of one service; each has one of everything, the victim's made last."""

    service: Service
    work: Work
    own: Belongings
    """Used for what must succeed: the others are never changed."""
    stranger: Belongings
    onlooker: Belongings
    """Another stranger, who only reads: what it is shown does not change from one call to the next."""
    victim: Belongings
    keys: Keys


@pytest.fixture(scope="module")
def settings(service_settings: Settings) -> Settings:
    """Generous, and keys are looked up every time, so that statements can be compared."""
    return generous(service_settings)


@pytest.fixture(scope="module")
def work() -> Iterator[Work]:
    work = Work()
    with work.listening():
        yield work


@pytest.fixture(scope="module")
def app(
    settings: Settings,
    object_store: S3Store,
    work: Work,
    service_log: io.StringIO,  # noqa: F811
) -> FastAPI:
    return create_app(settings, store=Watched(object_store, work), publisher=FakeJobPublisher())


@pytest.fixture(scope="module")
def street(settings: Settings, object_store: S3Store, app: FastAPI, work: Work) -> Iterator[Street]:
    engine = build_engine(settings.database.url, role=Role.OPERATOR)
    database = Database(engine)
    with running(app) as url:
        names = ("own", "stranger", "onlooker", "victim")
        tenants = {name: tenant(database, url, name) for name in names}
        service = Service(
            url=url,
            app=app,
            store=object_store,
            publisher=FakeJobPublisher(),
            ours=tenants["victim"],
            theirs=tenants["stranger"],
            engine=engine,
            database=database,
            s3=make_client(settings.storage, endpoint_url=settings.storage.endpoint_url),
        )
        object_store.put_bytes("allowed/own/0.tar", b"a shard")
        furnished = {name: furnish(service, tenants[name], mark=f"{name}-7d1f03") for name in names}
        # Registered data lies at one place, whoever registers it.
        furnished = {
            name: replace(one, data_uri=f"s3://{object_store.bucket}/allowed/own/")
            for name, one in furnished.items()
        }
        yield Street(service=service, work=work, keys=_keys(service, furnished["victim"]), **furnished)
        for one in tenants.values():
            one.http.close()
        database.dispose()


def _keys(service: Service, victim: Belongings) -> Keys:
    project = victim.tenant.project_id
    with service.database.unit_of_work() as unit:
        revoked, revoked_text = api_keys.issue(unit, project_id=project, name="revoked")
        _, expired_text = api_keys.issue(
            unit, project_id=project, name="expired", expires_at=datetime.now(UTC) - timedelta(seconds=1)
        )
        forgotten, unknown_text = api_keys.issue(unit, project_id=project, name="forgotten")
        scoped = {
            scope: api_keys.issue(unit, project_id=project, name=scope, scopes=[scope])[1] for scope in SCOPES
        }
    with service.database.unit_of_work() as unit:
        unit.api_keys.revoke(project, revoked.id)
    service.execute("DELETE FROM api_keys WHERE id = :id", id=forgotten.id)
    key = victim.tenant.key
    unusable = {
        "malformed": key[:-1] + ("0" if key[-1] != "0" else "1"),
        "unknown": unknown_text,
        "forged": _forged(victim.first("key")),
        "expired": expired_text,
        "revoked": revoked_text,
    }
    return Keys(unusable=unusable, scoped=scoped)


def _forged(key_id: str) -> str:
    """A well-formed key that names a real one's id."""
    body = f"cclip_live_{key_id.removeprefix('key_')}_{'A' * 32}"
    return body + api_keys.checksum(body)
