"""The contract between a supervisor and the child process: one folder, one spec, one outcome. Free of torch.

    job/
      spec.json              a `JobSpec`
      inputs/upload          bytes as uploaded (inspect only)
      inputs/beside/         configurations from the same folder of a hub (inspect only)
      inputs/checkpoint/     model.safetensors + config.json (canonical, written by an earlier inspect)
      inputs/cleaned/        the same of cleaned weights that were checked (recheck only)
      inputs/pairs/          shards (*.tar); for a recipe of labelled images inputs/training/, as labelled
      inputs/labelled/       shards (*.tar) + classnames.txt + zeroshot_classification_templates.txt
      inputs/withheld/       the same of the images that the job's own child never had (recheck only)
      inputs/retrieval/      shards (*.tar) of pairs, where the spec says so
      inputs/trusted/        shards of trusted samples, of the kind of those that are vetted
      inputs/anchor/         model.safetensors + config.json of a trusted model
      inputs/exclude/        lists of samples to leave out: `labelled.json` of inputs/labelled, and so on
      inputs/null.json       the null of a scan, where the spec says so
      inputs/report.json     a checked report (pages only)
      state/step-00000400/   resumable states; the supervisor may copy them away and bring one back
      outputs/               what the job leaves: see below
      outcome.json           written last, by rename

`python -m sanitizer run FOLDER` reads spec.json, writes progress events as JSON lines to stdout (nothing
else goes there), log lines to stderr, and ends with EXIT_SUCCEEDED, EXIT_REFUSED (outcome.json says why)
or EXIT_INTERRUPTED (SIGTERM: state saved). Any other end is a crash, and outcome.json is absent.

Outputs: inspect → model.safetensors, config.json, inspection.json; validate → dataset.json and
drawn_samples.json, of which the supervisor makes images; sanitize → model.safetensors, config.json,
report.json, training_curve.json; audit and scan → report.json; vet → report.json, vet_scores.jsonl.gz and
excluded.json. A process that read an untrusted file leaves nothing else. What people open is written by a
fresh process, from files that the supervisor has checked: pages → report.html and report.md, from
inputs/report.json; give_back → `as_uploaded.*`, the weights of inputs/checkpoint in the uploaded layout;
recheck → figures.json, audits that are held against the first one's; withhold → given.tar and withheld.tar,
the samples of inputs/labelled in two parts. The supervisor adds SHA256SUMS; to
customers' jobs statement.json and, with a signing key, model.sig; and to a scan the null that it was judged
by. A cleaning that scans first has two children: one of a scan, then one of a cleaning, whose spec says what
the scan found.
"""

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, TypeAdapter

from cleanclip.vocabulary.audit_figures import Measured, Withheld
from cleanclip.vocabulary.bounds import STRICT, Seed, StrictOptions
from cleanclip.vocabulary.control import Search
from cleanclip.vocabulary.exclusions import Digest, ExcludedSamples
from cleanclip.vocabulary.inspection_phrases import Assumed, Finding, Layout, Option
from cleanclip.vocabulary.policy import Policy, PolicySource
from cleanclip.vocabulary.rebound_figures import ReboundFigures
from cleanclip.vocabulary.recipe import AuditOptions, DeclaredOptions, OutputLayout, Recipe
from cleanclip.vocabulary.report_inputs import ScannerEvidence
from cleanclip.vocabulary.scan_options import ScanOptions
from cleanclip.vocabulary.scan_section import ScanSection
from cleanclip.vocabulary.settled import SettledArchitecture
from cleanclip.vocabulary.skip_reasons import SkippedExamples, SkipReason
from cleanclip.vocabulary.vet_options import VetOptions

MAX_RANKS = 64
MaxRanks = Annotated[int, Field(ge=1, le=MAX_RANKS)] | Literal["auto"]
"""How many processes may train one model: as many as there are CUDA devices, or this number at most."""

MAX_SCAN_STATE_BYTES = 256 * 2**20
"""Of the finished parts of a scan: patterns, a few megabytes each at 224 pixels."""
SPEC_NAME = "spec.json"
OUTCOME_NAME = "outcome.json"
UPLOAD_PATH = "inputs/upload"
BESIDE_PATH = "inputs/beside"
"""Configurations from the folder of a fetched file; absent: there were none."""
CHECKPOINT_PATH = "inputs/checkpoint"
CLEANED_PATH = "inputs/cleaned"


def path_of_role(role: str) -> str:
    """Where a dataset lies in a job's folder, by what it is used as."""
    return f"inputs/{role}"


