"""The command `report`: pages from report.json alone. Loads no torch and needs no service."""

import argparse
import sys
from pathlib import Path

from rich.console import Console

from cleanclip.vocabulary.jobspec import EXIT_SUCCEEDED, REPORT_HTML_NAME, REPORT_MARKDOWN_NAME
from sanitizer.cli.arguments import UsageError
from sanitizer.rendering.checked_report import read_report
from sanitizer.rendering.documents import pages

STDOUT = "-"


def _report(arguments: argparse.Namespace, out: Console, err: Console) -> int:
    """Write what was asked for. Raises ReportRejected, UsageError."""
    wanted: dict[str, str | None] = {
        REPORT_HTML_NAME: arguments.html,
        REPORT_MARKDOWN_NAME: arguments.markdown,
    }
    if list(wanted.values()).count(STDOUT) > 1:
        raise UsageError("Only one of the two can go to stdout: give the other a file.")
    documents = pages(read_report(arguments.report))
    if not any(wanted.values()):
        _write_beside(arguments.report.parent, documents, err)
        return EXIT_SUCCEEDED
    for name, place in wanted.items():
        if place == STDOUT:
            sys.stdout.buffer.write(documents[name])
            sys.stdout.buffer.flush()
        elif place is not None:
            _write(Path(place), documents[name], err)
    return EXIT_SUCCEEDED


COMMANDS = {"report": _report}


def _write_beside(folder: Path, documents: dict[str, bytes], err: Console) -> None:
    """A page that is there and differs may be signed with its folder: it is not touched."""
    for name, content in documents.items():
        path = folder / name
        if path.exists() and path.read_bytes() != content:
            raise UsageError(
                f"{path} exists and differs; another version may have drawn it. "
                "Name a file with --html or --markdown."
            )
    for name, content in documents.items():
        _write(folder / name, content, err)


def _write(path: Path, content: bytes, err: Console) -> None:
    try:
        path.write_bytes(content)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}.") from error
    err.print(f"Written: {path}", highlight=False, markup=False)
