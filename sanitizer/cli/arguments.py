"""The command line of `python -m sanitizer`, and options made of what was typed. Runs nothing."""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Mapping, Sequence
from inspect import signature
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from cleanclip.spec import found_attacks, schemas
from cleanclip.spec.attack_options import ATTACKS_BY_NAME, SUITES, USUAL, kind_of
from cleanclip.spec.found_attacks import BOTH_SUITES, TARGET_OF_SCAN, audit_with, fitting, section_of
from cleanclip.spec.jobspec import MAX_RANKS
from cleanclip.spec.recipe import (
    AttackOptions,
    AuditOptions,
    DeclaredOptions,
    Policy,
    PolicySource,
    Recipe,
    parse,
    to_json,
)
from cleanclip.spec.scan_options import Detector, ScanOptions
from cleanclip.spec.scan_report import ScanReport, load_scan
from cleanclip.spec.scan_section import ScanSection
from cleanclip.spec.strict_json import unique_keys
from cleanclip.spec.vet_options import SCORE_NAMES, VetOptions

EPILOGUE = """\
exit codes:
  0   done; the verdict is in the report
  1   the program failed
  2   wrong arguments
  3   refused: the input or the options cannot be used, the reason is on stderr
  75  interrupted; the same command resumes
"""
_DEFAULTS = "defaults"
_RECIPE_FLAGS: tuple[tuple[str, type, str], ...] = (
    ("method", str, "cleanclip, par, supervised or uar"),
    ("lambda1", float, "weight of CLIP's own loss"),
    ("lambda2", float, "weight of the self-supervised losses; 0 leaves them out"),
    ("threshold", float, "par: the distance from the input model at which the push stops, 0 to 4"),
    ("epochs", int, "passes over the clean data"),
    ("batch_size", int, "pairs per update"),
    ("chunk_size", int, "pairs in memory at once, if a batch does not fit; the result is the same"),
    ("learning_rate", float, "peak learning rate; a cosine schedule takes it to zero"),
    ("initial_learning_rate", float, "par: the first learning rate, which decays to --learning-rate"),
    ("push_share", float, "par: the share of the run over which it decays, 0 to 1"),
    ("warmup_steps", int, "warm-up: updates until the learning rate is reached; par has none"),
    ("trained_on", str, "uar: pairs, images_of_pairs or labelled_images"),
    ("strong_epochs", int, "uar: epochs of the strong stage; the others are the weak stage"),
    ("consistency_weight", float, "uar: weight of the distance to the clean image's embedding"),
    ("weight_decay", float, "weight decay of matrices and kernels"),
    ("precision", str, "auto, fp32 or bf16"),
)

T = TypeVar("T")

_BY_TAG: Mapping[str, type[Any]] = {
    **{kind.method: kind for kind in get_args(get_args(Recipe)[0])},
    **{kind.attack: kind for kind in get_args(get_args(AttackOptions)[0])},
}
"""Kinds of options by the name that pydantic puts before their fields."""


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


class UsageError(Exception):
    """What was typed does not make sense; the message is a sentence for a person."""


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
    for name, kind, meaning in _RECIPE_FLAGS:
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

    scan, build, show, verify = _add_scan_commands(commands)
    for command in (inspect, validate, audit, vet, sanitize, scan, show):
        command.add_argument("--json", action="store_true", help="the result as JSON on stdout")
    for command in (inspect, validate, audit, vet, sanitize, scan, build, show, verify, report, schema, run):
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
    """scan, null build, null show, null verify."""
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
        nargs="+",
        help="checkpoint files or folders that were never poisoned, or open_clip tags (ViT-B-32:openai); "
        "BASE=MODEL for one of several models that were trained from the same base",
    )
    _add_declare(build)
    _add_scan(build)
    build.add_argument("--out", type=Path, required=True, help="the file to write")
    build.add_argument("--name", required=True, help="what the null set is called in reports")
    build.add_argument("--about", default="", help="what the models are, in a sentence or two")
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
    return scan, build, show, verify


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


def scans_first(arguments: argparse.Namespace) -> bool:
    """Whether a cleaning begins with a scan: as was typed, else where nothing is known of the trigger."""
    named = (arguments.target, arguments.attack, arguments.suite, arguments.audit_file)
    return found_attacks.scans_first(arguments.scan_first, arguments.attacks_from_scan, *named)


def _ranks(text: str) -> int | str:
    if text != "auto" and not (text.isdecimal() and 1 <= int(text) <= MAX_RANKS):
        raise argparse.ArgumentTypeError(f"'{text}' is neither auto nor a whole number from 1 to {MAX_RANKS}")
    return text if text == "auto" else int(text)


def _seed(text: str) -> int:
    if not text.isdecimal() or int(text) >= 2**31:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number from 0 to {2**31 - 1}")
    return int(text)


def recipe_from(arguments: argparse.Namespace) -> tuple[Recipe, tuple[str, ...]]:
    """The recipe file's values, changed by the options given; and their names, of `--recipe defaults` those
    of all. Raises UsageError, also for two methods."""
    values: dict[str, Any] = {}
    if arguments.recipe is not None and str(arguments.recipe) != _DEFAULTS:
        values = _read_json(arguments.recipe)
    if arguments.method is not None and values.get("method", arguments.method) != arguments.method:
        raise UsageError(
            f"A recipe has one method, but --recipe {arguments.recipe} names {values['method']} and --method "
            f"names {arguments.method}. Remove one of them."
        )
    typed = {name: getattr(arguments, name) for name, _, _ in _RECIPE_FLAGS}
    values |= {name: value for name, value in typed.items() if value is not None}
    kind: Any = Recipe
    recipe: Recipe = _parse(kind, values, "recipe")
    return recipe, tuple(to_json(recipe) if str(arguments.recipe) == _DEFAULTS else values)