PAIRS_PATH, TRAINING_PATH = path_of_role("pairs"), path_of_role("training")
LABELLED_PATH, WITHHELD_PATH = path_of_role("labelled"), path_of_role("withheld")
RETRIEVAL_PATH, TRUSTED_PATH = path_of_role("retrieval"), path_of_role("trusted")
ANCHOR_PATH = "inputs/anchor"
"""Of further checkpoints, which are trusted: another model, and the one that came before the fine-tuning."""
EXCLUDE_PATH = "inputs/exclude"
NULL_PATH = "inputs/null.json"
REPORT_PATH = "inputs/report.json"
STATE_PATH = "state"
OUTPUTS_PATH = "outputs"

WEIGHTS_NAME = "model.safetensors"
CONFIG_NAME = "config.json"
INSPECTION_NAME = "inspection.json"
DATASET_NAME = "dataset.json"
DRAWN_NAME = "drawn_samples.json"
REPORT_NAME = "report.json"
FIGURES_NAME = "figures.json"
GIVEN_NAME = "given.tar"
WITHHELD_NAME = "withheld.tar"
NULL_NAME = "null.json"
REPORT_HTML_NAME = "report.html"
REPORT_MARKDOWN_NAME = "report.md"
SCAN_NAMES = {REPORT_NAME: "scan.json", REPORT_HTML_NAME: "scan.html", REPORT_MARKDOWN_NAME: "scan.md"}
"""The files of a scan, beside those of the cleaning that began with it."""
AS_UPLOADED = "as_uploaded"
"""With the upload's own ending: `.pt`, `.bin` or `.safetensors`."""
REPORT_HTML_HEAD = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; \
img-src data:; base-uri 'none'; form-action 'none'">
"""
"""Every report.html begins with it: whatever follows, a browser runs no script of it and loads nothing."""
CURVE_NAME = "training_curve.json"
TOKENIZERS_VARIABLE = "CLEANCLIP_TOKENIZERS"
"""Of a child's environment: the folder of the operator's tokenizers, each called by its SHA-256 and .json."""
CLASS_NAMES_NAME = "classnames.txt"
TEMPLATES_NAME = "zeroshot_classification_templates.txt"

EXIT_SUCCEEDED = 0
EXIT_REFUSED = 3
EXIT_INTERRUPTED = 75  # sysexits.h EX_TEMPFAIL


@dataclass(frozen=True, kw_only=True)
class InspectSpec(StrictOptions):
    """Read `inputs/upload` without executing it; write canonical weights, config and findings."""

    kind: Literal["inspect"] = "inspect"
    filename: str
    declared: DeclaredOptions = field(default_factory=DeclaredOptions)
    expected_sha256: str | None = None
    scanner_time_limit_s: Annotated[float, Field(ge=0)] = 20.0
    """For each of the scanners that add evidence, and for the comparison with torch; 0: none of them runs."""


@dataclass(frozen=True, kw_only=True)
class ValidateSpec(StrictOptions):
    """Read every sample of a dataset once; count what is good, skipped and why."""

    kind: Literal["validate"] = "validate"
    data_kind: Literal["pairs", "labelled"]
    max_skipped_share: Annotated[float, Field(ge=0, le=1)] = 0.01
    seed: Seed = 0
    """Draws the samples that people are shown."""


ExcludeRole = Literal["pairs", "training", "labelled", "retrieval"]


def exclude_path(role: str) -> str:
    """Of the list of samples to leave out of the dataset that is used as `role`."""
    return f"{EXCLUDE_PATH}/{role}.json"


@dataclass(frozen=True, kw_only=True)
class LabelledPart(StrictOptions):
    """That `inputs/labelled` is a part of a dataset, whose other samples were withheld from this process.
    Reports name the whole dataset; what an order left out of it is in neither part."""

    dataset_sha256: str
    num_withheld: Annotated[int, Field(ge=1, lt=2**53)]
    excluded: ExcludedSamples | None = None


@dataclass(frozen=True, kw_only=True)
class JudgedSpec(StrictOptions):
    """What an audit and a cleaning are both told. An audit has no recipe, nor what follows from one."""

    kind: str
    recipe: Recipe | None = None
    recipe_given: tuple[str, ...] | None = None
    """The recipe's options that the order gave, the others having the method's defaults; None: not known."""
    audit: AuditOptions
    policy: Policy = field(default_factory=Policy)
    policy_source: PolicySource = field(default_factory=lambda: PolicySource.of(None))
    seed: Seed = 0
    output_layout: OutputLayout | None = None
    upload_sha256: str | None = None
    has_retrieval: bool = False
    """Whether the audits measure retrieval, on `inputs/retrieval`."""
    scan_section: ScanSection | None = None
    """Of the scan whose found triggers are among the attacks, for the report."""
    exclude: tuple[ExcludeRole, ...] = ()
    """The datasets of which samples are left out, each by the list at `exclude_path`."""
    labelled_part: LabelledPart | None = None
    """None: `inputs/labelled` is the whole dataset."""
    searches: bool = False
    """Whether the cleaned weights are searched for patterns; False where a second audit does that."""


@dataclass(frozen=True, kw_only=True)
class SanitizeSpec(JudgedSpec):
    kind: Literal["sanitize"] = "sanitize"
    recipe: Recipe
    output_layout: OutputLayout = "open_clip"
    save_every_s: float = 60.0
    max_ranks: MaxRanks = 1
    searches: bool = True


@dataclass(frozen=True, kw_only=True)
class AuditSpec(JudgedSpec):
    kind: Literal["audit"] = "audit"
    recipe: None = None
    output_layout: None = None


@dataclass(frozen=True, kw_only=True)
class SearchSpec(StrictOptions):
    """What a scan and a vetting are both told."""

    kind: str
    seed: Seed = 0
    upload_sha256: str | None = None
    has_anchor: bool = False
    """Whether a trusted model is in `inputs/anchor`."""


@dataclass(frozen=True, kw_only=True)
class ScanSpec(SearchSpec):
    """Look for a trigger that nobody named, with the images of `inputs/labelled`."""

    kind: Literal["scan"] = "scan"
    scan: ScanOptions
    save_every_s: float | None = 60.0
    """None: no state is saved for another machine."""
    has_null: bool = False
    """Whether the scan is judged by the null in `inputs/null.json`."""
    audit: AuditOptions | None = None
    """Of the cleaning that begins with the scan."""


@dataclass(frozen=True, kw_only=True)
class VetSpec(SearchSpec):
    """Find the samples of `inputs/pairs` or `inputs/labelled` that look poisoned."""

    kind: Literal["vet"] = "vet"
    data_kind: Literal["pairs", "labelled"]
    vet: VetOptions
    save_every_s: float = 60.0
    has_trusted: bool = False
    """Whether they are compared with `inputs/trusted`."""


@dataclass(frozen=True, kw_only=True)
class PagesSpec(StrictOptions):
    """Draw `inputs/report.json`, which was checked, as report.html and report.md."""

    kind: Literal["pages"] = "pages"


@dataclass(frozen=True, kw_only=True)
class GiveBackSpec(StrictOptions):
    """Write the canonical weights in `inputs/checkpoint`, which were checked, in the layout of the upload."""

    kind: Literal["give_back"] = "give_back"


@dataclass(frozen=True, kw_only=True)
class WithholdSpec(StrictOptions):
    """Part the samples of `inputs/labelled` in two, without decoding any: `num` that the seed draws, and the
    others. Samples on the list of exclusions go into neither."""

    kind: Literal["withhold"] = "withhold"
    num: Annotated[int, Field(ge=1, lt=2**53)]
    seed: Seed
    exclude: bool = False
    """Whether there is a list at `exclude_path`."""


@dataclass(frozen=True, kw_only=True)
class RecheckSpec(StrictOptions):
    """Settle the weights in `inputs/checkpoint`, audit them and what they were cleaned to once more: in a
    process that never read the upload."""

    kind: Literal["recheck"] = "recheck"
    audit: AuditOptions
    seed: Seed = 0
    has_retrieval: bool = False
    exclude: tuple[ExcludeRole, ...] = ()
    labelled_part: LabelledPart | None = None
    is_cleaned: bool = False
    """Whether there are cleaned weights, in `inputs/cleaned`."""
    recipe: Recipe | None = None
    """By which they were cleaned, where the rebound is measured again: on the data to train on."""
    num_processes: Annotated[int, Field(ge=1, le=MAX_RANKS)] = 1
    """That shared out the training."""
    withheld_seed: Seed | None = None
    """Where there are images in `inputs/withheld`: decides what triggers draw on them."""
    control_seed: Seed | None = None
    """Of the search for patterns on cleaned weights, on the withheld images where there are any."""


JobSpec = (
    InspectSpec
    | ValidateSpec
    | JudgedSpec
    | SearchSpec
    | PagesSpec
    | GiveBackSpec
    | WithholdSpec
    | RecheckSpec
)
"""Any of them; `cleanclip.kinds.specs` reads and writes them."""


_Count = Annotated[int, Field(ge=0, lt=2**53)]
_Text = Annotated[str, Field(max_length=200)]
_Sentence = Annotated[str, Field(max_length=2000)]


@dataclass(frozen=True, kw_only=True)
class Failure:
    code: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,79}$")]
    message: str
    remedy: str
    where: str | None = None
    phase: _Text | None = None
    scanners: Annotated[tuple[ScannerEvidence, ...], Field(max_length=20)] = ()
    """Of a checkpoint that was refused."""


@dataclass(frozen=True, kw_only=True)
class ChildOutcome:
    """`outputs` are file names in outputs/. Exactly one of outputs and failure is meaningful."""

    status: Literal["succeeded", "refused", "interrupted"]
    outputs: tuple[str, ...] = ()
    failure: Failure | None = None


OUTCOME_ADAPTER = TypeAdapter(ChildOutcome)


@dataclass(frozen=True, kw_only=True)
class RecheckedFigures:
    """What a second audit found (figures.json). `architecture`: how it settled the input's architecture."""

    measured: Measured
    rebound: ReboundFigures | None = None
    architecture: SettledArchitecture
    withheld: Withheld | None = None
    control: Search | None = None
    """Of cleaned weights. None of an audit."""


