"""Starts the fetching process, watches it, and checks what it brings. The only side that has a store.

Sizes and digests are counted here, of the file as it lies there. That a commit has this file is the hub's
word, brought by the process.
"""

import hashlib
import re
import stat
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from pydantic import ValidationError

from app.domain.sources import WEIGHTS, HubSource, parse_source
from app.domain.states import JobKind
from app.settings import SourceSettings
from cleanclip.vocabulary.errors import CheckpointRejected
from cleanclip.vocabulary.first_bytes import HEAD_BYTES, container_of_head
from cleanclip.vocabulary.progress import ignore
from worker.confinement import sandbox
from worker.confinement.child import Child
from worker.confinement.child_json import read_regular
from worker.confinement.file_access import kernel_restricts_files
from worker.confinement.outcome import is_disk_full
from worker.confinement.sandbox import ChildLimits, Isolation
from worker.control import Control
from worker.failures import CRASH_RETRY_S, AttemptFailed, disk_full, outputs_unusable, sandbox_failed
from worker.fetching.errands import (
    ANSWER,
    ANSWER_NAME,
    ERRAND,
    ERRAND_NAME,
    FETCHED_NAME,
    Code,
    Errand,
    Pinned,
)
from worker.staging.transfer import file_sha256, interruptible
from worker.supervision import Watch

_COMMAND = (sys.executable, "-m", "worker.fetching")
_LOOK_EVERY_S = 0.05
_MEMORY_BYTES = 2 * 2**30
_ROOM_BYTES = 16 * 2**20
_MAX_ANSWER_BYTES = 64 * 1024
_MOST_CONFIGURATION_BYTES = 256 * 1024
_SPARE_S = 60.0
_RESOLVE_S = 120.0
"""A description of a model is small."""
_COMMIT = re.compile("[0-9a-f]{40}")


def not_fetched(code: Code, said: str) -> AttemptFailed:
    """In the service's words; `said` is quoted."""
    return next(one for one in _refusals(said) if one.code == code)


