"""An order and its steps: find or send the checkpoint, find or register the data, look ahead, order.

Each step first looks for what an earlier run of the same command did. An order that names ids only is always
a new one.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import typer

from cleanclip.command import values
from cleanclip.command.ahead_view import recipe_sentences
from cleanclip.command.exit_codes import ExitCode
from cleanclip.command.formats import size, when
from cleanclip.command.order_fields import with_defaults
from cleanclip.command.output import Output
from cleanclip.command.session import wait_for_checkpoint, wait_for_dataset
from cleanclip.command.upload import check_head, send
from cleanclip.dry_run_models import DryRun, Obstacle
from cleanclip.errors import Forbidden, InvalidInput, NotFound, with_remedy
from cleanclip.kinds.catalogue import KINDS
from cleanclip.memory import Memory, of_file
from cleanclip.models import Checkpoint, Dataset, Job
from cleanclip.retries import Clock
from cleanclip.sync.client import Client
from cleanclip.sync.downloading import sha256_of
from cleanclip.vocabulary.proposed import BESIDE, CLEANCLIP, UAR, reason_for_uar
from cleanclip.vocabulary.recommended import Family, model_of

_ADDRESS = "s3://"
_OPTION = {"training": "--data", "read": "--pairs"}
"""By what a dataset is for; of any other use the option has its name."""
_MAIN = frozenset({"labelled", "read"})
"""Uses whose dataset stands in the part of an order that its kind has, without a name of its own."""
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


def _option(role: str) -> str:
    return _OPTION.get(role, f"--{role}")


def named(**given: tuple[str | None, str]) -> dict[str, Named]:
    """Those that were named, with their kinds. Raises typer.BadParameter for data that is elsewhere."""
    return {
        role: Named(values.dataset(text, _option(role), kind), kind)
        for role, (text, kind) in given.items()
        if text is not None
    }


@dataclass(frozen=True, kw_only=True)
class Order:
    """What to order: `body` is all of a job but the things below, which may have to be made first."""

    body: Mapping[str, Any]
    file: Path | None
    source: str | None
    """What the service fetches, instead of a file."""
    checkpoint: str | None
    declared: Mapping[str, Any]
    data: Mapping[str, Named]
    """By what they are for: labelled, training, retrieval, read, trusted and others."""
    takes_defaults: bool = False
    """Whether the recipe has the method's defaults where it gives nothing, not what is recommended."""
    leaves_method: bool = False
    """Whether the method may be `uar` where that is proposed."""
    beside: bool = False
    """Whether CleanCLIP is ordered as well, on the same inputs."""

    @property
    def makes_things(self) -> bool:
        """Whether it begins with a file, a source or an address: when repeated, such an order is the same
        one."""
        return self.checkpoint is None or any(named.is_address for named in self.data.values())


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
        self._noted: set[str] = set()
        self.deadline = deadline

    def ordered(self, order: Order) -> tuple[Job, Job | None]:
        """Whatever it takes to order it: the job, and the one beside it. Raises typer.Exit where a file would
        be sent for nothing."""
        checkpoint_id, sha256 = self._checkpoint(order)
        found = {role: self._dataset_id(named) for role, named in order.data.items()}
        if order.checkpoint is None:
            self._wait_for_checkpoint(checkpoint_id, sha256)
        for role, named in order.data.items():
            if named.is_address:
                self._wait_for_dataset(found[role])
        order = self._with_recipe(order, checkpoint_id)
        job = self._created(order, _body(order, checkpoint_id, found))
        if not order.beside:
            return job, None
        other = replace(order, body={**order.body, "recipe": {"method": CLEANCLIP}})
        beside = self._created(other, _body(other, checkpoint_id, found))
        self._output.note(
            f"{beside.id}  CleanCLIP beside it. Compare: {self._client.base_url}/ui/compare?job={job.id}"
            f"&job={beside.id}"
        )
        return job, beside

    def _created(self, order: Order, body: Mapping[str, Any]) -> Job:
        job = self._job(body) if order.makes_things else self._client.jobs.create(**body)
        if job.recipe is not None and job.recipe_source is not None:
            self._output.note(recipe_sentences(job.recipe, job.recipe_source))
        return job

    def look_ahead(self, order: Order) -> DryRun:
        """What it would do, as far as what is there tells. Sends and registers nothing."""
        known = None if order.file is None else self._known(order.file, order.declared)
        checkpoint_id = order.checkpoint if known is None else known[0]
        if order.source is not None:
            checkpoint_id = self._fetched(order.source, order.declared)
        if checkpoint_id is None:
            if order.file is not None:
                check_head(order.file)
                reported = f"{order.file.name} ({size(order.file.stat().st_size)})"
                self._output.note(f"{reported} would be sent and inspected first.")
            else:
                self._output.note(f"{order.source} would be fetched and inspected first.")
            if KINDS[order.body["kind"]].trains and not order.takes_defaults:
                self._output.note(
                    "Recommended values depend on the model. Below, options that you leave out have the "
                    "method's defaults."
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
        order = self._with_recipe(order, checkpoint_id)
        unreadable = [
            obstacle
            for role, named in order.data.items()
            if role not in ids and (obstacle := self._unreadable(role, named)) is not None
        ]
        ahead = self._client.jobs.dry_run(**_body(order, checkpoint_id, ids))
        return ahead.model_copy(update={"obstacles": (*unreadable, *ahead.obstacles)})

    def _unreadable(self, role: str, named: Named) -> Obstacle | None:
        """Why data that would be registered could not be."""
        try:
            self._client.datasets.check(named.text)
        except InvalidInput as refusal:
            return Obstacle(
                code=refusal.code,
                detail=f"{named.text}: {refusal.detail}",
                remedy=refusal.remedy or "",
                pointer=_option(role),
            )
        return None

    def _with_recipe(self, order: Order, checkpoint_id: str | None) -> Order:
        """With a method where the order leaves it open, and all options where it takes the defaults."""
        recipe = dict(order.body.get("recipe") or {})
        if order.leaves_method:
            reason = reason_for_uar(order.body["audit"], self._family(checkpoint_id))
            if reason is not None:
                recipe["method"] = UAR
                self._note_once(
                    reason if order.beside else f"{reason} --beside orders CleanCLIP, too: {BESIDE}."
                )
        if order.beside and recipe.get("method", CLEANCLIP) == CLEANCLIP:
            raise typer.BadParameter(
                "--beside also orders CleanCLIP, and this order is CleanCLIP. Leave it out."
            )
        if order.takes_defaults:
            recipe = with_defaults(recipe)
        return replace(order, body={**order.body, "recipe": recipe or None}) if recipe else order

    def _family(self, checkpoint_id: str | None) -> Family | None:
        """Of the image tower; None where it is not known."""
        if checkpoint_id is None:
            return None
        try:
            model = model_of(self._client.checkpoints.get(checkpoint_id).to_json())
        except Forbidden:
            self._note_once(
                f"This key may not read {checkpoint_id}: whether its image tower is a ViT is not known. Give "
                "--method, or a key with the scope 'read'."
            )
            return None
        return None if model is None else model[0]

    def _note_once(self, sentence: str) -> None:
        """A dry run and the order that follows it have the same reasons."""
        if sentence not in self._noted:
            self._noted.add(sentence)
            self._output.note(sentence)

    def _checkpoint(self, order: Order) -> tuple[str, str | None]:
        """Its id, and the digest of the file. One that is not there yet is sent, unless the order would be
        refused whatever it is."""
        if order.source is not None:
            return self._named_checkpoint(order, order.source), None
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

    def _named_checkpoint(self, order: Order, source: str) -> str:
        """The id of one that the service fetches, or fetched for an earlier run."""
        if (known := self._fetched(source, order.declared)) is not None:
            self._output.note(f"{source} was ordered already: {known} (--again fetches it again)")
            return known
        self._refuse_early(order)
        made = self._client.checkpoints.create(source, declared=order.declared)
        self._output.note(f"{made.id}  the service fetches {source}")
        self._memory_of_source(source, order.declared).remember(checkpoint_id=made.id)
        return made.id

    def _fetched(self, source: str, declared: Mapping[str, Any]) -> str | None:
        """What an earlier run let the service fetch."""
        known = {} if self._is_again else self._memory_of_source(source, declared).recall()
        checkpoint_id = known.get("checkpoint_id")
        is_known = isinstance(checkpoint_id, str) and self._is_usable(checkpoint_id)
        return checkpoint_id if is_known else None

    def _memory_of_source(self, source: str, declared: Mapping[str, Any]) -> Memory:
        return Memory("sources", self._client.base_url, source, dict(declared))

    def _refuse_early(self, order: Order) -> None:
        """Raises typer.Exit where no checkpoint could make the order one that is taken."""
        obstacles = [
            one
            for one in self._dry_run(order, None).obstacles
            if one.code not in _PASSES
            and (order.takes_defaults or not (one.pointer or "").startswith("/recipe"))
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
            reported = {name: value for name, value in (found.declared or {}).items() if value is not None}
            if reported == dict(declared):
                return found
        return None

    def _is_usable(self, checkpoint_id: str) -> bool:
        try:
            return self._client.checkpoints.get(checkpoint_id).state != "rejected"
        except NotFound:
            return False

    def _wait_for_checkpoint(self, checkpoint_id: str, sha256: str | None) -> None:
        found = wait_for_checkpoint(
            self._client, self._output, checkpoint_id, timeout_s=self.deadline.left_s(), sha256=sha256
        )
        if found.source is not None and found.source.commit is not None:
            self._output.note(f"{found.source.path} of commit {found.source.commit}, SHA-256 {found.sha256}")

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
    part = "audit" if "audit" in order.body else KINDS[order.body["kind"]].option_part
    given = {
        "dataset_id" if role in _MAIN else f"{role}_dataset_id": found
        for role, found in ids.items()
        if role != "training"
    }
    whole = dict(order.body) | {part: dict(order.body[part]) | given}
    if "training" in ids:
        whole["dataset_id"] = ids["training"]
    return whole if checkpoint_id is None else whole | {"checkpoint_id": checkpoint_id}


def _memory(client: Client, file: Path, declared: Mapping[str, Any]) -> Memory:
    return Memory("checkpoints", client.base_url, of_file(file), dict(declared))
