"""Parameters that many routes share: ids in paths, the cursor, the page's size.

An id of the wrong form is simply not found; it never reaches the database.
"""

import re
from collections.abc import Callable
from functools import partial
from typing import Annotated

from fastapi import Path, Query
from pydantic import AfterValidator

from app.domain.errors import NotFound
from app.domain.ids import Prefix, is_id
from app.domain.limits import MAX_PAGE


def _of_form(noun: str, what: str, is_one: Callable[[str], object], form: str) -> AfterValidator:
    """Refuses whatever cannot be the `what` of a `noun`; `form` says how one looks."""

    def check(text: str) -> str:
        if not is_one(text):
            raise NotFound(f"{noun}_not_found", f"There is no {noun} with this {what}.", form)
        return text

    return AfterValidator(check)


def _id_of(prefix: Prefix, noun: str) -> AfterValidator:
    form = f"Ids of this kind begin with '{prefix}_' and have 26 more characters."
    return _of_form(noun, "id", partial(is_id, prefix), form)


UploadPath = Annotated[str, Path(examples=["upl_01k0000000000000000000000c"]), _id_of("upl", "upload")]
CheckpointPath = Annotated[
    str, Path(examples=["ckpt_01k0000000000000000000000a"]), _id_of("ckpt", "checkpoint")
]
DatasetPath = Annotated[str, Path(examples=["ds_01k0000000000000000000000b"]), _id_of("ds", "dataset")]
JobPath = Annotated[str, Path(examples=["job_01k0000000000000000000000e"]), _id_of("job", "job")]
ArtifactPath = Annotated[str, Path(examples=["art_01k0000000000000000000000f"]), _id_of("art", "artifact")]
KeyPath = Annotated[str, Path(examples=["key_01k0000000000000000000000g"]), _id_of("key", "key")]
NullPath = Annotated[str, Path(examples=["null_01k0000000000000000000000m"]), _id_of("null", "null")]
DeletionPath = Annotated[str, Path(examples=["del_01k0000000000000000000000h"]), _id_of("del", "deletion")]
WebhookPath = Annotated[str, Path(examples=["wh_01k0000000000000000000000j"]), _id_of("wh", "webhook")]
DeliveryPath = Annotated[
    str, Path(examples=["whd_01k0000000000000000000000k"]), _id_of("whd", "webhook_delivery")
]


_POLICY_NAME = re.compile(r"[a-z][a-z0-9-]{1,62}")
_NAMES = "Names have 2 to 63 characters: small letters, digits and dashes, a letter first."
PolicyPath = Annotated[
    str, Path(examples=["release"]), _of_form("policy", "name", _POLICY_NAME.fullmatch, _NAMES)
]

After = Annotated[
    str | None,
    Query(
        max_length=64,
        pattern="^[a-z]{2,4}_[0-9a-z]{26}$",
        description="The last_id of the previous page; the answer continues after it.",
    ),
]
Limit = Annotated[int, Query(ge=1, le=MAX_PAGE, description="The most entries in one answer.")]
