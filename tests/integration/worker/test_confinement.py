"""What a child can reach: its own folder and the program. Read from /proc by a child that tries it all."""

import json
import os
import platform
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.domain.states import JobKind
from tests.fixtures.real_child import run_guarded
from tests.fixtures.shards import make_pairs
from tests.suites import mostly_full
from worker.confinement import allowed_calls, file_access, sandbox, syscall_filter
from worker.confinement.sandbox import ChildLimits

PROBE = Path(__file__).with_name("probe_child.py")
CANARY = "canary-5d20be"
LIMITS = ChildLimits(memory_bytes=2**31, file_bytes=2**20, hostile_cpu_s=30, num_threads=1)
LEVELS = {"full": ["full", "network", "none"], "network": ["network", "none"], "none": ["none"]}[
    sandbox.strongest_isolation()
]
needs_landlock = pytest.mark.skipif(
    not file_access.kernel_restricts_files(), reason="this kernel cannot restrict files"
)


PLAIN = (
    allowed_calls.FILES,
    allowed_calls.WAITING,
    allowed_calls.MEMORY,
    allowed_calls.PROCESSES,
    allowed_calls.SIGNALS_AND_TIME,
)


def calls(level: str) -> dict[str, Any]:
    """By their numbers: every one that is in no list, and those that are refused for other processes."""
    column = syscall_filter.MACHINES[platform.machine()].column
    tables = [*PLAIN, *([allowed_calls.ATTRIBUTES] if level == "full" else []), syscall_filter.OF_OTHERS]
    allowed = {numbers[column] for table in tables for numbers in table.values()}
    # ioctl, fcntl, clone, setpriority, prctl, ioprio_set
    checked = (16, 72, 56, 141, 157, 251) if column == 0 else (29, 25, 220, 140, 167, 30)
    of_probes = {335, 336} if column == 0 else set()  # uretprobe, uprobe: SIGILL before any filter is asked
    refused = set(range(allowed_calls.LAST_KNOWN + 1)) - allowed - {*checked, *of_probes}
    of_others = {name: numbers[column] for name, numbers in syscall_filter.OF_OTHERS.items()}
    later = range(allowed_calls.LAST_KNOWN + 1, 1000)
    return {
        "refused": {str(number): number for number in sorted({*refused, *later})},
        "of others": of_others,
        "clone": syscall_filter.CLONE[column],
    }


