"""`sanitize FILE --data … --labelled … --download DIR`: the whole thing in one line, again after each cut."""

import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from app.domain.states import DatasetKind
from cleanclip.command.exit_codes import ExitCode
from cleanclip.sync.client import Client
from tests.fixtures.evidence import UPLOAD, packed
from tests.integration.cleanclip.served import Served
from tests.integration.cleanclip.test_command import cleanclip, ended, new_checkpoint


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What a worker publishes for the file that is uploaded here."""
    folder = packed(tmp_path_factory.mktemp("packed"))
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def line(served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The command; its addresses, its file and its file's name are this test's own."""
    monkeypatch.setenv("CLEANCLIP_URL", served.url)
    monkeypatch.setenv("CLEANCLIP_API_KEY", served.key)
    for kind in ("pairs", "labelled"):
        served.store.put_bytes(f"allowed/{tmp_path.name}/{kind}/000.tar", b"x" * 1024)
    file = tmp_path / f"{tmp_path.name}.pt"
    file.write_bytes(UPLOAD + tmp_path.name.encode())  # what the service holds is not sent again
    data = f"s3://{served.store.bucket}/allowed/{tmp_path.name}"
    named = ("--data", f"{data}/pairs/", "--labelled", f"{data}/labelled/", "--target", "banana")
    return ["sanitize", str(file), *named, "--download", str(tmp_path / "out")]


class Worker:
    """Inspects the file of that name, validates the datasets at those addresses, and knows their ids."""

    def __init__(self, served: Served, file: Path) -> None:
        self._served, self._file, self._name = served, file, file.stem
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    def _work(self) -> None:
        self.checkpoint_id = new_checkpoint(self._served, self._name + ".pt")
        digest = hashlib.sha256(self._file.read_bytes()).hexdigest()
        self._served.inspect(self.checkpoint_id, sha256=digest)
        for kind in (DatasetKind.PAIRS, DatasetKind.LABELLED):
            self._served.validate(self._dataset_id(kind), kind)

    def _dataset_id(self, kind: DatasetKind) -> str:
        with Client(self._served.url, self._served.key) as client:
            return until(
                lambda: next(
                    one.id
                    for one in client.datasets.list(kind=kind.value).data
                    if self._name in (one.uri or "")
                )
            )

    def join(self) -> None:
        self._thread.join(60)


def until(ask: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 60
    while True:
        try:
            return ask()
        except StopIteration:
            assert time.monotonic() < deadline
            time.sleep(0.1)


def ordered(served: Served, checkpoint_id: str) -> list[str]:
    """Jobs of that checkpoint, newest first."""
    with Client(served.url, served.key) as client:
        jobs = client.jobs.list(limit=100).data
    return [job.id for job in jobs if job.checkpoint_id == checkpoint_id]


def the_job(served: Served, checkpoint_id: str) -> str:
    return str(until(lambda: next(iter(ordered(served, checkpoint_id)))))


@pytest.fixture
def worker(served: Served, line: list[str]) -> Iterator[Worker]:
    found = Worker(served, Path(line[1]))
    yield found
    found.join()


def test_one_line_does_it_all_and_repeated_does_nothing_twice(
    served: Served, line: list[str], worker: Worker, files: dict[str, bytes], tmp_path: Path
) -> None:
    Path(line[1]).write_bytes(UPLOAD)
    process = cleanclip(*line, "--json")
    worker.join()
    job_id = the_job(served, worker.checkpoint_id)
    served.succeed(job_id, served.claim(job_id), files)
    out, err = ended(process)
    document = json.loads(out)
    assert (document["id"], document["state"]) == (job_id, "succeeded")
    assert document["verification"]["holds"] is True
    assert document["verification"]["input_matches"] is True
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == files
    assert "is registered as labelled" in err

    (tmp_path / "out" / "report.md").unlink()
    out, err = ended(cleanclip(*line))
    assert f"was uploaded already: {worker.checkpoint_id}" in err
    assert f"{job_id} was ordered" in err
    assert "no signature" in out.lower() or "unsigned" in out.lower()
    assert (tmp_path / "out" / "report.md").read_bytes() == files["report.md"]
    assert ordered(served, worker.checkpoint_id) == [job_id]

    quiet = ended(cleanclip(*line, "--quiet"))
    assert quiet[1] == ""
    process = cleanclip(*[word for word in line if word not in ("--download", str(tmp_path / "out"))], "-q")
    assert ended(process)[0].strip() == job_id


def test_what_was_cut_anywhere_goes_on(
    served: Served, line: list[str], worker: Worker, files: dict[str, bytes], tmp_path: Path
) -> None:
    process = cleanclip(*line)
    worker.join()
    first = the_job(served, worker.checkpoint_id)
    process.kill()
    process.communicate()
    served.fail(first, served.claim(first))
    process = cleanclip(*line)
    second = str(until(lambda: next(job for job in ordered(served, worker.checkpoint_id) if job != first)))
    process.kill()
    process.communicate()
    process = cleanclip(*line)
    files = files | {"report.json": files["report.json"].replace(b"banana", b"bandana")}
    files.pop("SHA256SUMS")
    served.succeed(second, served.claim(second), files)
    out, _ = ended(process, ExitCode.NOT_VERIFIED)
    assert "report.json" in out
    assert len(ordered(served, worker.checkpoint_id)) == 2


def test_a_file_that_changed_is_another_one(served: Served, line: list[str], worker: Worker) -> None:
    process = cleanclip(*line)
    worker.join()
    the_job(served, worker.checkpoint_id)
    process.kill()
    process.communicate()
    Path(line[1]).write_bytes(b"PK\x03\x04" + os.urandom(26))
    process = cleanclip(*line)
    found = until(
        lambda: next(
            one for one in all_checkpoints(served, Path(line[1]).name) if one != worker.checkpoint_id
        )
    )
    process.kill()
    process.communicate()
    served.reject(found)
    _, err = ended(cleanclip(*line, "--timeout", "1"), ExitCode.TIMED_OUT)
    assert found not in err, "a rejected one is not used again"


def all_checkpoints(served: Served, name: str) -> list[str]:
    with Client(served.url, served.key) as client:
        return [one.id for one in client.checkpoints.list(limit=100).data if one.filename == name]


@pytest.mark.parametrize(
    "wrong",
    [
        ("sanitize", "--data", "ds_1", "--labelled", "ds_2", "--target", "b"),
        ("audit", __file__, "--checkpoint", "c", "--labelled", "ds_2", "--target", "b"),
        ("audit", "--checkpoint", "c", "--declared", "a=1", "--labelled", "d", "--target", "b"),
        ("audit", "--checkpoint", "c", "--labelled", "ds_2", "--target", "b", "--key", "k.pem"),
    ],
)
@pytest.mark.usefixtures("line")
def test_what_does_not_fit_together_is_a_usage_error(wrong: tuple[str, ...]) -> None:
    out, err = ended(cleanclip(*wrong), ExitCode.USAGE)
    assert out == ""
    assert "Give FILE or --checkpoint" in err or "FILE" in err or "--download" in err
