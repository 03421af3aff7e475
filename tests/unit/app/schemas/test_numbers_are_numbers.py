"""A number is a number: text that looks like one, true and false are refused wherever a body has one."""

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from app.schemas.orders import SanitizeJobIn
from app.schemas.uploads import UploadIn

ULID = "01k0000000000000000000000a"


def order(path: str, value: Any) -> dict[str, Any]:
    """A body that is right but for the value at `path`."""
    body: dict[str, Any] = {
        "kind": "sanitize",
        "checkpoint_id": f"ckpt_{ULID}",
        "dataset_id": f"ds_{ULID}",
        "audit": {"dataset_id": f"ds_{ULID}", "target": "banana", "attacks": [{"attack": "badnet"}]},
        "recipe": {"method": "cleanclip"},
        "policy": {},
    }
    *way, last = path.split("/")
    place: Any = body
    for step in way:
        place = place[int(step) if step.isdecimal() else step]
    place[last] = value
    return body


NUMBERS = [
    *("recipe/epochs", "recipe/learning_rate", "recipe/max_grad_norm", "audit/batch_size", "audit/gate"),
    *("audit/attacks/0/size", "policy/asr_at_most", "seed", "max_attempts"),
]


@pytest.mark.parametrize("path", NUMBERS)
@pytest.mark.parametrize("value", ["1", "0.5", True, False])
def test_neither_text_nor_truth_is_taken_for_a_number(path: str, value: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(SanitizeJobIn).validate_python(order(path, value))
    assert caught.value.errors()[0]["type"] == "number_expected"


@pytest.mark.parametrize("path", ["recipe/epochs", "audit/batch_size", "seed", "max_attempts"])
def test_whole_numbers_are_taken_however_json_writes_them(path: str) -> None:
    for value in (3, 3.0):
        TypeAdapter(SanitizeJobIn).validate_python(order(path, value))


def test_a_switch_is_true_or_false_and_nothing_else() -> None:
    for value in ("true", 1, 0, "yes"):
        with pytest.raises(ValidationError):
            TypeAdapter(SanitizeJobIn).validate_python(order("recipe/freeze_batch_norm_statistics", value))
    TypeAdapter(SanitizeJobIn).validate_python(order("recipe/freeze_batch_norm_statistics", False))


def test_the_size_of_an_upload_is_a_number() -> None:
    for value in ("10", True):
        with pytest.raises(ValidationError):
            UploadIn.model_validate({"filename": "clip.pt", "size_bytes": value})
