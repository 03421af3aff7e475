"""What the demo shows while it works: bars with rate and time left, and one line for whatever is finished.

Where the output is not a terminal there are no bars, only the lines. Knows rich and the client's answers.
"""

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from cleanclip.kinds.catalogue import KINDS
from cleanclip.models import Job, Phase
from cleanclip.transfer import TransferProgress
from lab.testbed.training import EpochFigures


def bars(console: Console) -> Progress:
    """A group of bars; use with `with`."""
    return Progress(
        TextColumn("  {task.description:<30}", markup=False),
        BarColumn(bar_width=32),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}", markup=False),
        console=console,
        transient=True,
    )


class PoisonBar:
    """The training of the test subject."""

    def __init__(self, progress: Progress, num_pairs_per_step: int) -> None:
        self._progress = progress
        self._pairs = num_pairs_per_step
        self._task = progress.add_task("poison a CLIP", total=None, note="")

    def step(self, done: int, total: int) -> None:
        elapsed_s = self._progress.tasks[self._task].elapsed or 0.0
        note = ""
        if done > 5 and elapsed_s > 0:
            rate = done / elapsed_s
            note = f"{rate * self._pairs:,.0f} pairs/s, {_duration((total - done) / rate)} left"
        self._progress.update(self._task, completed=done, total=total, note=note)

    def epoch(self, figures: EpochFigures) -> None:
        self._progress.console.print(
            f"  epoch {figures.epoch}: loss {figures.loss:.2f}, CA {figures.ca:.1%}, ASR {figures.asr:.1%}"
            " (validation images)",
            highlight=False,
        )


class UploadBar:
    """The file on its way."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("upload", total=None, note="")

    def __call__(self, state: TransferProgress) -> None:
        rate = state.rate_bytes_per_s
        note = "" if rate is None else f"{rate / 1e6:.0f} MB/s"
        self._progress.update(self._task, completed=state.done_bytes, total=state.total_bytes, note=note)


class JobBars:
    """A bar for each phase of a job, from what the service answers."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}
        self._told: set[str] = set()

    def __call__(self, job: Job) -> None:
        for phase in job.phases:
            if phase.state == "pending":
                continue
            name = KINDS[job.kind].phase(phase.name).title
            if phase.name not in self._tasks:
                self._tasks[phase.name] = self._progress.add_task(name, total=1.0, note="")
            task = self._tasks[phase.name]
            if phase.state == "succeeded":
                self._progress.update(task, completed=1.0, note="")
                self._tell_once(phase, name)
            elif phase.name == job.phase:
                self._progress.update(task, completed=job.progress.fraction or 0.0, note=_note(job))

    def _tell_once(self, phase: Phase, name: str) -> None:
        if phase.name in self._told:
            return
        self._told.add(phase.name)
        took = ""
        if phase.started_at is not None and phase.finished_at is not None:
            took = f", {(phase.finished_at - phase.started_at).total_seconds():.1f} s"
        self._progress.console.print(f"  {name}: done{took}", highlight=False)


def _note(job: Job) -> str:
    state = job.progress
    parts = []
    if state.rate is not None and state.rate_unit:
        parts.append(f"{state.rate:,.0f} {state.rate_unit}/s")
    if state.loss is not None:
        parts.append(f"loss {state.loss:.2f}")
    if state.eta_s is not None:
        parts.append(f"{_duration(state.eta_s)} left")
    return ", ".join(parts)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"
