"""Puts together what is handed out: the job's files, statement.json, SHA256SUMS and, with a key, model.sig.

All of it lies in one folder out of the child's reach, and this folder is what is signed and what is uploaded,
byte for byte. SHA256SUMS lists everything but itself and the signature; the signature covers everything
but itself, the public half of the key that made it included: with that a reader who trusts no key yet
still notices a changed signature. Knows no store.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from app.db.repositories.attempt_values import ClaimedJob
from app.domain.dataset_samples import SAMPLES_NAME
from sanitizer.report import Report
from worker.failures import outputs_unusable
from worker.staging import Staged
from worker.statement import STATEMENT_NAME, statement_json
from worker.transfer import file_sha256, interruptible

SUMS_NAME = "SHA256SUMS"
SIGNATURE_NAME = "model.sig"
PUBLIC_KEY_NAME = "model.sig.pub.pem"
RESERVED = frozenset({SUMS_NAME, STATEMENT_NAME, SIGNATURE_NAME, PUBLIC_KEY_NAME, SAMPLES_NAME})
"""Names that the child's files may not have: what they say is ours to say."""


class Signer(Protocol):
    """Signs a folder; see `worker.signing.ModelSigner`."""

    key_sha256: str
    public_pem: bytes

    def sign(self, folder: Path, sha256: dict[str, str], /) -> Path: ...


@dataclass(frozen=True, kw_only=True)
class Package:
    """Files to upload, in order, each with its digest; `signature` is what the job's result says of it."""

    files: tuple[Path, ...]
    sha256: dict[str, str]
    signature: dict[str, Any]


class Packing:
    """One folder being filled. Every method may raise OSError and what `check` raises."""

    def __init__(self, outputs: Sequence[Path], folder: Path, check: Callable[[], None]) -> None:
        """Takes `outputs` into `folder`, which lies on the same file system. Raises AttemptFailed."""
        self._check = check
        self._folder = folder
        folder.mkdir(mode=0o700, parents=True)
        self.files = []
        for path in outputs:
            if path.name in RESERVED:
                raise outputs_unusable(f"it names an output {path.name}, which is for the service to write")
            os.replace(path, folder / path.name)
            self.files.append(folder / path.name)
        self.sha256 = {path.name: interruptible(partial(file_sha256, path), check) for path in self.files}

    def finish(self) -> Package:
        """Without statement and signature: for what only the service itself reads."""
        self._add_sums()
        return self._package({})

    def finish_stated(
        self, job: ClaimedJob, staged: Staged, report: Report, *, ended_at: str, signer: Signer | None
    ) -> Package:
        """With a statement, and signed where there is a key."""
        key = None if signer is None else signer.key_sha256
        sizes = {path.name: path.stat().st_size for path in self.files}
        statement = statement_json(
            job, staged, report, self.sha256, sizes, ended_at=ended_at, signing_key_sha256=key
        )
        self.add(STATEMENT_NAME, statement)
        if signer is not None:
            self.add(PUBLIC_KEY_NAME, signer.public_pem)
        self._add_sums()
        if signer is not None:
            path = interruptible(partial(signer.sign, self._folder, dict(self.sha256)), self._check)
            self.files.append(path)
            self.sha256[path.name] = file_sha256(path)
        return self._package(
            {
                "state": "unsigned" if signer is None else "signed",
                "key_sha256": key,
                "statement_sha256": self.sha256[STATEMENT_NAME],
            }
        )

    def add(self, name: str, content: bytes) -> None:
        """A file of ours."""
        path = self._folder / name
        path.write_bytes(content)
        self.files.append(path)
        self.sha256[name] = hashlib.sha256(content).hexdigest()

    def _add_sums(self) -> None:
        lines = [f"{digest}  {name}\n" for name, digest in sorted(self.sha256.items())]
        self.add(SUMS_NAME, "".join(lines).encode("ascii"))

    def _package(self, signature: dict[str, Any]) -> Package:
        return Package(files=tuple(self.files), sha256=dict(self.sha256), signature=signature)
