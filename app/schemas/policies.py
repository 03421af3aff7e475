"""Policies on the wire. What comes in is the library's `Policy` itself."""

from __future__ import annotations

from typing import Literal

from app.db.models import project as rows
from app.schemas.common import Page, Time, WireOut
from cleanclip.vocabulary.policy import Policy, policy_sha256
from cleanclip.vocabulary.recipe import parse


class PolicyLinks(WireOut):
    self: str


class PolicyOut(WireOut):
    """Limits under a name. `sha256` is that of the policy's JSON, keys sorted and without spaces; reports of
    jobs that were ordered with the name repeat it."""

    object: Literal["policy"] = "policy"
    id: str
    name: str
    policy: Policy
    sha256: str
    created_at: Time
    updated_at: Time
    links: PolicyLinks

    @classmethod
    def of(cls, row: rows.Policy) -> PolicyOut:
        policy = parse(Policy, row.content)
        links = PolicyLinks(self=f"/v1/policies/{row.name}")
        return cls.of_row(row, policy=policy, sha256=policy_sha256(policy), links=links)


class PolicyPage(Page[PolicyOut]):
    """Policies, newest first."""
