"""Files on their way down: in pieces, cut and resumed, verified, named only when they are whole."""

import os
from pathlib import Path

import httpx
import pytest

from app.domain.states import DatasetKind
from cleanclip.errors import Conflict, DigestMismatch, NotFound, StoreError
from cleanclip.models import Artifact, Job
from cleanclip.sync.client import Client
from cleanclip.transfer import TransferProgress
from tests.integration.cleanclip.served import MIB, REPORT, REPORT_BYTES, Served
from tests.integration.cleanclip.wires import Wires

WEIGHTS = os.urandom(5 * MIB + 3)


def ordered(served: Served, client: Client) -> Job:
    return client.jobs.create(
        kind="sanitize",
        checkpoint_id=served.accepted_checkpoint(),
        dataset_id=served.ready_dataset(DatasetKind.PAIRS),
        audit={"dataset_id": served.ready_dataset(DatasetKind.LABELLED), "target": "banana"},
    )


@pytest.fixture
def weights(served: Served, client: Client) -> Artifact:
    """The largest file of a succeeded job."""
    job = ordered(served, client)
    served.succeed(
        job.id,
        served.claim(job.id),
        {"model.safetensors": WEIGHTS, "report.json": REPORT_BYTES, "empty": b""},
    )
    return next(item for item in client.jobs.artifacts(job.id) if item.name == "model.safetensors")


def test_a_file_comes_in_pieces_and_gets_its_name_when_it_is_whole(
    client: Client, wires: Wires, weights: Artifact, tmp_path: Path
) -> None:
    reported: list[TransferProgress] = []
    target = client.artifacts.download(
        weights.id, tmp_path / "w.safetensors", piece_bytes=MIB, progress=reported.append
    )
    assert target.read_bytes() == WEIGHTS
    assert len(wires.ranges()) == 6
    assert reported[-1].done_bytes == len(WEIGHTS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["w.safetensors"]


def test_the_key_never_reaches_the_store(
    served: Served, client: Client, wires: Wires, weights: Artifact, tmp_path: Path
) -> None:
    client.artifacts.download(weights.id, tmp_path / "w")
    to_store = [request for request in wires.seen if not str(request.url).startswith(served.url)]
    assert to_store
    assert not [request for request in to_store if "authorization" in request.headers]


def test_a_cut_download_goes_on_with_the_pieces_that_are_missing(
    client: Client, wires: Wires, weights: Artifact, tmp_path: Path
) -> None:
    def cut_two(request: httpx.Request) -> httpx.Response | None:
        if request.headers.get("range", "").startswith(("bytes=4194304-", "bytes=5242880-")):
            raise httpx.ReadError("cut", request=request)
        return None

    wires.rule = cut_two
    target = tmp_path / "w"
    with pytest.raises(StoreError):
        client.artifacts.download(weights.id, target, piece_bytes=MIB)
    assert not target.exists()
    assert (tmp_path / "w.part").exists()
    wires.rule = lambda request: None
    wires.seen.clear()
    reported: list[TransferProgress] = []
    client.artifacts.download(weights.id, target, piece_bytes=MIB, progress=reported.append)
    assert target.read_bytes() == WEIGHTS
    assert set(wires.ranges()) >= {"bytes=4194304-5242879", "bytes=5242880-5242882"}
    assert len(wires.ranges()) < 6, "pieces that are whole are not fetched again"
    assert reported[-1].done_bytes == len(WEIGHTS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["w"]


def test_a_body_that_ends_early_is_fetched_again(
    client: Client, wires: Wires, weights: Artifact, tmp_path: Path
) -> None:
    short: list[str] = []

    def cut_short(request: httpx.Request) -> httpx.Response | None:
        asked = request.headers.get("range", "")
        if asked.startswith("bytes=1048576-") and not short:
            short.append(asked)
            return httpx.Response(206, stream=httpx.ByteStream(WEIGHTS[MIB : MIB + 1000]), request=request)
        return None

    wires.rule = cut_short
    target = client.artifacts.download(weights.id, tmp_path / "w", piece_bytes=MIB)
    assert short
    assert target.read_bytes() == WEIGHTS


def test_bytes_that_are_not_the_promised_ones_are_thrown_away(
    client: Client, wires: Wires, weights: Artifact, tmp_path: Path
) -> None:
    def tamper(request: httpx.Request) -> httpx.Response | None:
        if request.headers.get("range", "").startswith("bytes=1048576-"):
            return httpx.Response(206, stream=httpx.ByteStream(b"\x00" * MIB), request=request)
        return None

    wires.rule = tamper
    target = tmp_path / "w"
    target.write_bytes(b"what was here before")
    with pytest.raises(DigestMismatch) as caught:
        client.artifacts.download(weights.id, target, piece_bytes=MIB)
    assert caught.value.expected == weights.sha256
    assert target.read_bytes() == b"what was here before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["w"]


def test_an_expired_url_is_replaced(client: Client, wires: Wires, weights: Artifact, tmp_path: Path) -> None:
    refused: list[str] = []

    def expired_once(request: httpx.Request) -> httpx.Response | None:
        if "range" in request.headers and not refused:
            refused.append(str(request.url))
            return httpx.Response(403, request=request)
        return None

    wires.rule = expired_once
    assert client.artifacts.download(weights.id, tmp_path / "w").read_bytes() == WEIGHTS
    asked = [request for request in wires.seen if request.url.path.endswith("/content")]
    assert len(asked) == 2


def test_a_file_that_is_there_already_is_not_fetched_again(
    client: Client, wires: Wires, weights: Artifact, tmp_path: Path
) -> None:
    client.artifacts.download(weights.id, tmp_path)
    wires.seen.clear()
    assert client.artifacts.download(weights.id, tmp_path) == tmp_path / "model.safetensors"
    assert wires.ranges() == []


def test_a_path_that_ends_in_a_slash_is_a_folder_and_keeps_every_file(
    client: Client, weights: Artifact, tmp_path: Path
) -> None:
    files = client.jobs.artifacts(weights.job_id)
    there = [client.artifacts.download(one.id, f"{tmp_path}/made/for/it/") for one in files]
    assert there == [tmp_path / "made" / "for" / "it" / one.name for one in files]
    assert {path.stat().st_size for path in there} == {one.size_bytes for one in files}


def test_an_empty_file_arrives_too(client: Client, weights: Artifact, tmp_path: Path) -> None:
    empty = next(item for item in client.jobs.artifacts(weights.job_id) if item.name == "empty")
    assert client.artifacts.download(empty.id, tmp_path / "e").read_bytes() == b""


def test_the_report_is_the_one_that_the_job_wrote(served: Served, client: Client, weights: Artifact) -> None:
    assert client.jobs.report(weights.job_id) == REPORT
    unfinished = ordered(served, client)
    with pytest.raises(Conflict) as caught:
        client.jobs.report(unfinished.id)
    assert caught.value.code == "job_not_finished"
    served.fail(unfinished.id, served.claim(unfinished.id))
    with pytest.raises(NotFound) as missing:
        client.jobs.report(unfinished.id)
    assert missing.value.code == "report_not_found"