RECHECKED_ADAPTER = TypeAdapter(RecheckedFigures)


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """What a checkpoint is (inspection.json)."""

    upload_sha256: Digest
    size_bytes: _Count
    weights_sha256: Digest
    layout: Layout
    architecture: dict[str, Any]
    """open_clip's own config form: {"model_cfg": …, "preprocess_cfg": …}, as in config.json."""
    architecture_name: _Text
    """Short and human: 'ModifiedResNet [1,1,1,1] width 24, 32 px' or 'ViT-B/32'."""
    num_parameters: _Count
    dtype: _Text
    assumed: dict[Option, Assumed]
    """Option → why this value: declared, or the default of which family."""
    findings: Annotated[tuple[Finding, ...], Field(max_length=1000)]
    """What was stepped over or is unusual, one sentence each."""
    scanners: Annotated[tuple[ScannerEvidence, ...], Field(max_length=20)] = ()
    converted_again: bool = False
    """By the supervisor: whether a second process, with our reader alone, made the same of the upload."""


@dataclass(frozen=True, kw_only=True)
class DatasetSummary:
    """What a dataset holds (dataset.json). `sha256` is over its files' names and digests, in order."""

    kind: Literal["pairs", "labelled"]
    sha256: Digest
    num_shards: _Count
    num_samples: _Count
    num_skipped: _Count
    skipped_reasons: dict[SkipReason, _Count]
    skipped_examples: SkippedExamples
    class_names: tuple[_Text, ...] | None = None
    templates: Annotated[tuple[_Sentence, ...], Field(max_length=1000)] | None = None
    images_per_class: tuple[_Count, ...] | None = None


