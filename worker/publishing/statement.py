"""statement.json: what was done to what, as an in-toto Statement v1.

    subject          every file that the job's process left, by SHA-256
    predicate        `observed` and `claimed`

`observed` is what the control plane (SLSA's word; here the supervisor) saw or computed itself: what came in
and what was published, file by file, the order, when, by which attempt at which job, whether a second audit
confirmed the figures, the key that signs. Times are the database's. `claimed` is what the process that read
the upload or the data said (SLSA: the build environment), out of report.json, so that no figure there stands
alone; the verdict follows from its figures. Of which upload the canonical weights are its inspection said,
and how many samples a dataset has its validation. SLSA's terms: docs/how-to/operating/signing.md.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC
from importlib.metadata import PackageNotFoundError, version
from pathlib import PurePosixPath
from platform import python_version
from typing import Any, Literal

from app.db.repositories.attempt_values import ClaimedJob
from cleanclip.evidence.claims import sections
from cleanclip.kinds.catalogue import PUBLIC
from cleanclip.kinds.specs import SPEC_ADAPTER
from cleanclip.vocabulary.jobspec import (
    ANCHOR_PATH,
    CHECKPOINT_PATH,
    REPORT_NAME,
    WEIGHTS_NAME,
    exclude_path,
    path_of_role,
)
from cleanclip.vocabulary.recipe import parse, to_json
from cleanclip.vocabulary.report_kinds import AnyReport, verdict_of
from cleanclip.vocabulary.scan_options import ScanOptions
from worker.staging.stage import Received, Staged

STATEMENT_NAME = "statement.json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "urn:cleanclip:statement:job:v1"
"""A name, not an address: nothing is served there."""

_ORDERED = (
    *("seed", "scan_section", "recipe_given", "policy", "policy_source", "output_layout"),
    *(kind.option_part for kind in PUBLIC.values()),
)
_LIBRARIES = ("cryptography", "model-signing", "pydantic")
Why = Literal["ordered", "by_default", "not_ordered", "not_signed"]


@dataclass(frozen=True, kw_only=True)
class Recheck:
    """Whether a process that never read the upload measured again what the report says: an audit, a scan or a
    vetting.

    A count may differ in `tolerated_share` of its images. `num_withheld`: of how many further images, which
    the first process never had, it is. The training's curve is the first process's word.
    """

    done: bool
    why: Why
    num_withheld: int = 0
    tolerated_share: float | None = None


def statement_json(
    job: ClaimedJob,
    staged: Staged,
    report: AnyReport,
    sha256: Mapping[str, str],
    size_bytes: Mapping[str, int],
    *,
    recheck: Recheck,
    ended_at: str,
    signing_key_sha256: str | None,
) -> bytes:
    """`sha256` and `size_bytes` are of all files that the job's process left. ASCII, in a fixed order."""
    document = {
        "_type": STATEMENT_TYPE,
        "subject": [_subject(name, sha256[name], size_bytes[name]) for name in sorted(sha256)],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "observed": {
                "job": {
                    "id": job.id,
                    "kind": job.kind.value,
                    "attempt": job.attempt,
                    "started_at": job.started_at.astimezone(UTC).isoformat() if job.started_at else None,
                    "ended_at": ended_at,
                },
                "checkpoint": dict(staged.checkpoint),
                "canonical": _files(staged.received, CHECKPOINT_PATH),
                "data": [_data(one, staged.received) for one in staged.datasets],
                "order": _order(staged, job),
                "made_with": {
                    "service": _version("cleanclip-service"),
                    "python": python_version(),
                    "libraries": {name: _version(name) for name in _LIBRARIES},
                },
                "report": {"name": REPORT_NAME, "digest": {"sha256": sha256[REPORT_NAME]}},
                "recheck": asdict(recheck),
                "signing_key_sha256": signing_key_sha256,
            },
            "claimed": _claimed(report, staged),
        },
    }
    return json.dumps(document, indent=1, allow_nan=False).encode("ascii") + b"\n"


def _claimed(report: AnyReport, staged: Staged) -> dict[str, Any]:
    """Of the report what nothing else of the statement and no arithmetic can be held against."""
    return {
        "canonical_of": staged.checkpoint["upload"]["digest"]["sha256"],
        "verdict": verdict_of(report),
        "data": [{"num_samples": one["num_samples"]} for one in staged.datasets],
        "sections": sections(to_json(report)),
    }


def _subject(name: str, sha256: str, size_bytes: int) -> dict[str, Any]:
    return {"name": name, "digest": {"sha256": sha256}, "annotations": {"size_bytes": size_bytes}}


def _data(dataset: Mapping[str, Any], received: Sequence[Received]) -> dict[str, Any]:
    facts = {name: value for name, value in dataset.items() if name not in {"num_samples", "num_skipped"}}
    return facts | {"files": _files(received, path_of_role(dataset["role"]))}


def _files(received: Sequence[Received], folder: str) -> list[dict[str, Any]]:
    return [
        {
            "name": PurePosixPath(one.path).name,
            "size_bytes": one.size_bytes,
            "digest": {"sha256": one.sha256},
        }
        for one in received
        if PurePosixPath(one.path).parent == PurePosixPath(folder)
    ]


def _order(staged: Staged, job: ClaimedJob) -> dict[str, Any]:
    spec = SPEC_ADAPTER.dump_python(staged.spec, mode="json")
    order = {name: spec[name] for name in _ORDERED if name in spec}
    if "scan" in order:
        null = None if staged.known is None else staged.known.null
        order["null"] = None if null is None else {"name": null.name, "sha256": null.sha256}
    elif job.spec.get("scan") is not None:  # a cleaning that scanned first
        chosen = job.spec.get("null")
        order["scan"] = to_json(parse(ScanOptions, job.spec["scan"]))
        order["null"] = chosen and {name: chosen[name] for name in ("name", "sha256")}
    sha256 = {one.path: one.sha256 for one in staged.received}
    lists = {role: sha256[exclude_path(role)] for role in getattr(staged.spec, "exclude", ())}
    if lists:
        order["exclude"] = lists
    if (weights := sha256.get(f"{ANCHOR_PATH}/{WEIGHTS_NAME}")) is not None:
        order["anchor_weights_sha256"] = weights
    return order


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
