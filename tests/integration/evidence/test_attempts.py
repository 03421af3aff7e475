"""A signature belongs to one attempt: what a broken-off one had signed is never handed out."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.domain.states import JobState
from app.storage.port import ObjectStore, StoredObject
from app.storage.s3 import S3Store
from cleanclip.evidence.public_keys import PublicKey
from cleanclip.evidence.verification import verify
from tests.integration.worker.world import World, opened_world
from worker.publishing.signing import ModelSigner


class StoreThatSendsAway:
    """The real store; its worker is told to leave once the signature lies in it."""

    def __init__(self, store: ObjectStore, leaving: threading.Event) -> None:
        self._store = store
        self._leaving = leaving

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def put_file(self, key: str, path: Path, *, content_type: str = "x/y") -> StoredObject:
        stored = self._store.put_file(key, path, content_type=content_type)
        if key.endswith("/model.sig"):
            self._leaving.set()
        return stored


@pytest.fixture
def world(database_url: str, object_store: S3Store, tmp_path: Path) -> Iterator[World]:
    with opened_world(database_url, object_store, tmp_path) as world:
        yield world


def test_an_attempt_that_signed_and_did_not_end_is_followed_by_one_that_signs_its_own(
    world: World, signer: ModelSigner, public_key: PublicKey, tmp_path: Path
) -> None:
    job = world.audit_job()
    leaving = threading.Event()
    sent_away = world.runner(leaving=leaving, signer=signer, store=StoreThatSendsAway(world.store, leaving))
    assert sent_away.run(job.id) is JobState.QUEUED
    (first,) = [key for key in world.keys(f"outputs/{world.project_id}/") if key.endswith("model.sig")]
    assert world.artifacts(job.id) == {}, "nobody is told of it"

    assert world.runner(signer=signer).run(job.id) is JobState.SUCCEEDED
    folder = tmp_path / "downloaded"
    folder.mkdir()
    for name, content in world.artifacts(job.id).items():
        (folder / name).write_bytes(content)
    found = verify(folder, keys=[public_key])
    assert [str(one) for one in found.findings] == []
    assert found.statement is not None
    assert found.statement.predicate.observed.job.attempt == 2
    assert world.store.read_bytes(first, max_bytes=10**6) != (folder / "model.sig").read_bytes()
