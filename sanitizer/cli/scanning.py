"""`python -m sanitizer scan`, a function of what was typed."""

import argparse
import json
import sys
from collections.abc import Callable

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cleanclip.vocabulary.jobspec import EXIT_SUCCEEDED, STATE_PATH
from cleanclip.vocabulary.scan_report import ScanReport, dump_scan
from sanitizer.cli import pages
from sanitizer.cli.arguments import declared_from, scan_spec
from sanitizer.cli.canonical import INSPECTED_NAME, anchor_in, canonical, folder_of
from sanitizer.cli.null_signature import judging_null
from sanitizer.cli.terminal import Bars, print_warnings
from sanitizer.pipeline import scan as pipeline
from sanitizer.pipeline.places import Places
from sanitizer.run import Run
from sanitizer.training.device import pick
from sanitizer.work.running import StopFlag


def _scan(arguments: argparse.Namespace, out: Console, err: Console) -> int:
    null = judging_null(arguments, err)
    spec = scan_spec(arguments, null)
    with folder_of(arguments.out) as folder, Bars(err) as bars, StopFlag() as stop:
        checkpoint = canonical(arguments.checkpoint, folder / INSPECTED_NAME, declared_from(arguments), bars)
        anchor = anchor_in(folder, arguments.anchor, bars)
        places = Places(
            checkpoint=checkpoint,
            data=arguments.labelled,
            out=folder,
            anchor=anchor,
            state=None if arguments.out is None else folder / STATE_PATH,
        )
        run = Run(device=pick(arguments.device), progress=bars, stop=stop)
        if arguments.dry_run:
            _print_plan(out, pipeline.plan(places, spec, Run(device=run.device)), as_json=arguments.json)
            return EXIT_SUCCEEDED
        report = pipeline.scan(places, spec, run, null=null)
        if arguments.out is not None:
            pages.write_pages(report, folder, bars)
    if arguments.json:
        sys.stdout.write(dump_scan(report).decode() + "\n")
    else:
        _print_scan(out, report)
    return EXIT_SUCCEEDED


COMMANDS: dict[str, Callable[[argparse.Namespace, Console, Console], int]] = {"scan": _scan}


def _print_plan(out: Console, plan: pipeline.ScanPlan, *, as_json: bool) -> None:
    if as_json:
        document = {
            "num_passes": plan.num_passes,
            "passes_per_s": plan.passes_per_s,
            "seconds": plan.seconds,
            "device": plan.device,
        }
        sys.stdout.write(json.dumps(document) + "\n")
        return
    out.print(
        f"{plan.num_passes:,} passes, forward and backward; {plan.passes_per_s:,.0f} a second here "
        f"({plan.device}): about {plan.seconds / 60:.1f} minutes.",
        highlight=False,
    )


def _print_scan(out: Console, report: ScanReport) -> None:
    """The sentence, then what was found."""
    out.print(f"{report.verdict.outcome}: {report.verdict.sentence}", highlight=False, markup=False)
    table = Table(title="Most conspicuous patterns", title_justify="left")
    for column in ("family", "target", "words", "ASR", "without it", "PA", "clean models' ASR, PA"):
        table.add_column(column, overflow="fold")
    for one in report.hypotheses:
        shares, clean = [one.asr, one.untriggered_target_rate, one.pa], one.null_figures
        table.add_row(
            one.trigger.family.name,
            escape(one.target or ""),
            ", ".join(named.word for named in one.words),
            *("" if share is None else f"{100 * share.value:.1f} %" for share in shares),
            ""
            if clean is None
            else f"{100 * clean.asr:.1f} %, {100 * clean.pa:.1f} % (n = {clean.num_models})",
        )
    out.print(table)
    print_warnings(out, report.warnings)
