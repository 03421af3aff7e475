"""What can be ordered, as JSON Schema with defaults: for forms, clients and people."""

from __future__ import annotations

from dataclasses import MISSING, asdict, fields
from typing import Any, Literal, get_args

from pydantic import TypeAdapter

from app.schemas.common import WireOut
from cleanclip.kinds.catalogue import PUBLIC
from cleanclip.vocabulary import attack_options, recipe
from cleanclip.vocabulary.policy import Policy
from cleanclip.vocabulary.recommended import RECOMMENDATIONS, Family, Size
from cleanclip.vocabulary.scan_options import ScanOptions
from cleanclip.vocabulary.vet_options import VetOptions

_METHODS = get_args(get_args(recipe.Recipe)[0])
_ATTACKS = get_args(get_args(attack_options.AttackOptions)[0])

TAG_FIELDS = ("kind", "attack", "method")
"""The fields by which the members of a union are told apart on the wire."""
TAG_LEFT_OUT = {"/recipe": ("method", recipe.CleanCLIPRecipe.method)}
"""Where such a field may be left out, and what is meant then."""
KNOWN_TAGS = frozenset({*PUBLIC} | {kind.method for kind in _METHODS} | {kind.attack for kind in _ATTACKS})


class OptionsOut(WireOut):
    """`options` is a JSON Schema; `defaults` is what happens when a field is left out."""

    name: str
    description: str
    options: dict[str, Any]
    defaults: dict[str, Any]

    @classmethod
    def of(cls, name: str, kind: type[Any]) -> OptionsOut:
        needed: dict[str, Any] = {
            field.name: ""
            for field in fields(kind)
            if field.default is MISSING and field.default_factory is MISSING
        }
        defaults = {key: value for key, value in recipe.to_json(kind(**needed)).items() if key not in needed}
        return cls(
            name=name,
            description=(kind.__doc__ or "").strip(),
            options=TypeAdapter(kind).json_schema(),
            defaults=defaults,
        )


class SuiteOut(WireOut):
    """Attacks that an audit can be given by one name, `audit.suite`, in the place of `audit.attacks`."""

    name: str
    attacks: list[dict[str, Any]]


class RecommendationOut(WireOut):
    """Options for a family and size of model, with their source. An order has to name what it wants of them.

    `kind`: "published", or "measured" on this project's small test subjects. `num_samples`: clean pairs, or
    labelled images, that the source used. `size`: small up to 10 million parameters, full from 50 million.
    """

    method: str
    families: list[Family]
    size: Size
    values: dict[str, Any]
    num_samples: int
    kind: Literal["published", "measured"]
    source: str


class MethodsOut(WireOut):
    """Everything that a job can be asked for."""

    methods: list[OptionsOut]
    recommended: list[RecommendationOut]
    attacks: list[OptionsOut]
    suites: list[SuiteOut]
    audit: OptionsOut
    scan: OptionsOut
    vet: OptionsOut
    policy: OptionsOut
    declared: OptionsOut

    @classmethod
    def known(cls) -> MethodsOut:
        return cls(
            methods=[OptionsOut.of(kind.method, kind) for kind in _METHODS],
            recommended=[
                RecommendationOut(
                    **{**asdict(one), "families": list(one.families), "values": dict(one.values)}
                )
                for one in RECOMMENDATIONS
            ],
            attacks=[OptionsOut.of(kind.attack, kind) for kind in _ATTACKS],
            suites=[
                SuiteOut(name=name, attacks=[recipe.to_json(attack) for attack in attacks])
                for name, attacks in attack_options.SUITES.items()
            ],
            audit=OptionsOut.of("audit", recipe.AuditOptions),
            scan=OptionsOut.of("scan", ScanOptions),
            vet=OptionsOut.of("vet", VetOptions),
            policy=OptionsOut.of("policy", Policy),
            declared=OptionsOut.of("declared", recipe.DeclaredOptions),
        )
