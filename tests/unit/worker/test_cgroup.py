"""What a container grants, read from trees of files as each version of the kernel's interface shows them."""

import os
from pathlib import Path

import pytest

from worker import cgroup

CORES = len(os.sched_getaffinity(0))


def tree(root: Path, files: dict[str, str]) -> tuple[Path, Path]:
    """The root of the cgroups, and the file that names the process's own."""
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root / "cgroup", root / "own"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"own": "0::/\n", "cgroup/cpu.max": "max 100000\n"}, CORES),
        ({"own": "0::/\n", "cgroup/cpu.max": "50000 100000\n"}, 1),
        ({"own": "0::/\n", "cgroup/cpu.max": "99900000 100000\n"}, CORES),
        ({"own": "0::/a.slice\n", "cgroup/a.slice/cpu.max": "10000 100000\n"}, 1),
        (
            {
                "own": "3:cpu,cpuacct:/docker/abc\n",
                "cgroup/cpu/cpu.cfs_quota_us": "100000\n",
                "cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            1,
        ),
        (
            {
                "own": "3:cpu:/\n",
                "cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            CORES,
        ),
        ({"own": ""}, CORES),
    ],
)
def test_cores_are_what_the_quota_leaves(tmp_path: Path, files: dict[str, str], expected: int) -> None:
    assert cgroup.num_cores(*tree(tmp_path, files)) == expected


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"own": "0::/\n", "cgroup/memory.events": "low 0\noom 3\noom_kill 2\n"}, 2),
        (
            {
                "own": "4:memory:/docker/abc\n",
                "cgroup/memory/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 5\n",
            },
            5,
        ),
        ({"own": "0::/\n"}, 0),
        ({"own": "\n", "cgroup/memory.events": "oom_kill many\n"}, 0),
    ],
)
def test_kills_for_memory_are_counted(tmp_path: Path, files: dict[str, str], expected: int) -> None:
    assert cgroup.oom_kills(*tree(tmp_path, files)) == expected


def test_here_it_can_be_asked() -> None:
    assert 1 <= cgroup.num_cores() <= CORES
    assert cgroup.oom_kills() >= 0
