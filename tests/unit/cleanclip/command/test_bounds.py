"""What the help shows and checks as bounds of numbers is what the service's document has."""

from collections.abc import Iterator
from typing import Any

import pytest

from cleanclip.command.exit_codes import ExitCode
from cleanclip.command.main import main
from tests.unit.app.api.test_openapi import SCHEMAS
from tests.unit.cleanclip.command.test_manners import LEAVES

RECIPES = ("CleanCLIPRecipe", "PARRecipe", "SupervisedRecipe", "UARRecipe")
OF_AN_ORDER = {
    "epochs": (RECIPES, "epochs"),
    "learning_rate": (RECIPES, "learning_rate"),
    "lambda1": (RECIPES, "lambda1"),
    "lambda2": (RECIPES, "lambda2"),
    "threshold": (RECIPES, "threshold"),
    "batch_size": (RECIPES, "batch_size"),
    "warmup_steps": (RECIPES, "warmup_steps"),
    "examples": (("JobAuditIn",), "examples"),
    "asr_at_most": (("Policy",), "asr_at_most"),
    "ca_lost_at_most": (("Policy",), "ca_lost_at_most"),
    "controlled_at_most": (("Policy",), "controlled_at_most"),
    "seed": (("SanitizeJobIn", "AuditJobIn"), "seed"),
}
OPTIONS: dict[tuple[str, str], tuple[tuple[str, ...], str]] = {
    **{(command, name): field for command in ("sanitize", "audit") for name, field in OF_AN_ORDER.items()},
    ("scan", "seed"): (("ScanJobIn",), "seed"),
    ("text-scan", "seed"): (("TextScanJobIn",), "seed"),
    ("vet", "seed"): (("VetJobIn",), "seed"),
    ("vet", "share"): (("JobVet",), "share"),
    ("datasets add", "max_skipped_share"): (("DatasetIn",), "max_skipped_share"),
    ("datasets push", "max_skipped_share"): (("DatasetIn",), "max_skipped_share"),
    ("keys create", "expires_days"): (("KeyIn",), "expires_in_s"),
    ("keys rotate", "overlap_hours"): (("RotateIn",), "overlap_s"),
    ("webhooks rotate-secret", "overlap_hours"): (("RotateSecretIn",), "overlap_s"),
}
"""An option of a command, and where the document bounds it."""
SECONDS = {"expires_days": 86_400, "overlap_hours": 3600}
ROUNDED = {"expires_days"}
"""Whose least value, a minute, is rounded up to a number that can be read."""
ELSEWHERE = {"limit", "after", "timeout"}
"""Parameters of addresses, and what the client does itself."""


def numbers() -> Iterator[tuple[str, Any]]:
    for command, found in LEAVES.items():
        for one in found.params:
            if one.type_descriptor.annotation in {int, float}:
                yield command, one


def bounds(field: dict[str, Any]) -> tuple[float | None, float | None]:
    """Least and largest; of what is excluded only whole numbers have a largest."""
    [field] = [one for one in field.get("anyOf", [field]) if one["type"] != "null"]
    largest = field.get("maximum")
    if "exclusiveMaximum" in field:
        assert field["type"] == "integer"
        largest = field["exclusiveMaximum"] - 1
    return field.get("minimum"), largest


NUMBERS = {(command, one.name): one for command, one in numbers()}


def test_each_number_that_the_service_bounds_is_known_here() -> None:
    assert {key for key in NUMBERS if key[1] not in ELSEWHERE} == OPTIONS.keys() & NUMBERS.keys()
    assert OPTIONS.keys() - NUMBERS.keys() == {
        ("audit", name) for name, (kinds, _) in OF_AN_ORDER.items() if kinds == RECIPES
    }


@pytest.mark.parametrize("key", sorted(NUMBERS.keys() & OPTIONS.keys()), ids=" ".join)
def test_an_option_has_the_bounds_of_the_service_and_checks_both(
    key: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    kinds, name = OPTIONS[key]
    fields = [SCHEMAS[kind]["properties"][name] for kind in kinds if name in SCHEMAS[kind]["properties"]]
    [served] = {bounds(field) for field in fields}
    each = SECONDS.get(key[1], 1)
    option = NUMBERS[key]
    least, largest = (None if one is None else one * each for one in (option.min, option.max))
    if key[1] in ROUNDED:
        assert served[0] <= least <= 2 * served[0]
        least = served[0]
    assert (least, largest) == served
    if any("exclusiveMinimum" in field for field in fields):
        assert refused(key[0], option.opts[0], "0", capsys)
    assert refused(key[0], option.opts[0], str(option.max + 1), capsys)


def refused(command: str, option: str, value: str, capsys: pytest.CaptureFixture[str]) -> bool:
    """Whether the value is one that the command names as wrong."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as caught:
        main([*command.split(), option, value])
    return caught.value.code == ExitCode.USAGE and option in capsys.readouterr().err
