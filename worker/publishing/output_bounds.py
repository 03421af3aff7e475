"""How much a job can rightly leave, worked out from the size of what it was given.

The limit of what a child may write at all (`sandbox`) is one for every model; a child that has been
taken over would fill the store up to it with files that claim to be weights.
"""

from collections.abc import Sequence
from pathlib import PurePosixPath

from app.domain.states import JobKind
from cleanclip.kinds.catalogue import KINDS
from cleanclip.vocabulary.jobspec import CHECKPOINT_PATH, UPLOAD_PATH
from worker.staging.stage import Received

REPORT_BYTES = 64 * 2**20
"""For report, pages, curve and samples; of any job."""
_STATE = 10
"""Weights and two moments, all in float32, for weights that came in as float16: six, and the position."""
_NUM_STATES = 3
"""Two that are kept, and one that is being written (`training.state`)."""
_SCRATCH_BYTES = 2 * 2**30


def output_bytes(kind: JobKind, received: Sequence[Received]) -> int:
    """The most that all outputs of the job can have together."""
    # A line for a sample has fewer bytes than the headers of its two files in a tar have.
    lists = sum(one.size_bytes for one in received) if KINDS[kind].lists_samples else 0
    return KINDS[kind].weights_factor * _weights_bytes(received) + lists + REPORT_BYTES


def state_bytes(kind: JobKind, received: Sequence[Received]) -> int:
    """The most that one state can have."""
    if (most := KINDS[kind].max_state_bytes) is not None:
        return most
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
