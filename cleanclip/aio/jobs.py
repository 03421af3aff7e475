"""Jobs: order, read, list, steer, wait, and what they left."""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import Any

from cleanclip.aio import following
from cleanclip.aio.project import deleted
from cleanclip.aio.waiting import wait_for
from cleanclip.aio.wire import Wire
from cleanclip.dry_run_models import DryRun
from cleanclip.errors import JobCancelled, JobFailed, UnexpectedAnswer
from cleanclip.kinds.catalogue import KINDS
from cleanclip.models import Artifact, Event, EventPage, Job, Page, Verdicts
from cleanclip.project_models import Deletion
from cleanclip.vocabulary.strict_json import parse_bounded


class Jobs:
    """`client.jobs`. Every call raises ApiError, TransportError."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def create(
        self,
        *,
        kind: str,
        checkpoint_id: str,
        audit: Mapping[str, Any] | None = None,
        scan: Mapping[str, Any] | bool | None = None,
        vet: Mapping[str, Any] | None = None,
        dataset_id: str | None = None,
        recipe: Mapping[str, Any] | None = None,
        policy: Mapping[str, Any] | None = None,
        policy_name: str | None = None,
        exclude: Sequence[str] | None = None,
        seed: int | None = None,
        output_layout: str | None = None,
        max_attempts: int | None = None,
        name: str | None = None,
        metadata: Mapping[str, str] | None = None,
        idempotency_key: str | None = None,
        **parts: Mapping[str, Any],
    ) -> Job:
        """Order a job. `kind` 'sanitize' needs `dataset_id` (pairs); 'audit' measures and changes nothing;
        'scan' looks for a trigger that nobody named, 'text_scan' for words that lead texts to one class;
        'vet' finds the samples of a dataset that look poisoned.

        `audit` names the labelled dataset and the target, {"dataset_id": "ds_…", "target": "banana"}, and
        may hold attacks, pairs to measure retrieval on ("retrieval_dataset_id"), a scan whose found triggers
        are attacks as well ("attacks_from_scan") and more; options that are left out have the service's
        defaults (`client.methods()` tells them). A scan has `scan` in its place,
        {"dataset_id": "ds_…", "null": "auto", "anchor_checkpoint_id": "ckpt_…"},
        and no limits; so has a vetting `vet`, {"dataset_id": "ds_…", "trusted_dataset_id": "ds_…",
        "anchor_checkpoint_id": "ckpt_…"}; any other kind has its part in `parts`. `exclude` names finished
        vettings of the order's datasets: what they set aside is left out. Limits are `policy`, or
        `policy_name` of those that the project keeps (`client.policies`). Give an `idempotency_key` of
        your own where a whole program may be run twice.

        A cleaning whose `audit` has neither a target nor triggers scans the model first and audits what it
        finds. `scan` says so for any cleaning: True, False, or the options of that scan.

        Example:
            job = await client.jobs.create(
                kind="sanitize",
                checkpoint_id=checkpoint.id,
                dataset_id=pairs.id,
                audit={"dataset_id": labelled.id, "target": "banana"},
                recipe={"method": "cleanclip", "epochs": 3},
                metadata={"ticket": "42"},
            )
        """
        body = _order(locals())
        return await self._wire.post(Job, "/v1/jobs", body, idempotency_key=idempotency_key)

    async def dry_run(
        self,
        *,
        kind: str,
        audit: Mapping[str, Any] | None = None,
        scan: Mapping[str, Any] | bool | None = None,
        vet: Mapping[str, Any] | None = None,
        checkpoint_id: str | None = None,
        dataset_id: str | None = None,
        recipe: Mapping[str, Any] | None = None,
        policy: Mapping[str, Any] | None = None,
        policy_name: str | None = None,
        exclude: Sequence[str] | None = None,
        seed: int | None = None,
        output_layout: str | None = None,
        max_attempts: int | None = None,
        name: str | None = None,
        metadata: Mapping[str, str] | None = None,
        **parts: Mapping[str, Any],
    ) -> DryRun:
        """What `create` with the same would do; orders nothing. All that would be refused is in `obstacles`.

        Ids of what is not there yet may be left out, those in `audit` too. Times are those of earlier jobs of
        the project with the same architecture, None where there is none.

        Example:
            ahead = await client.jobs.dry_run(
                kind="audit",
                checkpoint_id=checkpoint.id,
                audit={"dataset_id": labelled.id, "target": "banana"},
            )
            for obstacle in ahead.obstacles:
                print(obstacle.pointer, obstacle.detail, obstacle.remedy)
            print(ahead.time, ahead.warnings)
        """
        body = _order(locals())
        return await self._wire.post(DryRun, "/v1/jobs/dry-run", body)

    async def get(self, job_id: str) -> Job:
        """How it stands.

        Example:
            job = await client.jobs.get(job.id)
            print(job.state, job.phase, job.progress.fraction)
        """
        return await self._wire.get(Job, f"/v1/jobs/{job_id}")

    async def list(
        self,
        *,
        after: str | None = None,
        limit: int | None = None,
        state: str | None = None,
        kind: str | None = None,
    ) -> Page[Job]:
        """One page, newest first.

        Example:
            page = await client.jobs.list(state="queued", limit=10)
            for found in page.data:
                print(found.id, found.created_at)
        """
        query = {"after": after, "limit": limit, "state": state, "kind": kind}
        return await self._wire.get(Page[Job], "/v1/jobs", query)

    async def rename(self, job_id: str, name: str | None) -> Job:
        """Give it another name, in whatever state; None takes the name away.

        Example:
            job = await client.jobs.rename(job.id, "release 7, nightly")
        """
        return await self._wire.patch(Job, f"/v1/jobs/{job_id}", {"name": name})

    async def cancel(self, job_id: str) -> Job:
        """Stop it for good, within seconds. Again: unchanged. Raises Conflict when it has ended.

        Example:
            job = await client.jobs.cancel(job.id)
        """
        return await self._act(job_id, "cancel")

    async def pause(self, job_id: str) -> Job:
        """Save its training state, or the finished parts of a scan, and let the worker go.

        Raises Conflict when it has ended.

        Example:
            job = await client.jobs.pause(job.id)
        """
        return await self._act(job_id, "pause")

    async def resume(self, job_id: str) -> Job:
        """Resume a paused job. Raises Conflict unless it is paused.

        Example:
            job = await client.jobs.resume(job.id)
        """
        return await self._act(job_id, "resume")

    async def retry(self, job_id: str) -> Job:
        """Try a failed job again. Raises Conflict unless it has failed.

        Example:
            job = await client.jobs.retry(job.id)
        """
        return await self._act(job_id, "retry")

    async def delete(self, job_id: str) -> Deletion | None:
        """Delete a finished job and all its files; refused (Conflict) before its end.

        Example:
            deletion = await client.jobs.delete(job.id)
            if deletion is not None:
                print((await client.deletions.get(deletion.id)).state)
        """
        return await deleted(self._wire, f"/v1/jobs/{job_id}")

    async def _act(self, job_id: str, action: str) -> Job:
        return await self._wire.post(Job, f"/v1/jobs/{job_id}/{action}")

    async def events(self, job_id: str, *, after: int | None = None, limit: int | None = None) -> EventPage:
        """One page of what happened, oldest first; `after` is the last `seq` seen.

        Example:
            page = await client.jobs.events(job.id, after=0, limit=100)
            print([event.type for event in page.data])
        """
        return await self._wire.get(EventPage, f"/v1/jobs/{job_id}/events", {"after": after, "limit": limit})

    async def all_events(self, job_id: str, *, after: int | None = None) -> AsyncGenerator[Event, None]:
        """Everything that has happened until now, page after page.

        Example:
            async for event in client.jobs.all_events(job.id):
                print(event.seq, event.type, event.data)
        """
        while True:
            page = await self.events(job_id, after=after, limit=100)
            for event in page.data:
                yield event
            if not page.has_more or page.last_seq is None:
                return
            after = page.last_seq

    def follow(self, job_id: str, *, after: int | None = None) -> AsyncGenerator[Event, None]:
        """Everything that happens, as it happens, until the job has ended: each event once and in order.

        Over the service's live stream, taken up again where it breaks; polled where there is none.

        Example:
            async for event in client.jobs.follow(job.id):
                print(event.seq, event.type, event.data)
        """
        return following.events(self._wire, job_id, after or 0)

    async def artifacts(self, job_id: str) -> tuple[Artifact, ...]:
        """The files that it left; none until it has succeeded.

        Example:
            for artifact in await client.jobs.artifacts(job.id):
                print(artifact.name, artifact.size_bytes, artifact.sha256)
        """
        page = await self._wire.get(Page[Artifact], f"/v1/jobs/{job_id}/artifacts")
        return page.data

    async def verdicts(self, job_id: str, *, limit: int | None = None) -> Verdicts:
        """Every verdict on the weights that it judged, its own among them, worst first; none before its end.

        Example:
            for verdict in (await client.jobs.verdicts(job.id)).data:
                print(verdict.outcome, verdict.headline, verdict.job_id)
        """
        return await self._wire.get(Verdicts, f"/v1/jobs/{job_id}/verdicts", {"limit": limit})

    async def report(self, job_id: str) -> dict[str, Any]:
        """report.json as the job wrote it. Raises Conflict before the job's end, NotFound if it left none.

        Example:
            report = await client.jobs.report(job.id)
            print(report["verdict"]["outcome"], report["verdict"]["reason"])
        """
        answer = await self._wire.send(
            "GET", f"/v1/jobs/{job_id}/report", headers={"Accept": "application/json"}
        )
        try:
            report = parse_bounded(answer.content)
        except ValueError as cause:
            raise UnexpectedAnswer(f"The service's report cannot be read: {cause}.") from cause
        if not isinstance(report, dict):
            raise UnexpectedAnswer("The service's report is not a JSON object.")
        return report

    async def wait(
        self,
        job_id: str,
        *,
        timeout_s: float | None = None,
        on_progress: Callable[[Job], None] | None = None,
        check: bool = True,
    ) -> Job:
        """Until it has ended; a paused job is waited for. `on_progress` gets every change.

        Live over the service's stream of events; polled where there is none.
        Raises WaitTimeout; JobFailed and JobCancelled unless `check` is False.

        Example:
            job = await client.jobs.wait(job.id, timeout_s=3600, on_progress=lambda job: print(job.phase))
            print(job.state)
        """
        job = await wait_for(
            self._wire,
            Job,
            f"/v1/jobs/{job_id}",
            timeout_s=timeout_s,
            on_change=on_progress,
            follow=lambda left_s: following.states(self._wire, job_id, left_s),
        )
        if check and job.state == "failed":
            raise JobFailed(job)
        if check and job.state == "cancelled":
            raise JobCancelled(job)
        return job


def _order(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The body, of a call's own parameters; what was not given is left out. Raises TypeError for a part that
    no kind of job has."""
    parts = parameters["parts"]
    if unknown := parts.keys() - {kind.option_part for kind in KINDS.values()}:
        raise TypeError(f"no kind of job has the part {min(unknown)!r}")
    return {
        name: dict(value) if isinstance(value, Mapping) else value
        for name, value in {**parameters, **parts}.items()
        if value is not None and name not in {"self", "idempotency_key", "parts"}
    }
