"""`report` and `download`: what a job left."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from cleanclip.command import gate, scan_view, vet_view, views
from cleanclip.command.exit_codes import ExitCode
from cleanclip.command.jobs import JobId
from cleanclip.command.output import Output, ProgressLine
from cleanclip.command.session import JsonFlag, conclude, on_interrupt, session_of, show_transfer
from cleanclip.errors import DigestMismatch
from cleanclip.evidence.findings import SIGNATURE_NAME, SUMS_NAME
from cleanclip.models import Artifact, Job
from cleanclip.one_writer import only_writer
from cleanclip.sync.artifacts import plain_name
from cleanclip.sync.client import Client

TAKE_UP = "the same command continues where it stopped."
_SUM = re.compile(r"([0-9a-f]{64}) [ *](.+)")


def report(
    context: typer.Context,
    *,
    job: JobId,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Also write report.json there.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Show a finished job's verdict, figures and signature; with --json the whole report.

    Example: cleanclip report job_… --out report.json
    """
    output = Output(is_json=as_json)
    with session_of(context).client() as client:
        found, shown = client.jobs.report(job), client.jobs.get(job)
        worse = gate.worse_than_own(client, shown)
    if out is not None:
        out.write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        output.note(f"Written to {out}.")
    remarks = shown.result.remarks if shown.result else ()
    view = {"scan": scan_view.scan, "vet": vet_view.vet}.get(str(found.get("kind")), views.figures)
    view = views.plain if "rows" in found else view
    figures = view({**found, "remarks": remarks})
    output.result(found, f"{figures}\n\nsignature: {views.signature(shown.signature)}")
    gate.warn(output, worse)


def download(
    context: typer.Context,
    *,
    job: JobId,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Folder for the files; default: the job's id.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Download all files of a job and check every digest, also against the job's own SHA256SUMS.

    If it is interrupted, run it again to continue. Prints the paths.

    Example: cleanclip download job_… --out cleaned/
    """
    output = Output(is_json=as_json)
    with session_of(context).client() as client:
        document = fetch_all(client, output, client.jobs.get(job), out or Path(plain_folder(job)))
    output.result(document, "\n".join(str(file["path"]) for file in document["files"]))


def fetch_all(client: Client, output: Output, job: Job, folder: Path) -> dict[str, Any]:
    """All files of a job into a folder, every digest checked; what came, for programs.

    Raises DigestMismatch, InUse where another download writes there, and typer.Exit where there is none.
    """
    artifacts = client.jobs.artifacts(job.id)
    if not artifacts:
        _explain_nothing(output, job)
    folder.mkdir(parents=True, exist_ok=True)
    with only_writer(folder / ".download.lock", folder), on_interrupt(output, TAKE_UP):
        paths = [_fetch(client, artifact, folder) for artifact in artifacts]
    is_checked = _check_sums(artifacts, folder)
    output.note(
        f"{len(paths)} files; their digests match the service's"
        + (f" and of {SUMS_NAME}." if is_checked else f". The job left no {SUMS_NAME}.")
    )
    output.note(f"Signature: {views.signature(job.signature)}. Check it offline: cleanclip verify {folder}")
    return {
        "job_id": job.id,
        "folder": str(folder),
        "are_sums_checked": is_checked,
        "signature": job.signature.to_json(),
        "files": [
            {"name": artifact.name, "path": str(path), "sha256": artifact.sha256}
            for artifact, path in zip(artifacts, paths, strict=True)
        ],
    }


def plain_folder(job_id: str) -> str:
    """A folder's name from a job's id as it was typed."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", job_id)


def _explain_nothing(output: Output, job: Job) -> NoReturn:
    output.error(f"The job is {job.state} and has no files.")
    conclude(output, job)
    raise typer.Exit(ExitCode.REFUSED)


def _fetch(client: Client, artifact: Artifact, folder: Path) -> Path:
    with ProgressLine() as line:
        return client.artifacts.download(
            artifact.id,
            folder / plain_name(artifact),
            progress=lambda done: show_transfer(line, artifact.name, done),
        )


def _check_sums(artifacts: Sequence[Artifact], folder: Path) -> bool:
    """False: there is no SHA256SUMS. Raises DigestMismatch where it says something else than the service."""
    arrived = {artifact.name: artifact.sha256 for artifact in artifacts}
    if SUMS_NAME not in arrived:
        return False
    listed = _listed((folder / SUMS_NAME).read_text(encoding="utf-8"))
    for name in sorted((listed.keys() | arrived.keys()) - {SUMS_NAME, SIGNATURE_NAME}):
        if listed.get(name) != arrived.get(name):
            raise DigestMismatch(
                name, expected=listed.get(name, "nothing"), actual=arrived.get(name, "missing")
            )
    return True


def _listed(text: str) -> Mapping[str, Any]:
    found = {}
    for line in text.splitlines():
        match = _SUM.fullmatch(line)
        if match is not None:
            found[match[2]] = match[1]
    return found
