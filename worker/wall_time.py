"""How long a job's process may take, worked out from its order, its rows and the model's size.

Nothing that the process says of itself counts. Each attempt has all of it: time in earlier attempts, in
pauses and in staging does not count.
"""

from cleanclip.kinds.catalogue import KINDS
from cleanclip.vocabulary.model_cost import gflop_per_pass
from worker.staging.stage import Staged

FLOOR_S = 7200.0
"""For loading, compiling, and all that does not grow with the rows."""
_SLOWEST_GFLOPS = {False: 4.0, True: 200.0}
"""Of a processor and of a GPU: a tenth of what two cores do, and less than a tenth of the smallest GPU."""
_S_PER_PASS = 0.05
"""To read and decode an image, and to ask for the work."""
_SMALLEST_SAMPLE_BYTES = 1024
"""Two members of a tar, each with a header. A set whose samples were not counted has no more than that."""


def wall_limit_s(staged: Staged, *, uses_cuda: bool, factor: float) -> float | None:
    """`factor` is the operator's. None for the service's own jobs, whose limit is that of `ChildLimits`."""
    if staged.known is None:
        return None
    s_per_pass = _S_PER_PASS + gflop_per_pass(staged.known.config) / _SLOWEST_GFLOPS[uses_cuda]
    most = sum(one.size_bytes for one in staged.received) // _SMALLEST_SAMPLE_BYTES
    sizes = {
        str(one["role"]): most if one["num_samples"] is None else int(one["num_samples"])
        for one in staged.datasets
    }
    return factor * (FLOOR_S + KINDS[staged.spec.kind].most_passes(staged.spec, sizes) * s_per_pass)
