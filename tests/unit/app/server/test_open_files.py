"""A process may open as many files as it takes connections, and some more."""

import subprocess
import sys

import pytest

SCRIPT = """
import resource, sys
from app.server.serving_options import allow_open_files
soft, hard, num = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
allow_open_files(num)
print(*resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.mark.parametrize(
    ("soft", "hard", "num_connections", "then"),
    [(200, 2000, 1000, 1256), (200, 800, 1000, 800), (1500, 2000, 1000, 1500)],
)
def test_the_limit_is_raised_where_it_is_too_low_and_can_be(
    soft: int, hard: int, num_connections: int, then: int
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(soft), str(hard), str(num_connections)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == f"{then} {hard}"
    assert ("too_few_open_files" in done.stdout + done.stderr) is (then < num_connections)
