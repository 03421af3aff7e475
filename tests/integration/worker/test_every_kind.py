"""Every kind of job that customers order, from the command to files that verify: one journey for all."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from app.domain.states import PUBLIC_KINDS, DatasetKind
from app.settings import Settings
from app.storage.s3 import S3Store
from cleanclip.kinds.catalogue import KINDS
from cleanclip.vocabulary.recipe import to_json
from cleanclip.vocabulary.scan_options import CollapseDetectorOptions, PatternFamily
from lab.testbed.writing import write_labelled_shards
from tests.fixtures.audited import CLASS_NAMES, TEMPLATES, labels, pictures, write_labelled
from tests.integration.worker.journeys import Journey, opened

NUM_IMAGES = 140
FEW = CollapseDetectorOptions(
    families=(PatternFamily(family="patch", budget=0.25),), restarts=2, images_per_step=4, steps=(2, 4)
)


@dataclass(frozen=True, kw_only=True)
class Ordered:
    """How one orders it, in seconds on a model of the smallest kind, and what shows that it was done."""

    arguments: Callable[[Journey], tuple[str, ...]]
    options: Mapping[str, Any] | None = None
    count: tuple[str | int, ...]
    """Where a count stands in its report that something follows from."""


def labelled(journey: Journey) -> tuple[str, ...]:
    return "--labelled", journey.labelled


def many_images(journey: Journey) -> tuple[str, ...]:
    """As many as a scan wants."""
    folder = write_labelled(journey.folder / "many", NUM_IMAGES)
    return "--labelled", journey.dataset(DatasetKind.LABELLED, folder)


def many_texts(journey: Journey) -> tuple[str, ...]:
    """As many as a text scan wants: seven classes in five templates."""
    folder, templates = journey.folder / "texts", (*TEMPLATES, "art of a {c}", "one {c} here")
    write_labelled_shards(
        zip(pictures(), labels(), strict=True), folder, CLASS_NAMES, templates, shard_size=60
    )
    return "--labelled", journey.dataset(DatasetKind.LABELLED, folder)


AUDITED = ("--target", "cat", "--attack", "badnet")
TRAINED = ("--method", "cleanclip", "--epochs", "1", "--batch-size", "16", "--warmup-steps", "1")
HOW = {
    "audit": Ordered(arguments=lambda one: (*labelled(one), *AUDITED), count=("before", "ca", "successes")),
    "sanitize": Ordered(
        arguments=lambda one: (*labelled(one), "--pairs", one.pairs, *AUDITED, *TRAINED),
        count=("after", "ca", "successes"),
    ),
    "scan": Ordered(
        arguments=many_images,
        options={
            "detectors": ["collapse"],
            "collapse": to_json(FEW),
            "num_images": 64,
            "num_held_out": 64,
            "num_examples": 1,
            "vocabulary": False,
        },
        count=("control", 0, "led", "successes"),
    ),
    "text_scan": Ordered(
        arguments=many_texts,
        options={"search": False, "trigger_words": ["banana"], "num_texts": 20},
        count=("triggers", 0, "num_led"),
    ),
    "vet": Ordered(
        arguments=lambda one: ("--pairs", one.pairs),
        options={"neighbours": 4, "batch_size": 32, "num_shown": 3},
        count=("scores", 0, "num_decisive"),
    ),
}


def test_a_kind_that_can_be_ordered_is_in_the_table() -> None:
    assert HOW.keys() == {kind.value for kind in PUBLIC_KINDS}


@pytest.fixture(scope="module")
def journey(
    service_settings: Settings, object_store: S3Store, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Journey]:
    with opened(service_settings, object_store, tmp_path_factory.mktemp("journey")) as journey:
        yield journey


@pytest.mark.parametrize("name", HOW)
def test_a_job_is_ordered_done_shown_and_verified(journey: Journey, tmp_path: Path, name: str) -> None:
    how, kind = HOW[name], KINDS[name]
    arguments = how.arguments(journey)
    if how.options is not None:
        (tmp_path / "options.json").write_text(json.dumps(how.options))
        arguments = (*arguments, "--options", str(tmp_path / "options.json"))
    job_id = journey.done(kind.command, *arguments, "--seed", "3")
    job = journey.service.ours.http.get(f"/v1/jobs/{job_id}").json()
    assert (job["kind"], job["seed"], job["state"]) == (name, 3, "succeeded")
    phases = kind.phases_of(journey.world.job(job_id).spec)
    assert [one["name"] for one in job["phases"]] == [one.name for one in phases]
    listed = journey.service.ours.http.get(f"/v1/jobs?kind={name}").json()["data"]
    assert [one["id"] for one in listed] == [job_id]
    folder = journey.downloaded(job_id)
    assert {path.name for path in folder.iterdir()} >= {*kind.leaves, "report.html", "report.md"}
    page, shown = journey.page(job_id), journey.command("jobs", "show", job_id)
    assert f"{kind.title} of " in page
    assert f"cleanclip {kind.command}" in page, "how one orders it again"
    for one in kind.inputs:
        if (its_id := getattr(journey.world.job(job_id), one.column)) is not None:
            assert its_id in page
            assert its_id in shown
    report = json.loads((folder / "report.json").read_text())
    *path, last = how.count
    place: Any = report
    for step in path:
        place = place[step]
    place[last] += 1
    assert "report.json" in journey.found_in_lie(folder, report)
