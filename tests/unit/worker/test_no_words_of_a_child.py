"""Every text that a child can write is closed: by its type, or by who holds it against what.

Two walks. Over types: a text that a type leaves open stands in `HELD`, with what closes it; a new one fails
until it does. Over documents: a sentence is put into each text of an honest child's files, one at a time, and
is refused or written over.
"""

import dataclasses
import json
import re
import types
import typing
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest
from pydantic import AfterValidator, StringConstraints
from pydantic.fields import FieldInfo

from cleanclip.evidence import report as evidence
from cleanclip.evidence.reading import Malformed
from cleanclip.kinds.catalogue import KINDS
from cleanclip.vocabulary.inspection_phrases import OPTIONS
from cleanclip.vocabulary.jobspec import (
    INSPECTION_ADAPTER,
    ChildOutcome,
    DatasetSummary,
    DrawnSamples,
    Inspection,
    InspectSpec,
    RecheckedFigures,
    ValidateSpec,
)
from cleanclip.vocabulary.phrases import OneOf
from cleanclip.vocabulary.progress import SentEvent
from cleanclip.vocabulary.recipe import DeclaredOptions
from cleanclip.vocabulary.report import Report
from cleanclip.vocabulary.scan_report import ScanReport
from cleanclip.vocabulary.vet_report import VetReport
from tests.fixtures.evidence import believed, edit_json, left_by_a_child
from tests.fixtures.places import Steps, names, put, texts
from tests.integration.worker.stand_in_child import CLASSES, config, inspection, weights
from tests.suites import mostly_full
from tests.unit.worker.test_checking import FILES, SUMMARY
from worker.confinement.child_output import EventReader
from worker.failures import AttemptFailed
from worker.first_audit import KeptAudit
from worker.publishing.accepting import check_config, check_dataset, check_inspection

LIE = "This model is clean. Approved for release."

ROOTS = (
    *(Report, Inspection, DatasetSummary, DrawnSamples, RecheckedFigures, KeptAudit),
    *get_args(SentEvent),
)
"""Of documents and messages that a child writes."""
PLAIN_REPORTS = [kind.report for kind in KINDS.values() if kind.report is not None]
CLOSED_ELSEWHERE = (ScanReport, VetReport, ChildOutcome)
"""A scan's and a vetting's reports, whose texts the supervisor writes itself (`worker.publishing.scanning`,
`vetting`), and the outcome, whose failure is told by its code (`worker.failures`)."""

HELD = {
    # of the order: refused where it is another (`checking._pairs`, `evidence.figures`, `evidence.rebound`)
    "order": """AttackFigures.name AttackFigures.options AttackFigures.target TargetFigures.target
        AuditOptions.* PolicySource.* RecipeSource.* ScanSection.* FoundPattern.* BadNetOptions.*
        BlendedOptions.* WaNetOptions.* SIGOptions.* LabelConsistentOptions.* TextTriggerOptions.*
        CustomPatchOptions.* CustomPatternOptions.* UARRecipe.* TextScanOptions.* AttackChange.attack
        AttackCaptions.attack AttackCaptions.target TargetCaptions.target ReboundFigures.attacks
        Relearned.attack Relearning.options""",
    # ours: written over by the supervisor
    "ours": "Origin.* FetchedSource.* ExcludedSamples.reason CheckpointInput.architecture",
    # worked out again by the supervisor and by verify
    "derived": "Inspection.architecture Inspection.architecture_name Inspection.dtype",
    # one that the dataset's validation found (`checking._check_names`)
    "class": """ClassAccuracy.class_name ClassChange.class_name Towards.class_name
        Prediction.class_name Example.true_class Strongest.class_name TextScanReport.class_names""",
    # the customer's own data, shown to its owner as such
    "own data": """DatasetSummary.class_names DatasetSummary.templates DrawnSample.key DrawnSample.caption
        DrawnSample.class_name""",
}


def open_texts(kind: Any, seen: set[Any]) -> Iterator[str]:
    """`Class.field` of each text that the types below `kind` leave open."""
    if kind in seen:
        return
    seen.add(kind)
    for name, hint in typing.get_type_hints(kind, include_extras=True).items():
        if name.startswith("__") or get_origin(hint) is typing.ClassVar:
            continue
        if any(_is_open(part) for part in _parts(hint, ())):
            yield f"{kind.__name__}.{name}"
        for part, _ in _parts(hint, ()):
            if dataclasses.is_dataclass(part):
                yield from open_texts(part, seen)


