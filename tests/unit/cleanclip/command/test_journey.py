"""An order that begins with a file or an address: what is found again, and what is done again."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from cleanclip.command.exit_codes import ExitCode
from cleanclip.vocabulary.device_memory import memory_of
from cleanclip.vocabulary.device_plan import DevicePlan, Work
from cleanclip.vocabulary.model_cost import cost_of
from cleanclip.vocabulary.recipe import AuditOptions, to_json
from tests.fixtures.model_configs import MODELS
from tests.unit.cleanclip.service import job, problem, ran

SOURCE = "hf://openai/clip-vit-base-patch32@main"
DATA = ("--data", "s3://d/p/", "--labelled", "s3://d/t/", "--target", "banana")


class Service(httpx.MockTransport):
    """Holds what was made; datasets are ready and checkpoints accepted at once. Streams uploads itself."""

    def __init__(self) -> None:
        super().__init__(self._handle)
        self.made: list[str] = []
        self.bodies: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.checkpoints: list[dict[str, Any]] = []
        self.datasets: list[dict[str, Any]] = []
        self.jobs: dict[str, dict[str, Any]] = {}
        self.checkpoint_state = "accepted"
        self.job_state = "queued"
        self.on_job: Callable[[], None] = lambda: None
        self.ahead = AHEAD
        self.tried: list[dict[str, Any]] = []
        self.unreadable: tuple[str, ...] = ()

    def _handle(self, request: httpx.Request) -> httpx.Response:
        request.read()
        path = request.url.path
        parts = path.split("/")
        if path == "/v1/jobs/dry-run":
            self.tried.append(json.loads(request.content))
            return httpx.Response(200, json=self.ahead)
        if path == "/v1/datasets/check":
            is_read = json.loads(request.content)["uri"] not in self.unreadable
            return httpx.Response(204) if is_read else problem(422, "dataset_uri_not_allowed")
        if request.method == "POST" and len(parts) == 3:
            return self._make(parts[2], json.loads(request.content), request.headers["idempotency-key"])
        if path.endswith("/content"):
            return httpx.Response(200, json=self._upload("open"))
        if path.endswith("/complete"):
            return httpx.Response(200, json=self._upload("completed"))
        if path.endswith("/parts"):
            url = "http://store.invalid/1"
            part = {"number": 1, "size_bytes": 4, "url": url}
            return httpx.Response(200, json={"upload_id": "upl_1", "parts": [part]})
        if request.url.host == "store.invalid":
            raise httpx.ConnectError("it is not to be reached")
        return self._shown(parts, request.url.params)

    def _make(self, noun: str, body: dict[str, Any], key: str) -> httpx.Response:
        self.made.append(noun)
        if noun == "datasets":
            self.datasets.insert(0, {"id": f"ds_{len(self.datasets)}", "state": "ready"} | body)
            return httpx.Response(202, json=self.datasets[0])
        if noun == "uploads":
            return httpx.Response(201, json=self._upload("open"))
        if noun == "checkpoints":
            self.bodies.append(body)
            return httpx.Response(202, json={"id": "ckpt_9", "state": "quarantined"})
        self.keys.append(key)
        self.bodies.append(body)
        self.on_job()
        found = self.jobs.setdefault(key, job(id=f"job_{len(self.jobs)}", state=self.job_state))
        return httpx.Response(202, json=found)

    def _upload(self, state: str) -> dict[str, Any]:
        sizes = {"size_bytes": 4, "part_size_bytes": 5, "num_parts": 1}
        number = self.made.count("uploads")
        return {"id": "upl_1", "state": state, "checkpoint_id": f"ckpt_{number}"} | sizes

    def _shown(self, parts: list[str], params: httpx.QueryParams) -> httpx.Response:
        if parts[2] == "datasets" and len(parts) == 3:  # one a page
            rows = [one for one in self.datasets if one["kind"] == params["kind"]]
            begin = next((n + 1 for n, one in enumerate(rows) if one["id"] == params.get("after")), 0)
            page = rows[begin : begin + 1]
            last = page[-1]["id"] if page else None
            return httpx.Response(
                200, json={"data": page, "has_more": len(rows) > begin + 1, "last_id": last}
            )
        if parts[2] == "datasets":
            return httpx.Response(200, json=next(one for one in self.datasets if one["id"] == parts[3]))
        if parts[2] == "checkpoints" and len(parts) == 3:
            found = [one for one in self.checkpoints if one["sha256"] == params["sha256"]]
            return httpx.Response(200, json={"data": found, "has_more": False})
        if parts[2] == "checkpoints":
            source = {"ordered": SOURCE, "commit": "c0ffee", "path": "model.safetensors"}
            shown = {"id": parts[3], "state": self.checkpoint_state}
            return httpx.Response(200, json=shown | ({"source": source} if parts[3] == "ckpt_9" else {}))
        found = [one for one in self.jobs.values() if one["id"] == parts[3]]
        return httpx.Response(200, json=found[0]) if found else problem(404, "job_not_found")


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "a.pt"
    path.write_bytes(b"PK\x03\x04")
    return str(path)


@pytest.mark.parametrize(
    ("made", "arguments"),
    [
        ("ckpt_1", ("upload", "FILE")),
        ("ds_0", ("datasets", "add", "s3://d/p/", "--kind", "pairs")),
        ("job_0", ("sanitize", "FILE", *DATA)),
        ("job_0", ("audit", "FILE", "--labelled", "s3://d/t/", "--target", "banana")),
    ],
)
def test_quietly_what_makes_a_thing_and_waits_for_it_prints_its_id_alone(
    file: str, capsys: pytest.CaptureFixture[str], made: str, arguments: tuple[str, ...]
) -> None:
    service = Service()
    service.job_state = "succeeded"
    given = [file if one == "FILE" else one for one in arguments]
    assert ran(service, *given, "--wait", "--quiet") == ExitCode.OK
    assert capsys.readouterr() == (f"{made}\n", "")
    assert ran(service, *given, "--wait", "--quiet", "--json") == ExitCode.OK
    assert isinstance(json.loads(capsys.readouterr().out), dict)
    assert ran(service, *given, "--wait") == ExitCode.OK
    assert "state" in capsys.readouterr().out, "all of it"


def test_quietly_a_job_that_failed_is_named_and_its_reason_is_an_error(
    file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    service = Service()
    service.job_state = "failed"
    assert ran(service, "sanitize", file, *DATA, "--wait", "--quiet") == ExitCode.JOB_FAILED
    assert capsys.readouterr() == ("job_0\n", "job_0 failed.\n")


def test_a_repeated_order_is_the_same_one_unless_it_is_to_be_anew(file: str) -> None:
    service = Service()
    assert ran(service, "sanitize", file, *DATA) == ExitCode.OK
    assert service.made == ["uploads", "datasets", "datasets", "jobs"]
    ids = {one["kind"]: one["id"] for one in service.datasets}
    [body] = service.bodies
    assert (body["checkpoint_id"], body["dataset_id"]) == ("ckpt_1", ids["pairs"])
    assert body["audit"] == {"dataset_id": ids["labelled"], "target": "banana"}
    assert ran(service, "sanitize", file, *DATA) == ExitCode.OK
    assert len(service.made) == 4
    assert ran(service, "sanitize", file, *DATA, "--seed", "3") == ExitCode.OK
    assert service.made[4:] == ["jobs"], "another order of the same things"
    assert ran(service, "sanitize", file, *DATA, "--again") == ExitCode.OK
    assert service.made[5:] == ["uploads", "datasets", "datasets", "jobs"]
    assert len(set(service.keys)) == 3


@pytest.mark.parametrize("source", [SOURCE, "s3://models/clip.pt", "https://example.org/clip.pt"])
def test_what_the_service_fetches_is_ordered_once_and_named_with_its_commit(
    source: str, capsys: pytest.CaptureFixture[str]
) -> None:
    service = Service()
    assert ran(service, "sanitize", source, *DATA, "--declared", "quick_gelu=true") == ExitCode.OK
    assert service.made == ["checkpoints", "datasets", "datasets", "jobs"]
    assert service.bodies[0] == {"source": source, "declared": {"quick_gelu": True}}
    assert service.bodies[1]["checkpoint_id"] == "ckpt_9"
    reported = capsys.readouterr().err
    assert f"ckpt_9  the service fetches {source}" in reported
    assert "model.safetensors of commit c0ffee" in reported
    assert ran(service, "sanitize", source, *DATA, "--declared", "quick_gelu=true") == ExitCode.OK
    assert len(service.made) == 4
    assert f"{source} was ordered already: ckpt_9" in capsys.readouterr().err
    assert ran(service, "sanitize", source, *DATA, "--declared", "quick_gelu=true", "--again") == ExitCode.OK
    assert service.made[4:] == ["checkpoints", "datasets", "datasets", "jobs"]
    service.checkpoint_state = "rejected"
    ran(service, "sanitize", source, *DATA, "--declared", "quick_gelu=true")
    assert service.made.count("checkpoints") == 3


def test_a_dry_run_lets_the_service_fetch_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    service = Service()
    assert (
        ran(service, "audit", SOURCE, "--labelled", "s3://d/t/", "--target", "a", "--dry-run") == ExitCode.OK
    )
    assert service.made == []
    assert f"{SOURCE} would be fetched and inspected first." in capsys.readouterr().err


@pytest.mark.parametrize("given", [(), (SOURCE, "--checkpoint", "ckpt_1")])
def test_an_order_is_about_one_checkpoint(given: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    service = Service()
    assert ran(service, "sanitize", *given, *DATA) == ExitCode.USAGE
    assert "FILE, SOURCE or --checkpoint" in " ".join(capsys.readouterr().err.split())
    assert service.made == []


@pytest.mark.parametrize("state", ["failed", "cancelled"])
def test_a_job_that_did_not_succeed_is_ordered_again(file: str, state: str) -> None:
    service = Service()
    ran(service, "sanitize", file, *DATA)
    for found in service.jobs.values():
        found["state"] = state
    ran(service, "sanitize", file, *DATA)
    assert service.made.count("jobs") == 2
    assert len(set(service.keys)) == 2


def test_a_job_that_was_deleted_is_ordered_again(file: str) -> None:
    service = Service()
    ran(service, "sanitize", file, *DATA)
    service.jobs.clear()
    ran(service, "sanitize", file, *DATA)
    assert service.made.count("jobs") == 2


def test_a_checkpoint_that_was_rejected_is_sent_again(file: str) -> None:
    service = Service()
    ran(service, "sanitize", file, *DATA)
    service.checkpoint_state = "rejected"
    assert ran(service, "sanitize", file, *DATA) == ExitCode.REFUSED
    assert service.made.count("uploads") == 2
    assert service.made.count("jobs") == 1


def test_an_order_whose_answer_was_lost_is_not_given_twice(file: str) -> None:
    def lose() -> None:
        service.jobs.setdefault(service.keys[-1], job(id="job_lost"))
        raise httpx.ReadError("the connection broke")

    service = Service()
    service.on_job = lose
    assert ran(service, "sanitize", file, *DATA) == ExitCode.UNREACHABLE
    service.on_job = lambda: None
    assert ran(service, "sanitize", file, *DATA) == ExitCode.OK
    assert len(set(service.keys)) == 1


def test_the_data_of_supervised_are_labelled_and_of_retrieval_pairs(file: str) -> None:
    service = Service()
    ran(service, "sanitize", file, *DATA, "--retrieval", "s3://d/r/", "--method", "supervised")
    kinds = {one["uri"]: one["kind"] for one in service.datasets}
    assert kinds == {"s3://d/p/": "labelled", "s3://d/t/": "labelled", "s3://d/r/": "pairs"}
    ids = {one["uri"]: one["id"] for one in service.datasets}
    assert service.bodies[0]["audit"]["retrieval_dataset_id"] == ids["s3://d/r/"]


def test_data_that_were_rejected_are_registered_again_and_ids_are_believed(file: str) -> None:
    service = Service()
    service.datasets = [
        {"id": "ds_x", "kind": "labelled", "state": "rejected", "uri": "s3://d/t/"},
        {"id": "ds_y", "kind": "labelled", "state": "ready", "uri": "s3://d/other/"},
    ]
    ran(service, "audit", file, "--labelled", "s3://d/t/", "--target", "b")
    assert service.bodies[0]["audit"]["dataset_id"] == "ds_2"
    ran(service, "audit", file, "--labelled", "ds_y", "--target", "b")
    assert service.bodies[1]["audit"]["dataset_id"] == "ds_y"
    assert service.made.count("datasets") == 1


def test_an_order_of_ids_is_a_new_one_each_time() -> None:
    service = Service()
    for _ in range(2):
        ran(service, "audit", "--checkpoint", "ckpt_1", "--labelled", "ds_1", "--target", "b")
    assert service.made == ["jobs", "jobs"]


def test_a_key_that_cannot_be_read_is_told_before_anything_is_sent(file: str, tmp_path: Path) -> None:
    service = Service()
    ending = ("--download", str(tmp_path / "out"), "--key", str(tmp_path / "no.pem"))
    assert ran(service, "sanitize", file, *DATA, *ending) == ExitCode.UNREADABLE
    assert service.made == []


def test_one_time_limit_holds_for_all_waits_together(file: str) -> None:
    service = Service()
    service.checkpoint_state = "scanning"
    assert ran(service, "sanitize", file, *DATA, "--timeout", "3") == ExitCode.TIMED_OUT
    service.checkpoint_state = "accepted"
    assert ran(service, "sanitize", file, *DATA, "--timeout", "3", "--wait") == ExitCode.TIMED_OUT
    assert service.made.count("jobs") == 1


AHEAD = {
    "plan": None,
    "object": "dry_run",
    "kind": "audit",
    "phases": [
        {"name": "stage", "does": "Brings it.", "amount": 2_000_000, "unit": "bytes", "time": None},
        {
            "name": "baseline_audit",
            "does": "Measures it.",
            "amount": 5000,
            "unit": "images",
            "time": {"low_s": 60, "high_s": 120, "num_jobs": 2},
        },
        {"name": "publish", "does": "Keeps it.", "amount": 1, "unit": "jobs", "time": None},
    ],
    "recipe": None,
    "recipe_source": None,
    "time": {"low_s": 60, "high_s": 120, "num_jobs": 2},
    "obstacles": [],
    "warnings": ["It is small."],
}
BY_IDS = ("audit", "--checkpoint", "ckpt_1", "--labelled", "ds_1", "--target", "banana", "--dry-run")


def test_a_dry_run_says_what_a_gpu_needs(capsys: pytest.CaptureFixture[str]) -> None:
    cost = cost_of(MODELS["ViT-B/32"])
    assert cost is not None
    memory = memory_of(cost, audit=AuditOptions(target="banana", batch_size=100))
    plan = DevicePlan.of({1: memory}, [Work(flop=1e15, precision="fp32")])
    assert ran(Foreseeing(plan=to_json(plan)), *BY_IDS) == ExitCode.OK
    said = capsys.readouterr().out
    first = "with audit.batch_size 100 (parameters 0.6, gradients and optimizer 0.0, activations 0.6"
    for part in (
        first,
        "80 GB fit.",
        "Operations: 1,000.0 TFLOP",
        "1 x H100 (80 GB) 0.3 to 1.2",
        "An estimate:",
    ):
        assert part in said


class Foreseeing(Service):
    """Foresees something else."""

    def __init__(self, **changes: Any) -> None:
        super().__init__()
        self.ahead = AHEAD | changes


def test_a_dry_run_is_told_and_orders_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    service = Foreseeing()
    assert ran(service, *BY_IDS) == ExitCode.OK
    assert service.made == []
    assert service.tried == [
        {"kind": "audit", "checkpoint_id": "ckpt_1", "audit": {"target": "banana", "dataset_id": "ds_1"}}
    ]
    said = capsys.readouterr().out
    for part in (
        "nothing was ordered",
        "5,000 images",
        "(2 jobs)",
        "in all: 1:00 to 2:00 (2 jobs), without stage, publish",
        "It is small.",
    ):
        assert part in said


@pytest.mark.parametrize(
    ("low_s", "high_s", "num_jobs", "said"),
    [
        (13, 85, 1, "0:13 to 1:25 (1 job)"),
        (13, 13.2, 1, "about 0:13 (1 job)"),
        (13, 85, 0, "0:13 to 1:25 (estimate)"),
        (13, 13, 3, "about 0:13 (3 jobs)"),
    ],
)
def test_a_time_is_a_range_wherever_its_ends_differ(
    capsys: pytest.CaptureFixture[str], low_s: float, high_s: float, num_jobs: int, said: str
) -> None:
    """One earlier job is enough for a range: its two audits may have been of another speed."""
    time = {"low_s": low_s, "high_s": high_s, "num_jobs": num_jobs}
    assert ran(Foreseeing(time=time), *BY_IDS) == ExitCode.OK
    assert f"in all: {said}" in capsys.readouterr().out


def test_a_dry_run_of_what_would_be_refused_ends_as_the_order_would(
    capsys: pytest.CaptureFixture[str],
) -> None:
    obstacle = {"code": "unknown_target", "detail": "No.", "remedy": "Do.", "pointer": "/audit/target"}
    service = Foreseeing(obstacles=[obstacle])
    assert ran(service, *BY_IDS, "--json") == ExitCode.REFUSED
    assert json.loads(capsys.readouterr().out) == service.ahead
    assert ran(service, *BY_IDS) == ExitCode.REFUSED
    assert "unknown_target at /audit/target: No. Do." in capsys.readouterr().out


def test_a_dry_run_of_a_file_sends_nothing_and_tells_what_it_would_send_and_do(
    file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    service = Service()
    service.datasets = [{"id": "ds_7", "kind": "labelled", "state": "ready", "uri": "s3://d/t/"}]
    assert ran(service, "sanitize", file, *DATA, "--dry-run") == ExitCode.OK
    assert service.made == []
    assert service.tried == [{"kind": "sanitize", "audit": {"target": "banana", "dataset_id": "ds_7"}}]
    printed = capsys.readouterr()
    assert "a.pt (4 B) would be sent" in printed.err
    assert "s3://d/p/ would be registered as pairs" in printed.err
    assert "in all: 1:00 to 2:00" in printed.out


def test_a_dry_run_of_data_that_the_service_may_not_read_fails_and_says_which(
    file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    service = Service()
    service.unreadable = ("s3://d/p/",)
    assert ran(service, "sanitize", file, *DATA, "--dry-run") == ExitCode.REFUSED
    assert "dataset_uri_not_allowed at --data: s3://d/p/: " in capsys.readouterr().out
    assert ran(service, "sanitize", file, *DATA) == ExitCode.REFUSED, "before the file is sent"
    assert service.made == []


def test_an_order_that_would_be_refused_is_so_before_its_file_is_sent(
    file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    obstacle = {"code": "unknown_target", "detail": "No.", "remedy": "Do.", "pointer": "/audit/target"}
    passing = {"code": "dataset_not_ready", "detail": "Wait.", "remedy": "", "pointer": "/dataset_id"}
    service = Foreseeing(obstacles=[passing, obstacle])
    assert ran(service, "sanitize", file, *DATA) == ExitCode.REFUSED
    assert service.made == []
    said = capsys.readouterr().err
    assert "/audit/target: No. Do. (unknown_target)" in said
    assert "Wait." not in said
    depends = obstacle | {"code": "batch_larger_than_data", "pointer": "/recipe/batch_size"}
    assert ran(Foreseeing(obstacles=[passing, depends]), "sanitize", file, *DATA) == ExitCode.OK
    strict = Foreseeing(obstacles=[depends])
    assert ran(strict, "sanitize", file, *DATA, "--recipe", "defaults", "--again") == ExitCode.REFUSED


SHA256 = hashlib.sha256(b"PK\x03\x04").hexdigest()
"""What `file` holds."""


def test_a_file_that_the_service_holds_already_is_not_sent_again(
    file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    service = Service()
    held = {"id": "ckpt_7", "state": "accepted", "sha256": SHA256}
    service.checkpoints = [
        held | {"declared": {"quick_gelu": True}},
        held | {"declared": {"quick_gelu": None}},
    ]
    assert ran(service, "audit", file, "--labelled", "s3://d/t/", "--target", "banana") == ExitCode.OK
    assert "uploads" not in service.made
    assert service.bodies[0]["checkpoint_id"] == "ckpt_7"
    assert "a.pt was uploaded already: ckpt_7" in capsys.readouterr().err


def test_what_was_declared_otherwise_is_another_checkpoint(file: str) -> None:
    service = Service()
    held = {"id": "ckpt_7", "state": "accepted", "sha256": SHA256}
    service.checkpoints = [held | {"declared": {"quick_gelu": True}}]
    assert ran(service, "audit", file, "--labelled", "s3://d/t/", "--target", "banana") == ExitCode.OK
    assert service.made.count("uploads") == 1


def test_anew_sends_it_again_all_the_same(file: str) -> None:
    service = Service()
    service.checkpoints = [{"id": "ckpt_7", "state": "accepted", "sha256": SHA256, "declared": {}}]
    order = ("audit", file, "--labelled", "s3://d/t/", "--target", "banana", "--again")
    assert ran(service, *order) == ExitCode.OK
    assert service.made.count("uploads") == 1


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"\x89PNG\r\n\x1a\n", "unknown_format"),
        (b"\x80\x04\x95" + bytes(40), "legacy_pickle"),
        (b"\x1f\x8b\x08", "packed_file"),
        (b"version https://git-lfs.github.com/spec/v1\n", "unknown_format"),
        (b"", "empty_file"),
    ],
)
@pytest.mark.parametrize("command", ["upload", "audit", "dry run"])
def test_what_its_first_bytes_refuse_is_not_sent(
    command: str, content: bytes, code: str, file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(file).write_bytes(content)
    service = Service()
    data = ("--labelled", "s3://d/t/", "--target", "banana")
    line = {"upload": ("upload", file), "audit": ("audit", file, *data)}
    arguments = line.get(command, ("audit", file, *data, "--dry-run"))
    assert ran(service, *arguments) == ExitCode.REFUSED
    assert f"Nothing was sent. ({code})" in capsys.readouterr().err
    assert service.made == []
