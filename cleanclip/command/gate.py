"""The gate: which verdicts end a command with a status of their own. Once asked for, it is shut unless it
is known to be open.

Another job of the project may have judged the same weights, with other triggers or limits. One that found
something counts as the job's own verdict does. One that found nothing takes nothing away from a `pass`.

Figures that only one process measured open no gate: a second audit must have confirmed them. Where it could
withhold no images, whoever made the weights had all that they were measured on, and `pass` is inconclusive.
"""

from dataclasses import dataclass
from typing import Annotated, Protocol

import typer

from cleanclip.command import views
from cleanclip.command.exit_codes import ExitCode
from cleanclip.command.output import Output
from cleanclip.models import Job, Verdict
from cleanclip.sync.client import Client
from cleanclip.vocabulary.verdicts import AGAINST, WORST_FIRST

OUTCOMES = tuple(outcome for outcome in WORST_FIRST if outcome != "pass")
"""Worst first; only "pass" is none of them."""

FailOnOption = Annotated[
    str | None,
    typer.Option(
        "--fail-on",
        metavar="OUTCOMES",
        help="Wait, and exit with status 12 if the verdict is one of these: "
        "fail,controlled,undecided,inconclusive. fail and controlled are always among them, and inconclusive "
        "unless --allow-inconclusive is given.",
    ),
]
AllowFlag = Annotated[
    bool,
    typer.Option(
        "--allow-inconclusive",
        help="Use the gate, and let it open if nothing was found with the triggers tested.",
    ),
]

UncheckedFlag = Annotated[
    bool,
    typer.Option(
        "--allow-unchecked",
        help="Use the gate, and let it open on figures that no second audit on withheld images confirmed.",
    ),
]


class Checked(Protocol):
    """What a second audit did."""

    @property
    def done(self) -> bool: ...
    @property
    def num_withheld(self) -> int: ...


@dataclass(frozen=True)
class Gate:
    """The outcomes that shut it; None where nobody asked for it, and only warnings are given."""

    fail_on: frozenset[str] | None
    allow_unchecked: bool = False

    @property
    def is_asked_for(self) -> bool:
        return self.fail_on is not None

    def why_shut(self, outcome: str | None, recheck: Checked | None, worse: Verdict | None) -> str | None:
        """A sentence, or None: it is open. `outcome` and `recheck` are the job's own, `worse` the worst of
        other jobs."""
        if self.fail_on is None:
            return None
        was_pass = outcome == "pass"
        if was_pass and not self.allow_unchecked and recheck and recheck.done and not recheck.num_withheld:
            outcome = "inconclusive"
        if outcome != "pass" and (outcome not in OUTCOMES or outcome in self.fail_on):
            too_few = " (too few labelled images to withhold some)" if was_pass else ""
            return f"The gate is closed: {outcome or 'the job has no verdict'}{too_few}."
        if worse is not None and worse.outcome in self.fail_on:
            return f"The gate is closed: {worse.outcome} by {worse.job_id} on the same weights."
        if not self.allow_unchecked and (recheck is None or not recheck.done):
            return (
                "The gate is closed: no second audit confirmed the figures. Order it with --recheck, or give "
                "--allow-unchecked."
            )
        return None


def gate_of(fail_on: str | None, *, allow_inconclusive: bool, allow_unchecked: bool = False) -> Gate:
    """Of the three options. Raises typer.BadParameter."""
    if fail_on is None and not allow_inconclusive and not allow_unchecked:
        return Gate(None)
    named = [word.strip() for word in (",".join(OUTCOMES) if fail_on is None else fail_on).split(",")]
    for word in named:
        if word not in OUTCOMES:
            raise typer.BadParameter(
                f"{word!r} is not an outcome that a gate can fail on: {', '.join(OUTCOMES)}.",
                param_hint="--fail-on",
            )
    # Who names only some of these has not opened the gate by name.
    shut_by_all = {"fail", "controlled", "inconclusive"}
    closing = frozenset({*named, *shut_by_all}) - ({"inconclusive"} if allow_inconclusive else set())
    return Gate(closing, allow_unchecked)


def own_outcome(job: Job) -> str | None:
    """Of a job's verdict, if it has one."""
    return None if job.result is None else job.result.outcome


def own_recheck(job: Job) -> Checked | None:
    """Of a job's result, if it has one."""
    return None if job.result is None else job.result.recheck


def worse_than_own(client: Client, job: Job) -> Verdict | None:
    """The worst verdict on the same weights, where it found something and the job's own is better."""
    own = own_outcome(job)
    if job.state != "succeeded" or own == "fail":
        return None
    worst = next(iter(client.jobs.verdicts(job.id, limit=1).data), None)
    if worst is None or worst.outcome not in AGAINST or worst.outcome == own:
        return None
    return worst


def warn(output: Output, worse: Verdict | None) -> None:
    """On stderr, also with --quiet."""
    if worse is not None:
        output.error(f"warning: {views.worse(worse)}")


def end(output: Output, why_shut: str | None) -> None:
    """Raises typer.Exit if the gate is closed."""
    if why_shut is not None:
        output.error(why_shut)
        raise typer.Exit(ExitCode.GATE_SHUT)
