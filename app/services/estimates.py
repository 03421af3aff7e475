"""How much a job computes, and how long earlier jobs took for as much. Plain arithmetic: asks no database.

An estimate is what earlier jobs took for one unit of the same work, times the units of this one: the fastest
of them gives the lower end, the slowest the upper. Where there is none, a table says what two cores of a
processor take (`shipped_span`). A scan also takes a
time that does not grow with its passes (it embeds 20,000 words): only scans of similar size tell of one.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from app.domain.states import JobPhase
from cleanclip.kinds.text_scan import num_texts
from cleanclip.vocabulary.attack_options import of_same_pixels
from cleanclip.vocabulary.cautions import num_updates
from cleanclip.vocabulary.control import SEARCHES
from cleanclip.vocabulary.device_plan import CAPTION_SHARE, inversion_flop, training_flop
from cleanclip.vocabulary.model_cost import ModelCost
from cleanclip.vocabulary.recipe import AuditOptions, AuditPrecision, Recipe
from cleanclip.vocabulary.scan_cost import WORDS_OF_A_SCAN, num_ascents, num_passes, passes_of_searches
from cleanclip.vocabulary.scan_options import MIN_SEARCHED, CollapseDetectorOptions, ScanOptions
from cleanclip.vocabulary.text_scan_options import TextScanOptions
from cleanclip.vocabulary.vet_options import VetOptions
from cleanclip.vocabulary.vet_plan import num_embedded

Unit = Literal["bytes", "images", "samples", "passes", "texts", "jobs"]

_SPECIAL: Mapping[JobPhase, Unit] = {
    JobPhase.STAGE: "bytes",
    JobPhase.FINETUNE: "samples",
    JobPhase.SCAN: "passes",
    JobPhase.TEXT_SCAN: "texts",
    JobPhase.PUBLISH: "jobs",
}
UNIT_OF: Mapping[JobPhase, Unit] = {phase: _SPECIAL.get(phase, "images") for phase in JobPhase}
"""What the time of a phase grows with. Audits and vettings count images that pass through a model; a pass
costs the same before and after. A scan counts images that pass forward and backward, a text scan texts. What
is published is files of the size of the model: once a job."""


_SIMILAR = 4
"""So many times larger or smaller is a scan that tells how long another takes."""
_PASSES_OF_A_SAMPLE = 4
"""That an update costs for each of its samples: forward and backward, and the caption."""


@dataclass(frozen=True, kw_only=True)
class Load:
    """What decides how much a job computes. None: not known."""

    num_bytes: int | None
    num_labelled: int | None
    num_training: int | None = None
    num_retrieval: int | None = None
    recipe: Recipe | None = None
    audit: AuditOptions | None = None
    scan: ScanOptions | None = None
    num_classes: int | None = None
    num_found: int = 0
    """Of the attacks that a scan has yet to find: the most."""
    text_scan: TextScanOptions | None = None
    vet: VetOptions | None = None
    num_trusted: int | None = None
    """Of a vetting, whose samples are `num_training`."""
    has_anchor: bool = False

    def precision(self, phase: JobPhase) -> AuditPrecision:
        """In which images pass through the model to be measured."""
        if self.scan is not None and phase is JobPhase.SCAN:
            return self.scan.precision
        return "fp32" if self.audit is None else self.audit.precision

    def precision_on_gpu(self, phase: JobPhase) -> AuditPrecision:
        """As `precision`; of a training what the recipe's `auto` means there."""
        if self.recipe is None or phase not in {JobPhase.FINETUNE, JobPhase.REBOUND}:
            return self.precision(phase)
        return "fp32" if self.recipe.precision == "fp32" else "bf16"

    def flop(self, phase: JobPhase, cost: ModelCost) -> float | None:
        """Floating-point operations of a phase that computes; None: its amount is not known."""
        amount, recipe = self.amount(phase), self.recipe
        if amount is None:
            return None
        if phase is JobPhase.FINETUNE:
            assert recipe is not None, "a cleaning has the phase"
            return amount * training_flop(cost, recipe) + inversion_flop(cost, recipe)
        if phase is JobPhase.TEXT_SCAN:
            return (self.num_images(phase) or 0) * cost.image.flop + amount * CAPTION_SHARE * cost.text.flop
        passes, searches = amount * (3 if UNIT_OF[phase] == "passes" else 1), self._searches(phase)
        return cost.image.flop * (passes - num_ascents(searches)) + self._num_texts(phase) * (
            CAPTION_SHARE * cost.text.flop
        )

    def _searches(self, phase: JobPhase) -> tuple[CollapseDetectorOptions, ...]:
        if phase is JobPhase.SCAN and self.scan is not None and "collapse" in self.scan.detectors:
            return (self.scan.collapse,)
        is_searched = phase is JobPhase.FINAL_AUDIT and (self.num_labelled or 0) >= MIN_SEARCHED
        return SEARCHES if is_searched else ()

    def _num_texts(self, phase: JobPhase) -> int:
        """Of classes, with ImageNet's 80 templates where the order names none; and the words of a scan."""
        options = self.scan if phase is JobPhase.SCAN else self.audit
        if options is None or phase is JobPhase.REBOUND:
            return 0
        words = WORDS_OF_A_SCAN if isinstance(options, ScanOptions) and options.vocabulary else 0
        return (self.num_classes or 0) * len(options.templates or range(80)) + words

    def passes(self, phase: JobPhase) -> int:
        """How often each labelled image passes through a model: without a trigger and with each different
        one; once more for a linear probe; after cleaning once more through the model that came in."""
        assert self.audit is not None, "only an audit measures so"
        more = (self.audit.linear_probe is not None) + (phase is JobPhase.FINAL_AUDIT)
        return 1 + len(of_same_pixels(self.audit.attacks)) + self.num_found + more

    def amount(self, phase: JobPhase) -> int | None:
        """Of the phase's unit; None: not known."""
        match UNIT_OF[phase]:
            case "bytes":
                return self.num_bytes
            case "images":
                is_rebound = phase is JobPhase.REBOUND
                return self._num_rebound_images() if is_rebound else self._num_images(phase)
            case "samples":
                if self.recipe is None or self.num_training is None:
                    return None
                return num_updates(self.recipe, self.num_training) * self.recipe.batch_size
            case "passes":
                return None if self.scan is None else num_passes(self.scan, self.num_labelled)
            case "texts":
                return None if self.text_scan is None else num_texts(self.text_scan)
            case "jobs":
                return 1

    def num_images(self, phase: JobPhase) -> int | None:
        """That are decoded for it: of a text scan those of the class means, of others what is counted."""
        if self.text_scan is None or phase is not JobPhase.TEXT_SCAN:
            return self.amount(phase)
        most = self.text_scan.num_images
        return most if self.num_labelled is None else min(self.num_labelled, most)

    def _num_rebound_images(self) -> int | None:
        """Passes through the copies that are trained and measured: at most, as if every attack had worked."""
        assert self.audit is not None, "only a cleaning has the phase"
        rebound, recipe, num_attacks = self.audit.rebound, self.recipe, len(self.audit.attacks)
        if rebound is None or recipe is None or self.num_labelled is None:
            return None
        trained = rebound.num_updates(num_attacks) * recipe.batch_size * _PASSES_OF_A_SAMPLE
        sample = min(self.num_labelled, rebound.max_images)
        measured = rebound.num_points(num_attacks) * sample * (1 + len(of_same_pixels(self.audit.attacks)))
        if rebound.poisons:
            measured += 2 * num_attacks * (1 + len(rebound.steps)) * sample * 2
        return trained + measured

    def _num_images(self, phase: JobPhase) -> int | None:
        if phase is JobPhase.VET and self.vet is not None and self.num_training is not None:
            return num_embedded(self.vet, self.num_training, self.num_trusted, has_anchor=self.has_anchor)
        if self.num_labelled is None or self.audit is None:
            return None
        pairs = min(self.num_retrieval or 0, self.audit.max_retrieval_pairs)
        audited = self.num_labelled * self.passes(phase) + pairs * (
            1 + len(self.audit.attacks) + self.num_found
        )
        searches = phase is JobPhase.FINAL_AUDIT and self.num_labelled >= MIN_SEARCHED
        return audited + (3 * passes_of_searches(SEARCHES, self.num_labelled) if searches else 0)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A phase of an earlier job: how long it took for how much."""

    job_id: str
    unit: Unit
    method: str | None
    """Of a fine-tuning; other phases take as long whatever the method is."""
    precision: AuditPrecision = "fp32"
    """Of an audit or a scan."""
    seconds: float
    amount: int


@dataclass(frozen=True, kw_only=True)
class Span:
    """Seconds, from the fastest to the slowest of `num_jobs` earlier jobs; 0: of the shipped table."""

    low_s: float
    high_s: float
    num_jobs: int


def span_of(
    amount: int | None,
    unit: Unit,
    method: str | None,
    measured: Sequence[Measured],
    *,
    precision: AuditPrecision = "fp32",
) -> Span | None:
    """None where the amount is not known or nothing was measured.

    How much of a scan's time grows with its passes is not known: the ends are as if none and as if all did.
    """
    alike = [
        one
        for one in measured
        if (one.unit == unit and one.amount > 0)
        and (unit != "samples" or one.method == method)
        and (unit not in {"images", "passes"} or one.precision == precision)
    ]
    if amount is not None and unit == "passes":
        alike = [one for one in alike if amount / _SIMILAR <= one.amount <= amount * _SIMILAR]
    if amount is None or not alike:
        return None
    seconds = [one.seconds / one.amount * amount for one in alike]
    if unit == "passes":
        seconds += [one.seconds for one in alike]
    return Span(low_s=min(seconds), high_s=max(seconds), num_jobs=len({one.job_id for one in alike}))


_S_FIXED = (0.0005, 0.003)
"""To decode and move an image, at least and at most."""
_GFLOPS = (450.0, 40.0)
"""Of two cores: with AMX, and without. A test holds the table to docs/performance.md."""


def shipped_span(num_images: int | None, flop: float | None) -> Span | None:
    """What two cores of a processor take, by the table that is shipped; `num_jobs` 0. A GPU takes less."""
    if num_images is None or flop is None:
        return None
    low_s, high_s = (
        num_images * fixed_s + flop / 1e9 / rate for fixed_s, rate in zip(_S_FIXED, _GFLOPS, strict=True)
    )
    return Span(low_s=low_s, high_s=high_s, num_jobs=0)


def sum_of(spans: Iterable[Span | None]) -> Span | None:
    """Of all that are known; None where none is. As many jobs as the least known phase has."""
    known = [span for span in spans if span is not None]
    if not known:
        return None
    return Span(
        low_s=sum(span.low_s for span in known),
        high_s=sum(span.high_s for span in known),
        num_jobs=min(span.num_jobs for span in known),
    )
