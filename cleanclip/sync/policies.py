# Made from cleanclip/aio/policies.py by `make format`: change that one.
"""Policies that the project keeps by name: limits that a cleaned model is judged by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from cleanclip.models import Page
from cleanclip.project_models import Policy
from cleanclip.sync.wire import Wire


class Policies:
    """`client.policies`. Every call raises ApiError, TransportError."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def get(self, name: str) -> Policy:
        """What the name stands for now; a job's own copy is in the job. Raises NotFound.

        Example:
            print((client.policies.get("release")).policy)
        """
        return self._wire.get(Policy, _path(name))

    def list(self, *, after: str | None = None, limit: int | None = None) -> Page[Policy]:
        """One page, newest first.

        Example:
            for found in (client.policies.list()).data:
                print(found.name, found.policy)
        """
        return self._wire.get(Page[Policy], "/v1/policies", {"after": after, "limit": limit})

    def put(self, name: str, policy: Mapping[str, Any]) -> Policy:
        """Keep the limits under the name, in the place of others that were there. Needs scope admin.

        Jobs keep what they were ordered with. `client.methods()` tells the limits that there are.

        Example:
            policy = client.policies.put("release", {"asr_at_most": 0.05, "ca_lost_at_most": 0.02})
        """
        return self._wire.put(Policy, _path(name), dict(policy))

    def delete(self, name: str) -> None:
        """Delete it; jobs keep what they were ordered with. Needs scope admin. Raises NotFound.

        Example:
            client.policies.delete("release")
        """
        self._wire.delete(_path(name))


def _path(name: str) -> str:
    return f"/v1/policies/{quote(name, safe='')}"
