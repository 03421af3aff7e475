"""Options made of what was typed at `python -m sanitizer`. Runs nothing."""

import argparse
import hashlib
import json
from collections.abc import Mapping, Sequence
from inspect import signature
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from cleanclip.kinds.text_scan import TextScanSpec
from cleanclip.vocabulary import found_attacks
from cleanclip.vocabulary.attack_options import AttackOptions
from cleanclip.vocabulary.found_attacks import BOTH_SUITES, TARGET_OF_SCAN, audit_with, fitting, section_of
from cleanclip.vocabulary.jobspec import ScanSpec
from cleanclip.vocabulary.null_set import NullSet
from cleanclip.vocabulary.policy import Policy, PolicySource
from cleanclip.vocabulary.recipe import AuditOptions, DeclaredOptions, Recipe, parse, to_json
from cleanclip.vocabulary.scan_options import Detector, ScanOptions
from cleanclip.vocabulary.scan_report import ScanReport, load_scan
from cleanclip.vocabulary.scan_section import ScanSection
from cleanclip.vocabulary.strict_json import unique_keys
from cleanclip.vocabulary.text_scan_options import TextScanOptions
from cleanclip.vocabulary.vet_options import VetOptions

_DEFAULTS = "defaults"
RECIPE_FLAGS: tuple[tuple[str, type, str], ...] = (
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


class UsageError(Exception):
    """What was typed does not make sense; the message is a sentence for a person."""


def scans_first(arguments: argparse.Namespace) -> bool:
    """Whether a cleaning begins with a scan: as was typed, else where nothing is known of the trigger."""
    named = (arguments.target, arguments.attack, arguments.suite, arguments.audit_file)
    return found_attacks.scans_first(arguments.scan_first, arguments.attacks_from_scan, *named)


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
    typed = {name: getattr(arguments, name) for name, _, _ in RECIPE_FLAGS}
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


def scan_spec(arguments: argparse.Namespace, null: NullSet | None = None) -> ScanSpec:
    """What was typed, else what the null was measured with, else the defaults; with the detector that
    --anchor is for. Raises UsageError."""
    usual = ScanOptions.usual_detectors(has_anchor=arguments.anchor is not None)
    options, seed = scan_from(arguments.options, usual=usual, has_null=null is not None), arguments.seed
    if null is not None:
        options = null.options if options is None else options
        seed = null.seed if seed is None else seed
    return ScanSpec(scan=options or ScanOptions(), seed=seed or 0, save_every_s=None)


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


def text_scan_spec(arguments: argparse.Namespace) -> TextScanSpec:
    """The options of --options, with the words of --trigger. Raises UsageError."""
    values = _read_json(arguments.options) if arguments.options else {}
    if arguments.trigger:
        values["trigger_words"] = arguments.trigger
    return TextScanSpec(text_scan=_parse(TextScanOptions, values, "options"), seed=arguments.seed)


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