def _refusals(said: str) -> Iterator[AttemptFailed]:
    yield AttemptFailed(
        "source_not_found",
        "The source is not there.",
        "Check owner, name, revision and path. A model for members only is not found either: download it "
        "yourself and upload it.",
        said=said,
    )
    yield AttemptFailed(
        "source_not_public",
        "The server gives the source to members only, or after a consent. This service has no account there.",
        "Download it yourself and upload it.",
        said=said,
    )
    yield AttemptFailed(
        "source_leads_elsewhere",
        "The source, or an address that it redirects to, is not one that this service connects to.",
        "Upload the file, or ask the operator to allow the host (CLEANCLIP_SOURCES__ALLOWED_HOSTS). The "
        "service never connects to addresses that are not public.",
        said=said,
    )
    yield AttemptFailed(
        "source_unreachable",
        "The server of the source did not answer, or broke off.",
        "The job is retried automatically. If it fails for good, order it again later, or upload the file.",
        retry_in_s=CRASH_RETRY_S,
        said=said,
    )
    yield AttemptFailed(
        "source_too_large",
        "The source has more bytes than were allowed for it.",
        "Order it with a larger max_size_bytes. For more than the service's own limit, ask the operator. "
        "If a configuration beside the weights is larger than 256 KiB, download the weights and upload them.",
        said=said,
    )
    yield AttemptFailed(
        "source_too_slow",
        "The server of the source is too slow.",
        "Order it again later, or download it yourself and upload it.",
        said=said,
    )
    yield AttemptFailed(
        "source_changed",
        "The bytes that came are not those that the source has by its own description.",
        "Do not trust this source before you know why. Order it again: a network can be at fault.",
        said=said,
    )
    yield AttemptFailed(
        "source_without_weights",
        "The model on the hub does not have the file, or no file of weights with a usual name.",
        "Name the file: hf://OWNER/NAME@REVISION/PATH.",
        said=said,
    )
    yield AttemptFailed(
        "source_not_understood",
        "The server answers in a way that this service does not understand.",
        "Check that the address is of one file and not of a page about it. Or upload the file.",
        said=said,
    )


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """What lies at `path`, as it was counted here."""

    path: Path
    size_bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Fetcher:
    """Runs errands one after the other, each in a process and a folder of its own below `folder`."""

    folder: Path
    kind: JobKind
    """Of the job, whose limits of processor time it has."""
    settings: SourceSettings
    limits: ChildLimits
    isolation: Isolation
    control: Control
    worker_environment: Mapping[str, str]

    def resolve(self, source: str) -> Pinned:
        """Asks the hub; of another server nothing is known before. Raises AttemptFailed, Stopped."""
        ordered = parse_source(source)
        if not isinstance(ordered, HubSource):
            return Pinned()
        pinned = self._run(source, None, max_bytes=0)[1]
        if _COMMIT.fullmatch(ordered.revision) and pinned.commit != ordered.revision:
            raise not_fetched("source_changed", f"The hub names the commit {pinned.commit}")
        if pinned.path not in ((ordered.path,) if ordered.path else WEIGHTS):
            raise outputs_unusable("names another file than was ordered")
        return pinned

    def bring(self, source: str, pinned: Pinned, *, name: str, max_bytes: int) -> Fetched:
        """Its file, if it is the one that was pinned and of the kind that its name says.

        Raises AttemptFailed, Stopped."""
        if (pinned.size_bytes or 0) > max_bytes:
            raise not_fetched(
                "source_too_large", f"It has {pinned.size_bytes} bytes; {max_bytes} are allowed."
            )
        folder, reported = self._run(source, pinned, max_bytes=max_bytes)
        path = folder / FETCHED_NAME
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode):
            raise outputs_unusable("what it brought is not a file")
        if status.st_size > max_bytes:
            raise not_fetched("source_too_large", f"{status.st_size} bytes came; {max_bytes} are allowed.")
        sha256 = interruptible(partial(file_sha256, path), self.control.check)
        # What was pinned before stays: the process may add what was not known.
        known = {name: value for name, value in asdict(pinned).items() if value is not None}
        expected = replace(reported, **known)
        is_same = expected.size_bytes in {None, status.st_size} and expected.sha256 in {None, sha256}
        if is_same and expected.git_sha1 is not None:
            of_git = interruptible(partial(_git_sha1, path, status.st_size), self.control.check)
            is_same = of_git == expected.git_sha1
        if not is_same:
            raise not_fetched("source_changed", f"{status.st_size} bytes came, with SHA-256 {sha256}")
        _check_name(path, name)
        return Fetched(path=path, size_bytes=status.st_size, sha256=sha256)

    def configurations(self, source: str, pinned: Pinned) -> dict[str, str]:
        """By name the texts that lie beside the pinned file on a hub. Whoever reads them believes nothing.

        Raises AttemptFailed, Stopped."""
        texts: dict[str, str] = {}
        for one in pinned.beside:
            folder = str(pinned.path)[: str(pinned.path).rfind("/") + 1]
            its = Pinned(
                commit=pinned.commit,
                path=folder + one.name,
                size_bytes=one.size_bytes,
                sha256=one.sha256,
                git_sha1=one.git_sha1,
            )
            got = self.bring(source, its, name=one.name, max_bytes=_MOST_CONFIGURATION_BYTES)
            texts[one.name] = got.path.read_text(encoding="utf-8", errors="replace")
        return texts

    def _run(self, source: str, pinned: Pinned | None, *, max_bytes: int) -> tuple[Path, Pinned]:
        settings = self.settings
        if self.isolation == "none" and not kernel_restricts_files():
            raise AttemptFailed(
                "source_not_confined",
                "This worker cannot keep a process that reaches out from its own files.",
                "Upload the file, or ask the operator for a worker with Landlock or user namespaces.",
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        job = self.folder / f"errand-{len([*self.folder.iterdir()])}" / "job"
        for name in ("home", "tmp"):
            (job / name).mkdir(parents=True)
        errand = Errand(
            source=source,
            pinned=pinned,
            hub_url=settings.hub_url,
            allowed_hosts=settings.allowed_hosts,
            denied_networks=settings.denied_networks,
            allow_loopback=settings.allow_loopback,
            max_bytes=max_bytes,
            timeout_s=settings.timeout_s if pinned else min(settings.timeout_s, _RESOLVE_S),
            min_bytes_per_s=settings.min_bytes_per_s,
        )
        (job / ERRAND_NAME).write_bytes(ERRAND.dump_json(errand))
        child = self._watched(job, max_bytes + _ROOM_BYTES)
        if not child.was_set_up:
            raise sandbox_failed(child.log_tail())
        try:
            answer = ANSWER.validate_json(read_regular(job / ANSWER_NAME, _MAX_ANSWER_BYTES))
        except (OSError, ValidationError, ValueError) as error:
            if is_disk_full(job):
                raise disk_full(child.log_tail()) from error
            raise outputs_unusable("left no answer about the source") from error
        if answer.pinned is None:
            raise not_fetched(answer.code or "source_not_understood", answer.said)
        return job, answer.pinned

    def _watched(self, job: Path, max_bytes: int) -> Child:
        """The process, which has ended."""
        limits = replace(
            self.limits,
            memory_bytes=_MEMORY_BYTES,
            file_bytes=max_bytes,
            hostile_wall_s=self.settings.timeout_s + _SPARE_S,
            stall_s=self.settings.timeout_s + 2 * _SPARE_S,  # it waits for others, and says nothing
            uses_cuda=False,
            tokenizers_dir=None,
        )
        child = Child(
            sandbox.guarded_command(
                [*_COMMAND, str(job)],
                job,
                self.isolation,
                sandbox.rlimits(limits, self.kind, self.isolation),
                more_calls=limits.more_calls,
                reaches_out=True,
            ),
            environment=sandbox.environment(job, limits, self.worker_environment),
            folder=job,
            log_path=job.with_name("stderr.log"),
            on_event=ignore,
        )
        try:
            watch = Watch(child, job, self.control, self.kind, limits, written_bytes=max_bytes)
            while child.poll() is None:
                watch.look()
                time.sleep(_LOOK_EVERY_S)
        finally:
            child.close()
        return child


def _git_sha1(path: Path, size_bytes: int) -> str:
    """As git names a file's content."""
    digest = hashlib.sha1(b"blob %d\0" % size_bytes, usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(2**20):
            digest.update(chunk)
    return digest.hexdigest()


def _check_name(path: Path, name: str) -> None:
    """A pickle that is called safetensors is refused here; all else is for the inspection to say."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    try:
        found = container_of_head(head)
    except CheckpointRejected as error:
        found = "zip" if error.code == "legacy_pickle" else "safetensors"
    if name.endswith(".safetensors") and found == "zip":
        raise AttemptFailed(
            "source_not_as_named",
            "The file is called safetensors, but it is a pickle, which can run code where it is loaded.",
            "Do not load it. Do not trust this source before you know why.",
        )
