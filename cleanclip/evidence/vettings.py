"""report.json of a vetting, held to itself. What lies beside it: `cleanclip.evidence.vetted_files`.

Counts and every sentence follow from the options and the inputs, a combined p-value from those of its scores.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from pydantic import ValidationError

from cleanclip.evidence.counted import close, same
from cleanclip.evidence.findings import Finding, misfit
from cleanclip.evidence.reading import malformed
from cleanclip.vocabulary.vet_plan import plan
from cleanclip.vocabulary.vet_report import ScoreSummary, VetReport, WorstSample, load_vet_report


def parse(content: bytes) -> VetReport:
    """Raises Malformed."""
    try:
        return load_vet_report(content)
    except ValidationError as error:
        raise malformed(error, "a vetting's report") from error


def check(report: VetReport) -> Iterator[Finding]:
    """Everything that the report alone can be held to."""
    kinds = [one.kind for one in report.data]
    if kinds[0] not in {"pairs", "labelled"} or kinds[1:] not in ([], ["trusted"]):
        yield misfit("data", "is not what a vetting reads")
    if report.trusted is not None and report.trusted.num_samples > report.options.max_trusted:
        yield misfit("data[1].num_samples", "counts more samples than max_trusted allows")
    names = [one.name for one in report.scores]
    planned = plan(report.options, has_anchor=report.anchor is not None)
    yield from same("scores", names, list(planned.made))
    for place, score in enumerate(report.scores):
        yield from _score(f"scores[{place}]", score, report)
    for place, measured in enumerate(report.measured):
        if measured.recall.n > report.num_calibration:
            yield misfit(f"measured[{place}].recall.n", "counts more samples than are trusted")
    yield from _worst(report, names)


def _score(where: str, score: ScoreSummary, report: VetReport) -> Iterator[Finding]:
    if (score.trusted is not None) != (report.basis == "p_values"):
        yield misfit(f"{where}.trusted", "does not agree with the basis")
    if score.trusted is not None:
        yield from same(f"{where}.trusted.n", score.trusted.n, report.num_calibration)


def _worst(report: VetReport, names: Sequence[str]) -> Iterator[Finding]:
    yield from same("worst", len({one.index for one in report.worst}), len(report.worst))
    if any(later.combined < one.combined - 1e-12 for one, later in pairwise(report.worst)):
        yield misfit("worst", "is not in order, the worst first")
    for place, sample in enumerate(report.worst):
        yield from _sample(f"worst[{place}]", sample, report, names)


def _sample(where: str, sample: WorstSample, report: VetReport, names: Sequence[str]) -> Iterator[Finding]:
    if sample.index >= report.vetted.num_samples:
        yield misfit(f"{where}.index", "is beyond the end of the dataset")
    yield from same(f"{where}.scores", [one.name for one in sample.scores], list(names))
    shares = [one.p for one in sample.scores]
    if not all(is_share(p, report) for p in shares):
        yield misfit(f"{where}.scores", "hold a p-value or rank that so many samples cannot give")


def is_share(p: float, report: VetReport) -> bool:
    """Whether so many samples can give such a p-value, or rank as a share: a whole number of them."""
    num = report.set_aside.of if report.basis == "ranks" else report.num_calibration + 1
    return 1 <= round(p * num) <= num and close(p * num, round(p * num))
