"""The commands of `python -m sanitizer` that a person types, each a function of what was typed."""

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from rich.console import Console

from cleanclip.vocabulary import jobspec
from cleanclip.vocabulary.errors import OptionsRejected
from cleanclip.vocabulary.found_attacks import check_scan_of
from cleanclip.vocabulary.jobspec import CLASS_NAMES_NAME, GIVEN_NAME, TEMPLATES_NAME, LabelledPart
from cleanclip.vocabulary.null_set import NullSet
from cleanclip.vocabulary.recipe import AuditOptions
from cleanclip.vocabulary.recommended import RecipeSource, with_recommended
from cleanclip.vocabulary.report import Report, dump_json
from cleanclip.vocabulary.scan_options import ScanOptions
from cleanclip.vocabulary.scan_section import ScanSection
from cleanclip.vocabulary.vet_report import EXCLUDED_NAME
from cleanclip.vocabulary.withholding import FEWEST, num_withheld, seed_of
from sanitizer.checkpoints.digests import file_sha256
from sanitizer.cli import pages, terminal
from sanitizer.cli.arguments import (
    UsageError,
    audit_from,
    declared_from,
    policy_from,
    recipe_from,
    scan_from,
    scans_first,
    section_from,
)
from sanitizer.cli.canonical import INSPECTED_NAME, canonical, folder_of, model_in
from sanitizer.cli.null_signature import judging_null
from sanitizer.cli.terminal import Bars
from sanitizer.cli.vetting import VETTED_NAME, vet_into
from sanitizer.data.labelled import open_labelled
from sanitizer.data.parting import drawn, write_samples
from sanitizer.pipeline import operations as pipeline
from sanitizer.pipeline import scan as scanning
from sanitizer.pipeline.inspecting import inspect
from sanitizer.pipeline.opening import ToExclude
from sanitizer.pipeline.places import Places
from sanitizer.pipeline.validating import validate
from sanitizer.run import Run
from sanitizer.training.device import pick
from sanitizer.work.running import StopFlag

SCANNED_NAME = "scan"
"""The folder of a cleaning's own scan."""


def _inspect(arguments: argparse.Namespace, out: Console, err: Console) -> int:
    declared = declared_from(arguments)
    with tempfile.TemporaryDirectory(prefix="inspect-") as scratch, Bars(err) as bars:
        inspection = inspect(
            arguments.checkpoint,
            arguments.out or Path(scratch),
            declared=declared,
            filename=arguments.checkpoint.name,
            progress=bars,
        )
    if arguments.json:
        sys.stdout.write(jobspec.INSPECTION_ADAPTER.dump_json(inspection, indent=2).decode() + "\n")
    else:
        terminal.print_inspection(out, inspection)
    return jobspec.EXIT_SUCCEEDED


def _validate(arguments: argparse.Namespace, out: Console, err: Console) -> int:
    with tempfile.TemporaryDirectory(prefix="validate-") as scratch, Bars(err) as bars, StopFlag() as stop:
        summary = validate(
            arguments.data,
            arguments.kind,
            arguments.out or Path(scratch),
            max_skipped_share=arguments.max_skipped_share,
            progress=bars,
            stop=stop,
        )
    if arguments.json:
        sys.stdout.write(jobspec.DATASET_ADAPTER.dump_json(summary, indent=2).decode() + "\n")
    else:
        terminal.print_summary(out, summary)
    return jobspec.EXIT_SUCCEEDED


def _audit(arguments: argparse.Namespace, out: Console, err: Console) -> int:
    options = audit_from(arguments)
    with folder_of(arguments.out) as folder, Bars(err) as bars, StopFlag() as stop, ExitStack() as stack:
        inspected = folder / INSPECTED_NAME
        checkpoint = canonical(arguments.checkpoint, inspected, declared_from(arguments), bars)
        labelled, part, exclude = stack.enter_context(_labelled(arguments, arguments.exclude or ()))
        places = Places(
            checkpoint=checkpoint, data=labelled, out=folder, retrieval=arguments.retrieval, exclude=exclude
        )
        spec = jobspec.AuditSpec(
            audit=options,
            scan_section=_section(arguments, options, checkpoint),
            labelled_part=part,
            seed=arguments.seed,
            **policy_from(arguments),
        )
        report = pipeline.audit(places, spec, Run(device=pick(arguments.device), progress=bars, stop=stop))
        if arguments.out is not None:
            pages.write_pages(report, folder, bars)
    return _show(report, arguments, out)


