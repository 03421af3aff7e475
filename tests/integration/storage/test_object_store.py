"""What every object store must do. Each test runs over the fake and over a real server."""

import hashlib
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app.local.stack import Stack
from app.storage.errors import (
    BucketNotFound,
    ObjectNotFound,
    PartsRefused,
    PreconditionFailed,
    SizeMismatch,
    UploadNotFound,
)
from app.storage.port import ObjectStore, Part
from app.storage.s3 import S3Store
from app.storage.s3_client import make_client

MIB = 1024 * 1024
PART_BYTES = 5 * MIB  # the least that S3 takes for a part before the last


def some_bytes(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


def test_an_object_comes_back_as_it_was_put(store: ObjectStore, prefix: str) -> None:
    body = some_bytes(100_000)
    stored = store.put_bytes(f"{prefix}a.bin", body)
    assert (stored.key, stored.size_bytes) == (f"{prefix}a.bin", 100_000)
    assert store.read_bytes(f"{prefix}a.bin", max_bytes=100_000) == body
    assert store.head(f"{prefix}a.bin") == stored


def test_an_empty_object_is_an_object(store: ObjectStore, prefix: str, tmp_path: Path) -> None:
    store.put_bytes(f"{prefix}empty", b"")
    assert store.head(f"{prefix}empty").size_bytes == 0
    assert store.read_bytes(f"{prefix}empty", max_bytes=0) == b""
    assert list(store.stream(f"{prefix}empty")) == []
    download = store.download_to(f"{prefix}empty", tmp_path / "empty")
    assert download.sha256 == hashlib.sha256(b"").hexdigest()
    assert (tmp_path / "empty").read_bytes() == b""


def test_putting_again_replaces_and_changes_the_etag(store: ObjectStore, prefix: str) -> None:
    first = store.put_bytes(f"{prefix}a", b"one")
    second = store.put_bytes(f"{prefix}a", b"three")
    assert first.etag != second.etag
    assert store.read_bytes(f"{prefix}a", max_bytes=10) == b"three"


def test_a_taken_key_is_refused_where_absence_is_asked_for(store: ObjectStore, prefix: str) -> None:
    store.put_bytes(f"{prefix}a", b"one", only_if_absent=True)
    with pytest.raises(PreconditionFailed):
        store.put_bytes(f"{prefix}a", b"two", only_if_absent=True)
    assert store.read_bytes(f"{prefix}a", max_bytes=10) == b"one"


@pytest.mark.parametrize("use", ["head", "read", "stream", "download"])
def test_what_is_not_there_is_not_found(store: ObjectStore, prefix: str, tmp_path: Path, use: str) -> None:
    key = f"{prefix}nothing"
    calls: dict[str, Callable[[], object]] = {
        "head": lambda: store.head(key),
        "read": lambda: store.read_bytes(key, max_bytes=10),
        "stream": lambda: list(store.stream(key)),
        "download": lambda: store.download_to(key, tmp_path / "nothing"),
    }
    with pytest.raises(ObjectNotFound):
        calls[use]()
    assert list(tmp_path.iterdir()) == []


def test_more_bytes_than_expected_are_not_read_into_memory(store: ObjectStore, prefix: str) -> None:
    store.put_bytes(f"{prefix}a", b"x" * 1000)
    with pytest.raises(SizeMismatch) as caught:
        store.read_bytes(f"{prefix}a", max_bytes=999)
    assert (caught.value.expected_bytes, caught.value.stored_bytes) == (999, 1000)


@pytest.mark.parametrize(
    ("start", "num_bytes"),
    [(0, None), (0, 10), (7, 1), (MIB - 1, 2), (3 * MIB - 1, None), (5, 0), (4 * MIB, 9)],
)
def test_a_range_holds_exactly_its_bytes(
    store: ObjectStore, prefix: str, start: int, num_bytes: int | None
) -> None:
    body = some_bytes(3 * MIB)
    store.put_bytes(f"{prefix}a", body)
    end = None if num_bytes is None else start + num_bytes
    assert b"".join(store.stream(f"{prefix}a", start=start, num_bytes=num_bytes)) == body[start:end]


def test_a_stream_can_be_left_early(store: ObjectStore, prefix: str) -> None:
    body = some_bytes(3 * MIB)
    store.put_bytes(f"{prefix}a", body)
    chunks = store.stream(f"{prefix}a")
    first = next(iter(chunks))
    assert body.startswith(first)
    del chunks
    assert store.read_bytes(f"{prefix}a", max_bytes=3 * MIB) == body


def test_a_download_is_hashed_and_leaves_only_the_finished_file(
    store: ObjectStore, prefix: str, tmp_path: Path
) -> None:
    body = some_bytes(5 * MIB + 3)
    store.put_bytes(f"{prefix}a", body)
    download = store.download_to(f"{prefix}a", tmp_path / "a.bin")
    assert download.size_bytes == len(body)
    assert download.sha256 == hashlib.sha256(body).hexdigest()
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]
    assert (tmp_path / "a.bin").read_bytes() == body


