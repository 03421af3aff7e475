"""Batches from other processes: in order, as often as asked, with the errors of whoever builds."""

import os
import signal
from pathlib import Path

import pytest
import torch

from cleanclip.vocabulary.errors import DatasetRejected
from sanitizer.data.loader_processes import BuiltAhead


def build(position: int) -> tuple[int, int, torch.Tensor]:
    if position == 13:
        raise ValueError("the thirteenth")
    if position == 14:
        raise DatasetRejected("code", "What is wrong.", "What to do.")
    if position == 15:
        os.kill(os.getpid(), signal.SIGKILL)
    return position, os.getpid(), torch.full((3, 100_000), float(position))


def test_they_come_in_order_from_processes_that_live_on_also_after_a_pass_that_was_left() -> None:
    batches = BuiltAhead(build, range(11), 3)
    first = next(iter(batches))
    assert first[0] == 0
    seen = [list(batches) for _ in range(2)]
    for pass_ in seen:
        assert [position for position, _, _ in pass_] == list(range(11))
        assert all((tensor == position).all() for position, _, tensor in pass_)
    pids = {pid for pass_ in seen for _, pid, _ in pass_}
    assert len(pids) == 3
    assert first[1] in pids
    assert os.getpid() not in pids
    seen[0][0][2].add_(1)  # theirs to change
    del batches
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]


@pytest.mark.parametrize(
    ("bad", "error", "said"),
    [
        (13, ValueError, "the thirteenth"),
        (14, RuntimeError, "What is wrong"),  # cannot be made again from what it says
        (15, RuntimeError, "ended by itself .status -9"),
    ],
)
def test_what_goes_wrong_there_is_raised_here(bad: int, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        list(BuiltAhead(build, [1, 2, bad, 3], 2))
