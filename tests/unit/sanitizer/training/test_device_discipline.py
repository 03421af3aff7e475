"""Inner loops on a device without numbers: no tensor of the CPU gets in, one wait a step, no copy waited for.

Audits, scans and steps of all methods, both towers, in one process of its own: `on_fake_gpu`. What a real GPU
computes is tests/gpu's.
"""

import json
import subprocess
import sys

import pytest

from tests.fixtures import on_fake_gpu
from tests.suites import mostly_full

PLANTED = {
    "planted: a tensor of the CPU": "Please convert all Tensors to FakeTensors",
    "planted: a number that is read": "DataDependentOutputException",
    "planted: a copy that is waited for": "a copy of [3]",
    "planted: numbers made on the device": "tensor of the device",
}


CASES = sorted(on_fake_gpu.cases().keys() - PLANTED.keys())
DAILY = ("resnet, chunks of 4, bfloat16", "vit, chunks of None, float32")
"""Of each method's steps."""


@pytest.fixture(scope="module")
def wrong(request: pytest.FixtureRequest) -> dict[str, str]:
    """Of each case that these tests ask for what was wrong with it."""
    asked = [item for item in request.session.items if item.path == request.path]
    cases = [item.callspec.params["case"] for item in asked if "wrong" in item.fixturenames]
    done = subprocess.run(
        [sys.executable, "-m", "tests.fixtures.on_fake_gpu", json.dumps(cases)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    "case",
    mostly_full(CASES, daily=[one for one in CASES if not one.startswith("step") or one.endswith(DAILY)]),
)
def test_nothing_that_a_gpu_would_fail_by_or_wait_for(wrong, case):
    assert wrong[case] == ""


@pytest.mark.slow
@pytest.mark.parametrize("case", sorted(PLANTED))
def test_what_is_planted_is_found(wrong, case):
    assert PLANTED[case] in wrong[case]


def test_every_planted_fault_is_expected():
    assert {f"planted: {name}" for name in on_fake_gpu.PLANTED} == PLANTED.keys()
