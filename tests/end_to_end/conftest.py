"""One whole service for all tests of this folder that want it, and one checkpoint with its data in it."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from app.db.roles import Role
from app.db.session import Database, build_engine
from app.local.service import Service, ServiceOptions, service_environment
from app.local.stack import Stack
from app.storage.s3 import S3Store
from app.storage.s3_client import make_client
from cleanclip.models import Checkpoint, Dataset, Job
from cleanclip.sync.client import Client
from tests.end_to_end import bad_inputs
from tests.end_to_end import subject as subjects
from tests.end_to_end.gate import Gate
from tests.end_to_end.live import PATIENCE_S, Live
from tests.end_to_end.subject import DECLARED, Subject
from tests.fixtures import audited
from tests.fixtures import checkpoints as files
from tests.fixtures.buckets import own_bucket
from tests.fixtures.databases import own_database
from tests.integration.api.service import MIB, tenant

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="package")
def own_database_url(stack: Stack, template_database: str) -> Iterator[str]:
    with own_database(stack.settings().database.url, "live", template=template_database) as url:
        yield url


@pytest.fixture(scope="package")
def own_store(stack: Stack) -> Iterator[S3Store]:
    with own_bucket(stack.settings().storage, "live") as store:
        yield store


@pytest.fixture(scope="package")
def gate(stack: Stack) -> Iterator[Gate]:
    address = urlsplit(stack.settings().storage.endpoint_url or "")
    gate = Gate((address.hostname or "", address.port or 80))
    yield gate
    gate.close()


def _variables(stack: Stack, database_url: str, bucket: str, gate: Gate, work_dir: Path) -> Mapping[str, str]:
    """Everything quick: leases and uploads are small, and what happens is told four times a second."""
    return {
        **stack.environment,
        "OMP_NUM_THREADS": "1",
        "CLEANCLIP_DATABASE__URL": database_url,
        "CLEANCLIP_BROKER__KEY_PREFIX": f"{bucket}.",
        "CLEANCLIP_STORAGE__BUCKET": bucket,
        "CLEANCLIP_STORAGE__ENDPOINT_URL": gate.url,
        "CLEANCLIP_STORAGE__PUBLIC_ENDPOINT_URL": stack.settings().storage.endpoint_url or "",
        "CLEANCLIP_UPLOADS__MIN_PART_BYTES": str(5 * MIB),
        "CLEANCLIP_DATASETS__ALLOWED_PREFIXES": json.dumps([f"s3://{bucket}/data/"]),
        "CLEANCLIP_JOBS__HEARTBEAT_S": "0.25",
        "CLEANCLIP_JOBS__SWEEP_EVERY_S": "1",
        "CLEANCLIP_JOBS__SAVE_EVERY_S": "0.3",
        "CLEANCLIP_WORKER__WORK_DIR": str(work_dir),
        "CLEANCLIP_WORKER__TOKENIZERS_DIR": str(_shelf(work_dir)),
        "CLEANCLIP_WORKER__DEVICE": "cpu",
        "CLEANCLIP_WORKER__NUM_THREADS": "1",
    }


def _shelf(work_dir: Path) -> Path:
    return work_dir.with_name("shelf")


@pytest.fixture(scope="package")
def live(
    stack: Stack,
    own_database_url: str,
    own_store: S3Store,
    gate: Gate,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Live]:
    folder = tmp_path_factory.mktemp("live")
    _shelf(folder / "work").mkdir()
    variables = _variables(stack, own_database_url, own_store.bucket, gate, folder / "work")
    service = Service(
        ServiceOptions(root=ROOT, folder=folder / "logs", stop_grace_s=2.0), service_environment(variables)
    ).start()
    database = Database(build_engine(own_database_url, role=Role.OPERATOR))
    settings = stack.settings().storage
    try:
        yield Live(
            service=service,
            database=database,
            store=own_store,
            s3=make_client(settings, endpoint_url=settings.endpoint_url),
            gate=gate,
            ours=tenant(database, service.url, "ours"),
            careless=tenant(database, service.url, "careless"),
            work_dir=folder / "work",
            shelf=_shelf(folder / "work"),
            pids={name: process.pid for name, process in service.processes.items()},
        )
    finally:
        service.stop()
        database.dispose()


@pytest.fixture(scope="package", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Clients remember unfinished uploads here, not in the user's home."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLEANCLIP_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="package")
def client(live: Live) -> Iterator[Client]:
    """Of the project that has good things in it."""
    with live.client(live.ours) as found:
        yield found


@pytest.fixture(scope="package")
def careless(live: Live) -> Iterator[Client]:
    """Of the project that sends what cannot be used."""
    with live.client(live.careless) as found:
        yield found


@pytest.fixture(scope="package")
def subject(live: Live, client: Client, tmp_path_factory: pytest.TempPathFactory) -> Subject:
    folder = tmp_path_factory.mktemp("subject")
    canonical = audited.write_model(folder / "canonical")
    path = folder / "poisoned.pt"
    subjects.write_research_checkpoint(path, canonical)
    sent = client.uploads.upload_file(path, declared=DECLARED)
    assert sent.checkpoint_id is not None
    reference = live.put_data("pairs", subjects.pair_files(folder / "pairs"))
    pairs = client.datasets.create(kind="pairs", uri=reference + "pairs-{00000..00002}.tar")
    labelled = client.datasets.create(
        kind="labelled", uri=live.put_data("labelled", subjects.labelled_files(folder / "labelled"))
    )
    by_upload = _upload_labelled(client, subjects.labelled_shard(folder / "one"))
    return Subject(
        path=path,
        canonical=canonical,
        sent=sent,
        checkpoint=client.checkpoints.wait(sent.checkpoint_id, sha256=sent.sha256, timeout_s=PATIENCE_S),
        pairs=client.datasets.wait(pairs.id, timeout_s=PATIENCE_S),
        labelled=client.datasets.wait(labelled.id, timeout_s=PATIENCE_S),
        labelled_by_upload=client.datasets.wait(by_upload.id, timeout_s=PATIENCE_S),
    )


def _upload_labelled(client: Client, shard: bytes) -> Dataset:
    """Through the service, in one request, as `curl -T` does it."""
    upload = client.uploads.create(filename="test.tar", size_bytes=len(shard), purpose="dataset")
    client.uploads.put_content(upload.id, len(shard), lambda: iter([shard]))
    assert client.uploads.complete(upload.id).checkpoint_id is None
    return client.datasets.create(
        kind="labelled",
        upload_id=upload.id,
        class_names=audited.CLASS_NAMES,
        templates=audited.TEMPLATES,
    )


@pytest.fixture(scope="package")
def audited_job(client: Client, subject: Subject) -> Job:
    """An audit of the subject that has ended well."""
    return client.jobs.wait(client.jobs.create(**subject.audit_order()).id, timeout_s=PATIENCE_S)


@pytest.fixture(scope="package")
def sent(
    request: pytest.FixtureRequest,
    live: Live,
    careless: Client,
    subject: Subject,
    tmp_path_factory: pytest.TempPathFactory,
) -> bad_inputs.Sent:
    """Everything bad that a test of this run is about, sent after what is good is ready: a long queue."""
    assert subject.checkpoint.state == "accepted"
    asked = {
        item.callspec.params.get("name")
        for item in request.session.items
        if item.path.parent == Path(__file__).parent and hasattr(item, "callspec")
    }
    return bad_inputs.send(live, careless, tmp_path_factory.mktemp("hostile"), asked | bad_inputs.DAILY)


@pytest.fixture(scope="package")
def good_again(
    careless: Client, sent: bad_inputs.Sent, tmp_path_factory: pytest.TempPathFactory
) -> Checkpoint:
    """A good checkpoint of the careless project's, inspected after all the bad ones."""
    path = tmp_path_factory.mktemp("good") / "good.pt"
    files.write_open_clip(path)
    checkpoint_id = careless.uploads.upload_file(path, declared=files.DECLARED).checkpoint_id
    assert checkpoint_id is not None
    return careless.checkpoints.wait(checkpoint_id, timeout_s=PATIENCE_S)