NUM_DRAWN = 12
MAX_DRAWN_SIDE = 160
MAX_DRAWN_TEXT = 301
"""Characters, the mark of what was cut off included."""
_Side = Annotated[int, Field(ge=1, le=MAX_DRAWN_SIDE)]
_DrawnText = Annotated[str, Field(max_length=MAX_DRAWN_TEXT)]


@dataclass(frozen=True, kw_only=True)
class DrawnSample:
    """One good sample, to be looked at: of its image the pixels, made small, and nothing of its file.

    `caption` of a pair, `label` and `class_name` of a labelled image.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {
        **STRICT,
        "ser_json_bytes": "base64",
        "val_json_bytes": "base64",
    }

    index: Annotated[int, Field(ge=0, lt=2**53)]
    key: _DrawnText
    caption: _DrawnText | None = None
    label: Annotated[int, Field(ge=0, lt=2**53)] | None = None
    class_name: _DrawnText | None = None
    width: _Side
    height: _Side
    rgb: bytes
    """height x width x 3, row by row."""


@dataclass(frozen=True, kw_only=True)
class DrawnSamples(StrictOptions):
    """drawn_samples.json: NUM_DRAWN of the good ones, or all of fewer, in the order of the set."""

    seed: Seed
    samples: Annotated[tuple[DrawnSample, ...], Field(max_length=NUM_DRAWN)]


INSPECTION_ADAPTER = TypeAdapter(Inspection)
DATASET_ADAPTER = TypeAdapter(DatasetSummary)
DRAWN_ADAPTER = TypeAdapter(DrawnSamples)
