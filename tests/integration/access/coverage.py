"""What must be said by hand of every operation, so that none is swept over without being understood.

A new route is missing here and fails the sweep until it is placed: its scope, a body that it accepts, and
for each text that is not an id, that it is none.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.integration.access.belongings import Belongings
from tests.integration.access.document import Operation, Text

OPEN, ANY = "no key at all", "any key"

SCOPES: Mapping[str, str] = {
    "create_upload": "upload",
    "presign_upload_parts": "upload",
    "get_upload": "read",
    "put_upload_content": "upload",
    "complete_upload": "upload",
    "cancel_upload": "upload",
    "create_checkpoint": "upload",
    "list_checkpoints": "read",
    "get_checkpoint": "read",
    "delete_checkpoint": "upload",
    "create_dataset": "upload",
    "check_dataset": "upload",
    "list_datasets": "read",
    "get_dataset": "read",
    "get_dataset_samples": "read",
    "rename_dataset": "upload",
    "delete_dataset": "upload",
    "create_job": "run",
    "dry_run_job": "run",
    "list_jobs": "read",
    "get_job": "read",
    "rename_job": "run",
    "cancel_job": "run",
    "pause_job": "run",
    "resume_job": "run",
    "retry_job": "run",
    "list_job_events": "read",
    "stream_job_events": "read",
    "list_job_artifacts": "read",
    "list_job_verdicts": "read",
    "get_job_report": "read",
    "get_artifact": "read",
    "get_artifact_content": "read",
    "list_methods": "read",
    "list_nulls": "read",
    "get_null": "read",
    "list_policies": "read",
    "get_policy": "read",
    "put_policy": "admin",
    "delete_policy": "admin",
    "create_webhook": "admin",
    "list_webhooks": "admin",
    "get_webhook": "admin",
    "update_webhook": "admin",
    "rotate_webhook_secret": "admin",
    "delete_webhook": "admin",
    "test_webhook": "admin",
    "list_webhook_deliveries": "admin",
    "get_webhook_delivery": "admin",
    "replay_webhook_delivery": "admin",
    "create_key": "admin",
    "list_keys": "admin",
    "get_key": "admin",
    "rename_key": "admin",
    "rotate_key": "admin",
    "revoke_key": "admin",
    "list_trail_entries": "admin",
    "get_usage": "read",
    "delete_upload": "upload",
    "delete_job": "run",
    "list_deletions": "read",
    "get_deletion": "read",
    "get_health": OPEN,
    "get_readiness": OPEN,
    "get_metrics": OPEN,
}

PREFIX_OF_PATH_ID: Mapping[str, str] = {
    "upload_id": "upl",
    "checkpoint_id": "ckpt",
    "dataset_id": "ds",
    "job_id": "job",
    "artifact_id": "art",
    "key_id": "key",
    "deletion_id": "del",
    "webhook_id": "wh",
    "delivery_id": "whd",
    "policy_name": "policy_name",
    "null_id": "null",
}
"""A policy is reached by its name, which another project may have too: see `Belongings.names`."""

MADE_BY_NAME = frozenset({"put_policy", "delete_policy"})
"""Operations by a name that the caller may give a thing of its own, and after the first has: whoever else has
the name, the answer is the same, and the victim's rows are compared in the end."""

NOT_IDS = frozenset(
    {
        ("body", "/filename"),
        ("body", "/name"),
        ("body", "/url"),  # of a customer's server: test_webhook_urls, test_sending
        ("body", "/source"),  # of a server, or as /uri: test_sources
        ("body", "/uri"),  # other projects' objects by reference: test_foreign_objects_by_reference
        ("body", "/parts/*/etag"),
        ("body", "/class_names/*"),
        ("body", "/templates/*"),
        ("body", "/metadata/*"),
        ("body", "/policy_name"),  # test_policies: another project's is not found
        ("body", "/scan/null"),  # the name of a null, which are the same for all
        ("body", "/scan/further_classes/*"),
        ("body", "/scan/templates/*"),
        ("body", "/recipe/trigger_words/*"),
        ("body", "/text_scan/trigger_words/*"),
        ("body", "/text_scan/known_words/*"),
        ("body", "/vet/triggers/*/target"),
        ("body", "/vet/triggers/*/text"),
        ("body", "/vet/triggers/*/colour"),
        ("body", "/vet/triggers/*/image"),
        ("body", "/audit/target"),
        ("body", "/audit/templates/*"),
        ("body", "/audit/attacks/*/target"),
        ("body", "/audit/attacks/*/text"),
        ("body", "/audit/attacks/*/colour"),
        ("body", "/audit/attacks/*/image"),
        ("header", "idempotency-key"),  # test_a_foreign_idempotency_key_replays_nothing
        ("query", "action"),
    }
)

IDS_WITH_TESTS_OF_THEIR_OWN = frozenset(
    {
        ("body", "/exclude/*"),  # test_vettings: another project's is not found
        ("body", "/audit/attacks_from_scan"),  # test_scans: likewise
    }
)
"""Ids of finished jobs of one kind, which no project here has."""

Body = Mapping[str, Any]


def _datasets(own: Belongings) -> list[Body]:
    return [
        {"kind": "pairs", "uri": own.data_uri},
        {
            "kind": "labelled",
            "upload_id": own.ids["upl"][1],
            "class_names": ["zero", "one"],
            "templates": ["a {c}"],
        },
    ]


