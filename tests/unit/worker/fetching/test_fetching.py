"""The fetching process against a local hub and servers that lie, as a worker starts it: confined."""

import hashlib
import ssl
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpcore
import pytest

from app.domain.sources import SourceRules
from app.domain.states import JobKind
from app.domain.webhook_urls import ReachRules
from app.settings import SourceSettings
from tests.fakes.hub import (
    Answer,
    Hub,
    cut,
    drips,
    endless,
    redirects_to,
    send,
    send_json,
    slow_headers,
    without_an_end,
)
from tests.fixtures.real_child import run_guarded
from worker.confinement import file_access, sandbox
from worker.confinement.sandbox import ChildLimits
from worker.control import Control
from worker.failures import AttemptFailed
from worker.fetching import web
from worker.fetching.bringing import Fetched, Fetcher
from worker.fetching.errands import Pinned
from worker.fetching.web import Got, Refused
from worker.outward import Deadline, resolve

pytestmark = pytest.mark.slow
REPO = "openai/clip-tiny"
SOURCE = f"hf://{REPO}"
WEIGHTS = b"\x10\0\0\0\0\0\0\0{}" + bytes(range(256)) * 40
OTHERS = b"\x10\0\0\0\0\0\0\0{}" + bytes(range(255, -1, -1)) * 40
PICKLE = b"\x80\x02ccollections\nOrderedDict\n" + bytes(2000)
MOST = 2**20


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as hub:
        hub.add(REPO, {"README.md": b"a model", "config.json": b"{}", "model.safetensors": WEIGHTS})
        yield hub


@pytest.fixture
def settings(hub: Hub) -> SourceSettings:
    return SourceSettings(
        hub_url=hub.url, allowed_hosts=("127.0.0.1", "localhost"), allow_loopback=True, timeout_s=20
    )


def fetcher(folder: Path, settings: SourceSettings, **environment: str) -> Fetcher:
    return Fetcher(
        folder=folder,
        kind=JobKind.INSPECT,
        settings=settings,
        limits=ChildLimits(memory_bytes=2**31, file_bytes=2**30, hostile_cpu_s=60),
        isolation=sandbox.strongest_isolation(),
        control=Control(threading.Event()),
        worker_environment=environment,
    )


def fetched(
    folder: Path, settings: SourceSettings, source: str = SOURCE, *, most: int = MOST
) -> tuple[Pinned, Fetched]:
    errands = fetcher(folder, settings)
    pinned = errands.resolve(source)
    return pinned, errands.bring(source, pinned, name=pinned.path or "file", max_bytes=most)


def refused(folder: Path, settings: SourceSettings, source: str = SOURCE, *, most: int = MOST) -> str:
    with pytest.raises(AttemptFailed) as failure:
        fetched(folder, settings, source, most=most)
    return failure.value.code


# ---------------------------------------------------------------- what a hub has


def test_the_hubs_own_library_reads_the_stand_in_as_a_hub(hub: Hub, tmp_path: Path) -> None:
    library = pytest.importorskip("huggingface_hub")
    api = library.HfApi(endpoint=hub.url, token=False)
    info = api.model_info(REPO, revision="main", files_metadata=True)
    (weights,) = [one for one in info.siblings or [] if one.rfilename == "model.safetensors"]
    assert weights.lfs is not None
    assert (info.sha, weights.lfs.sha256) == (hub.branches[REPO, "main"], hashlib.sha256(WEIGHTS).hexdigest())
    path = library.hf_hub_download(
        REPO, "model.safetensors", endpoint=hub.url, local_dir=tmp_path, token=False, revision=info.sha
    )
    assert Path(path).read_bytes() == WEIGHTS


def test_a_branch_is_looked_up_once_and_the_file_is_that_of_its_commit(
    hub: Hub, settings: SourceSettings, tmp_path: Path
) -> None:
    first = hub.branches[REPO, "main"]
    errands = fetcher(tmp_path, settings)
    pinned = errands.resolve(SOURCE)
    hub.add(REPO, {"model.safetensors": OTHERS})
    got = errands.bring(SOURCE, pinned, name="model.safetensors", max_bytes=MOST)
    assert (pinned.commit, pinned.path, pinned.size_bytes) == (first, "model.safetensors", len(WEIGHTS))
    assert got.path.read_bytes() == WEIGHTS
    assert (got.size_bytes, got.sha256) == (len(WEIGHTS), hashlib.sha256(WEIGHTS).hexdigest())
    assert not {"authorization", "cookie"} & {name for headers in hub.sent_headers for name in headers}


