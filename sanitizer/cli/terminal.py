"""What a person at a terminal sees: a bar on stderr while it runs, tables on stdout when it is done."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from cleanclip.face.table_rows import section_words
from cleanclip.kinds.catalogue import KINDS
from cleanclip.vocabulary import progress
from cleanclip.vocabulary.figures import in_brief
from cleanclip.vocabulary.jobspec import DatasetSummary, Inspection
from cleanclip.vocabulary.measures import Difference
from cleanclip.vocabulary.report import Report
from cleanclip.vocabulary.report_inputs import ScannerEvidence, scanner_words
from cleanclip.vocabulary.report_kinds import PlainReport
from cleanclip.vocabulary.sections import sections_of
from cleanclip.vocabulary.settled import COMPARED
from cleanclip.vocabulary.vet_report import VetReport

PHASE_TITLES = {phase.name: phase.title for kind in KINDS.values() for phase in kind.phases}


class Bars:
    """A `Progress` drawn as one bar a phase; a context manager. Draws nothing if stderr is not a terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            # As markup it would be read with emoji, whatever the console says.
            TextColumn("{task.fields[detail]}", markup=False),
            TimeRemainingColumn(compact=True),
            console=console,
            disable=not console.is_terminal,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> Bars:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def __call__(self, event: progress.ProgressEvent, /) -> None:
        match event:
            case progress.PhaseStarted():
                title = PHASE_TITLES[event.phase]
                self._task = self._bars.add_task(title, total=event.total, detail="")
            case progress.Advanced() if self._task is not None:
                self._bars.update(self._task, completed=event.done, detail=_detail(event))
            case progress.PhaseFinished() if self._task is not None:
                total = self._bars.tasks[self._task].total or 1
                self._bars.update(self._task, total=total, completed=total)
            case progress.Noted() | progress.Announced():
                style = "yellow" if event.level == "warning" else "dim"
                self._console.print(event.message, style=style, highlight=False, markup=False)
            case _:
                pass


def _detail(event: progress.Advanced) -> str:
    parts = []
    if event.rate is not None:
        parts.append(progress.rate_words(event.rate, event.rate_unit or "items"))
    if event.loss is not None:
        parts.append(f"loss {event.loss:.3f}")
    return ", ".join(parts) or event.message or ""


def print_inspection(console: Console, inspection: Inspection) -> None:
    """What the checkpoint is, on which assumptions."""
    table = Table(title="Checkpoint", show_header=False, title_justify="left")
    table.add_row("architecture", inspection.architecture_name)
    table.add_row("parameters", f"{inspection.num_parameters:,} in {inspection.dtype}")
    table.add_row("layout", inspection.layout)
    table.add_row("upload SHA-256", inspection.upload_sha256)
    table.add_row("weights SHA-256", inspection.weights_sha256)
    for option, reason in inspection.assumed.items():
        table.add_row(option, reason)
    console.print(table)
    for evidence in inspection.scanners:
        console.print(f"• {scanner_line(evidence)}", highlight=False, markup=False)
    for finding in inspection.findings:
        console.print(f"• {finding}", highlight=False, markup=False)


def scanner_line(evidence: ScannerEvidence) -> str:
    """One line: 'picklescan 1.0.5: nothing found', and the first issue where there is one."""
    words = scanner_words(evidence.verdict, evidence.issues, evidence.num_issues)
    said = f"{evidence.name} {evidence.version or ''}".strip() + f": {words}"
    return f"{said} ({evidence.issues[0]})" if evidence.issues else said


def print_summary(console: Console, summary: DatasetSummary) -> None:
    """What the dataset holds."""
    table = Table(title="Dataset", show_header=False, title_justify="left")
    table.add_row("kind", summary.kind)
    table.add_row("samples", f"{summary.num_samples:,} in {summary.num_shards} shard(s)")
    table.add_row("skipped", f"{summary.num_skipped:,}")
    for reason, count in summary.skipped_reasons.items():
        table.add_row(f"  {reason}", f"{count:,}")
    if summary.class_names is not None:
        table.add_row("classes", f"{len(summary.class_names):,}")
    table.add_row("SHA-256", summary.sha256)
    console.print(table)


