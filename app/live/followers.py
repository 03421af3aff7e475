"""Who follows which job, in this process: one look at the database serves all of them.

While anybody follows, a task looks every `look_every_s`, project by project, in one short transaction each;
it hands what it found to every follower, each from where that one stands. Between looks nothing is held, so
that a thousand followers need no more connections than one. Every look tells too whether the job is still
there and, as often as keys are looked up anyway (`key_cache_s`), whether the key is; if not, the stream ends
without `done`, and the answer to the next request says why. Belongs to the event loop of the application.
"""

import asyncio
import contextvars
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from prometheus_client import Gauge
from starlette.concurrency import run_in_threadpool

from app.db.session import Database
from app.domain.errors import QuotaExceeded, Unavailable
from app.domain.quotas import ProcessShare, QuotaUse
from app.live.sse import Frames, frames_of
from app.logs import get_logger
from app.services.api_keys import Caller
from app.services.following import NOTHING_SEEN, Seen, changes_since
from app.settings import Settings

MAX_PENDING_BYTES = 256 * 1024
"""What waits for one follower; who has so much gets no more until it is taken."""
UNCHECKED_AT_MOST_S = 30.0
"""Streams end when the database could not say for so long whether they still may."""
_NOTICE_WITHIN_S = 0.25
"""How late the end of the process is noticed; the server waits `api.stop_grace_s`."""
_TRY_AGAIN_AFTER_S = 10

log = get_logger(__name__)


class Follower:
    """One open stream: where it stands, and what waits to be sent."""

    def __init__(self, caller: Caller, job_id: str, seq: int) -> None:
        self.project_id = caller.project_id
        self.key_id = caller.key_id
        self.job_id = job_id
        self.seq = seq
        self.version = NOTHING_SEEN
        self._pending: list[bytes] = []
        self._num_bytes = 0
        self._is_over = False
        self._changed = asyncio.Event()

    @property
    def is_full(self) -> bool:
        return self._num_bytes > MAX_PENDING_BYTES

    @property
    def has_ended(self) -> bool:
        """Nothing waits and nothing will come."""
        return self._is_over and not self._pending

    def give(self, frames: Frames) -> None:
        """What is new to this one; at the job's end, the last that it gets."""
        if self._is_over:
            return
        chunks = [frame for seq, frame in frames.events if seq > self.seq]
        if frames.events:
            self.seq = max(self.seq, frames.events[-1][0])
        if self.seq >= frames.job_seq and self.version != frames.version:
            self.version = frames.version
            chunks.append(frames.standing)
            self._is_over = frames.is_done
        if chunks:
            self._pending += chunks
            self._num_bytes += sum(map(len, chunks))
            self._changed.set()

    def end(self) -> None:
        """Nothing more will come."""
        self._is_over = True
        self._changed.set()

    async def take(self, within_s: float) -> bytes:
        """All that waits, as soon as there is something; nothing after `within_s` or at the end."""
        if not self._pending and not self._is_over:
            with suppress(TimeoutError):
                async with asyncio.timeout(within_s):
                    await self._changed.wait()
        self._changed.clear()
        taken = b"".join(self._pending)
        self._pending.clear()
        self._num_bytes = 0
        return taken


@dataclass(kw_only=True)
class _Project:
    """The followers of one project's jobs, and when its keys were looked up with success."""

    jobs: dict[str, set[Follower]]
    checked_s: float
    keys_checked_s: float = float("-inf")

    def followers(self) -> list[Follower]:
        return [follower for followers in self.jobs.values() for follower in followers]


@dataclass(frozen=True, kw_only=True)
class _Found:
    frames: Mapping[str, Frames]
    gone: frozenset[str]
    unusable: frozenset[str]


