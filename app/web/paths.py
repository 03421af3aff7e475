"""Ids in the addresses of pages. One of the wrong form is simply not found; it never reaches the database."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path
from pydantic import AfterValidator

from app.domain.errors import NotFound
from app.domain.ids import Prefix, is_id


def _id_of(prefix: Prefix, noun: str) -> AfterValidator:
    def check(text: str) -> str:
        if not is_id(prefix, text):
            raise NotFound(f"{noun}_not_found", f"There is no {noun} with this id.", "Use the menu to go on.")
        return text

    return AfterValidator(check)


UploadPath = Annotated[str, Path(), _id_of("upl", "upload")]
CheckpointPath = Annotated[str, Path(), _id_of("ckpt", "checkpoint")]
JobPath = Annotated[str, Path(), _id_of("job", "job")]
ArtifactPath = Annotated[str, Path(), _id_of("art", "artifact")]