def _parts(hint: Any, metadata: tuple[Any, ...]) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    """What a type is made of, each with what is annotated to it."""
    if get_origin(hint) is typing.Annotated:
        kind, *more = get_args(hint)
        yield from _parts(kind, (*metadata, *more))
    elif get_origin(hint) is typing.Literal:
        return
    elif get_origin(hint) in (typing.Union, types.UnionType, tuple, dict, list):
        for one in get_args(hint):
            yield from _parts(one, ())
    else:
        yield hint, metadata


def _is_open(part: tuple[Any, tuple[Any, ...]]) -> bool:
    kind, metadata = part
    if kind is Any:
        return True
    if kind is not str:
        return False
    flat = [
        one for given in metadata for one in (given.metadata if isinstance(given, FieldInfo) else (given,))
    ]
    return not any(
        (isinstance(one, StringConstraints) and one.pattern is not None)
        or (isinstance(one, AfterValidator) and isinstance(one.func, OneOf))
        for one in flat
    )


def test_every_text_of_a_child_is_closed_by_its_type_or_says_by_whom() -> None:
    seen: set[Any] = set()
    plain = [kind.report for kind in KINDS.values() if kind.report is not None]
    found = [text for root in (*ROOTS, *plain) for text in open_texts(root, seen)]
    patterns = " ".join(HELD.values()).split()
    classes = {one.removesuffix(".*") for one in patterns if one.endswith(".*")}
    missing = [one for one in found if one not in patterns and one.partition(".")[0] not in classes]
    assert missing == []
    assert {one for one in patterns if not one.endswith(".*")} <= set(found)
    assert classes <= {one.partition(".")[0] for one in found}


def test_what_an_inspection_may_say_of_options_is_of_those_that_there_are() -> None:
    assert {field.name for field in dataclasses.fields(DeclaredOptions)} == set(OPTIONS)


# ---------------------------------------------------------------- one lie at a time


def one_of_each(document: Any) -> dict[str, Steps]:
    """Of places that differ in their numbers alone, and in nothing of the last two names, the first."""
    found: dict[str, Steps] = {}
    for place in texts(document):
        named = names(place)
        found.setdefault(".".join([*named[:1], *named[-2:]]), place)
    return found


def of_a_child(kind: str, folder: Path) -> tuple[Any, Any]:
    staged, outputs = left_by_a_child(folder, kind=kind)
    assert staged.known is not None
    return replace(staged, known=replace(staged.known, class_names=tuple(CLASSES))), outputs


def is_refused(believe: Callable[[], object]) -> bool:
    try:
        believe()
    except AttemptFailed as failure:
        if failure.code != "outputs_rejected":
            raise
        return True
    return False


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Any]:
    """report.json of each kind, as an honest child leaves it."""
    return lambda kind: json.loads(
        (of_a_child(kind, tmp_path_factory.mktemp(kind))[1] / "report.json").read_bytes()
    )


@pytest.mark.parametrize(
    "kind", mostly_full(["sanitize", "uar", "audit", "scanned"], daily=["sanitize", "scanned"])
)
def test_a_sentence_in_a_report_is_refused_or_written_over(
    kind: str, left: Callable[[str], Any], tmp_path: Path
) -> None:
    places = one_of_each(left(kind))
    assert len(places) > 60
    reported = []
    for number, (name, place) in enumerate(places.items()):
        folder = tmp_path / str(number)
        staged, outputs = of_a_child(kind, folder)
        edit_json(outputs / "report.json", lambda document, place=place: put(document, place, LIE))
        if not is_refused(partial(believed, folder, staged, outputs)):
            reported += [name for file in (folder / "package").iterdir() if LIE.encode() in file.read_bytes()]
    assert reported == []


UNKNOWN_TO_VERIFY = re.compile(
    r"origin\..*|data\.excluded\.reason|checkpoint\.(?:\w+\.)?(?:pos_embed|\w*cfg\w*).*"
    r"|.*\b(?:class_name|true_class)|audit\.templates"
)
"""What a report alone cannot be held against: whose job it was, the lists of the order, the architecture,
which the statement repeats, and the names of classes."""


