"""The command `vet`, and what `sanitize --vet` does of it."""

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from rich.console import Console

from cleanclip.vocabulary.jobspec import EXIT_SUCCEEDED, STATE_PATH, VetSpec
from cleanclip.vocabulary.recipe import DeclaredOptions
from cleanclip.vocabulary.vet_report import VetReport, dump_vet_report
from sanitizer.cli import pages, terminal
from sanitizer.cli.arguments import declared_from, vet_from
from sanitizer.cli.canonical import INSPECTED_NAME, canonical
from sanitizer.cli.terminal import Bars
from sanitizer.pipeline.places import Places
from sanitizer.pipeline.vetting import vet
from sanitizer.run import Run
from sanitizer.training.device import pick
from sanitizer.work.running import StopFlag

VETTED_NAME = "vet"
"""Folder under --out for what `sanitize --vet` finds."""


def vet_into(
    folder: Path,
    arguments: argparse.Namespace,
    checkpoint: Path,
    data: Path,
    kind: Literal["pairs", "labelled"],
    *,
    run: Run,
) -> VetReport:
    """Vet `data` with the options that were typed; the report, its page, the scores and the list in
    `folder`."""
    spec = VetSpec(
        data_kind=kind, vet=vet_from(arguments), seed=arguments.seed, save_every_s=arguments.save_every
    )
    with tempfile.TemporaryDirectory(prefix="anchor-") as scratch:
        anchor = arguments.anchor and canonical(
            arguments.anchor, Path(scratch) / "anchor", DeclaredOptions(), run.progress
        )
        places = Places(
            checkpoint=checkpoint,
            data=data,
            out=folder,
            anchor=anchor,
            trusted=arguments.trusted,
            state=arguments.out / STATE_PATH,
        )
        report = vet(places, spec, run)
    pages.write_pages(report, folder, run.progress)
    return report


def _vet(arguments: argparse.Namespace, out: Console, err: Console) -> int:
    kind: Literal["pairs", "labelled"] = "pairs" if arguments.pairs else "labelled"
    with Bars(err) as bars, StopFlag() as stop:
        checkpoint = canonical(
            arguments.checkpoint, arguments.out / INSPECTED_NAME, declared_from(arguments), bars
        )
        run = Run(device=pick(arguments.device), progress=bars, stop=stop)
        data = arguments.pairs or arguments.labelled
        report = vet_into(arguments.out, arguments, checkpoint, data, kind, run=run)
    message = f"The report, the scores and excluded.json are in {arguments.out}."
    err.print(message, highlight=False, markup=False)
    if arguments.json:
        sys.stdout.write(dump_vet_report(report).decode() + "\n")
    else:
        terminal.print_vetting(out, report)
    return EXIT_SUCCEEDED


COMMANDS: dict[str, Callable[[argparse.Namespace, Console, Console], int]] = {"vet": _vet}
