"""From a file to a verified folder: order it, wait, download, verify."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import typer

from cleanclip.command import ahead_view, gate, verify, views
from cleanclip.command.exit_codes import ExitCode
from cleanclip.command.gate import Checked, Gate
from cleanclip.command.option_checks import check_order
from cleanclip.command.output import Output
from cleanclip.command.results import fetch_all
from cleanclip.command.session import Session, conclude, wait_for_job
from cleanclip.command.steps import Deadline, Order, Steps
from cleanclip.evidence import sentences, verification
from cleanclip.evidence.verification import Verification


@dataclass(frozen=True, kw_only=True)
class Ending:
    """What to do once it is ordered."""

    wait: bool
    timeout_s: float | None
    folder: Path | None
    keys: Sequence[Path]
    gate: Gate

    @property
    def is_waited_for(self) -> bool:
        """What is to be downloaded or judged has to be finished."""
        return self.wait or self.folder is not None or self.gate.is_asked_for


def carry_out(
    session: Session,
    output: Output,
    order: Order,
    ending: Ending,
    *,
    is_again: bool,
    is_dry_run: bool = False,
) -> None:
    """The whole of it; prints the job. Raises typer.BadParameter, typer.Exit, and what the client raises."""
    check_order(order.body, order.declared)
    if sum(one is not None for one in (order.file, order.source, order.checkpoint)) != 1:
        raise typer.BadParameter("Give one checkpoint: FILE, SOURCE or --checkpoint.")
    if order.declared and order.checkpoint is not None:
        raise typer.BadParameter(
            "--declared needs FILE or SOURCE; the options of an uploaded checkpoint cannot be changed."
        )
    if is_dry_run:
        if ending.gate.is_asked_for:
            raise typer.BadParameter("--dry-run gives no verdict, so --fail-on cannot be used with it.")
        _try(session, output, order)
        return
    if ending.keys and ending.folder is None:
        raise typer.BadParameter("--key needs --download.")
    keys = [] if ending.folder is None else verify.trusted_keys(ending.folder, ending.keys)
    with session.client() as client:
        steps = Steps(client, output, Deadline(session.clock, ending.timeout_s), is_again=is_again)
        job, beside = steps.ordered(order)
        extra = {} if beside is None else {"beside": beside.to_json()}
        if not ending.is_waited_for:
            output.result(job.to_json() | extra, job.id)
            return
        output.note(job.id)
        job = wait_for_job(client, output, job.id, timeout_s=steps.deadline.left_s())
        worse = gate.worse_than_own(client, job)
        if ending.folder is None or job.state != "succeeded":
            conclude(output, job, made=job.id)
            gate.warn(output, worse)
            gate.end(output, ending.gate.why_shut(gate.own_outcome(job), gate.own_recheck(job), worse))
            return
        fetched = fetch_all(client, output, job, ending.folder)
    found = verification.verify(ending.folder, keys=keys, input_file=order.file)
    document = job.to_json() | extra | {"download": fetched, "verification": verify.document(found)}
    text = f"{views.job(job)}\n\n{verify.plain_text(found)}\n\n{ending.folder}"
    output.result(document, text, made=job.id)
    if not found.holds:
        output.error(sentences.headline(found))
        raise typer.Exit(ExitCode.NOT_VERIFIED)
    gate.warn(output, worse)
    gate.end(output, ending.gate.why_shut(*_stated(found), worse))


def _stated(verification: Verification) -> tuple[str | None, Checked | None]:
    """Outcome and second audit by the files that were verified, not by what the service says of them."""
    if verification.statement is None:
        return None, None
    stated = verification.statement.predicate
    verdict = stated.claimed.verdict
    return None if verdict is None else verdict.outcome, stated.observed.recheck


def _try(session: Session, output: Output, order: Order) -> None:
    """Prints what the order would do; ends with REFUSED where it would not be taken."""
    with session.client() as client:
        steps = Steps(client, output, Deadline(session.clock, None), is_again=False)
        ahead = steps.look_ahead(order)
    output.result(ahead.to_json(), ahead_view.dry_run(ahead))
    if ahead.obstacles:
        raise typer.Exit(ExitCode.REFUSED)