def test_a_small_file_is_compared_with_gits_own_digest(
    hub: Hub, settings: SourceSettings, tmp_path: Path
) -> None:
    small = WEIGHTS[:90]
    commit = hub.add(REPO, {"small/open_clip_model.safetensors": small}, branch="v1")
    source = f"{SOURCE}@v1/small/open_clip_model.safetensors"
    pinned, got = fetched(tmp_path / "good", settings, source)
    assert (pinned.commit, pinned.sha256, got.path.read_bytes()) == (commit, None, small)
    hub.answers[f"/{REPO}/resolve/{commit}/small/open_clip_model.safetensors"] = cut(OTHERS[:90], 90)
    assert refused(tmp_path / "bad", settings, source) == "source_changed"


def test_a_digest_that_only_stands_beside_the_file_is_held_against_it(
    hub: Hub, settings: SourceSettings, tmp_path: Path
) -> None:
    commit = hub.branches[REPO, "main"]
    described = hub.description(REPO, commit, hub.models[REPO][commit])
    for one in described["siblings"]:
        for known in ("lfs", "size", "blobId"):
            one.pop(known, None)
    hub.answers[f"/api/models/{REPO}/revision/main"] = lambda request: send_json(request, described)
    assert fetched(tmp_path / "good", settings)[1].path.read_bytes() == WEIGHTS
    digest = hashlib.sha256(WEIGHTS).hexdigest()
    hub.answers[f"/blobs/{digest}"] = cut(OTHERS, len(OTHERS))
    assert refused(tmp_path / "bad", settings) == "source_changed"


def test_what_was_pinned_is_not_replaced_by_what_a_server_says_beside_the_file(
    hub: Hub, settings: SourceSettings, tmp_path: Path
) -> None:
    """Neither by the server that a redirect leads to, nor by the hub itself."""
    small = WEIGHTS[:90]
    commit = hub.add(REPO, {"small.safetensors": small})
    lie = {"X-Linked-Etag": f'"{hashlib.sha256(OTHERS).hexdigest()}"', "X-Linked-Size": str(len(OTHERS))}
    path = f"/{REPO}/resolve/{commit}/small.safetensors"
    hub.answers["/elsewhere"] = lambda request: send(request, 200, OTHERS, lie)
    hub.answers[path] = redirects_to(f"{hub.url}/elsewhere")
    assert refused(tmp_path / "there", settings, f"{SOURCE}/small.safetensors") == "source_changed"
    hub.answers[path] = lambda request: send(request, 200, OTHERS, lie)
    assert refused(tmp_path / "here", settings, f"{SOURCE}/small.safetensors") == "source_changed"


def test_a_file_of_any_server_is_what_it_sends(hub: Hub, settings: SourceSettings, tmp_path: Path) -> None:
    digest = hashlib.sha256(WEIGHTS).hexdigest()
    pinned, got = fetched(tmp_path, settings, f"{hub.url}/blobs/{digest}")
    assert (pinned, got.sha256) == (Pinned(), digest)


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (redirects_to("http://169.254.169.254/latest/meta-data/"), "source_leads_elsewhere"),
        (redirects_to("https://169.254.169.254/latest/meta-data/"), "source_leads_elsewhere"),
        (redirects_to("https://10.0.0.1/model"), "source_leads_elsewhere"),
        (redirects_to("https://[::ffff:10.0.0.1]/model"), "source_leads_elsewhere"),
        (redirects_to("https://example.org/model"), "source_leads_elsewhere"),
        (redirects_to("file:///etc/passwd"), "source_leads_elsewhere"),
        (redirects_to("model.safetensors"), "source_not_understood"),
        (redirects_to("https://[bad"), "source_not_understood"),
        (redirects_to("https://a]b/"), "source_not_understood"),
        (without_an_end, "source_not_understood"),
        (endless, "source_too_large"),
        (cut(OTHERS, len(OTHERS)), "source_changed"),
        (cut(WEIGHTS[:-1], len(WEIGHTS) - 1), "source_changed"),
        (cut(WEIGHTS[:100], len(WEIGHTS)), "source_unreachable"),
        (cut(WEIGHTS, 10**15), "source_too_large"),
    ],
)
def test_a_lying_server_is_left(
    hub: Hub, settings: SourceSettings, tmp_path: Path, answer: Answer, code: str
) -> None:
    commit = hub.branches[REPO, "main"]
    hub.answers[f"/{REPO}/resolve/{commit}/model.safetensors"] = answer
    assert refused(tmp_path, settings) == code


