"""`python -m sanitizer text-scan`, a function of what was typed."""

import argparse
import sys
from collections.abc import Callable

from rich.console import Console

from cleanclip.vocabulary.jobspec import EXIT_SUCCEEDED
from cleanclip.vocabulary.report_kinds import dump_plain
from sanitizer.cli import pages, terminal
from sanitizer.cli.arguments import declared_from, text_scan_spec
from sanitizer.cli.canonical import INSPECTED_NAME, canonical, folder_of
from sanitizer.cli.terminal import Bars
from sanitizer.pipeline import text_scan as pipeline
from sanitizer.pipeline.places import Places
from sanitizer.run import Run
from sanitizer.training.device import pick
from sanitizer.work.running import StopFlag


def _text_scan(arguments: argparse.Namespace, out: Console, err: Console) -> int:
    spec = text_scan_spec(arguments)
    with folder_of(arguments.out) as folder, Bars(err) as bars, StopFlag() as stop:
        checkpoint = canonical(arguments.checkpoint, folder / INSPECTED_NAME, declared_from(arguments), bars)
        places = Places(checkpoint=checkpoint, data=arguments.labelled, out=folder)
        run = Run(device=pick(arguments.device), progress=bars, stop=stop)
        report = pipeline.text_scan(places, spec, run)
        if arguments.out is not None:
            pages.write_pages(report, folder, bars)
    if arguments.json:
        sys.stdout.write(dump_plain(report).decode() + "\n")
    else:
        terminal.print_plain(out, report)
    return EXIT_SUCCEEDED


COMMANDS: dict[str, Callable[[argparse.Namespace, Console, Console], int]] = {"text-scan": _text_scan}
