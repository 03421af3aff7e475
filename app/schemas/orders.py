"""Orders on the wire: what a job may be asked for. Options are the library's own dataclasses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, make_dataclass, replace
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    Self,
    TypeVar,
    Union,
    cast,
    get_args,
    get_type_hints,
)

from pydantic import Field, ModelWrapValidatorHandler, PrivateAttr, Strict, create_model, model_validator
from pydantic_core import PydanticCustomError

from app.db.models.job import Job
from app.domain import limits
from app.schemas.common import CheckpointId, DatasetId, JobId, Name, WireIn
from cleanclip.kinds.catalogue import KINDS, PUBLIC
from cleanclip.kinds.kind import Kind
from cleanclip.vocabulary.attack_options import SuiteName
from cleanclip.vocabulary.bounds import NUMBER, Seed, ShortText
from cleanclip.vocabulary.found_attacks import BOTH_SUITES, TARGET_OF_SCAN, scans_first
from cleanclip.vocabulary.policy import Policy, PolicyName
from cleanclip.vocabulary.recipe import AuditOptions, CleanCLIPRecipe, OutputLayout, Recipe
from cleanclip.vocabulary.scan_options import ScanOptions

MetadataKey = Annotated[
    str, Field(min_length=1, max_length=limits.MAX_METADATA_KEY_CHARACTERS, pattern=r"^[A-Za-z0-9_.-]+$")
]
MetadataValue = Annotated[str, Field(max_length=limits.MAX_METADATA_VALUE_CHARACTERS)]
SCANS_FIRST = (
    "The job scans the model first, and audits the triggers that it finds beside those listed here. "
    "Order it with `scan: false` and a target to leave the scan out."
)
MAX_EXCLUDED = 3
"""Datasets that one job uses."""
Metadata = Annotated[dict[MetadataKey, MetadataValue], Field(max_length=limits.MAX_METADATA_ENTRIES)]


Options = TypeVar("Options")


@dataclass(frozen=True, kw_only=True)
class JobAudit(AuditOptions):
    """What the audits measure, on which labelled dataset, and on which pairs where retrieval is measured.

    `retrieval_dataset_id` names pairs other than those to train on. `attacks_from_scan` names a finished scan
    of the same model: the triggers that it found, each with its target, are attacks beside those of `attacks`
    or `suite`; where neither is given, they are all. The job keeps them in `attacks`. `target` may be left
    out where a scan finds one.
    """

    dataset_id: DatasetId
    target: ShortText | None = None  # type: ignore[assignment]
    retrieval_dataset_id: DatasetId | None = None
    attacks_from_scan: JobId | None = None

    def __post_init__(self, suite: SuiteName | None) -> None:
        if self.attacks or suite is not None:
            super().__post_init__(suite)  # else none are named; `options` has the usual four then

    def options(self) -> AuditOptions:
        """The library's part of it; without the attacks and the target that a scan found."""
        return _part(AuditOptions, replace(self, target=self.target or TARGET_OF_SCAN))


NullChoice = Annotated[
    ShortText,
    Field(
        description="`auto`: of the nulls that fit and are not of fine-tunes of one model, one whose"
        " signature was checked before any other, of these one with the most models, of these the one added"
        " first; `none`: none, and no p-value; else the name of one of `GET /v1/nulls`, which has to fit.",
        examples=["auto"],
    ),
]


@dataclass(frozen=True, kw_only=True)
class _ScanOfService(ScanOptions):
    """What a scan is told by names and ids."""

    null: NullChoice = "auto"
    anchor_checkpoint_id: Annotated[
        CheckpointId | None, Field(description="Another model that you trust, for the detector `residual`.")
    ] = None

    def options(self) -> ScanOptions:
        """The library's part of it."""
        return _part(ScanOptions, self)


@dataclass(frozen=True, kw_only=True)
class JobScan(_ScanOfService):
    """How a scan looks for triggers, on which labelled dataset, and by which null it is judged."""

    dataset_id: Annotated[
        DatasetId,
        Field(description="The labelled dataset: patterns are inverted and measured on its images."),
    ]


def _part(kind: type[Options], ordered: Any) -> Options:
    """Of what was ordered, what the library knows."""
    names = [field.name for field in fields(cast(Any, kind))]
    return kind(**{name: getattr(ordered, name) for name in names})


@dataclass(frozen=True, kw_only=True)
class FirstScan(_ScanOfService):
    """How the scan that a cleaning begins with looks for triggers, and by which null it is judged."""


