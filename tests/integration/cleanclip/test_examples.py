"""Every example of the clients' docstrings, run as it stands against the real API and store."""

import ast
import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from app.domain.ids import new_id
from app.domain.states import DatasetKind
from app.services import nulls
from cleanclip.aio.client import AsyncClient
from cleanclip.models import Checkpoint, Dataset, Job
from cleanclip.sync.client import Client
from cleanclip.vocabulary.null_set import dump_null
from cleanclip.vocabulary.scan_options import ScanOptions
from tests.fixtures.scans import a_null
from tests.integration.api.validated import publish_samples, sample
from tests.integration.cleanclip.served import REPORT_BYTES, Served
from tests.unit.cleanclip.examples import example_of, public_calls

CALLS = public_calls(Client("http://x", "k"))
ASYNC_CALLS = public_calls(AsyncClient("http://x", "k"))
AFTER = {
    "resume": "paused",
    "retry": "failed",
    **dict.fromkeys(("delete", "follow", "artifacts", "report", "wait", "download", "events"), "succeeded"),
}
"""How the job stands before a call; others find one that waits."""


class Scene:
    """What an example finds: a client, and things with the names that examples use."""

    def __init__(self, served: Served, client: Client, folder: Path, call: str) -> None:
        self._served, self._client, self._folder, self._call = served, client, folder, call
        self.folder = folder
        self.body = b"abc"
        if call == "push":
            (folder / "a.jpg").write_bytes(b"an image")
            (folder / "a.txt").write_text("its caption", encoding="utf-8")

    def names(self, code: str) -> dict[str, Any]:
        used = {node.id for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Name)}
        return {
            name: found
            for name in sorted(used, reverse=True)
            if (found := getattr(self, name, None)) is not None
        }

    @property
    def file(self) -> Path:
        path = self._folder / "clip.pt"
        path.write_bytes(os.urandom(1000))
        return path

    @property
    def upload(self) -> Any:
        if self._call != "complete":
            return self._client.uploads.create(filename="a.pt", size_bytes=3)
        upload = self._client.uploads.create(filename="a.pt", size_bytes=3)
        return self._client.uploads.put_content(upload.id, 3, self.body)

    @property
    def checkpoint(self) -> Checkpoint:
        return self._client.checkpoints.get(self._served.accepted_checkpoint())

    @property
    def pairs(self) -> Dataset:
        dataset_id = self._served.ready_dataset(DatasetKind.PAIRS)
        if self._call == "samples":
            publish_samples(
                self._served.database, self._served.store, self._served.project_id, dataset_id, sample(7)
            )
        return self._client.datasets.get(dataset_id)

    @property
    def labelled(self) -> Dataset:
        return self._client.datasets.get(self._served.ready_dataset(DatasetKind.LABELLED))

    @property
    def null(self) -> Any:
        made = a_null(ScanOptions(), ("zero", "one", "banana"), images_sha256="1" * 64, name=new_id("null"))
        row = nulls.add(self._served.database, self._served.store, dump_null(made), account="me@here")
        return self._client.nulls.get(row.id)

    @property
    def key(self) -> Any:
        return self._client.keys.create(name="another", scopes=["read"])

    @property
    def webhook(self) -> Any:
        found = self._client.webhooks.create("https://example.org/hooks")
        self._of_webhook = found.id
        if self._call == "deliveries":
            self._client.webhooks.test(found.id)
        return found

    @property
    def delivery(self) -> Any:
        return self._client.webhooks.test(self._of_webhook)

    @property
    def deletion(self) -> Any:
        return self._client.checkpoints.delete(self._served.accepted_checkpoint())

    @property
    def artifact(self) -> Any:
        self._call = "artifacts"
        return self._client.jobs.artifacts(self.job.id)[0]

    @property
    def job(self) -> Job:
        job = self._client.jobs.create(
            kind="sanitize",
            checkpoint_id=self._served.accepted_checkpoint(),
            dataset_id=self._served.ready_dataset(DatasetKind.PAIRS),
            audit={"dataset_id": self._served.ready_dataset(DatasetKind.LABELLED), "target": "banana"},
        )
        state = AFTER.get(self._call)
        if state == "paused":
            self._client.jobs.pause(job.id)
        if state == "failed":
            self._served.fail(job.id, self._served.claim(job.id))
        if state == "succeeded":
            files = {"report.json": REPORT_BYTES, "model.safetensors": b"weights"}
            self._served.succeed(job.id, self._served.claim(job.id), files)
        return job


@pytest.fixture
def base(served: Served, tmp_path: Path) -> Any:
    """The scene of one call, and code as it can be run here: the bucket of the tests, uploads that end."""
    served.store.put_bytes("allowed/pairs/000.tar", b"x" * 1024)
    with Client(served.url, served.key) as client:

        def scene(name: str, call: Any) -> tuple[str, dict[str, Any]]:
            code = example_of(call).replace("s3://data/", f"s3://{served.store.bucket}/allowed/")
            if name == "uploads.upload_file":
                code = code.rpartition("\ncheckpoint")[0]  # no worker inspects it
            if name in {"policies.get", "policies.delete"}:
                client.policies.put("release", {"asr_at_most": 0.05})
            return code, Scene(served, client, tmp_path, name.rpartition(".")[2]).names(code)

        yield scene
        for webhook in client.webhooks.list(limit=100).data:  # there may be ten
            client.webhooks.delete(webhook.id)


@pytest.mark.parametrize("name", sorted(CALLS))
def test_an_example_runs(served: Served, base: Any, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, names = base(name, CALLS[name])
    with Client(served.url, served.key) as client:
        exec(code, names | {"client": client})
    assert "print" not in code or capsys.readouterr().out.strip()


@pytest.mark.parametrize("name", sorted(ASYNC_CALLS))
def test_an_asynchronous_example_runs(served: Served, base: Any, name: str) -> None:
    code, names = base(name, ASYNC_CALLS[name])

    async def go() -> None:
        async with AsyncClient(served.url, served.key) as client:
            compiled = compile(code, name, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            running = eval(compiled, names | {"client": client})
            if running is not None:
                await running

    asyncio.run(go())