def print_report(console: Console, report: Report) -> None:
    """Figures with their intervals, before and after, and the verdict."""
    table = Table(title=f"Target '{escape(report.audit.target)}', seed {report.seed}", title_justify="left")
    table.add_column("")
    table.add_column("before", justify="right")
    if report.after is not None:
        table.add_column("after", justify="right")
    for title, before, after in in_brief(report):
        table.add_row(escape(title), before, *([] if report.after is None else [after]))
    console.print(table)
    if report.ca_lost is not None:
        console.print(_lost("CA", report.ca_lost), highlight=False)
    for change in report.attack_changes:
        for name, lost in (("ASR", change.asr_lost), ("PA", change.pa_lost)):
            console.print(_lost(f"{change.attack}: {name}", lost), highlight=False, markup=False)
    for _, section in sections_of(report):
        console.print(section_words(section), highlight=False, markup=False)
    for part in (*report.verdict.attacks, report.verdict.clean_accuracy):
        if part is not None:
            console.print(f"• {part.attack}: {part.outcome}. {part.reason}", highlight=False, markup=False)
    for part in report.verdict.rebound:
        reported = f"• {part.attack} after benign fine-tuning: {part.outcome}. {part.reason}"
        console.print(reported, highlight=False, markup=False)
    if report.verdict.control is not None:
        found = report.verdict.control
        console.print(f"• {found.attack}: {found.outcome}. {found.reason}", highlight=False, markup=False)
    console.print(f"Verdict: {report.verdict.reason}", highlight=False, markup=False)
    if report.scan is not None:
        console.print(f"Scan: {report.scan.sentence}", highlight=False, markup=False)
    for setting in report.architecture.settings:
        if setting.option in COMPARED:
            words = f"{setting.option} {setting.value}, {setting.known_by}"
            console.print(words, highlight=False, markup=False)
    print_warnings(console, (*report.remarks, *report.warnings))


def print_warnings(console: Console, warnings: Iterable[str]) -> None:
    for warning in warnings:
        console.print(f"! {warning}", style="yellow", highlight=False, markup=False)


def print_vetting(console: Console, report: VetReport) -> None:
    """The scores, what was set aside, and what is known of it."""
    table = Table(title=f"Vetting, seed {report.seed}", title_justify="left")
    for title in ("score", "median", "99 % below", "highest", "decisive"):
        table.add_column(title, justify="left" if title == "score" else "right")
    for one in report.scores:
        figures = (one.vetted.median, one.vetted.q99, one.vetted.high)
        table.add_row(one.name, *(f"{figure:.4g}" for figure in figures), str(one.num_decisive))
    console.print(table)
    for left_out in report.not_computed:
        console.print(f"• {left_out.name} not computed: {left_out.reason}", highlight=False, markup=False)
    for level in report.levels:
        found = f"p <= {level.level}: {level.num} samples, expected {level.expected:.0f}"
        console.print(found, highlight=False, markup=False)
    for measured in report.measured:
        recall = measured.recall
        found = f"{100 * recall.value:.1f} % [{100 * recall.low:.1f}, {100 * recall.high:.1f}] n={recall.n}"
        console.print(f"Shuffled captions set aside: {found}", highlight=False, markup=False)
    console.print(f"{report.headline}.", highlight=False)
    print_warnings(console, report.warnings)


def print_plain(console: Console, report: PlainReport) -> None:
    """The headline, and what the report's page lists."""
    table = Table(title=f"Seed {report.seed}", title_justify="left", show_header=False)
    for name, value in report.rows:
        table.add_row(escape(name), escape(value))
    console.print(table)
    console.print(f"{report.headline}.", highlight=False, markup=False)
    print_warnings(console, report.warnings)


def _lost(what: str, lost: Difference) -> str:
    return (
        f"{what} lost: {100 * lost.value:+.1f} points, 95 % interval {100 * lost.low:+.1f} to "
        f"{100 * lost.high:+.1f} (paired, n={lost.n})"
    )