class Followers:
    """Of one application. Used by its event loop only, but for `end_all`."""

    def __init__(self, database: Database, settings: Settings, num_open: Gauge) -> None:
        self._database = database
        self._settings = settings
        self._num_open = num_open
        self._projects: dict[str, _Project] = {}
        self._prompted: set[str] = set()
        self._prompt = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None
        self._is_ending = False

    def follow(self, caller: Caller, job_id: str, seq: int) -> Follower:
        """Begin after the event with the number `seq`; `leave` must follow. The job was seen to be there.

        Raises QuotaExceeded (`too_many_streams`), Unavailable (`streams_busy`).
        """
        self._check_room(caller.project_id)
        follower = Follower(caller, job_id, seq)
        project = self._projects.setdefault(caller.project_id, _Project(jobs={}, checked_s=time.monotonic()))
        project.jobs.setdefault(job_id, set()).add(follower)
        self._num_open.inc()
        self._look_soon(caller.project_id)
        if self._looking is None or self._looking.done():
            # A context of its own: the looks are no part of the request that happened to come first.
            self._looking = asyncio.get_running_loop().create_task(
                self._keep_looking(), context=contextvars.Context()
            )
        return follower

    def leave(self, follower: Follower) -> None:
        """The stream has ended, however. A second time changes nothing."""
        follower.end()
        project = self._projects.get(follower.project_id)
        if project is None or follower not in project.jobs.get(follower.job_id, ()):
            return
        project.jobs[follower.job_id].remove(follower)
        self._num_open.dec()
        if not project.jobs[follower.job_id]:
            del project.jobs[follower.job_id]
        if not project.jobs:
            del self._projects[follower.project_id]

    def end_all(self) -> None:
        """The process will end: so do all streams, in a moment. May be called by a signal's handler."""
        self._is_ending = True

    async def close(self) -> None:
        """Stop looking."""
        if self._looking is not None:
            self._looking.cancel()
            with suppress(asyncio.CancelledError):
                await self._looking

    def _check_room(self, project_id: str) -> None:
        project = self._projects.get(project_id)
        current, limit = len(project.followers()) if project else 0, self._settings.quotas.open_streams
        if current >= limit:
            raise QuotaExceeded(
                "too_many_streams",
                f"{current} streams of the project are open already; the limit is {limit}.",
                "Close some, or poll with If-None-Match instead.",
                retry_after_s=_TRY_AGAIN_AFTER_S,
                quota=QuotaUse(name=ProcessShare.OPEN_STREAMS, limit=limit, current=current),
            )
        if sum(len(one.followers()) for one in self._projects.values()) >= self._settings.streams.max_open:
            raise Unavailable(
                "streams_busy",
                "This process has as many open streams as it can serve.",
                "Poll with If-None-Match, or try again in a moment.",
                retry_after_s=_TRY_AGAIN_AFTER_S,
            )

    # -- looking

    def _look_soon(self, project_id: str) -> None:
        self._prompted.add(project_id)
        self._prompt.set()

    async def _keep_looking(self) -> None:
        next_look_s = time.monotonic()
        while self._projects:
            if self._is_ending:
                self._end(follower for one in self._projects.values() for follower in one.followers())
                await asyncio.sleep(_NOTICE_WITHIN_S)
                continue
            is_due = time.monotonic() >= next_look_s
            if is_due:
                next_look_s = time.monotonic() + self._settings.streams.look_every_s
            chosen = (
                list(self._projects) if is_due else [one for one in self._prompted if one in self._projects]
            )
            self._prompted.clear()
            self._prompt.clear()
            for project_id in chosen:
                await self._look_at(project_id)
            with suppress(TimeoutError):
                async with asyncio.timeout(min(_NOTICE_WITHIN_S, max(0.0, next_look_s - time.monotonic()))):
                    await self._prompt.wait()

    async def _look_at(self, project_id: str) -> None:
        project = self._projects.get(project_id)
        if project is None:
            return
        seen = {job_id: one for job_id, followers in project.jobs.items() if (one := _hindmost(followers))}
        began_s = time.monotonic()
        keys: set[str] = set()
        if began_s - project.keys_checked_s >= self._settings.api.key_cache_s:
            keys = {follower.key_id for follower in project.followers()}
        try:
            found = await run_in_threadpool(self._read, project_id, seen, keys)
        except Unavailable as error:
            log.warning("look_failed", code=error.code, cause=repr(error.__cause__))
            if began_s - project.checked_s > UNCHECKED_AT_MOST_S:
                self._end(project.followers())
        except Exception:
            log.exception("look_failed", project_id=project_id)
            self._end(project.followers())
        else:
            project.checked_s = began_s
            if keys:
                project.keys_checked_s = began_s
            self._hand_out(project_id, project, seen, found)

    def _read(self, project_id: str, seen: Mapping[str, Seen], keys: set[str]) -> _Found:
        """In a thread, whole: bytes for all followers are made once."""
        with self._database.unit_of_work(project_id) as unit:
            found = changes_since(unit, project_id, seen, keys)
        return _Found(
            frames={job_id: frames_of(news) for job_id, news in found.news.items()},
            gone=found.gone,
            unusable=found.unusable,
        )

    def _hand_out(
        self, project_id: str, project: _Project, seen: Mapping[str, Seen], changes: _Found
    ) -> None:
        for job_id, frames in changes.frames.items():
            for follower in project.jobs.get(job_id, ()):
                if follower.seq >= seen[job_id].seq and not follower.is_full:  # else it came after the look
                    follower.give(frames)
            if frames.events and frames.events[-1][0] < frames.job_seq:
                self._look_soon(project_id)
        self._end(
            follower
            for follower in project.followers()
            if follower.job_id in changes.gone or follower.key_id in changes.unusable
        )

    @staticmethod
    def _end(followers: Iterable[Follower]) -> None:
        for follower in followers:
            follower.end()


def _hindmost(followers: Iterable[Follower]) -> Seen | None:
    """Of those who can take more; None where nobody can."""
    able = [follower for follower in followers if not follower.is_full]
    if not able:
        return None
    return Seen(
        seq=min(follower.seq for follower in able), version=min(follower.version for follower in able)
    )