@pytest.fixture(scope="module", params=mostly_full(LEVELS, daily=LEVELS[:1]))
def level(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def seen(level: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the probe saw at this level, started as a worker starts a child, from a worker with secrets."""
    folder = tmp_path_factory.mktemp(f"work-{level}")
    job = folder / "job_1.1" / "job"
    neighbour = folder / "job_2.1" / "job" / "inputs"
    for place in (job / "home", job / "tmp", neighbour):
        place.mkdir(parents=True)
    (neighbour / "upload").write_text("the neighbour's")
    shared = Path("/dev/shm") / f"test-confinement-{os.getpid()}-{level}"
    shared.write_text("a server's")
    places = {
        "own folder": str(job),
        "neighbour's folder": str(neighbour),
        "neighbour's upload": str(neighbour / "upload"),
        "all jobs": str(folder),
        "home": str(Path.home()),
        "temporary files": "/tmp",
        "service's code": str(Path(sandbox.__file__)),
        "passwords": "/etc/shadow",
        "sockets": "/run",
        "disk": "/dev/vda",
        "shared memory": str(shared),
    }
    reported = [json.dumps(calls(level)), json.dumps(places), json.dumps(os.getpid())]
    command = [sys.executable, str(PROBE), *reported, str(job)]
    secrets = {"CLEANCLIP_STORAGE__SECRET_KEY": CANARY, "AWS_SECRET_ACCESS_KEY": CANARY, "HOME": "/root"}
    with (folder / "open in the worker").open("w") as held:
        os.set_inheritable(held.fileno(), True)
        ended = run_guarded(command, job, LIMITS, level, secrets)
    untouched = shared.read_text() == "a server's"
    shared.unlink()
    assert untouched
    assert ended.returncode == 0, ended.stderr
    return dict(json.loads(ended.stdout))


def status(seen: dict[str, Any]) -> dict[str, str]:
    return {name: value.strip() for name, _, value in (x.partition(":") for x in seen["status"].splitlines())}


def test_it_has_no_capability_and_can_gain_none(seen: dict[str, Any], level: str) -> None:
    reported = status(seen)
    assert reported["NoNewPrivs"] == "1"
    names = ["CapInh", "CapPrm", "CapEff", "CapAmb"]
    if level != "none" or os.geteuid() == 0:  # who has no capability cannot lower the bound, and needs not
        names.append("CapBnd")
    for name in names:
        assert int(reported[name], 16) == 0, name


def test_the_kernel_asks_our_program_before_each_call(seen: dict[str, Any]) -> None:
    assert status(seen)["Seccomp"] == "2"
    unknown = {number for number in seen["calls"] if int(number) > allowed_calls.LAST_KNOWN}
    assert {"467", "999"} <= unknown, "open_tree_attr, and one that no kernel has"
    for number, answer in seen["calls"].items():
        assert answer == ("ENOSYS" if number in {*unknown, "435"} else "EPERM"), number
    assert seen["new_user_namespace_by_clone"] == "EPERM"
    assert seen["outlive_the_supervisor"] == "EPERM"
    assert seen["hide_what_is_open"] == "EPERM"


def test_it_makes_no_socket_and_no_pair_of_them(seen: dict[str, Any]) -> None:
    assert set(seen["sockets"].values()) == {"EPERM"}


def test_it_changes_limits_priority_and_cores_of_itself_and_of_no_other_process(seen: dict[str, Any]) -> None:
    assert set(seen["of others"].values()) == {"EPERM"}
    assert set(seen["of itself"].values()) == {"done"}


def test_it_changes_no_mode_owner_time_or_attribute_of_a_neighbours_file(
    seen: dict[str, Any], level: str
) -> None:
    assert set(seen["attributes"].values()) == {"EROFS" if level == "full" else "EPERM"}


def test_a_pipe_holds_no_more_than_it_is_counted_with(seen: dict[str, Any]) -> None:
    assert set(seen["pipe"].values()) == {"EPERM"}


def test_its_limits_are_set(seen: dict[str, Any], level: str) -> None:
    lines = seen["limits"].splitlines()
    limits = {line[:26].strip(): line[26:].split()[0] for line in lines}
    assert limits["Max core file size"] == "0"
    assert limits["Max file size"] == str(2**20)
    assert limits["Max address space"] == str(2**31)
    assert limits["Max cpu time"] == "330", "and the supervisor ends it at 30"
    assert limits["Max open files"] == "4096"
    assert (limits["Max processes"] == "1024") == (level != "none")


def test_where_memory_runs_out_it_is_the_first_to_go(seen: dict[str, Any]) -> None:
    assert seen["oom_score_adj"].strip() == "1000"


def test_it_inherits_nothing_but_its_three_streams(seen: dict[str, Any]) -> None:
    assert set(seen["descriptors"]) <= {"0", "1", "2"}
    assert seen["descriptors"]["0"] == "/dev/null"
    assert seen["descriptors"]["1"].startswith("pipe:")
    assert seen["descriptors"]["2"].startswith("pipe:")


def test_its_environment_holds_no_secret_and_its_home_is_its_own(seen: dict[str, Any]) -> None:
    assert CANARY not in json.dumps(seen)
    assert seen["environment"]["HOME"] == f"{seen['cwd']}/home"
    assert seen["environment"]["TMPDIR"] == f"{seen['cwd']}/tmp"


@needs_landlock
def test_no_file_opens_but_its_own_and_the_program(seen: dict[str, Any]) -> None:
    assert seen["read"].pop("own folder") == "done"
    refused = {"EACCES", "ENOENT"}
    assert {name for name, answer in seen["read"].items() if answer not in refused} == set()


@needs_landlock
def test_it_writes_nowhere_else_and_runs_nothing_of_its_own_making(seen: dict[str, Any]) -> None:
    assert seen["write"].pop("own") == "done"
    assert {name for name, answer in seen["write"].items() if answer == "done"} == set()
    assert seen["run"] == {"own": "EACCES", "own program": "EACCES", "program": "done"}


@needs_landlock
def test_the_supervisor_shows_it_neither_memory_nor_environment(seen: dict[str, Any]) -> None:
    assert "done" not in seen["parent"].values()


def test_namespaces_are_its_own_where_the_level_says_so(seen: dict[str, Any], level: str) -> None:
    ours = {name: os.readlink(f"/proc/self/ns/{name}") for name in seen["namespaces"]}
    expected = {
        "full": {"net", "pid", "mnt", "ipc", "user"},
        "network": {"net", "mnt", "user"},
        "none": set(),
    }
    assert {name for name, place in seen["namespaces"].items() if place != ours[name]} == expected[level]
    if level != "none":
        assert seen["interfaces"] == ["lo"]
    if level == "full":
        assert len(seen["processes"]) == 2
        writable = [
            line.split()[1] for line in seen["mounts"].splitlines() if "ro" not in line.split()[3].split(",")
        ]
        assert set(writable) == {seen["cwd"], "/dev/shm"}
        *_, shared = [line for line in seen["mounts"].splitlines() if line.split()[1] == "/dev/shm"]
        assert f"size={2**31 // 4 // 1024}k" in shared.split()[3].split(",")


@needs_landlock
def test_in_shared_memory_it_finds_and_leaves_nothing(seen: dict[str, Any], level: str) -> None:
    """The machine's, where other servers keep memory of theirs, is not its own."""
    reported = seen["shared memory"]
    if level == "none":
        assert set(reported.values()) == {"EACCES"}
    else:
        assert reported["own"] == reported["names"] == "done"
        assert reported["found"] == "EACCES", "nothing was there"
    assert not Path("/dev/shm/of-the-child").exists()


def run_in_job(folder: Path, level: Any, command: list[str], **options: Any) -> str:
    """What a command writes when it is started as a child is, in the job's folder."""
    for place in (folder / "home", folder / "tmp"):
        place.mkdir(parents=True)
    limits = replace(LIMITS, memory_bytes=None)
    ended = subprocess.run(
        sandbox.guarded_command(
            command, folder, level, sandbox.rlimits(limits, JobKind.AUDIT, level), **options
        ),
        env=sandbox.environment(folder, limits, os.environ),
        cwd=folder,
        capture_output=True,
        text=True,
        start_new_session=True,
        check=False,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_pytorch_trains_under_it_with_processes_that_load(tmp_path: Path) -> None:
    """On the weakest level, which has the shortest list of calls and no shared memory."""
    folder = tmp_path / "job"
    make_pairs(folder / "pairs", 8, size=16)
    command = [sys.executable, str(PROBE.with_name("loader_child.py")), str(folder / "pairs")]
    assert run_in_job(folder, "none", command) == "2"


def test_a_call_that_the_operator_allows_goes_through_and_its_neighbours_do_not(tmp_path: Path) -> None:
    sync, syncfs = {"x86_64": (162, 306), "aarch64": (81, 267)}[platform.machine()]
    script = (
        "import ctypes, os\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        f"print(libc.syscall({sync}), libc.syscall({syncfs}, 0), ctypes.get_errno())\n"
    )
    command = [sys.executable, "-c", script]
    assert run_in_job(tmp_path / "a", "none", command, more_calls=(sync,)).split() == ["0", "-1", "1"]
    assert run_in_job(tmp_path / "b", "none", command).split() == ["-1", "-1", "1"]


def test_on_cuda_sockets_of_this_machine_can_be_made_and_no_others(tmp_path: Path) -> None:
    script = (
        "import socket\n"
        "socket.socket(socket.AF_UNIX).close()\n"
        "for family in (socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK):\n"
        "    try: socket.socket(family)\n"
        "    except PermissionError: print('denied')\n"
        "try: socket.socketpair()[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**24)\n"
        "except PermissionError: print('denied')\n"
    )
    for level in LEVELS:
        command = [sys.executable, "-c", script]
        assert run_in_job(tmp_path / level, level, command, uses_cuda=True).split() == ["denied"] * 4


TALK = """
import socket
server = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(server.getsockname())
client.sendall(b"heard")
heard = server.accept()[0]
print(heard.recv(5).decode(), *(name for _, name in socket.if_nameindex()))
for place in (("192.0.2.1", 80), ("10.0.0.1", 80)):
    try: socket.create_connection(place, timeout=5)
    except OSError as error: print("ENETUNREACH" if error.errno == 101 else error)
client.setblocking(False)
size = 0
try:
    while True: size += client.send(bytes(65536))
except BlockingIOError: print("full", size <= 2 * 212_992)
for end in (client, heard):
    for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
        try: end.setsockopt(socket.SOL_SOCKET, option, 2**24)
        except PermissionError: print("no more")
others = [
    (socket.AF_INET, socket.SOCK_DGRAM, 0), (socket.AF_INET, socket.SOCK_RAW, 1),
    (socket.AF_INET, socket.SOCK_STREAM, 132), (socket.AF_INET, socket.SOCK_STREAM, 262),
    (socket.AF_INET6, socket.SOCK_STREAM, 0), (socket.AF_UNIX, socket.SOCK_STREAM, 0),
    (socket.AF_NETLINK, socket.SOCK_RAW, 12), (socket.AF_VSOCK, socket.SOCK_STREAM, 0),
    (socket.AF_PACKET, socket.SOCK_RAW, 0),
]
for other in others:
    try: socket.socket(*other)
    except PermissionError: continue
    print("made", other)
try: socket.socketpair()
except PermissionError: print("no pair")
"""


def test_several_processes_of_one_job_speak_tcp_with_each_other_and_reach_nothing_else(
    tmp_path: Path, level: str
) -> None:
    command = [sys.executable, "-c", TALK]
    if level == "none":
        with pytest.raises(ValueError, match="the machine's"):
            run_in_job(tmp_path, level, command, talks_to_itself=True)
        return
    reported = run_in_job(tmp_path, level, command, talks_to_itself=True)
    assert reported.splitlines() == [
        "heard lo",
        *["ENETUNREACH"] * 2,
        "full True",
        *["no more"] * 4,
        "no pair",
    ]


def test_no_folder_that_the_command_names_opens_with_it(tmp_path: Path) -> None:
    for program in (["-m", "sanitizer", "run"], ["-I", "-S", "-c", ""], [str(PROBE)]):
        command = [sys.executable, *program, str(tmp_path), str(tmp_path / "a"), "/root"]
        found = dict(file_access.rules(tmp_path, command, {}, uses_cuda=False))
        assert "execute" not in found[str(tmp_path)]
        assert "/root" not in found
        assert (str(PROBE) in found) == (program == [str(PROBE)])


def test_no_place_that_holds_the_jobs_folder_opens_with_it(tmp_path: Path) -> None:
    named = {"LD_LIBRARY_PATH": f"{tmp_path}:{tmp_path / 'job' / 'lib'}", "CUDA_HOME": str(tmp_path / "cuda")}
    for name in ("job/lib", "cuda"):
        (tmp_path / name).mkdir(parents=True)
    found = dict(file_access.rules(tmp_path / "job", [sys.executable], named, uses_cuda=False))
    assert [place for place in found if place.startswith(str(tmp_path))] == [
        str(tmp_path / "cuda"),
        str(tmp_path / "job"),
    ]


def test_devices_of_accelerators_open_only_where_they_are_used(tmp_path: Path) -> None:
    plain = file_access.rules(tmp_path, ["/bin/true"], {}, uses_cuda=False)
    assert not [place for place, _ in plain if place.startswith(("/dev/nvidia", "/dev/dri", "/dev/kfd"))]
    assert [place for place, rights in plain if "make_reg" in rights] == [str(tmp_path)]
    assert not [place for place, rights in plain if "execute" in rights and "write_file" in rights]


def test_a_machine_whose_calls_are_not_known_gets_no_wrong_program() -> None:
    assert syscall_filter.assemble("riscv64", uses_cuda=False, shares_files=True) is None


def test_the_programs_of_both_machines_are_whole() -> None:
    for machine in syscall_filter.MACHINES:
        program = syscall_filter.assemble(machine, uses_cuda=False, shares_files=True)
        assert program is not None
        assert len(program) % 8 == 0
        assert len(program) // 8 < 4096, "the kernel takes no more lines"
