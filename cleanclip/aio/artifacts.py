"""Artifacts: what a job left, and how its bytes come here. The API key stays with the service."""

import asyncio
import os
from pathlib import Path

from cleanclip.aio.downloading import PIECE_BYTES, Download, sha256_of
from cleanclip.aio.store import Store
from cleanclip.aio.wire import Wire
from cleanclip.errors import UnexpectedAnswer
from cleanclip.models import Artifact
from cleanclip.one_writer import only_writer
from cleanclip.transfer import Meter, OnTransfer

URL_IS_FRESH_FOR_S = 180.0


class _ContentURL:
    """The presigned URL behind the service's redirect, renewed before it expires."""

    def __init__(self, wire: Wire, artifact_id: str) -> None:
        self._wire = wire
        self._path = f"/v1/artifacts/{artifact_id}/content"
        self._lock = asyncio.Lock()
        self._url = ""
        self._since = float("-inf")

    async def __call__(self, is_fresh_wanted: bool) -> str:
        async with self._lock:
            now = self._wire.clock.now()
            if is_fresh_wanted or now - self._since > URL_IS_FRESH_FOR_S:
                answer = await self._wire.send("GET", self._path)
                location = answer.headers.get("Location", "")
                if answer.status_code != 307 or not location.startswith(("http://", "https://")):
                    raise UnexpectedAnswer("The service did not give an address for the file.")
                self._url, self._since = location, now
            return self._url


class Artifacts:
    """`client.artifacts`. Every call raises ApiError, TransportError."""

    def __init__(self, wire: Wire, store: Store) -> None:
        self._wire = wire
        self._store = store

    async def get(self, artifact_id: str) -> Artifact:
        """Its name, size and digest.

        Example:
            artifact = await client.artifacts.get(artifact.id)
            print(artifact.name, artifact.sha256)
        """
        return await self._wire.get(Artifact, f"/v1/artifacts/{artifact_id}")

    async def download(
        self,
        artifact_id: str,
        path: str | Path,
        *,
        progress: OnTransfer | None = None,
        resume: bool = True,
        piece_bytes: int = PIECE_BYTES,
    ) -> Path:
        """Fetch the file to `path` and return where it is.

        A folder that exists, and a path that ends in a slash, get the file under its own name. Folders that
        are missing are made.

        A file that is there already with the right digest is left as it is; anything else is replaced, once
        the new bytes are verified. An interrupted download continues from `PATH.part`.

        Raises ApiError, StoreError, DigestMismatch, InUse where another download writes the file, OSError.

        Example:
            for artifact in await client.jobs.artifacts(job.id):
                path = await client.artifacts.download(artifact.id, folder)
                print(path)
        """
        artifact = await self.get(artifact_id)
        target = Path(path)
        if target.is_dir() or _names_a_folder(path):
            target /= plain_name(artifact)
        if resume and await _is_there(target, artifact):
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
        with only_writer(target.with_name(f"{target.name}.part.lock"), target):
            await Download(
                self._store,
                _ContentURL(self._wire, artifact.id),
                target,
                size_bytes=artifact.size_bytes,
                sha256=artifact.sha256,
                meter=Meter(artifact.size_bytes, progress, self._wire.clock),
                piece_bytes=piece_bytes,
            ).run(resume=resume)
        return target


def plain_name(artifact: Artifact) -> str:
    """The artifact's name, if it can only be a file of the folder that it is put into.

    Raises UnexpectedAnswer.
    """
    name = artifact.name
    if name in {"", ".", ".."} or any(character in name for character in "/\\:\x00"):
        raise UnexpectedAnswer(f"The service names a file {name!r}, which is not a plain file name.")
    return name


def _names_a_folder(path: str | Path) -> bool:
    """A `Path` has lost its last slash; only text says it."""
    return isinstance(path, str) and path.endswith(("/", os.sep))


async def _is_there(target: Path, artifact: Artifact) -> bool:
    return (
        target.is_file()
        and target.stat().st_size == artifact.size_bytes
        and await sha256_of(target) == artifact.sha256
    )
