"""One attempt at one job: stage → run → publish → record, and every way it can end otherwise.

Whatever happens in between, the job is left in a state that somebody else can go on from: its row says so
in one fenced transaction, its folder is gone, its child is dead.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from app.db.repositories.attempt_values import ClaimedJob
from app.db.session import Database
from app.domain.errors import DomainError, Unavailable
from app.domain.states import RESUMABLE, JobPhase, JobState, phases_of
from app.logs import get_logger
from app.settings import DatasetSettings, SourceSettings
from app.storage.errors import StorageError
from app.storage.port import ObjectStore
from cleanclip.kinds.catalogue import KINDS
from cleanclip.vocabulary.jobspec import MaxRanks
from cleanclip.vocabulary.progress import ProgressEvent, StateSaved
from worker import cgroup, failures
from worker.confinement import sandbox
from worker.confinement.child import Child
from worker.confinement.outcome import interpret, seen_of, wanted_outputs
from worker.confinement.sandbox import ChildLimits
from worker.control import Control, Stopped, StopReason
from worker.failures import AttemptFailed
from worker.fetching.bringing import Fetcher
from worker.fetching.sources import SourceBringer
from worker.first_audit import FirstAudit
from worker.heartbeat import Pulse
from worker.ledger import Ledger
from worker.publishing.ending import Publication
from worker.publishing.first_scan import finish_scan, reopened, scan_of, scanned_files
from worker.publishing.fresh_child import FreshChildren
from worker.publishing.output_bounds import output_bytes, state_bytes, written_bytes
from worker.publishing.packing import Packing, Signer
from worker.publishing.publish import publish
from worker.publishing.rechecking import is_due
from worker.publishing.withholding import withhold
from worker.staging.stage import Staged, ordered_as, stage
from worker.staging.workspace import Workspace, workspace
from worker.supervision import Grace, Watch, supervise
from worker.sweeping.cleanup import delete_needless_checkpoints
from worker.tracker import Tracker
from worker.training_states import StateShipper, restore
from worker.wall_time import wall_limit_s

_LOG = get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class AttemptOptions:
    """Plain values; see app.settings for what they mean."""

    work_dir: Path
    limits: ChildLimits
    datasets: DatasetSettings = field(default_factory=DatasetSettings)
    sources: SourceSettings = field(default_factory=SourceSettings)
    wall_factor: float = 1.0
    lease_s: float = 120.0
    heartbeat_s: float = 20.0
    poll_s: float = 1.0
    save_every_s: float = 60.0
    pause_grace_s: float = 30.0
    max_ranks: MaxRanks = 1
    child_command: Sequence[str] = sandbox.DEFAULT_COMMAND
    signer: Signer | None = None
    """None: what jobs leave goes out unsigned, and says so."""


class Attempt:
    """The parts of one attempt, wired together."""

    def __init__(
        self,
        database: Database,
        store: ObjectStore,
        options: AttemptOptions,
        job: ClaimedJob,
        leaving: threading.Event,
    ) -> None:
        self._database = database
        self._store = store
        self._options = options
        self._job = job
        self._control = Control(leaving)
        self._isolation = sandbox.strongest_isolation()
        self._child_ran = False
        self._max_ranks: MaxRanks = 1
        if KINDS[job.kind].trains:
            uses_cuda = options.limits.uses_cuda
            self._max_ranks = sandbox.allowed_ranks(options.max_ranks, self._isolation, uses_cuda=uses_cuda)
        self._tracker = Tracker(job.kind, job.loss_curve, job.spec)
        self._ledger = Ledger(database, job, self._control, lease_s=options.lease_s)

    def run(self, worker_environment: Mapping[str, str]) -> JobState | None:
        """The state the job was left in; None when it was no longer ours to leave in any."""
        pulse = Pulse(
            self._ledger,
            self._control,
            self._tracker,
            heartbeat_s=self._options.heartbeat_s,
            poll_s=self._options.poll_s,
        )
        with pulse:
            try:
                return self._finish(worker_environment, pulse)
            except Stopped:
                return None

    def _finish(self, worker_environment: Mapping[str, str], pulse: Pulse) -> JobState | None:
        try:
            self._scan_first(worker_environment)
            with workspace(self._options.work_dir, self._job.id, self._job.attempt) as place:
                return self._work(place, worker_environment, pulse)
        except Stopped as stopped:
            return self._leave(stopped.reason)
        except AttemptFailed as failure:
            return self._fail(failure)
        except StorageError as error:
            _LOG.warning("store_failed", reason=str(error)[:300])
            return self._fail(failures.from_storage(error))
        except DomainError as error:
            return self._fail(failures.from_domain(error))
        except OSError as error:
            _LOG.exception("worker_io_error")
            return self._fail(failures.from_os(error, child_ran=self._child_ran))
        except Exception:  # noqa: BLE001 - a defect of ours must not leave the job hanging until its lease ends
            _LOG.exception("internal_error")
            return self._fail(failures.internal_failure())

    def _scan_first(self, worker_environment: Mapping[str, str]) -> None:
        """The scan of a cleaning that begins with one and has not made it, in a folder of its own: the
        cleaning's child finds nothing that the scan's child left."""
        self._job = reopened(self._store, self._job, self._control.check)
        scan = scan_of(self._job)
        if scan is None:
            return
        with workspace(self._options.work_dir, self._job.id, self._job.attempt) as place:
            staged = self._stage(place, scan)
            self._bring_back_state(place, scan)
            outputs = self._run_child(place, scan, staged, lambda: None, worker_environment)
            work = self._publication(place, scan, staged, outputs, worker_environment)
            self._job = finish_scan(self._store, self._ledger, self._job, work)

    def _stage(self, place: Workspace, job: ClaimedJob) -> Staged:
        return stage(
            self._database,
            self._store,
            job,
            place.job,
            limits=self._options.datasets,
            save_every_s=self._options.save_every_s,
            max_ranks=self._max_ranks,
            tracker=self._tracker,
            check=self._control.check,
        )

    def _work(self, place: Workspace, worker_environment: Mapping[str, str], pulse: Pulse) -> JobState:
        job, check = self._job, self._control.check
        if KINDS[job.kind].reads_upload:
            self._bring_source(place, worker_environment)
        scanned = scanned_files(self._store, job, place.outgoing / "scanned", check)
        staged = self._withheld(place, self._stage(place, job), worker_environment)
        if KINDS[job.kind].reads_upload:
            self._ledger.record_upload(staged.received[0].sha256)
        self._bring_back_state(place, job)
        first = FirstAudit(self._ledger, staged, place.job)

        def look() -> None:
            if self._tracker.phase is JobPhase.FINETUNE:  # until then it may be an earlier attempt's
                first.look()

        try:
            outputs = self._run_child(place, job, staged, look, worker_environment)
        except (AttemptFailed, Stopped) as ended:
            if not _is_lost(ended):
                first.look()
            raise
        if staged.known is not None:
            staged = replace(staged, known=replace(staged.known, before=first.figures))
        pulse.flush()
        self._tracker.begin(JobPhase.PUBLISH)
        work = self._publication(place, job, staged, outputs, worker_environment)
        return publish(self._store, self._ledger, work, scanned=scanned, signer=self._options.signer)

    def _bring_source(self, place: Workspace, worker_environment: Mapping[str, str]) -> None:
        """The bytes of a checkpoint that was named instead of sent, to where an upload lies."""
        self._tracker.begin(JobPhase.STAGE)
        fetcher = Fetcher(
            folder=place.outgoing / "source",
            kind=self._job.kind,
            settings=self._options.sources,
            limits=self._options.limits,
            isolation=self._isolation,
            control=self._control,
            worker_environment=worker_environment,
        )
        SourceBringer(
            database=self._database,
            store=self._store,
            ledger=self._ledger,
            job=self._job,
            fetcher=fetcher,
            allowed_prefixes=self._options.datasets.allowed_prefixes,
            check=self._control.check,
        ).bring()

    def _publication(
        self,
        place: Workspace,
        job: ClaimedJob,
        staged: Staged,
        outputs: Sequence[Path],
        worker_environment: Mapping[str, str],
    ) -> Publication:
        check = self._control.check
        return Publication(
            job=job,
            packing=Packing(outputs, place.outgoing / job.id, check),
            staged=staged,
            inputs=place.job,
            fresh=self._fresh_children(place, staged, worker_environment),
            signs=self._options.signer is not None,
            is_resumed=bool(job.resume_state),
            ended_at=self._ledger.time(),
            tracker=self._tracker,
            check=check,
        )

    def _withheld(self, place: Workspace, staged: Staged, worker_environment: Mapping[str, str]) -> Staged:
        """Without the images that a second audit measures on, where one is due."""
        signs = self._options.signer is not None
        if (spec := staged.judged) is None or not is_due(spec, signs=signs)[0]:
            return staged
        if spec.searches:
            staged = ordered_as(staged, place.job, replace(spec, searches=False))
        return withhold(
            staged,
            self._fresh_children(place, staged, worker_environment),
            job_folder=place.job,
            aside=place.outgoing / "withheld",
            check=self._control.check,
        )

    def _limits(self, staged: Staged) -> ChildLimits:
        limits = self._options.limits
        wall_s = wall_limit_s(staged, uses_cuda=limits.uses_cuda, factor=self._options.wall_factor)
        return replace(limits, training_wall_s=wall_s)

    def _fresh_children(
        self, place: Workspace, staged: Staged, worker_environment: Mapping[str, str]
    ) -> FreshChildren:
        return FreshChildren(
            folder=place.fresh,
            command=tuple(self._options.child_command),
            limits=self._limits(staged),
            isolation=self._isolation,
            control=self._control,
            worker_environment=worker_environment,
        )

    def _bring_back_state(self, place: Workspace, job: ClaimedJob) -> None:
        if job.kind not in RESUMABLE or not job.resume_state:
            return
        kind = KINDS[job.kind]
        what = "Training" if kind.trains else f"The {kind.title.lower()}"
        state, complaints = restore(self._store, job, place.job, self._control.check)
        for complaint in complaints:
            self._tracker.note("warning", complaint)
        if state is None:
            self._ledger.record_state(None)
            self._tracker.note("warning", f"{what} starts again: no saved state could be used.")
        elif kind.trains:
            self._tracker.note("info", f"{what} resumes from the state saved at step {state['step']}.")
        else:
            self._tracker.note("info", f"{what} continues: {state['step']} of its parts are finished.")

    def _run_child(
        self,
        place: Workspace,
        job: ClaimedJob,
        staged: Staged,
        look: Callable[[], None],
        worker_environment: Mapping[str, str],
    ) -> tuple[Path, ...]:
        limits, phases = self._limits(staged), phases_of(job.kind, job.spec)
        shipper = StateShipper(
            self._store,
            self._ledger,
            job,
            place.job,
            place.outgoing,
            max_bytes=min(limits.written_bytes, state_bytes(job.kind, staged.received)),
        )
        isolation = self._isolation
        watches: list[Watch] = []

        def on_event(event: ProgressEvent) -> None:
            for watch in watches:
                watch.heard()
            if isinstance(event, StateSaved):
                shipper.take(event)
            elif getattr(event, "phase", phases[0]) in phases:
                self._tracker.apply(event)

        kills_before = cgroup.oom_kills()
        self._child_ran = True
        child = Child(
            sandbox.guarded_command(
                [*self._options.child_command, str(place.job)],
                place.job,
                isolation,
                sandbox.rlimits(limits, job.kind, isolation),
                uses_cuda=limits.uses_cuda,
                more_calls=limits.more_calls,
                tokenizers_dir=limits.tokenizers_dir,
                talks_to_itself=KINDS[job.kind].trains and self._max_ranks != 1,
            ),
            environment=sandbox.environment(place.job, limits, worker_environment),
            folder=place.job,
            log_path=place.logs / "stderr.log",
            on_event=on_event,
            save_every_s=self._options.save_every_s,
        )
        try:
            most_bytes = written_bytes(job.kind, staged.received)
            watches.append(Watch(child, place.job, self._control, job.kind, limits, written_bytes=most_bytes))
            grace = Grace(pause_s=self._options.pause_grace_s)
            supervise(child, watches[0], shipper, self._control, grace, look=look)
        finally:
            seen = seen_of(child, kills_before)
            peak_bytes = max((watch.peak_bytes for watch in watches), default=0)
            _LOG.info("child_ended", status=seen.status, isolation=isolation, peak_bytes=peak_bytes)
        return interpret(
            seen,
            place.job,
            wanted_outputs(job.kind, weights_bytes=staged.most_weights_bytes),
            attempts_used=job.attempts_used,
            log_tail=child.log_tail(),
            max_bytes=min(limits.written_bytes, output_bytes(job.kind, staged.received)),
        )

    def _fail(self, failure: AttemptFailed) -> JobState | None:
        phase = self._tracker.phase
        # What the child said last may quote the customer's data: it goes to her job's error, not our log.
        num_said = len(failure.log_tail or "")
        _LOG.warning("attempt_failed", code=failure.code, reason=failure.message, log_characters=num_said)
        error = failure.as_row(phase.value if phase else None)
        state = self._ledger.fail(
            error,
            retry_in_s=failure.retry_in_s,
            counts=failure.counts,
            forgets_result=not failure.is_child_trusted,
            scanners=failure.scanners,
        )
        self._delete_rejected_upload(state)
        return state

    def _leave(self, reason: StopReason) -> JobState | None:
        if reason is StopReason.CANCEL:
            state = self._ledger.cancel()
            self._delete_rejected_upload(state)
            return state
        if reason is StopReason.PAUSE:
            return self._ledger.pause()
        return self._ledger.hand_back() if reason is StopReason.LEAVE else None

    def _delete_rejected_upload(self, state: JobState) -> None:
        """The bytes of a rejected checkpoint, at once; what fails here is left to the sweeper."""
        if KINDS[self._job.kind].reads_upload and state in {JobState.FAILED, JobState.CANCELLED}:
            try:
                delete_needless_checkpoints(self._database, self._store)
            except (StorageError, Unavailable) as error:
                _LOG.info("rejected_upload_left_to_the_sweeper", reason=type(error).__name__)


def _is_lost(ended: AttemptFailed | Stopped) -> bool:
    """Whether nothing that the child left may be recorded any more."""
    if isinstance(ended, Stopped):
        return ended.reason is StopReason.FENCED
    return not ended.is_child_trusted