def test_a_file_is_put_whole(store: ObjectStore, prefix: str, tmp_path: Path) -> None:
    body = some_bytes(9 * MIB + 1)
    (tmp_path / "weights").write_bytes(body)
    assert store.put_file(f"{prefix}weights", tmp_path / "weights").size_bytes == len(body)
    download = store.download_to(f"{prefix}weights", tmp_path / "back")
    assert download.sha256 == hashlib.sha256(body).hexdigest()


def test_a_listing_is_complete_sorted_and_of_this_prefix_alone(store: ObjectStore, prefix: str) -> None:
    names = ["b/2", "a/1", "b/1", "c"]
    for name in names:
        store.put_bytes(prefix + name, name.encode())
    store.put_bytes(f"{prefix[:-1]}x/other", b"")
    listed = list(store.list_prefix(prefix))
    assert [item.key for item in listed] == [prefix + name for name in sorted(names)]
    assert [item.size_bytes for item in listed] == [len(name) for name in sorted(names)]
    assert [item.key for item in store.list_prefix(f"{prefix}b/")] == [f"{prefix}b/1", f"{prefix}b/2"]
    assert list(store.list_prefix(f"{prefix}none/")) == []


def test_a_listing_goes_on_after_its_first_thousand(store: ObjectStore, prefix: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: store.put_bytes(f"{prefix}{number:05}", b"x"), range(1005)))
    assert len(list(store.list_prefix(prefix))) == 1005
    assert store.delete_prefix(prefix) == 1005
    assert list(store.list_prefix(prefix)) == []


def test_deleting_twice_is_fine(store: ObjectStore, prefix: str) -> None:
    store.put_bytes(f"{prefix}a", b"1")
    store.delete(f"{prefix}a")
    store.delete(f"{prefix}a")
    with pytest.raises(ObjectNotFound):
        store.head(f"{prefix}a")


def test_deleting_a_prefix_spares_its_neighbours(store: ObjectStore, prefix: str) -> None:
    for name in ("job/1", "job/2/3", "jobs"):
        store.put_bytes(prefix + name, b"1")
    assert store.delete_prefix(f"{prefix}job/") == 2
    assert [item.key for item in store.list_prefix(prefix)] == [f"{prefix}jobs"]


def test_purging_a_folder_leaves_no_object_and_no_unfinished_upload(store: ObjectStore, prefix: str) -> None:
    store.put_bytes(f"{prefix}job/a/b", b"1")
    store.put_bytes(f"{prefix}job-2/a", b"2")
    begun = store.create_multipart(f"{prefix}job/c")
    spared = store.create_multipart(f"{prefix}job-2/c")
    for key, upload_id in ((f"{prefix}job/c", begun), (f"{prefix}job-2/c", spared)):
        store.upload_part(key, upload_id, 1, b"part")
    for _ in range(2):
        store.purge(f"{prefix}job/")
    assert [item.key for item in store.list_prefix(prefix)] == [f"{prefix}job-2/a"]
    with pytest.raises(UploadNotFound):
        store.list_parts(f"{prefix}job/c", begun)
    assert store.list_parts(f"{prefix}job-2/c", spared)
    store.purge(f"{prefix}job-2/c")
    with pytest.raises(UploadNotFound):
        store.list_parts(f"{prefix}job-2/c", spared)
    store.purge(f"{prefix}job-2/a")
    assert list(store.list_prefix(prefix)) == []


def test_purging_can_stop_after_so_many_and_go_on(store: ObjectStore, prefix: str) -> None:
    for number in range(5):
        store.put_bytes(f"{prefix}job/{number}", b"1")
    begun = store.create_multipart(f"{prefix}job/half")
    assert store.list_unfinished(f"{prefix}job/") == [(f"{prefix}job/half", begun)]
    assert store.list_unfinished(f"{prefix}job/half") == [(f"{prefix}job/half", begun)]
    assert store.list_unfinished(f"{prefix}job/ha") == [], "of that key, not of a longer one"
    assert [store.purge(f"{prefix}job/", max_objects=2) for _ in range(3)] == [False, False, True]
    assert list(store.list_prefix(prefix)) == []
    assert store.list_unfinished(f"{prefix}job/") == []


