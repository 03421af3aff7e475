"""The streaming upload's memory: parts wait for the store, the sender waits for parts."""

import asyncio
import threading
import time
import tracemalloc
from collections.abc import AsyncIterator

from app.domain.states import UploadState
from app.services.upload_content import PartSender, send_parts
from app.storage.port import Part
from tests.fakes.object_store import InMemoryObjectStore
from tests.unit.app.services.test_upload_plan import Planned

MIB = 1024 * 1024


class SlowStore(InMemoryObjectStore):
    """Forgets every part, slowly; notes how many were on their way at once."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0
        self.sizes: list[int] = []
        self.lock = threading.Lock()

    def upload_part(self, key: str, upload_id: str, number: int, body: bytes) -> Part:
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        time.sleep(0.02)
        with self.lock:
            self.now -= 1
        self.sizes.append(len(body))
        return Part(number=number, etag="e", size_bytes=len(body))


async def chunks(num_bytes: int, each: int) -> AsyncIterator[bytes]:
    sent = 0
    while sent < num_bytes:
        size = min(each, num_bytes - sent)
        yield bytes(size)
        sent += size


def test_memory_stays_under_three_parts_whatever_the_size() -> None:
    part = 2 * MIB
    store = SlowStore()
    for num_parts in (8, 24):
        size = num_parts * part + 17
        upload = Planned(size, part, num_parts + 1)
        upload.declared_sha256 = None  # type: ignore[attr-defined]
        upload.state = UploadState.OPEN  # type: ignore[attr-defined]
        tracemalloc.start()
        asyncio.run(send_parts(upload, chunks(size, 65536), PartSender(store, "k", "u")))  # type: ignore[arg-type]
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert sum(store.sizes) == size
        assert store.sizes[:-1] == [part] * num_parts
        assert peak < 3 * part + MIB, f"{peak / MIB:.1f} MiB for {num_parts} parts"
        store.sizes.clear()
    assert store.most == 1
