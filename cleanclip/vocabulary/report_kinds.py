"""The reports that there are, one for each kind of job that customers order. Free of torch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Annotated, Any, Literal

from annotated_types import MaxLen
from pydantic import TypeAdapter

from cleanclip.vocabulary import report_inputs
from cleanclip.vocabulary.measures import AS_WRITTEN, derived
from cleanclip.vocabulary.report import Report, load_json
from cleanclip.vocabulary.scan_report import ScanReport, load_scan
from cleanclip.vocabulary.strict_json import load_written
from cleanclip.vocabulary.vet_report import VetReport, load_vet_report

Sentence = Annotated[str, MaxLen(2000)]


@AS_WRITTEN
@dataclass(frozen=True, kw_only=True)
class PlainReport:
    """report.json of a kind of job that has no pages of its own. A subclass gives `kind` and `options` their
    types, and has the counts from which headline, rows and warnings follow."""

    kind: str
    schema_version: Literal[1] = 1
    created_at: datetime
    seed: int
    origin: report_inputs.Origin | None = None
    checkpoint: report_inputs.CheckpointInput
    data: Annotated[tuple[report_inputs.DataInput, ...], MaxLen(4)]
    """In the order of the kind's inputs."""
    options: Any
    environment: report_inputs.Environment
    anchor: report_inputs.CheckpointInput | None = None
    """Another model that was read, of a kind that may have one."""

    @derived
    def headline(self) -> Sentence:
        """What it comes to, in a sentence without a full stop."""
        raise NotImplementedError

    @derived
    def rows(self) -> Annotated[tuple[tuple[Sentence, Sentence], ...], MaxLen(100)]:
        """What was found: a label and its figure, with sample count and interval where it is a share."""
        raise NotImplementedError

    @derived
    def warnings(self) -> report_inputs.Sentences:
        """What a reader must know of how it was made."""
        return tuple(one for data in self.data for one in data.skipped_words)

    @property
    def limits(self) -> tuple[str, ...]:
        """What its figures do not show, whatever they are."""
        return ()

    @derived
    def vouched_for(self) -> str:
        """What proves the origin of the file."""
        return report_inputs.WHO_VOUCHES


AnyReport = Report | ScanReport | VetReport | PlainReport


def verdict_of(report: AnyReport) -> dict[str, str] | None:
    """What a report comes to: outcome and reason. None of a kind that judges no model."""
    verdict = getattr(report, "verdict", None)
    return None if verdict is None else {"outcome": verdict.outcome, "reason": verdict.reason}


def dump_plain(report: PlainReport) -> bytes:
    """UTF-8 JSON, indented; floats in full precision."""
    return TypeAdapter(type(report)).dump_json(report, indent=2)


def load_plain(kind: type[PlainReport], data: bytes | str) -> PlainReport:
    """Raises pydantic.ValidationError, also where what follows from the counts is written otherwise."""
    return load_written(TypeAdapter(kind), data)


_LOADERS: dict[str, Callable[[bytes], AnyReport]] = {"scan": load_scan, "vet": load_vet_report}


def loader(kind: str, plain: type[PlainReport] | None) -> Callable[[bytes], AnyReport]:
    """What reads the report of a kind of job, which is an audit or a cleaning where nothing else is said.
    Raises pydantic.ValidationError."""
    return _LOADERS.get(kind, load_json) if plain is None else partial(load_plain, plain)


def digests(report: PlainReport) -> Sequence[tuple[str, str]]:
    """The digests of what was read, for people."""
    data = [(f"Data, {one.kind}", one.sha256) for one in report.data]
    models = [("Weights", report.checkpoint), ("Weights of the anchor", report.anchor)]
    return [*data, *((title, one.weights_sha256) for title, one in models if one is not None)]
