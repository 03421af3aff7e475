"""inputs/report.json, as the supervisor wrote it → report.html and report.md. Free of torch."""

from pathlib import Path

from cleanclip.vocabulary import jobspec
from cleanclip.vocabulary.jobspec import PagesSpec
from cleanclip.vocabulary.progress import Progress, Stop
from sanitizer.rendering.checked_report import read_report
from sanitizer.rendering.documents import pages


def do(_spec: PagesSpec, folder: Path, _progress: Progress, _stop: Stop) -> None:
    """Raises ReportRejected."""
    for name, content in pages(read_report(folder / jobspec.REPORT_PATH)).items():
        (folder / jobspec.OUTPUTS_PATH / name).write_bytes(content)
