"""`compare`: jobs side by side, as the page of the same name shows them: a scan, the cleaning after it, the
scan of the cleaned model, or two recipes."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import typer

from cleanclip.command import completion, views
from cleanclip.command.formats import table
from cleanclip.command.output import Output
from cleanclip.command.scan_view import searched
from cleanclip.command.session import JsonFlag, session_of
from cleanclip.kinds.catalogue import KINDS
from cleanclip.models import Job
from cleanclip.vocabulary.figures import in_brief, short

LEAST, MOST = 2, 6


def compare(
    context: typer.Context,
    *,
    jobs: Annotated[
        list[str], typer.Argument(metavar="JOB JOB…", help="Two to six jobs.", autocompletion=completion.jobs)
    ],
    as_json: JsonFlag = False,
) -> None:
    """Show jobs side by side: verdicts, what one pattern does, figures. With --json their results.

    Figures can be compared where they are of the same images under the same trigger; where the images differ
    it says so.

    Example: cleanclip compare job_… job_…
    """
    if not LEAST <= len(jobs) <= MOST or len({*jobs}) < len(jobs):
        raise typer.BadParameter(f"Give {LEAST} to {MOST} different jobs.")
    with session_of(context).client() as client:
        found = [client.jobs.get(one) for one in jobs]
        for one in found:
            kind = KINDS.get(one.kind)
            if kind is not None and not kind.measures_model:
                raise typer.BadParameter(
                    f"{one.id} is a {kind.title.lower()}, which measures no model. Give scans, audits "
                    "and cleanings."
                )
        page = f"{client.base_url}/ui/compare?" + "&".join(f"job={one.id}" for one in found)
    columns = [dict(_rows(one)) for one in found]
    titles = dict.fromkeys(title for column in columns for title in column)
    rows = [(title, *(column.get(title, "-") for column in columns)) for title in titles]
    output = Output(is_json=as_json)
    output.result({"jobs": [one.to_json() for one in found]}, table(("", *(one.id for one in found)), rows))
    if len({_test_images(one) for one in found}) > 1:
        output.note(
            "These jobs were not all measured on the same test images: shares on different images do not say "
            "which model is better."
        )
    if len({one.result.scan is None for one in found if one.result and _control(one)}) > 1:
        output.note(
            "A cleaning searches with another budget than a scan, and on other images of the set: their "
            "reports say how hard, and on how many."
        )
    output.note(page)


def _test_images(job: Job) -> str | None:
    """The dataset that its figures are of."""
    return (job.audit or job.scan or {}).get("dataset_id")


def _control(job: Job) -> Sequence[Mapping[str, Any]]:
    """What one pattern does, by family; empty where nothing was searched."""
    result = job.result
    return [] if result is None else (result.scan or {}).get("control") or result.control


def _rows(job: Job) -> Iterator[tuple[str, str]]:
    """Title and words of everything that a job's result has, in the order of the table."""
    yield "kind", job.kind
    yield "method", str((job.recipe or {}).get("method") or "-")
    yield "state", job.state
    yield "test images", _test_images(job) or "-"
    yield "verdict", views.outcome(job)
    result = job.result
    if result is None:
        return
    scan = result.scan or {}
    p_value = scan.get("p_value")
    yield "p-value", "-" if p_value is None else f"{p_value:.3g}"
    for one in _control(job):
        yield f"strongest {searched(one)}", f"{short(one['led'])} to “{one['class_name']}”"
    for title, before, after in in_brief(result.to_json() | {"audit": job.audit}):
        yield title, before if after == "-" else f"{before} → {after}"
