"""From a file to a verified folder: upload, register, order, wait, download, verify; repeated, it goes on.

Each step first looks for what an earlier run of the same command did. An order that names ids only is always
a new one.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from cleanclip.command import ahead_view, gate, verify, views
from cleanclip.command.exit_codes import ExitCode
from cleanclip.command.formats import when
from cleanclip.command.gate import Gate
from cleanclip.command.memory import Memory, of_file
from cleanclip.command.output import Output
from cleanclip.command.results import fetch_all
from cleanclip.command.session import Session, conclude, wait_for_checkpoint, wait_for_dataset, wait_for_job
from cleanclip.command.upload import send
from cleanclip.errors import NotFound
from cleanclip.evidence import sentences, verification
from cleanclip.evidence.verification import Verification
from cleanclip.models import Checkpoint, Dataset, Job
from cleanclip.retries import Clock
from cleanclip.sync.client import Client
from cleanclip.sync.downloading import sha256_of

_ADDRESS = "s3://"
_USABLE = frozenset({"validating", "ready"})
_ORDERED_AGAIN = frozenset({"failed", "cancelled"})


@dataclass(frozen=True)
class Named:
    """A data set as it was named: by its id, or by the address of its shards."""

    text: str
    kind: str

    @property
    def is_address(self) -> bool:
        return self.text.startswith(_ADDRESS)


def named(**given: tuple[str | None, str]) -> dict[str, Named]:
    """Those that were named, with their kinds."""
    return {role: Named(text, kind) for role, (text, kind) in given.items() if text is not None}


@dataclass(frozen=True, kw_only=True)
class Order:
    """What to order: `body` is all of a job but the things below, which may have to be made first."""

    body: Mapping[str, Any]
    file: Path | None
    checkpoint: str | None
    declared: Mapping[str, Any]
    data: Mapping[str, Named]
    """By what they are for: labelled, training, retrieval."""

    @property
    def makes_things(self) -> bool:
        """Whether it begins with a file or an address: given again, such an order is the same one."""
        return self.file is not None or any(named.is_address for named in self.data.values())


@dataclass(frozen=True, kw_only=True)
class Ending:
    """What to do once it is ordered."""

    wait: bool
    timeout_s: float | None
    folder: Path | None
    keys: Sequence[Path]
    gate: Gate

    @property
    def is_waited_for(self) -> bool:
        """What is to be downloaded or judged has to be finished."""
        return self.wait or self.folder is not None or self.gate.is_asked_for


def carry_out(
    session: Session,
    output: Output,
    order: Order,
    ending: Ending,
    *,
    is_anew: bool,
    is_dry_run: bool = False,
) -> None:
    """The whole of it; prints the job. Raises typer.BadParameter, typer.Exit, and what the client raises."""
    if is_dry_run:
        if ending.gate.is_asked_for:
            raise typer.BadParameter("--dry-run has no verdict that --fail-on could judge.")
        _try(session, output, order)
        return
    if (order.file is None) == (order.checkpoint is None):
        raise typer.BadParameter("Which checkpoint? Give FILE or --checkpoint.")
    if order.declared and order.file is None:
        raise typer.BadParameter("--declared is for FILE; a checkpoint has been declared when it was sent.")
    if ending.keys and ending.folder is None:
        raise typer.BadParameter("--key is for what --download fetches.")
    keys = [] if ending.folder is None else verify.trusted_keys(ending.folder, ending.keys)
    with session.client() as client:
        steps = _Steps(client, output, Deadline(session.clock, ending.timeout_s), is_anew=is_anew)
        job = steps.ordered(order)
        if not ending.is_waited_for:
            output.result(job.to_json(), job.id)
            return
        output.note(job.id)
        job = wait_for_job(client, output, job.id, timeout_s=steps.deadline.left_s())
        worse = gate.worse_than_own(client, job)
        if ending.folder is None or job.state != "succeeded":
            conclude(output, job, made=job.id)
            gate.warn(output, worse)
            gate.end(output, ending.gate.why_shut(gate.own_outcome(job), worse))
            return
        fetched = fetch_all(client, output, job, ending.folder)
    found = verification.verify(ending.folder, keys=keys, input_file=order.file)
    document = job.to_json() | {"download": fetched, "verification": verify.document(found)}
    text = f"{views.job(job)}\n\n{verify.plain_text(found)}\n\n{ending.folder}"
    output.result(document, text, made=job.id)
    if not found.holds:
        output.error(sentences.headline(found))
        raise typer.Exit(ExitCode.NOT_VERIFIED)
    gate.warn(output, worse)
    gate.end(output, ending.gate.why_shut(_stated_outcome(found), worse))


def _stated_outcome(verification: Verification) -> str | None:
    """Of the files that were verified, not of what the service says of them."""
    return (
        None if verification.statement is None else verification.statement.predicate.claimed.verdict.outcome
    )


def _try(session: Session, output: Output, order: Order) -> None:
    """Prints what the order would do; ends with REFUSED where it would not be taken."""
    if order.makes_things or order.checkpoint is None:
        raise typer.BadParameter(
            "--dry-run sends and registers nothing: give --checkpoint and ids of data sets, not FILE or s3://…."
        )
    ids = {role: named.text for role, named in order.data.items()}
    with session.client() as client:
        ahead = client.jobs.dry_run(**_body(order, order.checkpoint, ids))
    output.result(ahead.to_json(), ahead_view.dry_run(ahead))
    if ahead.obstacles:
        raise typer.Exit(ExitCode.REFUSED)


def _body(order: Order, checkpoint_id: str, ids: Mapping[str, str]) -> dict[str, Any]:
    """With what an order names; `ids` by what the data sets are for."""
    audit = dict(order.body["audit"]) | {"dataset_id": ids["labelled"]}
    if "retrieval" in ids:
        audit["retrieval_dataset_id"] = ids["retrieval"]
    training = {"dataset_id": ids["training"]} if "training" in ids else {}
    return dict(order.body) | training | {"checkpoint_id": checkpoint_id, "audit": audit}


class Deadline:
    """One limit for several waits."""

    def __init__(self, clock: Clock, timeout_s: float | None) -> None:
        self._clock = clock
        self._ends_at = None if timeout_s is None else clock.now() + timeout_s

    def left_s(self) -> float | None:
        return None if self._ends_at is None else max(0.0, self._ends_at - self._clock.now())


class _Steps:
    """Each step gives what it is for, and says on stderr whether it was there."""

    def __init__(self, client: Client, output: Output, deadline: Deadline, *, is_anew: bool) -> None:
        self._client = client
        self._output = output
        self._is_anew = is_anew
        self.deadline = deadline

    def ordered(self, order: Order) -> Job:
        sent = None if order.file is None else self._sent(order.file, order.declared)
        found = {role: self._dataset_id(named) for role, named in order.data.items()}
        if sent is not None:
            checkpoint_id, sha256 = sent
            self._wait_for_checkpoint(checkpoint_id, sha256)
        else:
            checkpoint_id = order.checkpoint or ""
        for role, named in order.data.items():
            if named.is_address:
                self._wait_for_dataset(found[role])
        body = _body(order, checkpoint_id, found)
        return self._job(body) if order.makes_things else self._client.jobs.create(**body)

    def _sent(self, file: Path, declared: Mapping[str, Any]) -> tuple[str, str | None]:
        memory = Memory("checkpoints", self._client.base_url, of_file(file), dict(declared))
        known = {} if self._is_anew else memory.recall()
        checkpoint_id = known.get("checkpoint_id")
        if isinstance(checkpoint_id, str) and self._is_usable(checkpoint_id):
            self._output.note(f"{file.name} is there already: {checkpoint_id} (--anew sends it again)")
            return checkpoint_id, known.get("sha256")
        if not self._is_anew and (held := self._held(file, declared)) is not None:
            self._output.note(f"{file.name} is there already: {held.id} (--anew sends it again)")
            memory.remember(checkpoint_id=held.id, sha256=held.sha256)
            return held.id, held.sha256
        sent = send(self._client, self._output, file, declared=declared)
        assert sent.checkpoint_id is not None, "a checkpoint was announced"
        memory.remember(checkpoint_id=sent.checkpoint_id, sha256=sent.sha256)
        return sent.checkpoint_id, sent.sha256

    def _held(self, file: Path, declared: Mapping[str, Any]) -> Checkpoint | None:
        """The newest of the same bytes and declarations that the service holds, whoever sent it."""
        page = self._client.checkpoints.list(state="accepted", sha256=sha256_of(file), limit=100)
        for found in page.data:
            told = {name: value for name, value in (found.declared or {}).items() if value is not None}
            if told == dict(declared):
                return found
        return None

    def _is_usable(self, checkpoint_id: str) -> bool:
        try:
            return self._client.checkpoints.get(checkpoint_id).state != "rejected"
        except NotFound:
            return False

    def _wait_for_checkpoint(self, checkpoint_id: str, sha256: str | None) -> None:
        wait_for_checkpoint(
            self._client, self._output, checkpoint_id, timeout_s=self.deadline.left_s(), sha256=sha256
        )

    def _wait_for_dataset(self, dataset_id: str) -> None:
        wait_for_dataset(self._client, self._output, dataset_id, timeout_s=self.deadline.left_s())

    def _dataset_id(self, named: Named) -> str:
        if not named.is_address:
            return named.text
        found = None if self._is_anew else self._registered(named)
        if found is None:
            found = self._client.datasets.create(kind=named.kind, uri=named.text)
            self._output.note(f"{found.id}  {named.text} is registered as {named.kind}")
        else:
            since = when(found.created_at)
            self._output.note(f"{found.id}  {named.text}, registered {since} (--anew registers it again)")
        return found.id

    def _registered(self, named: Named) -> Dataset | None:
        """The newest with that address that can be used."""
        after = None
        while True:
            page = self._client.datasets.list(kind=named.kind, after=after, limit=100)
            for dataset in page.data:
                if dataset.uri == named.text and dataset.state in _USABLE:
                    return dataset
            if not page.has_more or page.last_id is None:
                return None
            after = page.last_id

    def _job(self, body: Mapping[str, Any]) -> Job:
        memory = Memory("jobs", self._client.base_url, dict(body))
        known = {} if self._is_anew else memory.recall()
        if isinstance(job_id := known.get("job_id"), str):
            try:
                job = self._client.jobs.get(job_id)
            except NotFound:
                known = {}
            else:
                if job.state not in _ORDERED_AGAIN:
                    self._output.note(f"{job.id} was ordered {when(job.created_at)} (--anew orders another)")
                    return job
                known = {}
        key = known.get("idempotency_key") or secrets.token_hex(16)
        memory.remember(idempotency_key=key)  # before it is sent: its answer may be lost
        job = self._client.jobs.create(**body, idempotency_key=key)
        memory.remember(idempotency_key=key, job_id=job.id)
        return job
