"""Transfers: broken off at once, patient with an outage, hashed on the way."""

import hashlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.storage.errors import ObjectNotFound, StoreUnavailable
from app.storage.port import OCTETS, StoredObject
from tests.fakes.object_store import InMemoryObjectStore
from worker.control import Control, Stopped
from worker.staging import transfer
from worker.staging.transfer import (
    download,
    file_sha256,
    interruptible,
    retry_while_unavailable,
    settle_uploads,
    upload,
)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "FIRST_PAUSE_S", 0.05)


def go_on() -> None:
    pass


@pytest.mark.parametrize(("is_ours", "left"), [(True, ["states/a"]), (False, [])])
def test_what_arrives_after_the_job_was_lost_is_taken_away_again(
    tmp_path: Path, is_ours: bool, left: list[str]
) -> None:
    store = InMemoryObjectStore()
    store.ensure_bucket()
    (tmp_path / "a").write_bytes(b"late")
    upload(store, "states/a", tmp_path / "a", is_ours=lambda: is_ours)
    assert [item.key for item in store.list_prefix("states/")] == left


class CuttingStore(InMemoryObjectStore):
    """Objects arrive, the answer does not."""

    def put_file(self, key: str, path: Path, *, content_type: str = OCTETS) -> StoredObject:
        super().put_file(key, path, content_type=content_type)
        raise StoreUnavailable("the answer was lost")


@pytest.mark.parametrize(("is_ours", "left"), [(True, ["states/a"]), (False, [])])
def test_so_is_what_arrived_although_its_upload_failed(
    tmp_path: Path, is_ours: bool, left: list[str]
) -> None:
    store = CuttingStore()
    store.ensure_bucket()
    (tmp_path / "a").write_bytes(b"late")
    with pytest.raises(StoreUnavailable):
        upload(store, "states/a", tmp_path / "a", is_ours=lambda: is_ours)
    assert [item.key for item in store.list_prefix("states/")] == left


class SlowStore(InMemoryObjectStore):
    """Its objects arrive a moment after they were sent."""

    num_arrived = 0

    def put_file(self, key: str, path: Path, *, content_type: str = OCTETS) -> StoredObject:
        time.sleep(0.3)
        stored = super().put_file(key, path, content_type=content_type)
        self.num_arrived += 1
        return stored


def test_an_upload_that_was_left_behind_is_taken_away_before_the_worker_ends(tmp_path: Path) -> None:
    store = SlowStore()
    store.ensure_bucket()
    path = tmp_path / "a"
    path.write_bytes(b"late")
    control = Control(threading.Event())
    threading.Timer(0.1, control.fence).start()
    with pytest.raises(Stopped):
        interruptible(lambda: upload(store, "states/a", path, is_ours=lambda: False), control.check)
    settle_uploads(5.0)
    assert store.num_arrived == 1
    assert not list(store.list_prefix("states/"))


def test_an_upload_that_hangs_is_waited_for_no_longer_than_was_said(tmp_path: Path) -> None:
    hold = threading.Event()

    class HangingStore(InMemoryObjectStore):
        def put_file(self, key: str, path: Path, *, content_type: str = OCTETS) -> StoredObject:
            hold.wait(30)
            return super().put_file(key, path, content_type=content_type)

    store = HangingStore()
    store.ensure_bucket()
    (tmp_path / "a").write_bytes(b"late")
    thread = threading.Thread(
        target=upload, args=(store, "a", tmp_path / "a"), kwargs={"is_ours": lambda: True}
    )
    thread.start()
    started = time.monotonic()
    settle_uploads(0.2)
    assert 0.1 < time.monotonic() - started < 5
    hold.set()
    thread.join()


def test_work_that_hangs_is_left_behind_when_somebody_cancels() -> None:
    control = Control(threading.Event())
    threading.Timer(0.2, control.cancel).start()
    started = time.monotonic()
    with pytest.raises(Stopped):
        interruptible(lambda: time.sleep(30), control.check)
    assert time.monotonic() - started < 5


def test_the_result_and_the_error_of_the_work_come_through() -> None:
    assert interruptible(lambda: 42, go_on) == 42
    with pytest.raises(ZeroDivisionError):
        interruptible(lambda: 1 // 0, go_on)


def test_an_outage_is_sat_out_within_the_patience() -> None:
    tries = []

    def work() -> int:
        tries.append(1)
        if len(tries) < 3:
            raise StoreUnavailable("away")
        return len(tries)

    assert retry_while_unavailable(work, go_on, patience_s=10) == 3


def test_an_outage_longer_than_the_patience_is_raised() -> None:
    def work() -> None:
        raise StoreUnavailable("away")

    with pytest.raises(StoreUnavailable):
        retry_while_unavailable(work, go_on, patience_s=0.2)


def test_what_another_try_cannot_mend_is_raised_at_once() -> None:
    tries = []

    def work() -> None:
        tries.append(1)
        raise ObjectNotFound("gone")

    with pytest.raises(ObjectNotFound):
        retry_while_unavailable(work, go_on, patience_s=10)
    assert len(tries) == 1


def test_a_download_is_hashed_while_it_is_written(tmp_path: Path) -> None:
    chunks = [b"a" * 1000, b"b" * 500]

    class Store:
        def stream(self, key: str) -> Iterator[bytes]:
            assert key == "k"
            yield from chunks

    heard: list[int] = []
    got = download(Store(), "k", tmp_path / "file", heard.append)  # type: ignore[arg-type]
    body = b"".join(chunks)
    assert (tmp_path / "file").read_bytes() == body
    assert got.sha256 == hashlib.sha256(body).hexdigest() == file_sha256(tmp_path / "file")
    assert got.size_bytes == 1500
    assert heard == [1000, 500]


def test_an_object_that_has_grown_is_read_no_further_than_its_size(tmp_path: Path) -> None:
    read: list[int] = []

    class Growing(InMemoryObjectStore):
        def stream(self, key: str, **_: object) -> Iterator[bytes]:
            for _number in range(1000):
                read.append(10)
                yield bytes(10)

    path = tmp_path / "object"
    assert transfer.fetch(Growing(), "k", path, go_on, sha256=None, size_bytes=25) is None
    assert path.stat().st_size == 30
    assert sum(read) <= 30 * 4, "a chunk more, each time that it was tried"
