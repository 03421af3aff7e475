"""Leaves report.html and report.md beside report.json, at the end of a command that a person typed.

A job's pages are drawn by a process that never saw the model: `sanitizer.work.drawing_pages`.

They are a view of report.json and can be drawn from it again at any time; hours of training cannot be had
again. So an error while drawing leaves both out, with a warning, and fails nothing. What draws is loaded here
and by name: nobody pays for its libraries (decision 0051) before the figures are on the disk.
"""

import importlib
from pathlib import Path

from cleanclip.vocabulary.progress import Announced, Progress
from cleanclip.vocabulary.report_kinds import AnyReport

DRAWS = "sanitizer.rendering.documents"


def write_pages(report: AnyReport, folder: Path, progress: Progress) -> None:
    """Write the pages, or draw none and say so. Raises OSError, as writing report.json does."""
    try:
        documents: dict[str, bytes] = importlib.import_module(DRAWS).pages(report)
    except Exception as error:  # noqa: BLE001 - whatever it is, the job's result is worth more than its image
        message = (
            f"The report's pages could not be drawn ({type(error).__name__}) and are left out; "
            "report.json is complete. Draw them from it: python -m sanitizer report report.json"
        )
        progress(Announced(level="warning", message=message))
        return
    for name, content in documents.items():
        (folder / name).write_bytes(content)
