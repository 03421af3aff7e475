"""A served API with one project that has one of everything: for those who explore the document."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from app.db.roles import Role
from app.db.session import Database, build_engine
from app.main import create_app
from app.settings import Settings
from app.storage.s3 import S3Store
from app.storage.s3_client import make_client
from lab.drills.openapi import Seeds
from tests.fakes.job_publisher import FakeJobPublisher
from tests.integration.access.belongings import Belongings, furnish
from tests.integration.access.coverage import PREFIX_OF_PATH_ID
from tests.integration.api.service import MIB, Service, running, tenant

PLENTY = 1_000_000


def generous(settings: Settings) -> Settings:
    """No limit of the request rate is reached; parts are as small as S3 takes them; data below allowed/."""
    changes: dict[str, dict[str, object]] = {
        "uploads": {"min_part_bytes": 5 * MIB},
        "api": {"key_cache_s": 0.0},
        "streams": {"longest_s": 0.2},  # an answer is read to its end
        "datasets": {"allowed_prefixes": (f"s3://{settings.storage.bucket}/allowed/",)},
        "quotas": {"requests_per_minute": PLENTY, "failed_logins_per_minute": PLENTY},
    }
    return settings.model_copy(
        update={name: getattr(settings, name).model_copy(update=new) for name, new in changes.items()}
    )


@contextmanager
def served(settings: Settings) -> Iterator[tuple[Service, Belongings]]:
    """The API over HTTP in a thread of its own, and what its one project has."""
    settings = generous(settings)
    store, publisher = S3Store(settings.storage), FakeJobPublisher()
    app = create_app(settings, publisher=publisher)
    engine = build_engine(settings.database.url, role=Role.OPERATOR)
    database = Database(engine)
    with running(app) as url:
        owner = tenant(database, url, f"explored {secrets.token_hex(4)}")
        service = Service(
            url=url,
            app=app,
            store=store,
            publisher=publisher,
            ours=owner,
            theirs=owner,
            engine=engine,
            database=database,
            s3=make_client(settings.storage, endpoint_url=settings.storage.endpoint_url),
        )
        store.put_bytes("allowed/own/0.tar", b"a shard")
        yield service, furnish(service, owner, mark="own")
        owner.http.close()
        database.dispose()


def seeds(own: Belongings) -> Seeds:
    """Real values for every id of a path, and for what bodies refer to."""
    pairs, labelled, retrieval = own.ids["ds"]
    return Seeds(
        path_ids={name: own.of(prefix) for name, prefix in PREFIX_OF_PATH_ID.items()},
        body={
            "/checkpoint_id": own.ids["ckpt"],
            "/dataset_id": (pairs,),
            "/audit/dataset_id": (labelled,),
            "/audit/retrieval_dataset_id": (retrieval,),
            "/audit/target": ("banana",),
            "/upload_id": own.ids["upl"],
            "/uri": (own.data_uri,),
        },
    )