def _jobs(own: Belongings) -> list[Body]:
    pairs, labelled, retrieval = own.ids["ds"]
    audit = {"dataset_id": labelled, "retrieval_dataset_id": retrieval, "target": "banana"}
    shared = {"checkpoint_id": own.first("ckpt"), "audit": audit}
    scanned = {
        "dataset_id": labelled,
        "detectors": ["residual"],
        "anchor_checkpoint_id": own.ids["ckpt"][1],
    }
    scan = {"kind": "scan", "checkpoint_id": own.first("ckpt"), "scan": scanned}
    vetted = {
        "dataset_id": pairs,
        "trusted_dataset_id": retrieval,
        "anchor_checkpoint_id": own.ids["ckpt"][1],
    }
    vet = {"kind": "vet", "checkpoint_id": own.first("ckpt"), "vet": vetted}
    words = {"dataset_id": scan["scan"]["dataset_id"], "trigger_words": ["zebra"]}
    text_scan = {"kind": "text_scan", "checkpoint_id": own.first("ckpt"), "text_scan": words}
    cleaning = {"kind": "sanitize", "dataset_id": pairs} | shared
    return [cleaning, {"kind": "audit"} | shared, scan, text_scan, vet]


BODIES: Mapping[str, Callable[[Belongings], Sequence[Body]]] = {
    "create_upload": lambda _: [{"filename": "clip.pt", "size_bytes": 3}],
    "presign_upload_parts": lambda _: [{"numbers": [1]}],
    "complete_upload": lambda _: [{}],
    "create_checkpoint": lambda _: [{"source": "hf://openai/clip"}],
    "create_dataset": _datasets,
    "check_dataset": lambda own: [{"uri": own.data_uri}],
    "create_job": _jobs,
    "dry_run_job": _jobs,
    "put_policy": lambda _: [{"asr_at_most": 0.1}],
    "create_webhook": lambda _: [{"url": "https://example.org/hook"}],
    "update_webhook": lambda _: [{"events": ["job.failed"]}],
    "rotate_webhook_secret": lambda _: [{"overlap_s": 0}],
    "create_key": lambda _: [{"name": "another", "scopes": ["read"]}],
    "rename_dataset": lambda _: [{"name": "another"}],
    "rename_job": lambda _: [{"name": "another"}],
    "rename_key": lambda _: [{"name": "another"}],
    "rotate_key": lambda _: [{}],
}


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """The tables above; tests of the sweep itself add routes that it must catch."""

    scopes: Mapping[str, str] = field(default_factory=lambda: SCOPES)
    bodies: Mapping[str, Callable[[Belongings], Sequence[Body]]] = field(default_factory=lambda: BODIES)
    prefixes: Mapping[str, str] = field(default_factory=lambda: PREFIX_OF_PATH_ID)
    not_ids: frozenset[tuple[str, str]] = NOT_IDS

    def scope_of(self, operation: Operation) -> str:
        return self.scopes[operation.name]

    def bodies_of(self, operation: Operation, own: Belongings) -> Sequence[Body | None]:
        """Bodies that the operation accepts from the owner of `own`; [None] where it takes no JSON."""
        if operation.media_type != "application/json":
            return [None]
        return self.bodies[operation.name](own)

    def is_placed(self, operation: Operation, own: Belongings) -> bool:
        return not self._missing_of(operation, own)

    def missing(self, operations: Sequence[Operation], own: Belongings) -> list[str]:
        """Whatever of these operations is not placed, and whatever is placed that does not exist."""
        found = [fault for operation in operations for fault in self._missing_of(operation, own)]
        names = {operation.name for operation in operations}
        found += [f"{name}: there is no such operation" for name in sorted(self.scopes.keys() - names)]
        return found

    @staticmethod
    def _is_held_by_a_body(text: Text) -> bool:
        is_elsewhere = (text.place, text.pointer) in IDS_WITH_TESTS_OF_THEIR_OWN
        return text.is_id and not text.is_bounded and text.place == "body" and not is_elsewhere

    def _missing_of(self, operation: Operation, own: Belongings) -> list[str]:
        name = operation.name
        if name not in self.scopes:
            return [f"{name}: nobody said which scope it needs"]
        if operation.media_type == "application/json" and name not in self.bodies:
            return [f"{name}: nobody said what body it accepts"]
        found = []
        if operation.needs_key == (self.scopes[name] == OPEN):
            found.append(f"{name}: the document says otherwise about its key")
        for text in operation.texts:
            if text.place == "path" and text.pointer not in self.prefixes:
                found.append(f"{name}: nobody said what the path's {text.pointer} names")
            elif not self._is_placed(text):
                found.append(f"{name}: nobody said whether {text.place} {text.pointer} is an id")
            elif self._is_held_by_a_body(text):
                bodies = self.bodies_of(operation, own)
                if not any(body is not None and holds(body, text.pointer) for body in bodies):
                    found.append(f"{name}: no body holds the id {text.pointer}")
        return found

    def _is_placed(self, text: Text) -> bool:
        return text.is_id or text.is_bounded or (text.place, text.pointer) in self.not_ids


def holds(body: Any, pointer: str) -> bool:
    """Whether there is something at the pointer; `*` stands for the first element."""
    for part in pointer.strip("/").split("/"):
        if part == "*" and isinstance(body, list) and body:
            body = body[0]
        elif isinstance(body, Mapping) and part in body:
            body = body[part]
        else:
            return False
    return True


def replaced(body: Any, pointer: str, value: object) -> Any:
    """A copy of the body with another value at the pointer, which must be there."""
    part, _, rest = pointer.strip("/").partition("/")
    if not part:
        return value
    if part == "*":
        return [replaced(body[0], rest, value), *body[1:]]
    return {**body, part: replaced(body[part], rest, value)}
