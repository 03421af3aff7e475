"""Ids in the addresses of pages. One of the wrong form is no page; it never reaches the database."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path
from pydantic import AfterValidator

from app.domain.ids import Prefix, is_id


def _id_of(prefix: Prefix) -> AfterValidator:
    def check(text: str) -> str:
        if not is_id(prefix, text):
            raise ValueError(f"no id of a {prefix}")
        return text

    return AfterValidator(check)


JobPath = Annotated[str, Path(), _id_of("job")]
ArtifactPath = Annotated[str, Path(), _id_of("art")]
