"""The plain calls of uploads, one per route. Opens no file."""

from collections.abc import AsyncIterable, Callable, Mapping, Sequence
from typing import Any

import httpx

from cleanclip.aio.wire import Wire
from cleanclip.models import StoredPart, Upload, UploadParts

_STREAM_TIMEOUT = httpx.Timeout(60.0, read=900.0)
"""The answer to a streamed file comes after its last part is stored."""


class UploadCalls:
    """Announce, ask for URLs of parts, look, complete, cancel. Every call raises ApiError, TransportError."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def create(
        self,
        *,
        filename: str,
        size_bytes: int,
        purpose: str = "checkpoint",
        sha256: str | None = None,
        declared: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
    ) -> Upload:
        """Announce a file; the answer holds the plan of its parts and the URLs of the first hundred.

        Example:
            upload = await client.uploads.create(filename="clip.pt", size_bytes=350_000_000)
            print(upload.num_parts, upload.part_size_bytes)
        """
        body: dict[str, Any] = {"filename": filename, "size_bytes": size_bytes, "purpose": purpose}
        if sha256 is not None:
            body["sha256"] = sha256
        if declared:
            body["declared"] = dict(declared)
        return await self._wire.post(Upload, "/v1/uploads", body, idempotency_key=idempotency_key)

    async def parts(self, upload_id: str, numbers: Sequence[int]) -> UploadParts:
        """Fresh URLs for these parts, at most a hundred.

        Example:
            for part in (await client.uploads.parts(upload.id, [1])).parts:
                print(part.number, part.size_bytes, part.expires_at)
        """
        return await self._wire.post(UploadParts, f"/v1/uploads/{upload_id}/parts", {"numbers": [*numbers]})

    async def get(self, upload_id: str) -> Upload:
        """How it stands; `stored_parts` need not be sent again.

        Example:
            print((await client.uploads.get(upload.id)).stored_parts)
        """
        return await self._wire.get(Upload, f"/v1/uploads/{upload_id}")

    async def put_content(
        self, upload_id: str, size_bytes: int, content: bytes | Callable[[], AsyncIterable[bytes]]
    ) -> Upload:
        """The whole file through the service, for where the object store cannot be reached.

        `content` is exactly `size_bytes` bytes; what gives them piece by piece is called for every try.

        Example:
            upload = await client.uploads.put_content(upload.id, len(body), body)
        """
        answer = await self._wire.send(
            "PUT",
            f"/v1/uploads/{upload_id}/content",
            headers={"Content-Length": str(size_bytes), "Content-Type": "application/octet-stream"},
            content=content,
            timeout=_STREAM_TIMEOUT,
        )
        return self._wire.read(Upload, answer)

    async def complete(
        self, upload_id: str, parts: Sequence[StoredPart] | None = None, *, sha256: str | None = None
    ) -> Upload:
        """Complete an upload whose parts are all sent.

        `parts`: what the store answered, checked against what it holds; `sha256`:
        of the whole file, which the service holds the bytes against before it accepts them.

        Example:
            upload = await client.uploads.complete(upload.id)
            print(upload.checkpoint_id)
        """
        body: dict[str, Any] = {} if sha256 is None else {"sha256": sha256}
        if parts:
            body["parts"] = [{"number": part.number, "etag": part.etag} for part in parts]
        return await self._wire.post(Upload, f"/v1/uploads/{upload_id}/complete", body or None)

    async def cancel(self, upload_id: str) -> Upload:
        """Give it up; what was sent is deleted.

        Example:
            upload = await client.uploads.cancel(upload.id)
        """
        return await self._wire.post(Upload, f"/v1/uploads/{upload_id}/cancel")
