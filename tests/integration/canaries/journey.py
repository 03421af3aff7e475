"""One customer's journey with canaries in everything, and accidents on the way."""

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import Engine, create_engine, text

from app.storage.port import ObjectStore
from tests.end_to_end.gate import Gate
from tests.fakes.webhook_receiver import Receiver, answering
from tests.integration.api.service import MIB
from tests.integration.canaries import collecting
from tests.integration.canaries.canary_child import COMPLAINS, TAKES_ITS_TIME
from tests.integration.canaries.collecting import Recorder
from tests.integration.canaries.search import Canaries
from tests.integration.worker.stand_in_child import CLASSES

PATIENCE_S = 90.0
ANSWERED = ("answer/given",)
KEY_NAME_SHOWN = (*ANSWERED, "rows/idempotency_keys", "rows/jobs", "object/outputs")
"""An order keeps the name of the key that gave it, and its report says who asked."""


@dataclass(kw_only=True)
class Journey:
    """`admin_key` is a key of the project that an operator made."""

    record: Recorder
    engine: Engine
    store: ObjectStore
    gate: Gate
    work_dir: Path
    admin_key: str
    canaries: Canaries = field(default_factory=Canaries)
    key: str = ""
    seen_of_child: dict[str, bytes] = field(default_factory=dict)

    # -- what a customer does

    def make_key(self) -> None:
        name = self.canaries.new("key_name", KEY_NAME_SHOWN, ["rows/api_keys"])
        once = self.canaries.new("idempotency_key", [], ["rows/idempotency_keys"])
        body = {"name": name, "scopes": ["read", "upload", "run", "admin"]}
        headers = {"Idempotency-Key": once}
        answer = self.record("POST", "/v1/keys", self.admin_key, json=body, headers=headers)
        self.key = self.canaries.keep("key_text", answer.json()["key"], [], ANSWERED)
        again = self.record("POST", "/v1/keys", self.admin_key, json=body, headers=headers)
        assert again.json()["key"] is None, "a key goes out once"
        self.canaries.keep("operators_key_text", self.admin_key)

    def make_webhook(self, receiver: Receiver) -> str:
        """At a server that refuses with a word of its own; returns where its deliveries are listed."""
        word = self.canaries.new("refusal_of_a_server", ANSWERED, ["rows/webhook_deliveries"])
        receiver.behaves(answering(500, word.encode()))
        path = self.canaries.new("webhook_url", [*ANSWERED, "rows/idempotency_keys"], ["rows/webhooks"])
        body = {"url": f"{receiver.url}/{path}"}
        headers = {"Idempotency-Key": self.canaries.new("a_webhooks_key", ["rows/idempotency_keys"])}
        answer = self.record("POST", "/v1/webhooks", self.key, json=body, headers=headers)
        self.canaries.keep("webhook_secret", answer.json()["secret"], [], ANSWERED)
        return str(answer.json()["links"]["deliveries"])

    def upload(self) -> str:
        allowed = [*ANSWERED, "rows/idempotency_keys", "rows/checkpoints", "object/outputs", "child/folder"]
        allowed += [
            "object/checkpoints",
            "child/inputs",
        ]  # config.json beside canonical weights names its upload
        filename = self.canaries.new("filename", allowed, ["rows/uploads"])
        headers = {"Idempotency-Key": self.canaries.new("another_idempotency_key", ["rows/idempotency_keys"])}
        content = b"CLIP weights"
        body = {"filename": f"{filename}.pt", "size_bytes": len(content)}
        upload = self.record("POST", "/v1/uploads", self.key, json=body, headers=headers).json()
        httpx.put(upload["parts"][0]["url"], content=content).raise_for_status()
        done = self.record("POST", f"/v1/uploads/{upload['id']}/complete", self.key)
        return self.wait(f"/v1/checkpoints/{done.json()['checkpoint_id']}", "accepted")

    def register(self, kind: str) -> str:
        # What a child said when it died is told to the owner of the job, in its error and its events.
        reported = ["rows/jobs", "rows/job_events", *ANSWERED]
        allowed = ["object/allowed", "object/datasets", "child/inputs", *reported]
        caption = self.canaries.new(f"caption_of_{kind}", allowed, ["object/allowed"])
        named = ["object/allowed", "object/outputs", *ANSWERED]  # outputs: the statement of what was done
        folder = self.canaries.new(f"uri_of_{kind}", named, ["rows/datasets"])
        self.store.put_bytes(f"allowed/{folder}/0.tar", caption.encode())
        body: dict[str, Any] = {"kind": kind, "uri": f"s3://{self.store.bucket}/allowed/{folder}/"}
        if kind == "labelled":
            places = [*ANSWERED, "child/folder", "child/inputs", "object/outputs", "object/states"]
            places += ["rows/jobs"]  # the class that one pattern leads images to is a figure of the result
            name = self.canaries.new("class_name", places, ["rows/datasets"])
            body |= {"class_names": [name, *list(CLASSES)[1:]], "templates": ["a {c}."]}
        made = self.record("POST", "/v1/datasets", self.key, json=body).json()
        return self.wait(f"/v1/datasets/{made['id']}", "ready")

    def order(self, checkpoint: str, pairs: str, labelled: str) -> None:
        """One job that succeeds, one whose child complains and dies, one that is watched while it runs."""
        metadata = self.canaries.new("metadata", [*ANSWERED, "rows/idempotency_keys"], ["rows/jobs"])
        shared = {
            "checkpoint_id": checkpoint,
            "audit": {"dataset_id": labelled, "target": "banana"},
            "metadata": {"note": metadata},
            "max_attempts": 1,
        }
        sanitize = {"kind": "sanitize", "dataset_id": pairs} | shared
        orders = [
            sanitize | {"seed": TAKES_ITS_TIME},
            {"kind": "audit", "seed": COMPLAINS} | shared,
        ]
        slow, doomed = (
            self.record("POST", "/v1/jobs", self.key, json=order).json()["id"] for order in orders
        )
        self.watch_the_child(slow)
        self.wait(f"/v1/jobs/{slow}", "succeeded")
        self.wait(f"/v1/jobs/{doomed}", "failed")
        self.record("GET", f"/v1/jobs/{doomed}/events", self.key)
        self.record("GET", f"/v1/jobs/{slow}/report", self.key)
        artifacts = self.record("GET", f"/v1/jobs/{slow}/artifacts", self.key).json()["data"]
        content = self.record("GET", f"/v1/artifacts/{artifacts[0]['id']}/content", self.key)
        httpx.get(content.headers["location"]).raise_for_status()
        for listed in ("jobs", "uploads", "checkpoints", "datasets", "keys", "audit"):
            self.record("GET", f"/v1/{listed}", self.key)

    def watch_the_child(self, job_id: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while "child/environ" not in self.seen_of_child:
            assert time.monotonic() < deadline, "no child was seen at work"
            seen = collecting.child(self.work_dir)
            if b"state_saved" in seen.get("child/folder", b"") or seen.get("child/environ"):
                self.seen_of_child = dict(seen)
            time.sleep(0.05)

    def wait(self, path: str, state: str) -> str:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            found = self.record("GET", path, self.key).json()
            if found["state"] == state:
                return str(found["id"])
            assert found["state"] not in {"rejected", "failed", "cancelled"}, found
            assert time.monotonic() < deadline, found
            time.sleep(0.15)

    # -- accidents

    def be_refused(self) -> None:
        """Canaries in requests that are refused: where they cannot be used, and as keys that are none."""
        wrong = self.canaries.new("refused_value")
        field = self.canaries.new("refused_field", ["answer/refused"])  # the pointer names it to its sender
        key = {"Idempotency-Key": f"{wrong} with spaces"}
        bodies: list[tuple[str, Mapping[str, Any]]] = [
            ("/v1/uploads", {"filename": f"{wrong}/x", "size_bytes": wrong, "sha256": wrong}),
            ("/v1/uploads", {"filename": "x", "size_bytes": 1, field: wrong}),
            ("/v1/jobs", {"kind": wrong}),
            ("/v1/jobs", {"kind": "audit", "metadata": {"a": wrong * 100, field: "\0"}}),
            ("/v1/datasets", {"kind": "pairs", "uri": f"s3://{wrong}/{wrong}/"}),
            ("/v1/datasets", {"kind": "pairs", "uri": f"https://user:{wrong}@example.org/?token={wrong}"}),
            ("/v1/keys", {"name": wrong + "\n", "scopes": [wrong]}),
        ]
        for path, body in bodies:
            assert self.record("POST", path, self.key, json=body).status_code == 422
        assert self.record("POST", "/v1/keys", self.key, json={}, headers=key).status_code == 422
        broken = f'{{"kind": "{wrong}'
        headers = {"Content-Type": "application/json"}
        assert self.record("POST", "/v1/jobs", self.key, content=broken, headers=headers).status_code == 400
        self.record("GET", f"/v1/jobs?after={wrong}&state={wrong}&limit={wrong}", self.key)
        presented = self.canaries.new("refused_authorization")
        for header in (
            f"Bearer {presented}",
            f"Basic {presented}",
            presented,
            f"Bearer {self.key}x{presented}",
        ):
            answer = self.record("GET", "/v1/jobs", headers={"Authorization": header, "X-Api-Key": presented})
            assert answer.status_code == 401

    def say_it_in_the_path(self) -> None:
        """A key that works and a word of the customer's, where ids stand and where nothing is."""
        for segment in (self.key, self.canaries.new("path_segment")):
            for method, path in (
                ("GET", f"/v1/keys/{segment}"),
                ("POST", f"/v1/keys/{segment}/revoke"),
                ("DELETE", f"/v1/jobs/{segment}/report"),
                ("GET", f"/v1/{segment}?key={segment}"),
            ):
                for upgrade in ({}, {"Connection": "Upgrade", "Upgrade": "websocket"}):
                    answer = self.record(method, path, self.key, headers=upgrade)
                    assert answer.status_code in {404, 405}
        given = {"X-Request-ID": self.key}
        assert self.record("GET", "/v1/keys", self.key, headers=given).status_code == 200

    def lose_the_store(self) -> None:
        named = self.canaries.new("filename_while_the_store_is_away")
        with self.gate.shut():
            answer = self.record("POST", "/v1/uploads", self.key, json={"filename": named, "size_bytes": 3})
            assert answer.status_code == 503
            assert self.record("GET", "/readyz").status_code == 503

    def lose_the_database(self) -> None:
        named = self.canaries.new("filename_while_the_database_is_away")
        body = {"filename": named, "size_bytes": 3}
        with self._without_database():
            assert self.record("POST", "/v1/uploads", self.key, json=body).status_code == 503

    def wait_for_a_lock(self) -> None:
        """A statement with a customer's values in it is given up by the database."""
        named = self.canaries.new("filename_while_a_table_is_locked")
        body = {"filename": named, "size_bytes": 3}
        with self.engine.connect() as connection, connection.begin():
            connection.execute(text("LOCK TABLE uploads IN ACCESS EXCLUSIVE MODE"))
            assert self.record("POST", "/v1/uploads", self.key, json=body).status_code == 503

    def meet_a_bug(self, owner: Engine) -> None:
        """A row that the database refuses, for a reason that nobody foresaw: the customer gets a 500."""
        named = self.canaries.new("filename_in_a_row_that_is_refused")
        body = {"filename": named, "size_bytes": 5 * MIB + 77}
        with owner.begin() as connection:
            constraint = f"CHECK (size_bytes <> {5 * MIB + 77}) NOT VALID"
            connection.execute(text(f"ALTER TABLE uploads ADD CONSTRAINT a_bug {constraint}"))
        assert self.record("POST", "/v1/uploads", self.key, json=body).status_code == 500
        with owner.begin() as connection:
            connection.execute(text("ALTER TABLE uploads DROP CONSTRAINT a_bug"))

    @contextlib.contextmanager
    def _without_database(self) -> Iterator[None]:
        name = self.engine.url.database
        beside = create_engine(self.engine.url.set(database="postgres"), isolation_level="AUTOCOMMIT")
        with beside.connect() as connection:
            connection.execute(text(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false'))
            try:
                cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name"
                connection.execute(text(cut), {"name": name})
                yield
            finally:
                connection.execute(text(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true'))
        beside.dispose()
        self.engine.dispose()  # its connections were cut with the others