class OrderIn(WireIn):
    """What every kind of job can be told."""

    kind: str
    name: Name | None = None
    seed: Annotated[
        Seed, Field(description="Of every random draw. The same seed gives the same figures.")
    ] = 0
    max_attempts: Annotated[
        Annotated[int, Field(ge=1, le=limits.MAX_MAX_ATTEMPTS), NUMBER] | None,
        Field(
            title="Attempts",
            description="How often the job may be started before it fails. null: as the service is set up.",
        ),
    ] = None
    metadata: Metadata = Field(default_factory=dict, examples=[{"ticket": "ML-42"}])

    def asked(self) -> dict[str, Any]:
        """What the use case is asked for besides: fields of `app.services.orders.Order`."""
        kind = KINDS[self.kind]
        return {"parts": {kind.option_part: _part(kind.options, getattr(self, kind.option_part))}}


class JudgedJobIn(OrderIn):
    """What a job that is judged by limits can be told. `policy_name` is that of one kept in the project."""

    policy: Policy | None = None
    policy_name: PolicyName | None = None
    exclude: Annotated[tuple[JobId, ...], Field(max_length=MAX_EXCLUDED)] = Field(
        default=(),
        description="Finished vettings of datasets that the order uses: the samples that they set aside are"
        " left out.",
        examples=[[]],
    )
    checkpoint_id: CheckpointId
    audit: JobAudit

    @model_validator(mode="after")
    def _has_one_policy(self) -> Self:
        if self.policy is not None and self.policy_name is not None:
            raise PydanticCustomError(
                "two_policies", "Give policy or policy_name, not both.", {"pointer": "/policy_name"}
            )
        return self

    @model_validator(mode="after")
    def _says_what_is_audited(self) -> Self:
        audit, first = self.audit, self.first_scan
        if first is not None and audit.attacks_from_scan is not None:
            raise PydanticCustomError(
                "two_scans", "Give scan or audit.attacks_from_scan, not both.", {"pointer": "/scan"}
            )
        finds_target = first is not None and first.class_names != "none"
        if audit.target is None and audit.attacks_from_scan is None and not finds_target:
            raise PydanticCustomError(
                "target_missing",
                "Give the target: the class that the triggers lead to.",
                {"pointer": "/audit/target"},
            )
        return self

    @property
    def first_scan(self) -> FirstScan | None:
        """The scan that the job begins with, where it begins with one."""
        return None

    def asked(self) -> dict[str, Any]:
        audit, beside, first = self.audit.options(), self.audit.attacks, self.first_scan
        asked: dict[str, Any] = {name: getattr(self, name) for name in ("policy", "policy_name", "exclude")}
        parts: dict[str, Any] = {}
        if first is not None:
            beside = beside or BOTH_SUITES
            audit = replace(audit, attacks=beside)
            parts["scan"] = first.options()
            asked |= {"null": first.null, "cautions": (SCANS_FIRST,)}
        found = {"attacks_from_scan": self.audit.attacks_from_scan, "attacks_beside": beside}
        return asked | found | {"parts": parts | {"audit": audit}}


