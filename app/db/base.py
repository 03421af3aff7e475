"""The declarative base: how Python types become columns, and how constraints are named."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, DateTime, Enum, MetaData, Text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import DeclarativeBase

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}

JsonObject = dict[str, Any]
JsonList = list[Any]


class Base(DeclarativeBase):
    """Ids are text, times have zones, JSON is jsonb; what the server sets is read back on every flush."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy declares it as an instance variable
        str: Text(),
        int: BigInteger(),
        datetime: DateTime(timezone=True),
        JsonObject: JSONB(none_as_null=True),
        JsonList: JSONB(none_as_null=True),
        list[str]: ARRAY(Text()),
    }
    __mapper_args__ = {"eager_defaults": True}  # noqa: RUF012


def word_of(kind: type[StrEnum], name: str) -> Enum:
    """A StrEnum column stored as short text with a check constraint, so that adding a word locks nothing."""
    return Enum(
        kind,
        name=name,
        native_enum=False,
        length=32,
        create_constraint=True,
        validate_strings=True,
        values_callable=lambda words: [member.value for member in words],
    )
