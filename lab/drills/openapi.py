"""What the API promises in its own OpenAPI document, held against what it answers, by schemathesis.

Over real HTTP. Every case carries a valid key, and ids are mostly those of rows that are there, so that it
gets beyond 404. No answer may be a 500; each must have a status, a content type, headers and a body as
documented; what the document calls invalid must be refused.
"""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any

import schemathesis
from schemathesis import hooks
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema

from lab.drills.drill import Place, Row

NAME = "openapi"
TITLE = "The API answers as its OpenAPI document says, whatever it is asked"

_MANY_BOUNDS = ("create_job", "create_upload", "dry_run_job", "list_trail_entries")
_REFUSED = ["400", "401", "404", "405", "409", "413", "415", "422", "429"]
_MISTAKEN = "Invalid component: positive test case"
"""What schemathesis 4.32 says of a null body where the document allows null: valid, and yet to be refused."""
_ID = re.compile(r"[a-z]{2,4}_[0-9a-z]{26}")


@dataclass(frozen=True, kw_only=True)
class Seeds:
    """What is really there. `path_ids`: parameter → ids; `body`: JSON pointer → values, put where the drawn
    value is one that the document allows."""

    path_ids: Mapping[str, Sequence[str]]
    body: Mapping[str, Sequence[str]]


@dataclass(kw_only=True)
class Explored:
    """`answers`: (operation, status) → how often; `failures`: sentences, one per operation and check."""

    answers: Counter[tuple[str, int]] = field(default_factory=Counter)
    failures: dict[tuple[str, str, str], str] = field(default_factory=dict)

    @property
    def num_cases(self) -> int:
        return self.answers.total()

    def reached(self, operation: str) -> bool:
        """Whether some case was accepted, or refused for the state of what it named."""
        return any(name == operation and (status < 400 or status == 409) for name, status in self.answers)

    @property
    def operations(self) -> set[str]:
        return {name for name, _ in self.answers}


def explore(url: str, key: str, seeds: Seeds, *, max_examples: int, seed: int, quick: bool) -> Explored:
    """Ask the API at `url` what its document allows, and what it does not.

    Every bound of every field is tried once, then `max_examples` drawn cases per operation; `quick` leaves
    out the bounds of four operations, which have more fields than all the rest together.
    """
    config = _config(key, seeds, max_examples=max_examples, seed=seed, quick=quick)
    schema = schemathesis.openapi.from_url(f"{url}/v1/openapi.json", config=config)
    values = {pointer: cycle(found) for pointer, found in seeds.body.items()}

    def before_call(_context: Any, case: Any, _kwargs: dict[str, Any]) -> None:
        for pointer, found in values.items():
            case.body = _filled(case.body, pointer, found)

    explored = Explored()
    schemathesis.hook(before_call)
    try:
        for event in from_schema(schema).execute():
            if isinstance(event, events.ScenarioFinished):
                _note(explored, event)
            elif isinstance(event, events.NonFatalError):
                explored.failures["the explorer itself", "error", str(event.info)] = str(event.info)
            elif isinstance(event, events.FatalError):
                raise event.exception
    finally:
        hooks.unregister(before_call)
    return explored


def _config(key: str, seeds: Seeds, *, max_examples: int, seed: int, quick: bool) -> SchemathesisConfig:
    bound = {
        f"path.{name}": {"dictionary": name, "probability": 0.85} for name, found in seeds.path_ids.items()
    }
    return SchemathesisConfig.from_dict(
        {
            "seed": seed,
            "headers": {"Authorization": f"Bearer {key}"},
            "dictionaries": {name: {"values": list(found)} for name, found in seeds.path_ids.items()},
            "parameters": bound,
            "generation": {"max-examples": max_examples, "database": "none"},
            "phases": {"stateful": {"enabled": False}, "coverage": {"unexpected-methods": ["PATCH"]}},
            "operations": [
                {"include-operation-id": name, "phases": {"coverage": {"enabled": not quick}}}
                for name in _MANY_BOUNDS
            ],
            "checks": {
                # Who may do what is the sweep's business, and that one knows what is whose.
                "ignored_auth": {"enabled": False},
                # "One of these two, not both" and "a bucket that is allowed" are not said by a schema.
                "positive_data_acceptance": {"enabled": False},
                "negative_data_rejection": {"expected-statuses": _REFUSED},
            },
        }
    )


def _filled(body: Any, pointer: str, found: Any) -> Any:
    """The body with the next real value at the pointer, if what stands there is a text of the same form."""
    part, _, rest = pointer.strip("/").partition("/")
    if not isinstance(body, dict) or part not in body:
        return body
    if rest:
        return {**body, part: _filled(body[part], rest, found)}
    given = body[part]
    if not isinstance(given, str) or not given.isprintable() or not given:
        return body
    value = next(found)
    is_id = _ID.fullmatch(value) is not None
    if is_id and not given.startswith(value.partition("_")[0] + "_"):
        return body
    return {**body, part: value} if is_id == bool(_ID.fullmatch(given)) else body


def _note(explored: Explored, event: events.ScenarioFinished) -> None:
    label = event.recorder.label
    for interaction in event.recorder.interactions.values():
        if interaction.response is not None:
            explored.answers[label, interaction.response.status_code] += 1
    for checks in event.recorder.checks.values():
        for check in checks:
            if check.failure_info is not None:
                failure = check.failure_info.failure
                if _MISTAKEN in failure.message:
                    continue
                explored.failures.setdefault(
                    (label, check.name, failure.title),
                    f"{label}: {failure.title}: {failure.message}\n{check.failure_info.code_sample}",
                )


def run(place: Place, *, quick: bool) -> list[Row]:
    """Three seeds, more examples each than the tests take."""
    rounds = [place.seed] if quick else [place.seed, place.seed + 1, place.seed + 2]
    max_examples = 10 if quick else 100
    found = [
        place.piece(f"seed-{seed}", lambda seed=seed: _one_round(place, seed, max_examples, quick=quick))  # type: ignore[misc]
        for seed in rounds
    ]
    failures = [failure for one in found for failure in one["failures"]]
    for failure in failures:
        place.say(failure)
    num_cases = sum(one["num_cases"] for one in found)
    return [
        Row(
            broken="requests drawn from the OpenAPI document, valid and invalid",
            times=num_cases,
            expected="no 500; every answer as documented",
            happened=f"{found[0]['num_operations']} operations, {len(failures)} surprises",
            ok=not failures and num_cases > 0,
        )
    ]


def _one_round(place: Place, seed: int, max_examples: int, *, quick: bool) -> dict[str, Any]:
    from lab.drills.scene import embedded  # noqa: PLC0415 - the tests explore without a scene
    from tests.integration.access import furnished  # noqa: PLC0415 - the tests' own way to fill a project

    folder = place.folder / f"stack-{seed}"
    with embedded(folder) as (scene, _), furnished.served(scene.settings) as (service, own):
        explored = explore(
            service.url,
            own.tenant.key,
            furnished.seeds(own),
            max_examples=max_examples,
            seed=seed,
            quick=quick,
        )
    shutil.rmtree(folder, ignore_errors=True)
    return {
        "num_cases": explored.num_cases,
        "num_operations": len(explored.operations),
        "failures": sorted(explored.failures.values()),
    }
