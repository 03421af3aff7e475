"""Pointers: from pydantic's locations to RFC 6901, on bodies of every kind."""

import ast
import json
from pathlib import Path
from typing import Any

import pytest
from fastapi import Request
from fastapi.exceptions import RequestValidationError
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

import app
from app.api.problems import on_invalid_request
from app.db import unit_of_work  # noqa: F401 - loads every repository
from app.db.repositories.owned import DeletableRepository, OwnedRepository
from app.domain import errors
from app.edge.error_codes import ERROR_CODES, STATUS_OF
from app.edge.invalid_values import pointer_of
from app.schemas.common import unstorable_text
from app.schemas.orders import JobIn

JOB_IN: TypeAdapter[Any] = TypeAdapter(JobIn)


def pointers(body: Any) -> set[str]:
    with pytest.raises(ValidationError) as caught:
        JOB_IN.validate_python(body)
    return {pointer_of(error["loc"], body) for error in caught.value.errors()}


def test_the_tag_of_an_audit_job_is_not_its_field_of_the_same_name() -> None:
    body = {"kind": "audit", "checkpoint_id": "ckpt_" + "0" * 26, "dataset_id": "x", "audit": {"target": ""}}
    assert pointers(body) == {"/dataset_id", "/audit/target", "/audit/dataset_id"}


def test_tags_of_attacks_are_left_out() -> None:
    attacks = [{"attack": "badnet", "size": 9}, {"attack": "sig", "sig": 1}]
    body = {"kind": "audit", "audit": {"attacks": attacks}}
    assert {"/audit/attacks/0/size", "/audit/attacks/1/sig"} <= pointers(body)


def test_names_are_escaped_as_the_standard_says() -> None:
    assert pointer_of(["a/b", "c~d", 0], {"a/b": {"c~d": [1]}}) == "/a~1b/c~0d/0"


def test_a_wrong_key_of_a_dictionary_points_at_the_key() -> None:
    body = {"kind": "audit", "metadata": {"not a key": "x"}}
    assert "/metadata/not a key" in pointers(body)


@pytest.mark.parametrize("body", [None, [], "x", 3, {"a": None}])
def test_a_location_that_leads_nowhere_is_still_a_pointer(body: Any) -> None:
    assert pointer_of(["a", 0, "b"], body) == "/a/0/b"


def refusal(*mistakes: tuple[str, str, str]) -> dict[str, Any]:
    """The problem that is answered for (type, field, pydantic's message) each."""
    found = [{"type": kind, "loc": ("body", field), "msg": text} for kind, field, text in mistakes]
    request = Request({"type": "http", "headers": []})
    answer = on_invalid_request(request, RequestValidationError(found, body={}))
    document: dict[str, Any] = json.loads(bytes(answer.body))
    return document


def test_what_is_wrong_with_a_request_is_said_in_whole_sentences() -> None:
    one = ("less_than_equal", "epochs", "Input should be less than or equal to 100")
    found = refusal(one)
    assert found["detail"] == "/epochs: Input should be less than or equal to 100."
    assert found["errors"][0]["detail"] == "Input should be less than or equal to 100."
    assert (
        refusal(one, one, one)["detail"] == "/epochs: Input should be less than or equal to 100. And 2 more."
    )
    ours = refusal(("value_error", "audit", "Value error, name one or the other."))
    assert ours["detail"] == "/audit: name one or the other."


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=20,
)


@given(JSON)
def test_text_is_storable_exactly_when_postgres_could_take_it(value: Any) -> None:
    def texts(value: Any) -> list[str]:
        if isinstance(value, str):
            return [value]
        if isinstance(value, dict):
            return [text for pair in value.items() for item in pair for text in texts(item)]
        return [text for item in value for text in texts(item)] if isinstance(value, list) else []

    def is_storable(text: str) -> bool:
        try:
            return b"\0" not in text.encode("utf-8")
        except UnicodeEncodeError:
            return False

    assert (not list(unstorable_text(value))) == all(is_storable(text) for text in texts(value))


# ---------------------------------------------------------------- the table of codes

_REFUSALS = {kind.__name__: kind for kind in STATUS_OF}


def raised() -> list[tuple[str, str, str]]:
    """(file, class, code) of every refusal that is built with a literal code anywhere in `app`."""
    found = []
    for path in sorted(Path(app.__path__[0]).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            if node.func.id in _REFUSALS and node.args and isinstance(node.args[0], ast.Constant):
                found.append((path.name, node.func.id, str(node.args[0].value)))
    return found


def test_every_code_that_is_raised_is_in_the_table_with_the_status_of_its_class() -> None:
    found = raised()
    assert len(found) > 25
    for file, kind, code in found:
        assert code in ERROR_CODES, f"{file}: {code}"
        assert ERROR_CODES[code].status == STATUS_OF[_REFUSALS[kind]], f"{file}: {code}"


@pytest.mark.parametrize(
    "repository",
    [
        *DeletableRepository.__subclasses__(),
        *(one for one in OwnedRepository.__subclasses__() if hasattr(one, "noun")),
    ],
)
def test_codes_that_are_made_from_nouns_are_in_the_table(repository: type[OwnedRepository[Any]]) -> None:
    assert ERROR_CODES[f"{repository.noun}_not_found"].status == 404
    if repository.noun not in {
        "artifact",
        "deletion",
        "key",
    }:  # these change by nobody's wish, or have codes of their own
        assert ERROR_CODES[f"{repository.noun}_state_conflict"].status == 409


def test_every_class_of_refusal_has_a_status() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    assert set(STATUS_OF) == set(kinds) - {errors.DomainError}


def test_codes_are_words_and_titles_are_short() -> None:
    for code, known in ERROR_CODES.items():
        assert code.replace("_", "").isalpha(), code
        assert code.islower(), code
        assert 5 < len(known.title) < 60, code
