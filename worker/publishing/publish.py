"""Publish: the child's files into this attempt's own prefix, then one fenced transaction that makes them
count.

Keys of an attempt are never written by another. Until the transaction commits nobody is notified of them; the
prefix of an attempt that did not win is removed by the sweeper.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

from app.db.repositories.attempt_values import NewArtifact
from app.domain.object_keys import in_prefix
from app.domain.states import JobState
from app.storage.port import ObjectStore
from worker.ledger import Ledger
from worker.publishing.accepting import end_inspection, end_validation
from worker.publishing.completing import end_judged
from worker.publishing.ending import Ending, Publication
from worker.publishing.packing import Package, Signer
from worker.publishing.searching import end_search
from worker.staging.transfer import retry_while_unavailable, upload

ENDINGS: Mapping[str, Callable[[Publication], Ending]] = {
    "inspect": end_inspection,
    "validate": end_validation,
    "audit": end_judged,
    "sanitize": end_judged,
}
"""By the kind of the job: what its child left is checked, completed and summed up by one of these; that of
any other kind by `end_search`."""
_MEDIA_TYPES = {
    ".json": "application/json",
    ".html": "text/html; charset=utf-8",
    ".md": "text/markdown; charset=utf-8",
    ".sig": "application/vnd.dev.sigstore.bundle.v0.3+json",
    "": "text/plain; charset=utf-8",
}


def publish(
    store: ObjectStore,
    ledger: Ledger,
    work: Publication,
    *,
    scanned: Sequence[Path] = (),
    signer: Signer | None,
) -> JobState:
    """Check what a child left, upload it with all that vouches for it, then complete the job.

    `scanned`: files of the scan that a cleaning began with.
    Raises AttemptFailed, StorageError, SigningFailed, OSError, Stopped.
    """
    packing = work.packing
    ending = ENDINGS.get(work.staged.spec.kind, end_search)(work)
    result = ending.result
    if (stated := ending.stated) is None:
        package = packing.finish()
    else:
        packing.take(scanned)
        package = packing.finish_stated(
            work.job, work.staged, stated.report, stated.recheck, ended_at=work.ended_at, signer=signer
        )
        result = result | {"recheck": asdict(stated.recheck), "signature": package.signature}
    artifacts = _upload_all(store, ledger, package, work)
    work.check()
    return ledger.succeed(
        result=result, artifacts=artifacts, effect=ending.effect, verdicts=tuple(ending.verdicts)
    )


def _upload_all(store: ObjectStore, ledger: Ledger, package: Package, work: Publication) -> list[NewArtifact]:
    artifacts = []
    for done, path in enumerate(package.files, start=1):
        artifact = NewArtifact(
            name=path.name,
            object_key=in_prefix(work.prefix, path.name),
            size_bytes=path.stat().st_size,
            sha256=package.sha256[path.name],
            media_type=_MEDIA_TYPES.get(path.suffix, "application/octet-stream"),
        )
        ledger.check()
        _upload(store, artifact, path, ledger, work.check)
        artifacts.append(artifact)
        work.tracker.advance(done / len(package.files), step=done, total_steps=len(package.files))
    return artifacts


def _upload(
    store: ObjectStore, artifact: NewArtifact, path: Path, ledger: Ledger, check: Callable[[], None]
) -> None:
    key, media_type = artifact.object_key, artifact.media_type
    send = partial(upload, store, key, path, content_type=media_type, is_ours=ledger.is_ours)
    retry_while_unavailable(send, check)