def policy_from(arguments: argparse.Namespace) -> dict[str, Any]:
    """Fields of a spec: the limits of --policy, else the defaults, and their source. Raises UsageError."""
    given = None if arguments.policy is None else _parse(Policy, _read_json(arguments.policy), "policy")
    return {"policy": given or Policy(), "policy_source": PolicySource.of(given)}


def audit_from(arguments: argparse.Namespace) -> AuditOptions:
    """The audit file's options, changed by --target and by --attack or --suite; of a cleaning that has yet to
    scan without what it will find. Raises UsageError."""
    if arguments.attack and arguments.suite:
        raise UsageError("Give --attack or --suite, not both.")
    values = _read_json(arguments.audit_file) if arguments.audit_file else {}
    if arguments.attack or arguments.suite:
        values = {name: value for name, value in values.items() if name not in ("attacks", "suite")}
    if arguments.attack:
        values["attacks"] = [{"attack": name} for name in arguments.attack]
    if arguments.suite:
        values["suite"] = arguments.suite
    if arguments.linear_probe and not values.get("linear_probe"):
        values["linear_probe"] = {}
    if getattr(arguments, "rebound", False) and not values.get("rebound"):
        values["rebound"] = {}
    if arguments.examples is not None:
        values["examples"] = arguments.examples
    if arguments.target:
        values["target"] = arguments.target
    if arguments.attacks_from_scan is not None:
        return _with_found(values, arguments)
    if getattr(arguments, "scan_first", None):
        values = {"target": TARGET_OF_SCAN} | values
    if "target" not in values:
        raise UsageError("Give --target: the class that the triggers lead to.")
    return _parse(AuditOptions, values, "audit options")


def _with_found(values: dict[str, Any], arguments: argparse.Namespace) -> AuditOptions:
    """Audit options with the triggers of a scan's report, after those that are named; where a cleaning
    scanned first and none are, after both suites. Raises UsageError, OptionsRejected."""
    report, _ = read_scan(arguments.attacks_from_scan)
    audit = _parse(AuditOptions, {"target": TARGET_OF_SCAN} | values, "audit options")
    is_first = bool(getattr(arguments, "scan_first", None))
    beside: tuple[AttackOptions, ...] = ()
    if values.get("suite") or values.get("attacks"):
        beside = audit.attacks
    elif is_first:
        beside = BOTH_SUITES
    if not is_first and not fitting(report.attacks(), beside, None):
        raise UsageError(f"The scan of {arguments.attacks_from_scan} found no trigger that an audit can use.")
    arguments.num_known = len(beside)
    return audit_with(audit, beside, report, None)


def read_scan(path: Path) -> tuple[ScanReport, str]:
    """The report of a scan, and the SHA-256 of its bytes. Raises UsageError."""
    try:
        content = path.read_bytes()
        return load_scan(content), hashlib.sha256(content).hexdigest()
    except (OSError, ValidationError) as error:
        raise UsageError(f"{path} cannot be read as the report of a scan.") from error


def section_from(arguments: argparse.Namespace, options: AuditOptions) -> ScanSection | None:
    """What the report says of the scan that found some of the attacks of `audit_from`. Raises UsageError."""
    if arguments.attacks_from_scan is None:
        return None
    report, digest = read_scan(arguments.attacks_from_scan)
    return section_of(report, report_sha256=digest, attacks=options.attacks, num_known=arguments.num_known)


def vet_from(arguments: argparse.Namespace) -> VetOptions:
    """The options of --vet-options, changed by --share and --score. Raises UsageError."""
    values = _read_json(arguments.vet_options) if arguments.vet_options else {}
    if getattr(arguments, "share", None) is not None:
        values["share"] = arguments.share
    if getattr(arguments, "score", None):
        values["scores"] = arguments.score
    return _parse(VetOptions, values, "vetting options")


def scan_from(
    path: Path | None, *, usual: Sequence[Detector] = ScanOptions.detectors, has_null: bool = False
) -> ScanOptions | None:
    """The options in a file; None: the null's, else the defaults. Raises UsageError.

    Where neither names detectors, they are the `usual` ones.
    """
    if path is None and (has_null or usual == ScanOptions.detectors):
        return None
    values = {"detectors": [*usual]}
    values |= {} if path is None else _read_json(path)
    return _parse(ScanOptions, values, "scan options")


def declared_from(arguments: argparse.Namespace) -> DeclaredOptions:
    """The declared options of --declare. Raises UsageError."""
    values = _read_json(arguments.declare) if arguments.declare else {}
    return _parse(DeclaredOptions, values, "declared options")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=unique_keys)
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read as JSON: {error}.") from error
    if not isinstance(values, dict):
        raise UsageError(f"{path} holds no JSON object.")
    return values


def _parse(kind: type[T], values: dict[str, Any], what: str) -> T:
    try:
        return parse(kind, values)
    except ValidationError as error:
        problems = "; ".join(_problem(found, kind, what) for found in error.errors(include_url=False))
        raise UsageError(f"The {what} cannot be used: {problems}.") from error


def _problem(found: ErrorDetails, kind: type[Any], what: str) -> str:
    """A clause: where, and what is wrong; of an option that is not known, which there are."""
    *inside, option = found["loc"] or (what,)
    where = ".".join(str(part) for part in (*inside, option))
    if found["type"] != "unexpected_keyword_argument":
        return f"{where}: {found['msg'].removeprefix('Value error, ').rstrip('.')}"
    owner = _BY_TAG.get(str(inside[-1])) if inside else kind
    names = "" if owner is None else f"; the options are {', '.join(signature(owner).parameters)}"
    return f"{where}: there is no such option{names}"
