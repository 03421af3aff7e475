"""What addresses of pages hold: ids, cursors, choices of a filter. What lacks the form of one is not a page.

Nothing of another form reaches the database, which refuses NUL in a text.
"""

import hashlib
from collections.abc import Mapping
from typing import Annotated
from urllib.parse import urlencode

from fastapi import Path, Query
from pydantic import AfterValidator, BeforeValidator, StringConstraints

from app.domain.errors import NotFound
from app.domain.ids import ULID, Prefix, id_pattern, is_id
from cleanclip.vocabulary.policy import PolicyName

HOME = "/ui/jobs"
MAX_WORDS = 200
_LEADING_OUT = ("\\", "\r", "\n", "//", "..", "%2e")


def _id_of(prefix: Prefix, noun: str) -> AfterValidator:
    def check(text: str) -> str:
        if not is_id(prefix, text):
            code = f"{noun.replace(' ', '')}_not_found"
            raise NotFound(code, f"There is no {noun} with this id.", "Use the menu to continue.")
        return text

    return AfterValidator(check)


CheckpointId = Annotated[str, StringConstraints(pattern=id_pattern("ckpt"))]
DatasetId = Annotated[str, StringConstraints(pattern=id_pattern("ds"))]
DeletionId = Annotated[str, StringConstraints(pattern=id_pattern("del"))]
JobId = Annotated[str, StringConstraints(pattern=id_pattern("job"))]
UploadId = Annotated[str, StringConstraints(pattern=id_pattern("upl"))]

UploadPath = Annotated[str, Path(), _id_of("upl", "upload")]
CheckpointPath = Annotated[str, Path(), _id_of("ckpt", "checkpoint")]
DatasetPath = Annotated[str, Path(), _id_of("ds", "dataset")]
JobPath = Annotated[str, Path(), _id_of("job", "job")]
ArtifactPath = Annotated[str, Path(), _id_of("art", "artifact")]
KeyPath = Annotated[str, Path(pattern=id_pattern("key"))]
WebhookPath = Annotated[str, Path(pattern=id_pattern("wh"))]
DeliveryPath = Annotated[str, Path(pattern=id_pattern("whd"))]
PolicyPath = Annotated[PolicyName, Path()]


def _none_if_empty(value: object) -> object:
    return None if value == "" else value


def _printable(text: str) -> str:
    return "".join(character for character in text.strip() if character.isprintable())


EMPTY_IS_NONE = BeforeValidator(_none_if_empty)
"""A form's filter sends its choice "any" as an empty value."""
Cursor = Annotated[
    Annotated[str, StringConstraints(pattern=f"^[a-z]{{2,4}}_{ULID}$")] | None, EMPTY_IS_NONE, Query()
]
Words = Annotated[str, Query(max_length=MAX_WORDS), AfterValidator(_printable)]
"""What a person looks for."""


def own_path(path: str) -> str:
    """`path` where it is one of our pages, else the first: nobody is sent elsewhere by a link to us."""
    is_ours = path.startswith("/ui/") and not any(mark in path.lower() for mark in _LEADING_OUT)
    return path if is_ours and not path.startswith("/ui/sign-") else HOME


def link(path: str, query: Mapping[str, str], **changed: str | None) -> str:
    """`path` with those parameters of `query` and of `changed` that have a value."""
    values = {name: value for name, value in {**query, **changed}.items() if value}
    return f"{path}?{urlencode(values)}" if values else path


def seen_mark(*shown: object) -> str:
    """What a page says in its address that it shows, when it asks whether that has changed."""
    return hashlib.sha256(repr(shown).encode()).hexdigest()[:16]
