"""Puts together what is handed out: the job's files, statement.json, SHA256SUMS and, with a key, model.sig.

All of it lies in one folder out of the child's reach, and this folder is what is signed and what is uploaded,
byte for byte. SHA256SUMS lists everything but itself and the signature; the signature covers everything
but itself, the public half of the key that made it included: with that a reader who trusts no key yet
still notices a changed signature. Before anything is signed it passes what `cleanclip verify` checks, so that
nothing is handed out that a customer's own check refuses.
"""

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from app.db.repositories.attempt_values import ClaimedJob
from app.logs import get_logger
from cleanclip.evidence.verification import contents
from cleanclip.vocabulary.report_kinds import AnyReport
from worker.failures import outputs_rejected
from worker.publishing.statement import STATEMENT_NAME, Recheck, statement_json
from worker.staging.stage import Staged
from worker.staging.transfer import file_sha256, interruptible

_LOG = get_logger(__name__)
SUMS_NAME = "SHA256SUMS"
PUBLIC_KEY_NAME = "model.sig.pub.pem"


class Signer(Protocol):
    """Signs a folder; see `worker.publishing.signing.ModelSigner`."""

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
        """Takes `outputs` into `folder`, which lies on the same file system."""
        self._check = check
        self._folder = folder
        folder.mkdir(mode=0o700, parents=True)
        self.sha256: dict[str, str] = {}
        self.take(outputs)

    @property
    def files(self) -> list[Path]:
        return [self.path(name) for name in self.sha256]

    def path(self, name: str) -> Path:
        return self._folder / name

    def take(self, outputs: Sequence[Path]) -> None:
        """Move a child's files here, out of its reach."""
        for path in outputs:
            os.replace(path, self.path(path.name))
            hashing = partial(file_sha256, self.path(path.name))
            self.sha256[path.name] = interruptible(hashing, self._check)

    def finish(self) -> Package:
        """Without statement and signature: for what only the service itself reads."""
        self._add_sums()
        return self._package({})

    def finish_stated(
        self,
        job: ClaimedJob,
        staged: Staged,
        report: AnyReport,
        recheck: Recheck,
        *,
        ended_at: str,
        signer: Signer | None,
    ) -> Package:
        """With a statement, checked, and signed where there is a key. Raises AttemptFailed."""
        key = None if signer is None else signer.key_sha256
        sizes = {path.name: path.stat().st_size for path in self.files}
        statement = statement_json(
            job,
            staged,
            report,
            self.sha256,
            sizes,
            recheck=recheck,
            ended_at=ended_at,
            signing_key_sha256=key,
        )
        self.add(STATEMENT_NAME, statement)
        if signer is not None:
            self.add(PUBLIC_KEY_NAME, signer.public_pem)
        self._add_sums()
        findings = interruptible(partial(contents, self._folder), self._check)
        if findings:
            where = sorted({one.where or one.file for one in findings})
            _LOG.error("evidence_does_not_hold", where=where[:20])  # what it says may be a customer's words
            raise outputs_rejected(f"its files and figures do not fit each other (at {', '.join(where[:3])})")
        if signer is not None:
            path = interruptible(partial(signer.sign, self._folder, dict(self.sha256)), self._check)
            self.sha256[path.name] = file_sha256(path)
        return self._package(
            {
                "state": "unsigned" if signer is None else "signed",
                "key_sha256": key,
                "statement_sha256": self.sha256[STATEMENT_NAME],
            }
        )

    def add(self, name: str, content: bytes) -> None:
        """A file of ours, also in place of a child's."""
        self.path(name).write_bytes(content)
        self.sha256[name] = hashlib.sha256(content).hexdigest()

    def drop(self, name: str) -> None:
        """Take out a file that is for nobody else."""
        self.path(name).unlink()
        del self.sha256[name]

    def _add_sums(self) -> None:
        lines = [f"{digest}  {name}\n" for name, digest in sorted(self.sha256.items())]
        self.add(SUMS_NAME, "".join(lines).encode("ascii"))

    def _package(self, signature: dict[str, Any]) -> Package:
        return Package(files=tuple(self.files), sha256=dict(self.sha256), signature=signature)
