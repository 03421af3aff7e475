"""Brings a checkpoint that was named instead of sent to the place where an upload would lie.

What its source was found to be is kept before its bytes come: the next attempt fetches the same commit. On
the row then stand: ordered, commit, path, size_bytes, sha256, git_sha1, beside, resolved_at, fetched_at, and
the configurations that lie beside the file on a hub, as texts.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial

from pydantic import TypeAdapter

from app.db.models.assets import Checkpoint
from app.db.repositories.attempt_values import ClaimedJob
from app.db.session import Database
from app.domain.errors import InvalidInput, NotFound
from app.domain.object_keys import upload_key
from app.domain.sources import StoreSource, check_stored, name_of, parse_source, without_query
from app.storage.port import ObjectStore
from worker.fetching.bringing import Fetched, Fetcher, not_fetched
from worker.fetching.errands import Pinned
from worker.ledger import Ledger, patient_with_database
from worker.staging.transfer import fetch, retry_while_unavailable, upload

_PINNED = TypeAdapter(Pinned)


@dataclass(frozen=True, kw_only=True)
class SourceBringer:
    """Of one attempt at one inspection."""

    database: Database
    store: ObjectStore
    ledger: Ledger
    job: ClaimedJob
    fetcher: Fetcher
    allowed_prefixes: Sequence[str]
    """Of the store: what the operator allows today."""
    check: Callable[[], None]

    def bring(self) -> None:
        """Does nothing for what was uploaded, or fetched by an earlier attempt.

        Raises AttemptFailed, StorageError, Stopped, OSError.
        """
        row = patient_with_database(self._row, self.check)
        if row.source is None or "fetched_at" in row.source or row.upload_object_key is None:
            return
        ordered = str(row.source["ordered"])
        source, known = parse_source(ordered), dict(row.source)
        if isinstance(source, StoreSource):
            name, fetched = name_of(source), self._from_store(source, row.size_bytes)
        else:
            if "resolved_at" not in known:
                found = {k: v for k, v in asdict(self.fetcher.resolve(ordered)).items() if v is not None}
                known |= found | {"resolved_at": self.ledger.time()}
                self.ledger.record_source(known, filename=row.filename)
            pinned = _PINNED.validate_python({k: known[k] for k in Pinned.__dataclass_fields__ if k in known})
            name = (pinned.path or name_of(source)).rpartition("/")[2]
            fetched = self.fetcher.bring(ordered, pinned, name=name, max_bytes=row.size_bytes)
            if pinned.beside:
                known["configurations"] = self.fetcher.configurations(ordered, pinned)
        key = upload_key(self.job.project_id, row.upload_id)
        put = partial(upload, self.store, key, fetched.path, is_ours=self._is_kept)
        retry_while_unavailable(put, self.check)
        fetched.path.unlink()
        known |= {
            "ordered": without_query(ordered),  # nobody needs it any more
            "sha256": fetched.sha256,
            "size_bytes": fetched.size_bytes,
            "fetched_at": self.ledger.time(),
        }
        self.ledger.record_source(known, filename=name, size_bytes=fetched.size_bytes)

    def _is_kept(self) -> bool:
        """Whether the object may stay: it is ours, or a later attempt has put the same file there since. Of a
        deleted checkpoint none may."""
        if self.ledger.is_ours():
            return True
        try:
            return "fetched_at" in (self._row().source or {})
        except NotFound:
            return False

    def _row(self) -> Checkpoint:
        with self.database.unit_of_work() as unit:
            return unit.checkpoints.get(self.job.project_id, str(self.job.checkpoint_id))

    def _from_store(self, source: StoreSource, max_bytes: int) -> Fetched:
        """The operator's own store: nobody else is asked."""
        project_id, own_bucket = self.job.project_id, self.store.bucket
        try:
            check_stored(source, self.allowed_prefixes, project_id=project_id, own_bucket=own_bucket)
        except InvalidInput as refusal:
            raise not_fetched("source_leads_elsewhere", refusal.message) from refusal
        store = self.store.in_bucket(source.bucket)
        size_bytes = retry_while_unavailable(lambda: store.head(source.key), self.check).size_bytes
        if size_bytes > max_bytes:
            raise not_fetched("source_too_large", f"It has {size_bytes} bytes; {max_bytes} are allowed.")
        self.fetcher.folder.mkdir(parents=True, exist_ok=True)
        path = self.fetcher.folder / "stored"
        got = fetch(store, source.key, path, self.check, sha256=None, size_bytes=size_bytes)
        if got is None:
            raise not_fetched("source_changed", "The store gives another size than it names.")
        return Fetched(path=path, size_bytes=got.size_bytes, sha256=got.sha256)
