"""Which limit of a policy an attack is held to, and whether a policy is the one that its digest names.

Written from the documentation of `policy` in GET /v1/methods, apart from the service.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from cleanclip.evidence.findings import Finding, misfit
from cleanclip.evidence.report import Policy, Report

_STRUCTURED = ("badnet-stripes", "blended-stripes", "blended-triangles", "text_trigger")
_CUSTOM = ("custom_patch", "custom_pattern")


def limit_of(policy: Policy, options: Mapping[str, Any]) -> float:
    """The limit on ASR: the attack's own, else its suite's, else the one for all."""
    kind, pattern = str(options.get("attack", "")), str(options.get("pattern", ""))
    for structure in ("stripes", "triangles"):
        if pattern.startswith(structure):
            kind = f"{kind}-{structure}"
    suite = "structured" if kind in _STRUCTURED else "custom" if kind in _CUSTOM else "paper"
    return policy.asr_at_most_for.get(kind, policy.asr_at_most_for.get(suite, policy.asr_at_most))


def check_source(report: Report, document: Mapping[str, Any]) -> Iterator[Finding]:
    """`document` is the report as it was read: the digest is over all fields, known here or not."""
    source = report.policy_source
    if source is None:
        return
    content = json.dumps(document["policy"], sort_keys=True, separators=(",", ":"))
    if hashlib.sha256(content.encode()).hexdigest() != source.sha256:
        yield misfit("policy_source.sha256", "is not that of the policy")
    if (source.given == "kept") != (source.name is not None):
        yield misfit("policy_source.name", "belongs to a policy that was kept, and to no other")