class SanitizeJobIn(JudgedJobIn):
    """Audit, clean with the recipe on the data of `dataset_id`, audit again.

    The data are pairs. For the method `supervised`, and for `uar` with `trained_on: labelled_images`, they
    are labelled images, other than those of the audit.
    """

    kind: Literal["sanitize"]
    dataset_id: DatasetId
    recipe: Recipe = Field(default_factory=CleanCLIPRecipe)
    output_layout: OutputLayout = "open_clip"
    scan: FirstScan | Annotated[bool, Strict()] | None = Field(
        default=None,
        description="Whether the job scans the model first, and how; `true`: with the usual options. The"
        " triggers that it finds are audited beside those that the order names, or beside both suites. Left"
        " out: it does where `audit` has no target, no attacks, no suite and no attacks_from_scan.",
        examples=[None],
    )
    _recipe_given: tuple[str, ...] = PrivateAttr(default=())

    @model_validator(mode="wrap")
    @classmethod
    def _note_what_is_given(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        made = handler(value)
        given = value.get("recipe") if isinstance(value, dict) else None
        if isinstance(given, dict):
            made._recipe_given = tuple(sorted({*given} - {"method", "version"}))
        return made

    @property
    def first_scan(self) -> FirstScan | None:
        audit, ordered = self.audit, None if self.scan is None else self.scan is not False
        if not scans_first(ordered, audit.target, audit.attacks, audit.attacks_from_scan):
            return None
        return self.scan if isinstance(self.scan, FirstScan) else FirstScan()

    def asked(self) -> dict[str, Any]:
        asked = super().asked()
        how = {"recipe_given": self._recipe_given, "output_layout": self.output_layout}
        return asked | how | {"parts": {"recipe": self.recipe} | asked["parts"]}


class AuditJobIn(JudgedJobIn):
    """Measure a checkpoint and change nothing."""

    kind: Literal["audit"]


class ScanJobIn(OrderIn):
    """Look for a trigger that nobody named, and change nothing."""

    kind: Literal["scan"]
    checkpoint_id: CheckpointId
    scan: JobScan

    def asked(self) -> dict[str, Any]:
        return super().asked() | {"null": self.scan.null}


def _order_of(kind: Kind) -> type[OrderIn]:
    """The body of a kind that has none above: what it reads, and its options with what is read for them."""
    whole: dict[str, Any] = {"kind": (Literal[kind.name], ...)}
    part: list[Any] = []
    for one in kind.inputs:
        of_id = CheckpointId if one.folder is not None else DatasetId
        hint: Any = Annotated[of_id if one.fact is None else of_id | None, Field(description=one.about)]
        default = () if one.fact is None else (None,)
        if len(one.place) == 1:
            whole[one.place[0]] = (hint, *(default or (...,)))
        else:
            part.append((one.place[-1], hint, *default))
    name = kind.option_part
    whole[name] = (
        make_dataclass(
            f"Job{_as_class(name)}",
            part,
            bases=(kind.options,),
            namespace={"__doc__": kind.options.__doc__},
            frozen=True,
            kw_only=True,
        ),
        ...,
    )
    return create_model(
        f"{_as_class(kind.name)}JobIn", __base__=OrderIn, __doc__=kind.about, __module__=__name__, **whole
    )


def _as_class(name: str) -> str:
    """ "TextScan" of "text_scan"."""
    return name.title().replace("_", "")


def ordered_part(kind: Kind, row: Job) -> dict[str, Any] | None:
    """What the body of such an order held in its part, from its row. None for a job of another kind."""
    options = row.spec.get(kind.option_part)
    if options is None:
        return None
    ids = {one.place[-1]: getattr(row, one.column) for one in kind.inputs if len(one.place) > 1}
    return {**options, **ids}


def _or_left_out(id_hint: Any) -> Any:
    """An id that may be left out, described as it is."""
    first, last = id_hint.__metadata__[0], id_hint.__metadata__[-1]
    return Annotated[Annotated[id_hint.__origin__, first] | None, Field(description=last.description)]


def _dry_run_of(order: type[OrderIn]) -> type[OrderIn]:
    """The body of its dry run: the same, in which ids of what is not there yet may be left out."""
    changed: dict[str, Any] = {}
    for name, hint in get_type_hints(order, include_extras=True).items():
        if name.endswith("_id"):
            changed[name] = (_or_left_out(hint), None)
        elif isinstance(hint, type) and "dataset_id" in (its := get_type_hints(hint, include_extras=True)):
            its_id = its["dataset_id"]
            part = make_dataclass(
                hint.__name__.replace("Job", "DryRun"),
                [("dataset_id", _or_left_out(its_id), None)],
                bases=(hint,),
                namespace={"__doc__": "As of an order; a dataset that is not registered yet is left out."},
                frozen=True,
                kw_only=True,
            )
            changed[name] = (part, ...)
    return create_model(
        order.__name__.replace("Job", "DryRun"),
        __base__=order,
        __doc__="As the order; what is not there yet is left out, and what it tells is not known then.",
        __module__=__name__,
        **changed,
    )


_BODIES: tuple[type[OrderIn], ...] = (SanitizeJobIn, AuditJobIn, ScanJobIn)
_OF_THEM = {get_args(one.model_fields["kind"].annotation)[0] for one in _BODIES}
PLAINLY_ORDERED: Mapping[str, Kind] = {name: kind for name, kind in PUBLIC.items() if name not in _OF_THEM}
"""Kinds whose order is made of their value alone."""
OWN_BODIES: Mapping[str, type[OrderIn]] = {name: _order_of(kind) for name, kind in PLAINLY_ORDERED.items()}
ORDERS = (*_BODIES, *OWN_BODIES.values())
if TYPE_CHECKING:
    JobIn = OrderIn
    DryRunIn = OrderIn
else:
    JobIn = Annotated[Union[*ORDERS], Field(discriminator="kind")]
    DryRunIn = Annotated[Union[*map(_dry_run_of, ORDERS)], Field(discriminator="kind")]