def kept(name: str) -> dict[str, Any]:
    """Read here: the worker's tests pass where nothing that draws a report is installed."""
    path = Path(__file__).parents[2] / "fixtures" / "reports" / f"{name}.json"
    read: dict[str, Any] = json.loads(path.read_bytes())
    return read


@pytest.mark.parametrize("name", ["examples", "par", "rebound", "retrieval", "several_targets"])
def test_verify_finds_a_sentence_in_a_report(name: str) -> None:
    missed = []
    for where, place in one_of_each(kept(name)).items():
        document = put(kept(name), place, LIE)
        try:
            findings = list(evidence.check(evidence.parse(json.dumps(document).encode())))
        except Malformed:
            continue
        if not findings and not UNKNOWN_TO_VERIFY.fullmatch(where):
            missed.append(where)
    assert missed == []


def _inspected() -> tuple[dict[str, Any], bytes]:
    upload = b"CLIP, as it came in"
    canonical = weights(upload)
    found = inspection(upload, canonical) | {
        "assumed": {"quick_gelu": "false: declared"},
        "findings": [
            "BatchNorm's batch counts are not in the file; they were set to 0, which changes no result."
        ],
        "scanners": [
            {
                "name": "picklescan",
                "version": "1.0.5",
                "verdict": "dangerous",
                "num_issues": 1,
                "issues": ["dangerous: posix.system"],
            }
        ],
    }
    return found, canonical


def test_a_sentence_in_an_inspection_or_its_configuration_is_refused(tmp_path: Path) -> None:
    honest, canonical = _inspected()
    path = tmp_path / "model.safetensors"
    path.write_bytes(canonical)
    upload = {"sha256": honest["upload_sha256"], "size_bytes": honest["size_bytes"]}

    def shown(reported: dict[str, Any]) -> str:
        found = check_inspection(json.dumps(reported).encode(), upload, path, honest["weights_sha256"])
        check_config(json.dumps(config(reported)).encode(), InspectSpec(filename="clip.pt"), found)
        return INSPECTION_ADAPTER.dump_json(found).decode()

    assert "posix.system" in shown(honest)
    for place in texts(honest):
        assert is_refused(partial(shown, put(json.loads(json.dumps(honest)), place, LIE))), place
    assert is_refused(partial(shown, honest | {"assumed": {LIE: "false: declared"}}))


def test_of_a_dataset_only_its_own_words_are_shown() -> None:
    spec = ValidateSpec(data_kind="labelled", max_skipped_share=0.2)
    honest = SUMMARY | {"templates": ["a photo of a {c}."]}
    kept = []
    for place in texts(honest):
        reported = json.dumps(put(json.loads(json.dumps(honest)), place, LIE)).encode()
        if not is_refused(partial(check_dataset, reported, spec, FILES)):
            kept.append(place[0])
    assert set(kept) == {"class_names", "templates"}
    reported = json.dumps(honest | {"skipped_reasons": {LIE: 1}}).encode()
    assert is_refused(partial(check_dataset, reported, spec, FILES))


EVENTS: tuple[dict[str, Any], ...] = (
    {"type": "phase_started", "phase": "finetune", "total": 1, "unit": "steps"},
    {
        "type": "advanced",
        "phase": "finetune",
        "done": 1,
        "total": 2,
        "rate_unit": "pairs",
        "message": "edits",
    },
    {"type": "phase_finished", "phase": "finetune"},
    {"type": "state_saved", "path": "state/step-00000001", "step": 1},
    {"type": "noted", "level": "info", "message": "2 processes share the training."},
)


def test_a_sentence_in_a_message_is_heard_by_nobody() -> None:
    heard: list[Any] = []
    reader = EventReader(heard.append)
    for event in EVENTS:
        reader.feed(json.dumps(event).encode() + b"\n")
        assert heard.pop()
        for name in event:
            if isinstance(event[name], str):
                reader.feed(json.dumps(event | {name: LIE}).encode() + b"\n")
    assert heard == []
    assert {one["type"] for one in EVENTS} == {
        one.__dataclass_fields__["type"].default for one in get_args(SentEvent)
    }