@pytest.mark.parametrize("place", ["job/", "job/half"])
def test_purging_ends_uploads_first_so_that_none_is_completed_behind_its_back(
    store: ObjectStore, prefix: str, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = f"{prefix}job/half"
    store.put_bytes(key, b"1")
    begun = store.create_multipart(key)
    part = store.upload_part(key, begun, 1, b"late")
    abort = store.abort_multipart

    def complete_first(*_: str) -> None:
        store.delete(key)
        store.complete_multipart(key, begun, [part], size_bytes=4)
        abort(key, begun)

    monkeypatch.setattr(store, "abort_multipart", complete_first)
    store.purge(f"{prefix}{place}")
    assert list(store.list_prefix(prefix)) == []


def test_purging_takes_old_versions_too(object_store: S3Store, stack: Stack, prefix: str) -> None:
    """Where an operator has turned versioning on."""
    settings = stack.settings().storage
    client = make_client(settings, endpoint_url=settings.endpoint_url)
    where = {"Bucket": object_store.bucket}
    client.put_bucket_versioning(**where, VersioningConfiguration={"Status": "Enabled"})
    try:
        for body in (b"old", b"new"):
            object_store.put_bytes(f"{prefix}x", body)
        object_store.delete(f"{prefix}x")
        before = client.list_object_versions(**where, Prefix=prefix)
        assert len(before.get("Versions", [])) == 2, "the old bytes are still there"
        object_store.purge(prefix)
        after = client.list_object_versions(**where, Prefix=prefix)
        assert not after.get("Versions")
        assert not after.get("DeleteMarkers")
    finally:
        client.put_bucket_versioning(**where, VersioningConfiguration={"Status": "Suspended"})


@pytest.mark.parametrize("bad", ["", "/", "projects", "a//b/", "../a/"])
def test_a_prefix_that_could_mean_too_much_is_never_deleted(store: ObjectStore, bad: str) -> None:
    with pytest.raises(ValueError, match=r"key|prefix"):
        store.delete_prefix(bad)


@pytest.mark.parametrize("bad", ["", "/a", "a/", "a//b", "a/../b", "a/./b", "a\\b", "a\nb", "x" * 1000])
def test_a_key_that_is_no_key_of_ours_is_refused(store: ObjectStore, bad: str) -> None:
    with pytest.raises(ValueError, match="key"):
        store.put_bytes(bad, b"")


def test_parts_become_one_object(store: ObjectStore, prefix: str) -> None:
    key, bodies = f"{prefix}up", [some_bytes(PART_BYTES, 1), some_bytes(PART_BYTES, 2), b"the end"]
    upload_id = store.create_multipart(key)
    for number in (3, 1, 2):
        store.upload_part(key, upload_id, number, bodies[number - 1])
    parts = store.list_parts(key, upload_id)
    assert [(part.number, part.size_bytes) for part in parts] == [(1, PART_BYTES), (2, PART_BYTES), (3, 7)]
    stored = store.complete_multipart(key, upload_id, parts, size_bytes=2 * PART_BYTES + 7)
    assert stored.size_bytes == 2 * PART_BYTES + 7
    assert b"".join(store.stream(key)) == b"".join(bodies)


def test_nothing_is_visible_before_completion(store: ObjectStore, prefix: str) -> None:
    key = f"{prefix}up"
    upload_id = store.create_multipart(key)
    store.upload_part(key, upload_id, 1, b"part")
    with pytest.raises(ObjectNotFound):
        store.head(key)
    assert list(store.list_prefix(prefix)) == []


def in_a_later_second() -> None:
    """SeaweedFS lists both versions of a part, and only its clock, in seconds, tells which is newer."""
    time.sleep(1.1)


def test_a_part_sent_again_counts_once_and_the_newer_one_wins(store: ObjectStore, prefix: str) -> None:
    key = f"{prefix}up"
    upload_id = store.create_multipart(key)
    store.upload_part(key, upload_id, 1, b"the older one")
    in_a_later_second()
    newer = store.upload_part(key, upload_id, 1, b"the newer")
    assert store.list_parts(key, upload_id) == [newer]
    store.complete_multipart(key, upload_id, [newer], size_bytes=9)
    assert store.read_bytes(key, max_bytes=100) == b"the newer"


def test_a_part_sent_again_on_a_resumed_upload_replaces_the_first(store: ObjectStore, prefix: str) -> None:
    key, first, second = f"{prefix}up", some_bytes(PART_BYTES, 1), some_bytes(PART_BYTES, 2)
    upload_id = store.create_multipart(key)
    store.upload_part(key, upload_id, 1, some_bytes(PART_BYTES, 3))
    store.upload_part(key, upload_id, 2, second)
    in_a_later_second()
    store.upload_part(key, upload_id, 1, first)
    parts = store.list_parts(key, upload_id)
    assert [part.number for part in parts] == [1, 2]
    store.complete_multipart(key, upload_id, parts, size_bytes=2 * PART_BYTES)
    assert b"".join(store.stream(key)) == first + second


def test_a_missing_part_is_refused_and_the_upload_goes_on(store: ObjectStore, prefix: str) -> None:
    key = f"{prefix}up"
    upload_id = store.create_multipart(key)
    last = store.upload_part(key, upload_id, 2, b"two")
    with pytest.raises(PartsRefused):
        store.complete_multipart(key, upload_id, [last], size_bytes=3)
    assert [part.number for part in store.list_parts(key, upload_id)] == [2]


def test_another_size_than_declared_is_refused_and_the_upload_goes_on(
    store: ObjectStore, prefix: str
) -> None:
    key = f"{prefix}up"
    upload_id = store.create_multipart(key)
    part = store.upload_part(key, upload_id, 1, b"four")
    with pytest.raises(SizeMismatch) as caught:
        store.complete_multipart(key, upload_id, [part], size_bytes=5)
    assert (caught.value.expected_bytes, caught.value.stored_bytes) == (5, 4)
    assert store.complete_multipart(key, upload_id, [part], size_bytes=4).size_bytes == 4


def test_a_part_that_is_not_the_stored_one_is_refused(store: ObjectStore, prefix: str) -> None:
    key = f"{prefix}up"
    upload_id = store.create_multipart(key)
    store.upload_part(key, upload_id, 1, b"four")
    other = Part(number=1, etag="0" * 32, size_bytes=4)
    with pytest.raises(PartsRefused):
        store.complete_multipart(key, upload_id, [other], size_bytes=4)


def test_completing_twice_says_that_the_upload_is_gone(store: ObjectStore, prefix: str) -> None:
    key = f"{prefix}up"
    upload_id = store.create_multipart(key)
    part = store.upload_part(key, upload_id, 1, b"four")
    store.complete_multipart(key, upload_id, [part], size_bytes=4)
    with pytest.raises((UploadNotFound, PreconditionFailed)):
        store.complete_multipart(key, upload_id, [part], size_bytes=4)
    assert store.read_bytes(key, max_bytes=4) == b"four"


def test_an_upload_never_replaces_an_object(store: ObjectStore, prefix: str) -> None:
    key = f"{prefix}up"
    store.put_bytes(key, b"here first")
    upload_id = store.create_multipart(key)
    part = store.upload_part(key, upload_id, 1, b"later")
    with pytest.raises(PreconditionFailed):
        store.complete_multipart(key, upload_id, [part], size_bytes=5)
    assert store.read_bytes(key, max_bytes=10) == b"here first"


def test_an_aborted_upload_is_gone_and_aborting_again_is_fine(store: ObjectStore, prefix: str) -> None:
    key = f"{prefix}up"
    upload_id = store.create_multipart(key)
    store.upload_part(key, upload_id, 1, b"four")
    store.abort_multipart(key, upload_id)
    store.abort_multipart(key, upload_id)
    with pytest.raises(UploadNotFound):
        store.list_parts(key, upload_id)
    with pytest.raises(UploadNotFound):
        store.upload_part(key, upload_id, 2, b"more")
    assert list(store.list_prefix(prefix)) == []


@pytest.mark.parametrize("expires_s", [0, -1, 301, 100_000])
def test_a_download_url_lives_five_minutes_at_most(store: ObjectStore, prefix: str, expires_s: int) -> None:
    with pytest.raises(ValueError, match="1 to 300"):
        store.presign_get(f"{prefix}a", expires_s=expires_s, filename="a")


def test_a_part_url_lives_fifteen_minutes_at_most(store: ObjectStore, prefix: str) -> None:
    with pytest.raises(ValueError, match="1 to 900"):
        store.presign_part(f"{prefix}a", "upload", 1, size_bytes=1, expires_s=901)


def test_another_bucket_of_the_same_server_is_another_place(store: ObjectStore, prefix: str) -> None:
    store.check()
    nowhere = store.in_bucket("there-is-no-such-bucket")
    assert nowhere.bucket == "there-is-no-such-bucket"
    with pytest.raises(BucketNotFound):
        nowhere.check()
    with pytest.raises((BucketNotFound, ObjectNotFound)):
        nowhere.head(f"{prefix}a")


def test_keys_with_spaces_and_letters_of_any_script_work(store: ObjectStore, prefix: str) -> None:
    key = f"{prefix}a b+c%20=é漢.bin"
    store.put_bytes(key, b"1")
    assert store.read_bytes(key, max_bytes=1) == b"1"
    assert [item.key for item in store.list_prefix(prefix)] == [key]
