"""How much a job can rightly leave, worked out from the size of what it was given. Knows no file.

The limit of what a child may write at all (`sandbox`) is one for every model; a child that has been
taken over would fill the store up to it with files that claim to be weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

from app.domain.states import JobKind
from cleanclip.spec.jobspec import CHECKPOINT_PATH, MAX_SCAN_STATE_BYTES, UPLOAD_PATH
from worker.staging.stage import Received

REPORT_BYTES = 64 * 2**20
"""For report, pages, curve and samples; of any job."""
_WEIGHTS = {JobKind.INSPECT: 4, JobKind.SANITIZE: 4}
"""Times the weights that came in: those of an upload may be stored once and used twice; cleaned ones are
float32, twice as large as what came in as float16, and may be left in the uploaded layout as well."""
_STATE = 10
"""Weights and two moments, all in float32, for weights that came in as float16: six, and the position."""
_NUM_STATES = 3
"""Two that are kept, and one that is being written (`training.state`)."""
_SCRATCH_BYTES = 2 * 2**30


def output_bytes(kind: JobKind, received: Sequence[Received]) -> int:
    """The most that all outputs of the job can have together."""
    # A vetting's lists name each sample in fewer bytes than the headers of its two files in a tar have.
    lists = sum(one.size_bytes for one in received) if kind is JobKind.VET else 0
    return _WEIGHTS.get(kind, 0) * _weights_bytes(received) + lists + REPORT_BYTES


def state_bytes(kind: JobKind, received: Sequence[Received]) -> int:
    """The most that one state can have."""
    if kind is JobKind.SCAN:
        return MAX_SCAN_STATE_BYTES
    return _STATE * _weights_bytes(received) + REPORT_BYTES


def written_bytes(kind: JobKind, received: Sequence[Received]) -> int:
    """The most that a child of the job can have on the disk: outputs, states, and scratch."""
    return output_bytes(kind, received) + _NUM_STATES * state_bytes(kind, received) + _SCRATCH_BYTES


def _weights_bytes(received: Sequence[Received]) -> int:
    folder = PurePosixPath(CHECKPOINT_PATH)
    return sum(
        one.size_bytes
        for one in received
        if one.path == UPLOAD_PATH or PurePosixPath(one.path).parent == folder
    )
