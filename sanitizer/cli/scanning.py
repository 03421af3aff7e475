"""`python -m sanitizer scan` and `null`, each a function of what was typed."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import open_clip
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cleanclip.spec.errors import OptionsRejected
from cleanclip.spec.jobspec import EXIT_SUCCEEDED, STATE_PATH, ScanSpec
from cleanclip.spec.null_set import NullSet, dump_null
from cleanclip.spec.recipe import DeclaredOptions
from cleanclip.spec.scan_options import ScanOptions
from cleanclip.spec.scan_report import ScanReport, dump_scan
from sanitizer.cli import pages
from sanitizer.cli.arguments import declared_from, scan_from
from sanitizer.cli.canonical import INSPECTED_NAME, canonical, folder_of
from sanitizer.cli.null_signature import judging_null, say, signed_null
from sanitizer.cli.terminal import Bars
from sanitizer.pipeline import scan as pipeline
from sanitizer.pipeline.judging_null import read_null
from sanitizer.pipeline.nulls import Reference, build_null
from sanitizer.pipeline.places import Places
from sanitizer.run import Run
from sanitizer.training.device import pick
from sanitizer.work.running import StopFlag


def _scan(arguments: argparse.Namespace, out: Console, err: Console) -> int:
    null = judging_null(arguments, err)
    spec = _spec(arguments, null)
    with folder_of(arguments.out) as folder, Bars(err) as bars, StopFlag() as stop:
        checkpoint = canonical(arguments.checkpoint, folder / INSPECTED_NAME, declared_from(arguments), bars)
        anchor = _anchor(arguments, folder, bars)
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


def _spec(arguments: argparse.Namespace, null: NullSet | None = None) -> ScanSpec:
    """What was typed, else what the null was measured with, else the defaults; with the detector that
    --anchor is for."""
    usual = ScanOptions.usual_detectors(has_anchor=arguments.anchor is not None)
    options, seed = scan_from(arguments.options, usual=usual, has_null=null is not None), arguments.seed
    if null is not None:
        options = null.options if options is None else options
        seed = null.seed if seed is None else seed
    return ScanSpec(scan=options or ScanOptions(), seed=seed or 0, save_every_s=None)


def _anchor(arguments: argparse.Namespace, folder: Path, bars: Bars) -> Path | None:
    path: Path | None = arguments.anchor
    return path and canonical(path, folder / f"{INSPECTED_NAME}-anchor", DeclaredOptions(), bars)


def _null(arguments: argparse.Namespace, out: Console, err: Console) -> int:
    if arguments.null_command == "verify":
        say(out, signed_null(arguments.file, key_file=arguments.key, signature_file=arguments.signature))
        return EXIT_SUCCEEDED
    return _show(arguments, out) if arguments.null_command == "show" else _build(arguments, out, err)


def _build(arguments: argparse.Namespace, out: Console, err: Console) -> int:
    """The file is written last; what was measured before an interruption is kept in FILE.state/."""
    declared = declared_from(arguments)
    state = arguments.out.with_name(f"{arguments.out.name}.{STATE_PATH}")
    with tempfile.TemporaryDirectory(prefix="null-") as scratch, Bars(err) as bars, StopFlag() as stop:
        references = [
            _reference(typed, Path(scratch) / str(number), declared, bars)
            for number, typed in enumerate(arguments.models)
        ]
        anchor = _anchor(arguments, Path(scratch), bars)
        places = Places(checkpoint=Path(scratch), data=arguments.labelled, anchor=anchor, state=state)
        run = Run(device=pick(arguments.device), progress=bars, stop=stop)
        null = build_null(
            references, places, _spec(arguments), run, name=arguments.name, about=arguments.about
        )
    arguments.out.write_bytes(dump_null(null))
    _print_null(out, null)
    return EXIT_SUCCEEDED


def _reference(typed: str, folder: Path, declared: DeclaredOptions, bars: Bars) -> Reference:
    """A path or an open_clip tag, with "BASE=" before it where it has one."""
    base, _, model = typed.rpartition("=")
    path = Path(model)
    if not path.exists():
        path = _downloaded(model)
    found = canonical(path, folder, declared, bars)
    return Reference(source=model, folder=found, base=base or None)


def _downloaded(tag: str) -> Path:
    """The file of an open_clip tag, "ViT-B-32:openai", from its hub. Raises OptionsRejected."""
    name, _, pretrained = tag.partition(":")
    found = open_clip.get_pretrained_cfg(name, pretrained) if pretrained else {}
    if not found:
        raise OptionsRejected(
            "null_model_unknown",
            f"'{tag}' is neither a file or folder nor an open_clip tag.",
            "Name a checkpoint, or a tag like ViT-B-32:openai.",
        )
    try:
        return Path(open_clip.download_pretrained(found))
    except Exception as error:  # the hub's library raises what its own libraries raise
        raise OptionsRejected(
            "null_model_unreachable",
            f"'{tag}' could not be fetched: {type(error).__name__}.",
            "Fetch the file elsewhere and name it here.",
        ) from error


def _show(arguments: argparse.Namespace, out: Console) -> int:
    null = read_null(arguments.file)
    if arguments.json:
        sys.stdout.write(dump_null(null).decode())
    else:
        _print_null(out, null)
    return EXIT_SUCCEEDED


COMMANDS: dict[str, Callable[[argparse.Namespace, Console, Console], int]] = {"scan": _scan, "null": _null}


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
    for warning in report.warnings:
        out.print(f"! {warning}", style="yellow", highlight=False, markup=False)


def _print_null(out: Console, null: NullSet) -> None:
    table = Table(title=escape(null.name), show_header=False, title_justify="left")
    table.add_row("models", f"{len(null.models)}")
    table.add_row("smallest p", f"{null.used.smallest_p:.3g}")
    table.add_row("classes", f"{null.num_classes}, SHA-256 {null.class_names_sha256}")
    table.add_row("images", f"SHA-256 {null.images_sha256}")
    table.add_row("detectors", ", ".join(null.options.detectors))
    if null.anchor_sha256 is not None:
        table.add_row("anchor", f"SHA-256 {null.anchor_sha256}")
    table.add_row("seed", f"{null.seed}")
    table.add_row("about", escape(null.about))
    table.add_row("SHA-256", null.sha256)
    out.print(table)
