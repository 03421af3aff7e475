"""The commands of `python -m sanitizer` that a person types, each a function of what was typed."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from cleanclip.spec.jobspec import (
    CONFIG_NAME,
    DATASET_ADAPTER,
    EXIT_SUCCEEDED,
    INSPECTION_ADAPTER,
    STATE_PATH,
    WEIGHTS_NAME,
)
from cleanclip.spec.report import Report, dump_json
from sanitizer.cli import pages, terminal
from sanitizer.cli.arguments import audit_from, declared_from, policy_from, recipe_from
from sanitizer.cli.terminal import Bars
from sanitizer.pipeline import operations as pipeline
from sanitizer.work.running import StopFlag

INSPECTED_NAME = "inspected"
"""Folder under --out for the canonical form of an uploaded file."""


def _inspect(arguments: argparse.Namespace, out: Console, err: Console) -> int:
    declared = declared_from(arguments)
    with tempfile.TemporaryDirectory(prefix="inspect-") as scratch, Bars(err) as bars:
        inspection = pipeline.inspect(
            arguments.checkpoint,
            arguments.out or Path(scratch),
            declared=declared,
            filename=arguments.checkpoint.name,
            progress=bars,
        )
    if arguments.json:
        sys.stdout.write(INSPECTION_ADAPTER.dump_json(inspection, indent=2).decode() + "\n")
    else:
        terminal.print_inspection(out, inspection)
    return EXIT_SUCCEEDED


def _validate(arguments: argparse.Namespace, out: Console, err: Console) -> int:
    with tempfile.TemporaryDirectory(prefix="validate-") as scratch, Bars(err) as bars, StopFlag() as stop:
        summary = pipeline.validate(
            arguments.data,
            arguments.kind,
            arguments.out or Path(scratch),
            max_skipped_share=arguments.max_skipped_share,
            progress=bars,
            stop=stop,
        )
    if arguments.json:
        sys.stdout.write(DATASET_ADAPTER.dump_json(summary, indent=2).decode() + "\n")
    else:
        terminal.print_summary(out, summary)
    return EXIT_SUCCEEDED


def _audit(arguments: argparse.Namespace, out: Console, err: Console) -> int:
    options, policy = audit_from(arguments), policy_from(arguments)
    with _folder(arguments.out) as folder, Bars(err) as bars, StopFlag() as stop:
        report = pipeline.audit(
            canonical(arguments, folder, bars),
            arguments.labelled,
            options,
            folder,
            policy=policy,
            retrieval_path=arguments.retrieval,
            seed=arguments.seed,
            device=arguments.device,
            progress=bars,
            stop=stop,
        )
        if arguments.out is not None:
            pages.write_pages(report, folder, bars)
    return _show(report, arguments, out)


def _sanitize(arguments: argparse.Namespace, out: Console, err: Console) -> int:
    (recipe, recipe_given), options = recipe_from(arguments), audit_from(arguments)
    policy = policy_from(arguments)
    with Bars(err) as bars, StopFlag() as stop:
        report = pipeline.sanitize(
            canonical(arguments, arguments.out, bars),
            arguments.training,
            arguments.labelled,
            recipe=recipe,
            recipe_given=recipe_given,
            options=options,
            out_dir=arguments.out,
            state_folder=arguments.out / STATE_PATH,
            policy=policy,
            retrieval_path=arguments.retrieval,
            seed=arguments.seed,
            output_layout=arguments.layout,
            save_every_s=arguments.save_every,
            max_ranks=arguments.ranks,
            device=arguments.device,
            progress=bars,
            stop=stop,
        )
        pages.write_pages(report, arguments.out, bars)
    err.print(f"The cleaned weights and the report are in {arguments.out}.", highlight=False, markup=False)
    return _show(report, arguments, out)


COMMANDS: dict[str, Callable[[argparse.Namespace, Console, Console], int]] = {
    "inspect": _inspect,
    "validate": _validate,
    "audit": _audit,
    "sanitize": _sanitize,
}


def canonical(arguments: argparse.Namespace, folder: Path, bars: Bars) -> Path:
    """The checkpoint's canonical folder: itself if it is one, else inspected into a folder under `folder`."""
    path: Path = arguments.checkpoint
    if is_canonical(path):
        return path
    inspected = folder / INSPECTED_NAME
    pipeline.inspect(path, inspected, declared=declared_from(arguments), filename=path.name, progress=bars)
    return inspected


def is_canonical(path: Path) -> bool:
    """Whether our own inspection wrote this folder: a Hugging Face folder has another config.json."""
    if not ((path / WEIGHTS_NAME).is_file() and (path / CONFIG_NAME).is_file()):
        return False
    try:
        config = json.loads((path / CONFIG_NAME).read_text(encoding="utf-8"))
    except ValueError:
        return False
    return isinstance(config, dict) and "model_cfg" in config and "checkpoint" in config


@contextmanager
def _folder(wanted: Path | None) -> Iterator[Path]:
    if wanted is not None:
        yield wanted
        return
    with tempfile.TemporaryDirectory(prefix="audit-") as scratch:
        yield Path(scratch)


def _show(report: Report, arguments: argparse.Namespace, out: Console) -> int:
    if arguments.json:
        sys.stdout.write(dump_json(report).decode() + "\n")
    else:
        terminal.print_report(out, report)
    return EXIT_SUCCEEDED
