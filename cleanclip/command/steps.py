"""An order and its steps: find or send the checkpoint, find or register the data, look ahead, order.

Each step first looks for what an earlier run of the same command did. An order that names ids only is always
a new one.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import typer

from cleanclip.command import values
from cleanclip.command.exit_codes import ExitCode
from cleanclip.command.formats import size, when
from cleanclip.command.output import Output
from cleanclip.command.session import wait_for_checkpoint, wait_for_dataset
from cleanclip.command.upload import check_head, send
from cleanclip.errors import Forbidden, NotFound, with_remedy
from cleanclip.memory import Memory, of_file
from cleanclip.models import Checkpoint, Dataset, DryRun, Job
from cleanclip.retries import Clock
from cleanclip.spec.recommended import model_of, with_recommended
from cleanclip.sync.client import Client
from cleanclip.sync.downloading import sha256_of

_ADDRESS = "s3://"
_OPTION = {
    "labelled": "--labelled",
    "training": "--data",
    "retrieval": "--retrieval",
    "vetted": "--pairs",
    "trusted": "--trusted",
}
_FIELD = {
    "labelled": "dataset_id",
    "vetted": "dataset_id",
    "retrieval": "retrieval_dataset_id",
    "trusted": "trusted_dataset_id",
}
"""Of the part of an order that its kind has, by what a dataset is for."""
_USABLE = frozenset({"validating", "ready"})
_PASSES = frozenset({"dataset_not_ready", "quota_exceeded"})
"""Obstacles that may be gone once the file was sent."""
_ORDERED_AGAIN = frozenset({"failed", "cancelled"})


@dataclass(frozen=True)
class Named:
    """A dataset as it was named: by its id, or by the address of its shards."""

    text: str
    kind: str

    @property
    def is_address(self) -> bool:
        return self.text.startswith(_ADDRESS)


def named(**given: tuple[str | None, str]) -> dict[str, Named]:
    """Those that were named, with their kinds. Raises typer.BadParameter for data that is elsewhere."""
    return {
        role: Named(values.dataset(text, _OPTION[role], kind), kind)
        for role, (text, kind) in given.items()
        if text is not None
    }


@dataclass(frozen=True, kw_only=True)
class Order:
    """What to order: `body` is all of a job but the things below, which may have to be made first."""

    body: Mapping[str, Any]
    file: Path | None
    checkpoint: str | None
    declared: Mapping[str, Any]
    data: Mapping[str, Named]
    """By what they are for: labelled, training, retrieval, vetted, trusted."""
    is_recommended: bool = False
    """Whether the recipe gets the values that are recommended for the model."""

    @property
    def makes_things(self) -> bool:
        """Whether it begins with a file or an address: when repeated, such an order is the same one."""
        return self.file is not None or any(named.is_address for named in self.data.values())


class Deadline:
    """One limit for several waits."""

    def __init__(self, clock: Clock, timeout_s: float | None) -> None:
        self._clock = clock
        self._ends_at = None if timeout_s is None else clock.now() + timeout_s

    def left_s(self) -> float | None:
        return None if self._ends_at is None else max(0.0, self._ends_at - self._clock.now())


class Steps:
    """Each step gives what it is for, and says on stderr whether it was there."""

    def __init__(self, client: Client, output: Output, deadline: Deadline, *, is_again: bool) -> None:
        self._client = client
        self._output = output
        self._is_again = is_again
        self.deadline = deadline

    def ordered(self, order: Order) -> Job:
        """Whatever it takes to order it. Raises typer.Exit where a file would be sent for nothing."""
        checkpoint_id, sha256 = self._checkpoint(order)
        found = {role: self._dataset_id(named) for role, named in order.data.items()}
        if order.file is not None:
            self._wait_for_checkpoint(checkpoint_id, sha256)
        for role, named in order.data.items():
            if named.is_address:
                self._wait_for_dataset(found[role])
        order = self._with_recommended(order, checkpoint_id)
        body = _body(order, checkpoint_id, found)
        return self._job(body) if order.makes_things else self._client.jobs.create(**body)

    def look_ahead(self, order: Order) -> DryRun:
        """What it would do, as far as what is there tells. Sends and registers nothing."""
        known = None if order.file is None else self._known(order.file, order.declared)
        checkpoint_id = order.checkpoint if known is None else known[0]
        if order.file is not None and known is None:
            check_head(order.file)
            told = size(order.file.stat().st_size)
            self._output.note(f"{order.file.name} ({told}) would be sent and inspected first.")
            if order.is_recommended:
                self._output.note(
                    "Recommended values depend on the model and are looked up after the "
                    "upload. Below, options that you leave out have the method's defaults."
                )
        for named in order.data.values():
            if named.is_address and self._registered(named) is None:
                self._output.note(f"{named.text} would be registered as {named.kind} first.")
        return self._dry_run(order, checkpoint_id)

    def _dry_run(self, order: Order, checkpoint_id: str | None) -> DryRun:
        ids = {}
        for role, named in order.data.items():
            registered = self._registered(named) if named.is_address else None
            if registered is not None or not named.is_address:
                ids[role] = named.text if registered is None else registered.id
        if checkpoint_id is not None:
            order = self._with_recommended(order, checkpoint_id)
        return self._client.jobs.dry_run(**_body(order, checkpoint_id, ids))

    def _with_recommended(self, order: Order, checkpoint_id: str) -> Order:
        """With the recommended values in the recipe, which is printed before anything is ordered."""
        if not order.is_recommended:
            return order
        try:
            inspected = self._client.checkpoints.get(checkpoint_id).to_json()
        except Forbidden as refusal:
            raise Forbidden(
                status=refusal.status,
                code=refusal.code,
                detail=f"The recommended recipe depends on {checkpoint_id}, which this key may not read.",
                remedy="Use a key with the scope 'read', or choose --recipe defaults or a file.",
                request_id=refusal.request_id,
            ) from refusal
        filled = with_recommended(order.body.get("recipe") or {}, model_of(inspected))
        self._output.note(filled.sentence)
        return replace(order, body={**order.body, "recipe": filled.options})

    def _checkpoint(self, order: Order) -> tuple[str, str | None]:
        """Its id, and the digest of the file. One that is not there yet is sent, unless the order would be
        refused whatever it is."""
        if order.file is None:
            return order.checkpoint or "", None
        if (known := self._known(order.file, order.declared)) is not None:
            self._output.note(f"{order.file.name} was uploaded already: {known[0]} (--again sends it again)")
            return known
        check_head(order.file)
        self._refuse_early(order)
        sent = send(self._client, self._output, order.file, declared=order.declared)
        assert sent.checkpoint_id is not None, "a checkpoint was announced"
        _memory(self._client, order.file, order.declared).remember(
            checkpoint_id=sent.checkpoint_id, sha256=sent.sha256
        )
        return sent.checkpoint_id, sent.sha256

    def _refuse_early(self, order: Order) -> None:
        """Raises typer.Exit where no checkpoint could make the order one that is taken."""
        obstacles = [
            one
            for one in self._dry_run(order, None).obstacles
            if one.code not in _PASSES
            and not (order.is_recommended and (one.pointer or "").startswith("/recipe"))
        ]
        if obstacles:
            for one in obstacles:
                place = f"{one.pointer}: " if one.pointer else ""
                self._output.error(f"{place}{with_remedy(one.detail, one.remedy)} ({one.code})")
            self._output.error("Nothing was sent.")
            raise typer.Exit(ExitCode.REFUSED)

    def _known(self, file: Path, declared: Mapping[str, Any]) -> tuple[str, str | None] | None:
        """What an earlier run sent, or anybody else: its id, and its digest."""
        if self._is_again:
            return None
        memory = _memory(self._client, file, declared)
        known = memory.recall()
        checkpoint_id = known.get("checkpoint_id")
        if isinstance(checkpoint_id, str) and self._is_usable(checkpoint_id):
            return checkpoint_id, known.get("sha256")
        if (held := self._held(file, declared)) is None:
            return None
        memory.remember(checkpoint_id=held.id, sha256=held.sha256)
        return held.id, held.sha256

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
        found = None if self._is_again else self._registered(named)
        if found is None:
            found = self._client.datasets.create(kind=named.kind, uri=named.text)
            self._output.note(f"{found.id}  {named.text} is registered as {named.kind}")
        else:
            since = when(found.created_at)
            self._output.note(f"{found.id}  {named.text}, registered {since} (--again registers it again)")
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
        known = {} if self._is_again else memory.recall()
        if isinstance(job_id := known.get("job_id"), str):
            try:
                job = self._client.jobs.get(job_id)
            except NotFound:
                known = {}
            else:
                if job.state not in _ORDERED_AGAIN:
                    self._output.note(f"{job.id} was ordered {when(job.created_at)} (--again orders another)")
                    return job
                known = {}
        key = known.get("idempotency_key") or secrets.token_hex(16)
        memory.remember(idempotency_key=key)  # before it is sent: its answer may be lost
        job = self._client.jobs.create(**body, idempotency_key=key)
        memory.remember(idempotency_key=key, job_id=job.id)
        return job


def _body(order: Order, checkpoint_id: str | None, ids: Mapping[str, str]) -> dict[str, Any]:
    """With what an order names and is there; `ids` by what the datasets are for."""
    part = next(name for name in ("audit", "scan", "vet") if name in order.body)
    given = {_FIELD[role]: found for role, found in ids.items() if role in _FIELD}
    whole = dict(order.body) | {part: dict(order.body[part]) | given}
    if "training" in ids:
        whole["dataset_id"] = ids["training"]
    return whole if checkpoint_id is None else whole | {"checkpoint_id": checkpoint_id}


def _memory(client: Client, file: Path, declared: Mapping[str, Any]) -> Memory:
    return Memory("checkpoints", client.base_url, of_file(file), dict(declared))
