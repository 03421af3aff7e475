"""JSON for jsonb: whatever a file or a model put into it, the row can be written."""

import json
from typing import Any

import pytest

from app.db.session import storable_json


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        ("a\0b", "a\ufffdb"),
        ("\ud800", "\ufffd"),
        (float("nan"), None),
        (float("-inf"), None),
        (0.1, 0.1),
        ({"k\0": (1, [float("nan")])}, {"k\ufffd": [1, [None]]}),
        ({"é": True, "n": None}, {"é": True, "n": None}),
        (2**63, 2**63),
    ],
)
def test_only_what_jsonb_cannot_hold_is_replaced(value: Any, stored: Any) -> None:
    assert json.loads(storable_json(value)) == stored
