"""The command as people run it: a process of its own against the real API and store."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from app.domain.states import DatasetKind
from cleanclip.command.exit_codes import ExitCode
from cleanclip.sync.client import Client
from tests.integration.cleanclip.served import MIB, REPORT, REPORT_BYTES, Served, new_key, sums

WEIGHTS = os.urandom(2 * MIB)


def cleanclip(*arguments: str, key: str | None = None, url: str | None = None) -> subprocess.Popen[str]:
    """Start the command; it finds its places in the environment of the test."""
    environment = dict(os.environ)
    if key is not None:
        environment["CLEANCLIP_API_KEY"] = key
    if url is not None:
        environment["CLEANCLIP_URL"] = url
    return subprocess.Popen(
        [sys.executable, "-m", "cleanclip.command.main", *arguments],
        env=environment,
        cwd=Path(__file__).resolve().parents[3],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: subprocess.Popen[str], status: int = 0, *, typed: str = "") -> tuple[str, str]:
    """(stdout, stderr), after checking the exit status."""
    out, err = process.communicate(typed, timeout=120)
    assert process.returncode == status, (out, err)
    return out, err


@pytest.fixture
def signed_in(served: Served) -> None:
    """The address and the key are in the configuration file; the key was typed on stdin."""
    out, err = ended(cleanclip("login", "--url", served.url), typed=served.key + "\n")
    assert json.loads(Path(out.strip()).read_text())["api_key"] == served.key
    assert served.key not in out + err


def new_checkpoint(served: Served, name: str, deadline_s: float = 60) -> str:
    """The id of the checkpoint of that file name, once it is there."""
    with Client(served.url, served.key) as client:
        until = time.monotonic() + deadline_s
        while time.monotonic() < until:
            for item in client.checkpoints.list().data:
                if item.filename == name:
                    return item.id
            time.sleep(0.1)
    raise AssertionError("no checkpoint came")


def published(served: Served, files: dict[str, bytes]) -> str:
    """A succeeded sanitize job with these files."""
    with Client(served.url, served.key) as client:
        job = client.jobs.create(
            kind="sanitize",
            checkpoint_id=served.accepted_checkpoint(),
            dataset_id=served.ready_dataset(DatasetKind.PAIRS),
            audit={"dataset_id": served.ready_dataset(DatasetKind.LABELLED), "target": "banana"},
        )
    served.succeed(job.id, served.claim(job.id), files)
    return job.id


@pytest.mark.usefixtures("signed_in")
def test_a_checkpoint_goes_up_a_job_is_followed_and_its_files_come_down(
    served: Served, tmp_path: Path
) -> None:
    file = tmp_path / "journey.pt"
    file.write_bytes(b"PK\x03\x04" + os.urandom(6 * MIB - 4))
    upload = cleanclip("upload", str(file), "--declared", "quick_gelu=true", "--wait", "--json")
    checkpoint_id = new_checkpoint(served, "journey.pt")
    with Client(served.url, served.key) as client:
        assert (client.checkpoints.get(checkpoint_id).declared or {})["quick_gelu"] is True
    served.inspect(checkpoint_id, sha256=hashlib.sha256(file.read_bytes()).hexdigest())
    out, err = ended(upload)
    document = json.loads(out)
    assert (document["checkpoint_id"], document["checkpoint"]["state"]) == (checkpoint_id, "accepted")
    assert "100 %" in err
    assert document["sha256"] in err

    labelled, pairs = served.ready_dataset(DatasetKind.LABELLED), served.ready_dataset(DatasetKind.PAIRS)
    things = ("--checkpoint", checkpoint_id, "--pairs", pairs, "--labelled", labelled)
    out, err = ended(cleanclip("sanitize", *things, "--target", "banana", "--epochs", "2", "--seed", "3"))
    job_id = out.strip()
    assert job_id.startswith("job_")
    follow = cleanclip("jobs", "wait", job_id, "--json")
    attempt = served.claim(job_id)
    served.report_progress(job_id, attempt, {"fraction": 0.5, "rate": 9.0, "rate_unit": "pairs", "eta_s": 3})
    time.sleep(3)
    served.succeed(job_id, attempt, {"model.safetensors": WEIGHTS, "report.json": REPORT_BYTES})
    out, err = ended(follow)
    assert json.loads(out)["state"] == "succeeded"
    assert "succeeded" in err

    out, err = ended(cleanclip("download", job_id, "--out", str(tmp_path / "cleaned")))
    assert sorted(Path(line).name for line in out.splitlines()) == [
        "SHA256SUMS",
        "model.safetensors",
        "report.json",
    ]
    assert (tmp_path / "cleaned" / "model.safetensors").read_bytes() == WEIGHTS
    assert subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=tmp_path / "cleaned", check=True)
    out, err = ended(cleanclip("report", job_id, "--json"))
    assert json.loads(out) == REPORT
    out, err = ended(cleanclip("report", job_id))
    assert "ASR badnet" in out
    assert out.count("Only one trigger was tested.") == 1, "each warning is said once"
    out, _ = ended(cleanclip("jobs", "events", job_id, "--json"))
    assert [event["type"] for event in json.loads(out)["data"]][:2] == ["created", "started"]


def test_each_end_has_its_status(served: Served) -> None:
    here = {"key": served.key, "url": served.url}
    nothing = "job_" + "0" * 26
    out, err = ended(cleanclip("jobs", "show", nothing, **here), ExitCode.NOT_FOUND)
    assert out == ""
    assert "job_not_found" in err
    out, _ = ended(cleanclip("jobs", "show", nothing, "--json", **here), ExitCode.NOT_FOUND)
    assert json.loads(out)["error"]["code"] == "job_not_found"
    ended(cleanclip("jobs", "ls", key="cclip_live_wrong", url=served.url), ExitCode.NOT_AUTHORISED)
    ended(cleanclip("jobs", "ls", "--limit", "0", **here), ExitCode.USAGE)
    out, err = ended(
        cleanclip("datasets", "add", "s3://elsewhere/x/", "--kind", "pairs", **here), ExitCode.REFUSED
    )
    assert "/uri" in err
    ended(cleanclip("jobs", "ls", key=served.key, url="http://127.0.0.1:9"), ExitCode.UNREACHABLE)


def test_a_signature_comes_down_beside_the_files_that_it_is_about(served: Served, tmp_path: Path) -> None:
    files = {"model.safetensors": WEIGHTS, "report.json": REPORT_BYTES, "statement.json": b"{}"}
    job_id = published(served, files | {"SHA256SUMS": sums(files), "model.sig": b"{}"})
    folder = tmp_path / "signed"
    out, err = ended(
        cleanclip("download", job_id, "--out", str(folder), "--json", key=served.key, url=served.url)
    )
    assert {path.name for path in folder.iterdir()} == {*files, "SHA256SUMS", "model.sig"}
    assert json.loads(out)["signature"]["state"] == "unsigned", "as the job's row says it"
    assert f"Signature: unsigned. Check it offline: cleanclip verify {folder}" in err
    (folder / "report.json").write_bytes(REPORT_BYTES.replace(b"0.96", b"0.97"))
    out, err = ended(cleanclip("verify", str(folder)), ExitCode.NOT_VERIFIED)
    assert "report.json: is not the file that SHA256SUMS lists" in out


def test_a_listing_of_digests_that_disagrees_is_noticed(served: Served, tmp_path: Path) -> None:
    files = {"model.safetensors": WEIGHTS}
    job_id = published(served, files | {"SHA256SUMS": sums({"model.safetensors": b"others"})})
    out, err = ended(
        cleanclip("download", job_id, "--out", str(tmp_path / "x"), key=served.key, url=served.url),
        ExitCode.NOT_VERIFIED,
    )
    assert out == ""
    assert "model.safetensors" in err


def test_ctrl_c_leaves_the_job_running_and_says_how_to_follow_it(served: Served) -> None:
    with Client(served.url, served.key) as client:
        job = client.jobs.create(
            kind="audit",
            checkpoint_id=served.accepted_checkpoint(),
            audit={"dataset_id": served.ready_dataset(DatasetKind.LABELLED), "target": "banana"},
        )
        process = cleanclip("jobs", "wait", job.id, key=served.key, url=served.url)
        assert process.stderr is not None
        first = process.stderr.readline()
        assert f"{job.id} queued" in first
        process.send_signal(signal.SIGINT)
        out, err = ended(process, ExitCode.INTERRUPTED)
        assert out == ""
        assert f"cleanclip jobs wait {job.id}" in err
        assert client.jobs.get(job.id).state == "queued"


def test_a_killed_upload_is_resumed_by_the_next_run(served: Served, tmp_path: Path) -> None:
    file = tmp_path / "killed.pt"
    file.write_bytes(b"PK\x03\x04" + os.urandom(26 * MIB - 4))
    here: dict[str, Any] = {"key": served.key, "url": served.url}
    process = cleanclip("upload", str(file), **here)
    note = None
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        note = next(iter((tmp_path / "cache").rglob("*.json")), note)
        if note is not None and stored_parts(served, note):
            break
        time.sleep(0.02)
    assert process.poll() is None, "it was killed before it had finished"
    process.kill()
    process.communicate()
    assert note is not None
    upload_id = json.loads(note.read_text())["upload_id"]
    out, _ = ended(cleanclip("upload", str(file), "--json", **here))
    document = json.loads(out)
    assert document["upload"]["id"] == upload_id
    assert document["num_parts_resumed"] >= 1
    with served.database.unit_of_work() as unit:
        row = unit.uploads.get(served.project_id, upload_id)
    assert b"".join(served.store.stream(row.object_key)) == file.read_bytes()


def stored_parts(served: Served, note: Path) -> int:
    try:
        upload_id = json.loads(note.read_text())["upload_id"]
    except (OSError, ValueError):
        return 0
    with Client(served.url, served.key) as client:
        return len(client.uploads.get(upload_id).stored_parts or ())


def test_the_doctor_finds_a_set_up_that_works_and_one_that_does_not(served: Served) -> None:
    out, _ = ended(cleanclip("doctor", "--json", key=served.key, url=served.url))
    states = {line["name"]: line["state"] for line in json.loads(out)["checks"]}
    assert states == dict.fromkeys(states, "ok")
    assert {"address", "clock", "version", "service", "key", "store"} <= states.keys()
    with Client(served.url, served.key) as client:
        assert client.usage().bytes_in_flight.current == 0
    _, reader = new_key(served.database, "doctors", ("read",))
    out, _ = ended(cleanclip("doctor", key=reader, url=served.url))
    assert "warn  key       valid; scopes: read" in out
    out, _ = ended(cleanclip("doctor", key="cclip_live_wrong", url=served.url), ExitCode.UNEXPECTED)
    assert "fail  key       it is not valid" in out
    out, _ = ended(cleanclip("doctor", key=served.key, url="http://127.0.0.1:9"), ExitCode.UNEXPECTED)
    assert "fail  address" in out