def test_a_server_that_drips_is_left_when_the_time_is_over(
    hub: Hub, settings: SourceSettings, tmp_path: Path
) -> None:
    hub.answers["/slow"] = drips
    quick = settings.model_copy(update={"timeout_s": 2.0})
    assert refused(tmp_path, quick, f"{hub.url}/slow") == "source_too_slow"


@pytest.mark.parametrize(("per_chunk_s", "is_left"), [(1.0, False), (3.0, True)])
def test_a_server_that_sends_too_little_for_twenty_seconds_is_left(
    monkeypatch: pytest.MonkeyPatch, per_chunk_s: float, is_left: bool
) -> None:
    """Each byte comes in time, and yet nobody would see the last one."""
    now = [0.0]
    monkeypatch.setattr("worker.fetching.web.time.monotonic", lambda: now[0])

    def stream() -> Iterator[bytes]:
        for _ in range(60):
            now[0] += per_chunk_s
            yield bytes(100)

    answer = httpcore.Response(200, content=stream())
    got = Got(answer=answer, headers=({},), min_bytes_per_s=50, deadline=Deadline(1e6))
    if not is_left:
        assert sum(map(len, got.chunks(MOST))) == 6000
        return
    with pytest.raises(Refused) as refusal:
        list(got.chunks(MOST))
    assert refusal.value.code == "source_too_slow"
    assert now[0] < 25


def test_headers_that_never_end_are_left_after_a_part_of_the_time(
    hub: Hub, settings: SourceSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "PART_S", 1.0)
    hub.answers["/slow"] = slow_headers
    reach = ReachRules(allow_loopback=True)
    asked = web.Web(
        SourceRules(reach=reach, hub_url=hub.url, allowed_hosts=settings.allowed_hosts),
        Deadline(60, idle_s=30),
        resolve_name=resolve,
        tls=ssl.create_default_context(),
        min_bytes_per_s=1,
    )
    began = time.monotonic()
    with pytest.raises(Refused) as refusal, asked.get(f"{hub.url}/slow"):
        raise AssertionError("it never answers")
    assert refusal.value.code == "source_too_slow"
    assert time.monotonic() - began < 20


def test_addresses_that_are_not_public_are_not_connected_to(
    hub: Hub, settings: SourceSettings, tmp_path: Path
) -> None:
    strict = settings.model_copy(update={"allow_loopback": False})
    assert refused(tmp_path / "number", strict) == "source_leads_elsewhere"
    named = strict.model_copy(update={"allowed_hosts": ("localhost.localdomain",)})
    source = f"https://localhost.localdomain:{hub.port}/model"
    assert refused(tmp_path / "name", named, source) == "source_leads_elsewhere"
    assert hub.asked == []


def test_other_hosts_than_the_operators_are_not_connected_to(
    hub: Hub, settings: SourceSettings, tmp_path: Path
) -> None:
    """Also where the hub sends us on to its own files."""
    only_hub = settings.model_copy(update={"allowed_hosts": ("127.0.0.1",)})
    assert refused(tmp_path, only_hub) == "source_leads_elsewhere"
    assert not any(path.startswith("/blobs/") for path in hub.asked)


@pytest.mark.parametrize(
    "name", ["../../model.safetensors", "..\\model.safetensors", "/etc/passwd", "a//b", ".env"]
)
def test_a_name_that_leads_elsewhere_is_not_asked_for(
    hub: Hub, settings: SourceSettings, tmp_path: Path, name: str
) -> None:
    errands = fetcher(tmp_path, settings)
    with pytest.raises(AttemptFailed) as failure:
        errands.bring(SOURCE, Pinned(commit="0" * 40, path=name), name="model", max_bytes=MOST)
    assert failure.value.code == "source_not_understood"
    assert hub.asked == []