def _sanitize(arguments: argparse.Namespace, out: Console, err: Console) -> int:
    recipe, recipe_given = recipe_from(arguments)
    arguments.scan_first = scans_first(arguments)
    options = audit_from(arguments)
    policy = policy_from(arguments)
    if not arguments.vet and (arguments.anchor or arguments.trusted or arguments.vet_options):
        raise UsageError("--anchor, --trusted and --vet-options are for vetting: give --vet as well.")
    if not arguments.scan_first and (arguments.null or arguments.null_key or arguments.scan_options):
        raise UsageError("--null, --null-key and --scan-options are for scanning: give --scan as well.")
    null = judging_null(arguments, err)
    exclude = list(arguments.exclude or ())
    with Bars(err) as bars, StopFlag() as stop, ExitStack() as stack:
        inspected = arguments.out / INSPECTED_NAME
        checkpoint = canonical(arguments.checkpoint, inspected, declared_from(arguments), bars)
        run = Run(device=pick(arguments.device), progress=bars, stop=stop)
        model = model_in(checkpoint)
        recipe = with_recommended(recipe, recipe_given, model)
        err.print(
            RecipeSource.of(recipe, recipe_given, model).sentences(recipe), highlight=False, markup=False
        )
        section = None if arguments.scan_first else _section(arguments, options, checkpoint)
        if arguments.vet:
            vetted = arguments.out / VETTED_NAME
            vet_into(vetted, arguments, checkpoint, arguments.training, recipe.training_data, run=run)
            exclude.append(vetted / EXCLUDED_NAME)
        if arguments.scan_first:
            scanned = arguments.out / SCANNED_NAME
            _scan_into(scanned, arguments, checkpoint, options, run, null=null)
            arguments.attacks_from_scan = scanned / jobspec.REPORT_NAME
            options = audit_from(arguments)
            section = section_from(arguments, options)
        labelled, part, exclude = stack.enter_context(_labelled(arguments, exclude))
        places = Places(
            checkpoint=checkpoint,
            data=labelled,
            out=arguments.out,
            retrieval=arguments.retrieval,
            exclude=exclude,
            training=arguments.training,
            state=arguments.out / jobspec.STATE_PATH,
        )
        spec = jobspec.SanitizeSpec(
            recipe=recipe,
            recipe_given=recipe_given,
            audit=options,
            scan_section=section,
            labelled_part=part,
            seed=arguments.seed,
            output_layout=arguments.layout,
            save_every_s=arguments.save_every,
            max_ranks=arguments.ranks,
            **policy,
        )
        report = pipeline.sanitize(places, spec, run)
        pages.write_pages(report, arguments.out, bars)
    err.print(f"The cleaned weights and the report are in {arguments.out}.", highlight=False, markup=False)
    return _show(report, arguments, out)


COMMANDS: dict[str, Callable[[argparse.Namespace, Console, Console], int]] = {
    "inspect": _inspect,
    "validate": _validate,
    "audit": _audit,
    "sanitize": _sanitize,
}


def _scan_into(
    folder: Path,
    arguments: argparse.Namespace,
    checkpoint: Path,
    audit: AuditOptions,
    run: Run,
    *,
    null: NullSet | None,
) -> None:
    """The scan before a cleaning and its `audit`: report and pages in `folder`. The same call again makes no
    part twice."""
    options, seed = scan_from(arguments.scan_options), arguments.seed
    if null is not None and options is None:
        options, seed = null.options, null.seed
    state = folder / jobspec.STATE_PATH
    places = Places(checkpoint=checkpoint, data=arguments.labelled, out=folder, state=state)
    spec = jobspec.ScanSpec(scan=options or ScanOptions(), audit=audit, seed=seed, save_every_s=None)
    pages.write_pages(scanning.scan(places, spec, run, null=null), folder, run.progress)


@contextmanager
def _labelled(
    arguments: argparse.Namespace, exclude: Sequence[Path]
) -> Iterator[tuple[Path, LabelledPart | None, list[Path]]]:
    """The labelled images to measure on, what they are a part of, and the lists that are not of them."""
    if not arguments.withhold:
        yield arguments.labelled, None, list(exclude)
        return
    with tempfile.TemporaryDirectory(prefix="given-") as scratch:
        yield given_part(arguments.labelled, exclude, Path(scratch) / "labelled")


def given_part(
    labelled_path: Path, exclude: Sequence[Path], folder: Path
) -> tuple[Path, LabelledPart, list[Path]]:
    """A labelled set in `folder` without the images that the service withholds, what it is a part of, and the
    lists of `exclude` that are of other datasets.

    Raises DatasetRejected, OSError; OptionsRejected, also `too_few_to_withhold`.
    """
    lists = ToExclude(exclude)
    labelled = lists.of(open_labelled(labelled_path))
    num = num_withheld(len(labelled))
    if num == 0:
        raise OptionsRejected(
            "too_few_to_withhold",
            f"The labelled set has {len(labelled)} images; the service withholds some of {2 * FEWEST} or "
            "more.",
            "Leave out --withhold: a job on these images was given all of them.",
        )
    folder.mkdir(parents=True)
    for name, lines in (
        (CLASS_NAMES_NAME, labelled.class_names),
        (TEMPLATES_NAME, labelled.templates),
    ):
        if lines:
            (folder / name).write_bytes("".join(f"{line}\n" for line in lines).encode())
    _, indices = drawn(len(labelled), num, seed_of(labelled.files_sha256))
    write_samples(labelled, indices, folder / GIVEN_NAME, before_read=lambda: None)
    part = LabelledPart(dataset_sha256=labelled.files_sha256, num_withheld=num, excluded=labelled.excluded)
    return folder, part, lists.unused


def _section(arguments: argparse.Namespace, options: AuditOptions, checkpoint: Path) -> ScanSection | None:
    """What the report says of the scan that is named. Raises OptionsRejected for one of another model."""
    section = section_from(arguments, options)
    if section is not None:
        check_scan_of(file_sha256(checkpoint / jobspec.WEIGHTS_NAME), section.weights_sha256)
    return section


def _show(report: Report, arguments: argparse.Namespace, out: Console) -> int:
    if arguments.json:
        sys.stdout.write(dump_json(report).decode() + "\n")
    else:
        terminal.print_report(out, report)
    return jobspec.EXIT_SUCCEEDED
