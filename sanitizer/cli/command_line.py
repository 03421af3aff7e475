"""The command line of `python -m sanitizer`. Runs nothing."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cleanclip.vocabulary import schemas
from cleanclip.vocabulary.attack_options import ATTACKS_BY_NAME, SUITES, USUAL, kind_of
from cleanclip.vocabulary.jobspec import MAX_RANKS
from cleanclip.vocabulary.vet_options import SCORE_NAMES
from sanitizer.cli.arguments import RECIPE_FLAGS

EPILOGUE = """\
exit codes:
  0   done; the verdict is in the report
  1   the program failed
  2   wrong arguments
  3   refused: the input or the options cannot be used, the reason is on stderr
  75  interrupted; the same command resumes
"""


_LISTS = "a TOML file of reference models, or the name of a list that ships"


class _Once(argparse.Action):
    """An option of which the last would win silently."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        if getattr(namespace, self.dest) is not None:
            parser.error(f"{option_string} is given twice: give it once.")
        setattr(namespace, self.dest, values)


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = argparse.ArgumentParser(
        prog="python -m sanitizer",
        description="Inspect, audit and clean CLIP checkpoints on this machine.",
        epilog=EPILOGUE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(dest="command", required=True)

    inspect = commands.add_parser("inspect", help="read a checkpoint without executing it")
    _add_checkpoint(inspect)
    inspect.add_argument(
        "--out", type=Path, help="folder for canonical weights, config.json, inspection.json"
    )

    validate = commands.add_parser("validate", help="read every sample of a dataset once")
    validate.add_argument("data", type=Path, help="a folder or file of shards, a manifest, or class folders")
    validate.add_argument(
        "--kind", choices=("pairs", "labelled"), required=True, help="images with captions, or with classes"
    )
    validate.add_argument(
        "--max-skipped-share",
        type=float,
        default=0.01,
        help="refuse the data above this share of bad samples",
    )
    validate.add_argument("--out", type=Path, help="folder for dataset.json")

    audit = commands.add_parser("audit", help="measure CA, ASR and PA")
    _add_checkpoint(audit)
    _add_audit(audit)
    audit.add_argument("--out", type=Path, help="folder for report.json and its pages")

    vet = commands.add_parser("vet", help="find the samples of a dataset that look poisoned")
    _add_checkpoint(vet)
    samples = vet.add_mutually_exclusive_group(required=True)
    samples.add_argument("--pairs", type=Path, help="image-caption pairs to vet")
    samples.add_argument("--labelled", type=Path, help="labelled images to vet")
    _add_vetting(vet)
    vet.add_argument("--share", type=float, help="the share of the samples that is set aside; 0.05")
    vet.add_argument(
        "--score", action="append", choices=SCORE_NAMES, help="may be repeated; default: all but sensitivity"
    )
    _add_seed_and_device(vet)
    _add_save_every(vet)
    vet.add_argument(
        "--out", type=Path, required=True, help="folder for the report, the scores and excluded.json"
    )

    sanitize = commands.add_parser("sanitize", help="audit, clean, audit again")
    _add_checkpoint(sanitize)
    _add_audit(sanitize)
    sanitize.add_argument(
        "--pairs",
        "--training",
        dest="training",
        type=Path,
        required=True,
        help="clean image-caption pairs; for --method supervised labelled images, not those of --labelled",
    )
    sanitize.add_argument(
        "--out", type=Path, required=True, help="folder for the cleaned weights and the report"
    )
    _add_steps_before(sanitize)
    sanitize.add_argument(
        "--recipe",
        type=Path,
        metavar="defaults|FILE",
        help="a recipe as JSON, which the options below override; defaults: the method's, not what is "
        "recommended for the model",
    )
    for name, kind, meaning in RECIPE_FLAGS:
        sanitize.add_argument(f"--{name.replace('_', '-')}", type=kind, dest=name, help=meaning)
    sanitize.add_argument(
        "--rebound",
        action="store_true",
        help="also train copies of the cleaned model further: does the backdoor come back? Takes longer",
    )
    sanitize.add_argument(
        "--layout",
        choices=("open_clip", "as_uploaded"),
        default="open_clip",
        help="as_uploaded: also write the layout of the upload",
    )
    _add_save_every(sanitize)
    sanitize.add_argument(
        "--ranks",
        type=_ranks,
        default=1,
        metavar="N",
        help="at most this many training processes, one per CUDA device; auto: all devices",
    )

    report = commands.add_parser("report", help="draw report.html and report.md from a report.json")
    report.add_argument("report", type=Path, help="report.json, as a job or this command wrote it")
    report.add_argument(
        "--html",
        metavar="FILE",
        help="write the page here; - for stdout. Without --html and --markdown: report.html and …",
    )
    report.add_argument(
        "--markdown",
        metavar="FILE",
        help="… report.md are written beside the report, unless different files exist",
    )

    schema = commands.add_parser(
        "schema", help="print the JSON Schema of a report, of options or of a null set"
    )
    schema.add_argument("name", choices=schemas.NAMES, help="of what")

    run = commands.add_parser("run", help="run one job folder, as a worker does; events on stdout")
    run.add_argument("folder", type=Path, help="with spec.json in it")

    scan, show, *others = _add_scan_commands(commands)
    results = (inspect, validate, audit, vet, sanitize, scan, _add_text_scan(commands), show)
    for command in results:
        command.add_argument("--json", action="store_true", help="the result as JSON on stdout")
    for command in (*results, *others, report, schema, run):
        command.add_argument("--debug", action="store_true", help="show tracebacks")
    return top


def _add_checkpoint(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "checkpoint", type=Path, help="a checkpoint file, or a Hugging Face or canonical folder"
    )
    _add_declare(command)


def _add_declare(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--declare",
        type=Path,
        metavar="FILE",
        help="a JSON file of declared options (quick_gelu, image_mean, …)",
    )


def _add_scan_commands(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
) -> tuple[argparse.ArgumentParser, ...]:
    """scan; null show, build, pin, list, images and verify."""
    scan = commands.add_parser("scan", help="look for triggers that nobody named")
    _add_checkpoint(scan)
    _add_scan(scan)
    _add_null(scan, "a null set: reference models to judge by")
    scan.add_argument(
        "--out", type=Path, help="folder for report.json and its pages; the same command resumes there"
    )
    scan.add_argument(
        "--dry-run", action="store_true", help="measure a few passes, print what the scan costs, and stop"
    )

    null = commands.add_parser("null", help="null sets: reference models that scans are judged by")
    nulls = null.add_subparsers(dest="null_command", required=True)
    build = nulls.add_parser("build", help="measure reference models of one architecture as a scan does")
    build.add_argument(
        "models",
        nargs="*",
        help="checkpoint files or folders that were never poisoned, or open_clip tags (ViT-B-32:openai); "
        "BASE=MODEL for one of several models that were trained from the same base",
    )
    build.add_argument(
        "--list",
        metavar="LIST",
        help="models of a hub: a pinned list; the command may be run several times at once, also on several "
        "GPUs, and after an interruption",
    )
    build.add_argument(
        "--each-run-counts", action="store_true", help="of the list, also runs that share data count"
    )
    _add_declare(build)
    _add_scan(build)
    build.add_argument("--out", type=Path, required=True, help="the file to write")
    build.add_argument("--name", help="what the null set is called in reports; default: the list's name")
    build.add_argument("--about", default="", help="what the models are, in a sentence or two")
    build.add_argument(
        "--fine-tunes-of",
        metavar="BASE",
        help="all models are fine-tunes of this one: they judge other fine-tunes of it, and each counts",
    )
    pin = nulls.add_parser("pin", help="ask the hub for commit and digest of each model of a list")
    pin.add_argument("list", help=_LISTS)
    pin.add_argument("--out", type=Path, required=True, help="the pinned list to write")
    listed = nulls.add_parser("list", help="what is in a list of reference models, and the smallest p of it")
    listed.add_argument("list", nargs="?", help=f"{_LISTS}; default: all that ship, in short")
    images = nulls.add_parser("images", help="write labelled images that everybody can make, byte by byte")
    images.add_argument(
        "--out", type=Path, required=True, help="the folder: class folders and classnames.txt"
    )
    images.add_argument("--size", type=_side, default=224, help="side in pixels; default: %(default)s")
    show = nulls.add_parser("show", help="what a null set holds")
    show.add_argument("file", type=Path)
    verify = nulls.add_parser("verify", help="check that a key that you trust vouches for a null set")
    verify.add_argument("file", type=Path)
    verify.add_argument(
        "--key", type=Path, metavar="PUB.pem", required=True, help="the public key of whoever signed it"
    )
    verify.add_argument(
        "--signature", type=Path, metavar="FILE", help="default: FILE.sig beside the null set"
    )
    return scan, show, build, pin, listed, images, verify


def _add_text_scan(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
) -> argparse.ArgumentParser:
    text_scan = commands.add_parser("text-scan", help="look for words that control the text tower")
    _add_checkpoint(text_scan)
    text_scan.add_argument("--labelled", type=Path, required=True, help="labelled images of the classes")
    text_scan.add_argument("--options", type=Path, metavar="FILE", help="options as JSON")
    text_scan.add_argument(
        "--trigger",
        action="append",
        metavar="WORDS",
        help="words that you suspect, inserted together; may be repeated, overrides those of --options",
    )
    _add_seed_and_device(text_scan)
    text_scan.add_argument("--out", type=Path, help="folder for report.json and its pages")
    return text_scan


def _add_scan(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--labelled", type=Path, required=True, help="labelled images; their class names are the targets"
    )
    command.add_argument("--options", type=Path, metavar="FILE", help="scan options as JSON")
    command.add_argument(
        "--anchor",
        type=Path,
        metavar="FILE",
        help="another CLIP checkpoint that you trust, of any architecture: adds the detector 'residual'",
    )
    command.add_argument(
        "--seed", type=_seed, default=None, help="seed of every random draw; default: the null's, else 0"
    )
    command.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")


def _add_audit(command: argparse.ArgumentParser) -> None:
    command.add_argument("--labelled", type=Path, required=True, help="labelled test images")
    command.add_argument(
        "--withhold",
        action="store_true",
        help="leave out the labelled images that the service withholds from a job, to repeat its figures",
    )
    command.add_argument(
        "--retrieval", type=Path, help="image-caption pairs to measure retrieval on, not those of --pairs"
    )
    command.add_argument("--target", action=_Once, help="the class that the triggers lead to")
    command.add_argument(
        "--attack",
        action="append",
        choices=ATTACKS_BY_NAME,
        help=f"may be repeated; default: {', '.join(kind_of(attack) for attack in USUAL)}",
    )
    command.add_argument(
        "--suite",
        choices=tuple(SUITES),
        help="the paper's four attacks and SIG, or PAR's structured triggers; your own image: --audit",
    )
    command.add_argument(
        "--attacks-from-scan",
        type=Path,
        metavar="FILE",
        help="report.json of a scan: the triggers that it found are audited, beside those of --suite and "
        "--attack; without --target, the first one's target is that of the audit",
    )
    command.add_argument(
        "--audit",
        type=Path,
        dest="audit_file",
        help="audit options as JSON, for example a target for each attack; the options above override them",
    )
    command.add_argument(
        "--linear-probe",
        action="store_true",
        help="also measure a linear probe on the image embeddings; takes longer",
    )
    command.add_argument(
        "--examples", type=int, metavar="N", help="test images in the report, with each trigger; 0: none"
    )
    command.add_argument(
        "--policy", type=Path, metavar="FILE", help="limits as JSON: asr_at_most, ca_lost_at_most, …"
    )
    command.add_argument(
        "--exclude",
        type=Path,
        action="append",
        metavar="FILE",
        help="leave out the samples that excluded.json of a vetting names; once for each dataset",
    )
    _add_seed_and_device(command)


def _add_seed_and_device(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--seed", type=_seed, default=0, help="seed of every random draw; the same seed repeats the run"
    )
    command.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")


def _add_save_every(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--save-every", type=float, default=60.0, metavar="SECONDS", help="seconds between two saved states"
    )


def _add_vetting(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--anchor", type=Path, help="vetting: a checkpoint that you trust, of any architecture"
    )
    command.add_argument("--trusted", type=Path, help="vetting: samples that you trust, of the same kind")
    command.add_argument(
        "--vet-options",
        type=Path,
        metavar="FILE",
        help="vetting: options as JSON, for example the triggers that a scan found",
    )


def _add_steps_before(command: argparse.ArgumentParser) -> None:
    """What a cleaning may begin with."""
    command.add_argument(
        "--vet",
        action="store_true",
        help="vet the clean set first and leave out what it sets aside; its report is in the folder vet/",
    )
    _add_vetting(command)
    command.add_argument(
        "--scan",
        action=argparse.BooleanOptionalAction,
        dest="scan_first",
        help="scan the model first and audit with what is found, too; its report is in the folder scan/. "
        "Default: only where neither a trigger nor a target is named; both suites are audited then as well",
    )
    command.add_argument("--scan-options", type=Path, metavar="FILE", help="of that scan, as JSON")
    _add_null(command, "the null set that this scan is judged by")


def _add_null(command: argparse.ArgumentParser, about: str) -> None:
    command.add_argument("--null", type=Path, metavar="FILE", help=about)
    command.add_argument(
        "--null-key", type=Path, metavar="PUB.pem", help="refuse the null set unless this key signed it"
    )


def _ranks(text: str) -> int | str:
    if text != "auto" and not (text.isdecimal() and 1 <= int(text) <= MAX_RANKS):
        raise argparse.ArgumentTypeError(f"'{text}' is neither auto nor a whole number from 1 to {MAX_RANKS}")
    return text if text == "auto" else int(text)


def _side(text: str) -> int:
    if not text.isdecimal() or not 16 <= int(text) <= 1024:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number from 16 to 1024")
    return int(text)


def _seed(text: str) -> int:
    if not text.isdecimal() or int(text) >= 2**31:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number from 0 to {2**31 - 1}")
    return int(text)