def test_a_pickle_that_is_called_safetensors_is_refused(
    hub: Hub, settings: SourceSettings, tmp_path: Path
) -> None:
    hub.add(REPO, {"model.safetensors": PICKLE})
    assert refused(tmp_path / "bare", settings) == "source_not_as_named"
    hub.add(REPO, {"model.safetensors": b"PK\x03\x04" + bytes(2000)})
    assert refused(tmp_path / "zip", settings) == "source_not_as_named"


@pytest.mark.parametrize(
    ("source", "code"),
    [
        (f"{SOURCE}@nowhere", "source_not_found"),
        ("hf://openai/other", "source_not_found"),
        (f"{SOURCE}@main/other.safetensors", "source_without_weights"),
        (f"{SOURCE}@{'a' * 40}", "source_changed"),
    ],
)
def test_what_is_not_there_is_named(
    hub: Hub, settings: SourceSettings, tmp_path: Path, source: str, code: str
) -> None:
    commit = hub.branches[REPO, "main"]
    described = hub.description(REPO, commit, hub.models[REPO][commit])
    hub.answers[f"/api/models/{REPO}/revision/{'a' * 40}"] = lambda request: send_json(request, described)
    assert refused(tmp_path, settings, source) == code


@pytest.mark.parametrize(
    "described", [[], {"sha": "x"}, {"sha": "0" * 40, "siblings": [{"rfilename": 1}]}, "[" * 99999]
)
def test_nonsense_in_place_of_a_description_is_named(
    hub: Hub, settings: SourceSettings, tmp_path: Path, described: Any
) -> None:
    hub.answers[f"/api/models/{REPO}/revision/main"] = lambda request: send_json(request, described)
    assert refused(tmp_path, settings) in {"source_not_understood", "source_without_weights"}


def test_more_than_was_allowed_is_refused_before_it_comes(
    hub: Hub, settings: SourceSettings, tmp_path: Path
) -> None:
    assert refused(tmp_path, settings, most=len(WEIGHTS) - 1) == "source_too_large"
    assert not any("/resolve/" in path for path in hub.asked)


# ---------------------------------------------------------------- what the process has


PROBE = """
import os, pathlib, socket, sys
port, secret = int(sys.argv[1]), pathlib.Path("..", "secret")
with socket.create_connection(("localhost", port), timeout=5): print("network")
print(sorted(name for name, value in os.environ.items() if "canary" in value))
try: print(secret.read_text())
except OSError as error: print(type(error).__name__)
others = [
    (socket.AF_UNIX, socket.SOCK_STREAM, 0), (socket.AF_PACKET, socket.SOCK_RAW, 0),
    (socket.AF_INET, socket.SOCK_SEQPACKET, 132), (socket.AF_INET, socket.SOCK_RAW, 1),
    (socket.AF_NETLINK, socket.SOCK_RAW, 12), (socket.AF_VSOCK, socket.SOCK_STREAM, 0),
]
for other in others:
    try: socket.socket(*other)
    except OSError: continue
    print("made", other)
"""


def test_the_process_has_the_network_and_nothing_else(hub: Hub, tmp_path: Path) -> None:
    """No variable of the worker, no file but its own, no socket to another process or below TCP."""
    secret, folder = tmp_path / "secret", tmp_path / "job"
    secret.write_text("a key")
    for name in ("home", "tmp"):
        (folder / name).mkdir(parents=True)
    level = sandbox.strongest_isolation()
    limits = ChildLimits(memory_bytes=2**31, file_bytes=2**20, hostile_cpu_s=30, num_threads=1)
    command = [sys.executable, "-c", PROBE, str(hub.port)]
    ended = run_guarded(
        command, folder, limits, level, {"CLEANCLIP_STORAGE__SECRET_KEY": "canary"}, reaches_out=True
    )
    read = "PermissionError" if file_access.kernel_restricts_files() else "a key"
    assert (ended.stdout.splitlines(), ended.stderr) == (["network", "[]", read], "")
