"""Nulls that operators keep: what scans of models that were never poisoned measured. Of no project.

The row says what a null is of; its file lies in the object store. Neither ever changes.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint, func
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import Base, JsonObject


class NullSet(Base):
    __tablename__ = "null_sets"
    __table_args__ = (CheckConstraint("object_key = 'nulls/' || id || '.json'", name="object_key"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    """An order names it so."""
    sha256: Mapped[str]
    """Of the file, byte for byte."""
    size_bytes: Mapped[int]
    object_key: Mapped[str]
    num_models: Mapped[int]
    facts: Mapped[JsonObject]
    """What a scan must share with it: see `app.services.nulls.facts_of`."""
    added_by: Mapped[str]
    """The operator's account."""
    signing_key_sha256: Mapped[str | None]
    """Id of the key that vouches for the file. None: no signature was checked."""
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
