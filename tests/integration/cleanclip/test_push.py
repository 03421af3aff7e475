"""`datasets push`: a folder becomes a dataset; cut, it goes on; repeated, nothing is sent twice."""

import os
from pathlib import Path

import httpx
import pytest

from app.domain.object_keys import upload_key
from app.domain.states import DatasetKind
from cleanclip import packing
from cleanclip.command.exit_codes import ExitCode
from cleanclip.command.main import main
from cleanclip.command.session import Session
from cleanclip.local_data import contents_of
from cleanclip.sync.client import Client
from tests.integration.cleanclip.served import MIB, Served
from tests.integration.cleanclip.wires import Wires, part_number


def run(served: Served, wires: Wires, *words: str) -> int:
    wires.seen.clear()
    with pytest.raises(SystemExit) as caught:
        main(["--url", served.url, "--api-key", served.key, *words], session=Session(transport=wires))
    return int(caught.value.code or 0)


def packed(folder: Path) -> bytes:
    contents = contents_of(folder)
    assert [*packing.pack(contents)] == [], "it has fewer samples than are reported at once"
    return packing.shard_of(contents).read_bytes()


@pytest.mark.timeout(120)
def test_a_folder_is_sent_as_one_shard_goes_on_where_it_was_cut_and_is_not_sent_twice(
    served: Served, wires: Wires, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "photos"
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        for number in range(2):
            (folder / name / f"{number}.jpg").write_bytes(os.urandom(3 * MIB))

    def cut_the_last(request: httpx.Request) -> httpx.Response | None:
        if part_number(request) == 3:
            raise httpx.ReadError("cut", request=request)
        return None

    wires.rule = cut_the_last
    assert run(served, wires, "datasets", "push", str(folder)) == ExitCode.UNREACHABLE
    assert {1, 2} <= {*wires.parts_sent()}
    wires.rule = lambda request: None
    capsys.readouterr()
    assert run(served, wires, "datasets", "push", str(folder), "-q") == ExitCode.OK
    assert wires.parts_sent() == [3], "what the store holds already is not sent again"
    dataset_id = capsys.readouterr().out.split()[-1]  # the service logs to the same stdout
    assert not [*(tmp_path / "cache" / "push").glob("*")], "the packed shard is gone"

    with Client(served.url, served.key) as client:
        dataset = client.datasets.get(dataset_id)
    assert (dataset.kind, dataset.class_names) == ("labelled", ("cat", "dog"))
    stored = served.store.read_bytes(
        upload_key(served.project_id, str(dataset.upload_id)), max_bytes=20 * MIB
    )
    assert stored == packed(folder)

    served.validate(dataset_id, DatasetKind.LABELLED)
    assert run(served, wires, "datasets", "push", str(folder), "--wait") == ExitCode.OK
    assert wires.parts_sent() == []
    printed = capsys.readouterr()
    assert f"{dataset_id} was pushed" in printed.err
    assert "ready" in printed.out
    with Client(served.url, served.key) as client:
        client.datasets.delete(dataset_id)
    assert run(served, wires, "datasets", "push", str(folder), "-q") == ExitCode.OK
    pushed_again = capsys.readouterr().out.split()[-1]
    assert pushed_again != dataset_id, "one that was deleted is pushed again"
    wires.seen.clear()
    with Client(served.url, served.key, transport=wires) as client:
        found = client.datasets.push(folder)
    assert (found.id, found.name) == (pushed_again, "photos"), "the client finds what the command pushed"
    assert wires.parts_sent() == []
