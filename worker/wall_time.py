"""How long a job's process may take, worked out from its order, its rows and the model's size.

Nothing that the process says of itself counts. Each attempt has all of it: time in earlier attempts, in
pauses and in staging does not count.
"""

from collections.abc import Mapping

from cleanclip.vocabulary.attack_options import of_same_pixels
from cleanclip.vocabulary.cautions import num_updates
from cleanclip.vocabulary.control import SEARCHES
from cleanclip.vocabulary.jobspec import AuditSpec, JobSpec, SanitizeSpec, ScanSpec, VetSpec
from cleanclip.vocabulary.model_cost import gflop_per_pass
from cleanclip.vocabulary.recipe import AuditOptions, UARRecipe
from cleanclip.vocabulary.scan_cost import WORDS_OF_A_SCAN, passes_of_searches
from cleanclip.vocabulary.scan_cost import num_passes as num_scan_passes
from cleanclip.vocabulary.vet_plan import num_embedded
from worker.staging.stage import Staged

FLOOR_S = 7200.0
"""For loading, compiling, and all that does not grow with the rows."""
_SLOWEST_GFLOPS = {False: 4.0, True: 200.0}
"""Of a processor and of a GPU: a tenth of what two cores do, and less than a tenth of the smallest GPU."""
_S_PER_PASS = 0.05
"""To read and decode an image, and to ask for the work."""
_SETTLING_PASSES = 32
"""Of each labelled image, to measure heads and activation: the most settings that are plausible, and more."""
_TRAINING_PASSES = 12
"""Of each sample of an update: forward and backward, twice, with its text, and a teacher."""
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
    return factor * (FLOOR_S + num_passes(staged.spec, sizes) * s_per_pass)


def num_passes(spec: JobSpec, sizes: Mapping[str, int]) -> int:
    """Passes of an image, at most, through the model; `sizes`: role → samples."""
    labelled, training = sizes.get("labelled", 0), sizes.get("pairs") or sizes.get("training") or 0
    match spec:
        case AuditSpec():
            return _audit_passes(spec.audit, sizes)
        case SanitizeSpec():
            searching = 3 * passes_of_searches(SEARCHES, labelled)
            return (
                2 * _audit_passes(spec.audit, sizes) + searching + _cleaning_passes(spec, labelled, training)
            )
        case ScanSpec():
            return (
                3 * (num_scan_passes(spec.scan, labelled) or 0)
                + WORDS_OF_A_SCAN
                + labelled * _SETTLING_PASSES
            )
        case VetSpec():
            trusted = sizes.get("trusted")
            return num_embedded(spec.vet, training or labelled, trusted, has_anchor=spec.has_anchor)
        case _:
            return 0


def _audit_passes(audit: AuditOptions, sizes: Mapping[str, int]) -> int:
    each = 2 + len(of_same_pixels(audit.attacks)) + (audit.linear_probe is not None) + _SETTLING_PASSES
    pairs = min(sizes.get("retrieval", 0), audit.max_retrieval_pairs)
    return sizes.get("labelled", 0) * each + pairs * (1 + len(audit.attacks))


def _cleaning_passes(spec: SanitizeSpec, labelled: int, training: int) -> int:
    recipe, audit = spec.recipe, spec.audit
    trained, measured = num_updates(recipe, training) * recipe.batch_size, 0
    if isinstance(recipe, UARRecipe):
        num_steps = sum(stage.inversion_steps for stage in recipe.stages())
        trained += num_steps * recipe.num_inverted * recipe.batch_size
    if audit.rebound is not None:
        num_attacks = len(audit.attacks)
        trained += audit.rebound.num_updates(num_attacks) * recipe.batch_size
        sample = min(labelled, audit.rebound.max_images)
        measured = 2 * audit.rebound.num_points(num_attacks) * sample * (1 + num_attacks)
    return trained * _TRAINING_PASSES + measured
