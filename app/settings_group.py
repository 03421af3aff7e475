"""The base of every group of settings. Knows none of them."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Group(BaseModel):
    """One concern. Unknown names are refused, so that a misspelt variable is noticed."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)
