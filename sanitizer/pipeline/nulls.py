"""Builds a null set from reference models: the same measurements of each, in one file. Judges nothing."""

import hashlib
import json
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import TypeAdapter, ValidationError

from cleanclip.vocabulary.errors import CheckpointRejected, Interrupted, OptionsRejected
from cleanclip.vocabulary.jobspec import CONFIG_NAME, WEIGHTS_NAME, ScanSpec
from cleanclip.vocabulary.null_set import (
    MAX_ABOUT,
    NullModel,
    NullSet,
    dump_null,
    load_null,
    names_sha256,
    null_mixed,
    null_repeated,
    sealed,
)
from cleanclip.vocabulary.progress import Announced
from cleanclip.vocabulary.recipe import to_json
from sanitizer.checkpoints.digests import file_sha256
from sanitizer.data.labelled import open_labelled
from sanitizer.pipeline.places import Places
from sanitizer.pipeline.scan import MeasuredModel, measure_model
from sanitizer.run import Run
from sanitizer.software import software
from sanitizer.whole_files import write_whole


class NotObtained(Exception):
    """A pinned reference model could not be fetched, has other bytes than those pinned, or is not usable."""


@dataclass(frozen=True, kw_only=True)
class Reference:
    """A model that was never poisoned as far as its owner knows."""

    source: str
    """Where it came from: a path, an open_clip tag, a file on a hub."""
    obtain: Callable[[Path], Path]
    """Its canonical folder. May fetch and write into the folder that is given, which is gone afterwards.
    Raises CheckpointRejected, OptionsRejected and NotObtained."""
    base: str | None = None
    """Models that name the same base count once."""
    sha256: str | None = None
    """Of its file, where it is pinned. Then what was measured is kept, and it is not fetched again."""
    declared: str = ""
    """What was declared of it, in any form: other options make another model of the same file."""


def always(folder: Path) -> Callable[[Path], Path]:
    """`obtain` of a model that is there already."""
    return lambda _: folder


@dataclass(kw_only=True)
class _Building:
    """One null in the making: where each model is measured, and what is known by now."""

    references: Sequence[Reference]
    places: Places
    spec: ScanSpec
    run: Run
    measured: dict[int, MeasuredModel] = field(default_factory=dict)
    missing: dict[int, str] = field(default_factory=dict)

    def measure_all(self) -> None:
        """Of models that another process measures at this moment the results are waited for, at the end; and
        what could not be had is tried again, or was had by another process meanwhile."""
        for waits in (False, True):
            for number in range(len(self.references)):
                if number not in self.measured:
                    self._measure(number, waits=waits)
        self._leave_out_what_does_not_fit()

    def _leave_out_what_does_not_fit(self) -> None:
        """Of pinned models those of another architecture than most, and doubled ones, in the order of the
        list: every process leaves out the same."""
        counted = Counter(json.dumps(one.architecture, sort_keys=True) for one in self.measured.values())
        usual = max(counted, key=lambda one: counted[one], default="")

        def place(number: int) -> tuple[bool, int]:
            return json.dumps(self.measured[number].architecture, sort_keys=True) != usual, number

        fitting: list[int] = []
        for number in sorted(self.measured, key=place):
            try:
                self._check(number, self.measured[number], fitting)
            except OptionsRejected as refused:
                del self.measured[number]
                self.missing[number] = refused.message
            else:
                fitting.append(number)

    def _measure(self, number: int, *, waits: bool) -> None:
        reference = self.references[number]
        kept = self._kept_at(reference)
        try:
            with self._alone(kept, waits=waits):
                found = None if kept is None else _read(kept)
                if found is None:
                    found = self._measured_now(number)
                    if kept is not None:
                        write_whole(kept, _MEASURED.dump_json(found), is_shared=True)
        except Timeout:
            return
        except NotObtained as error:
            self.missing[number] = str(error)
            return
        self.missing.pop(number, None)
        if reference.sha256 is None:
            self._check(number, found, list(self.measured))
        self.measured[number] = found

    @contextmanager
    def _alone(self, kept: Path | None, *, waits: bool) -> Iterator[None]:
        """While no other process measures the same model. Raises Timeout where one does, unless it is waited
        for; Interrupted."""
        if kept is None:
            yield
            return
        kept.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(f"{kept}.lock", timeout=1 if waits else 0)
        while not lock.is_locked:
            try:
                lock.acquire()
            except Timeout:
                if not waits:
                    raise
                if self.run.stop():
                    raise Interrupted(
                        "stopped",
                        "Building the null set was stopped on request, while another process was measuring.",
                        "Run the same command again; finished parts are not measured again.",
                    ) from None
        try:
            yield
        finally:
            lock.release()

    def _measured_now(self, number: int) -> MeasuredModel:
        reference, state = self.references[number], self.places.state
        place = f"{number + 1} of {len(self.references)}"
        self.run.progress(Announced(level="info", message=f"reference model {place}: {reference.source}"))
        own = state and state / (f"model-{number}" if reference.sha256 is None else reference.sha256)
        try:
            with tempfile.TemporaryDirectory(prefix="null-") as scratch:
                folder = reference.obtain(Path(scratch))
                return measure_model(replace(self.places, checkpoint=folder, state=own), self.spec, self.run)
        except (CheckpointRejected, OptionsRejected) as error:
            of_this_model = isinstance(error, CheckpointRejected) or error.code.startswith("anchor_")
            if reference.sha256 is None or not of_this_model:
                raise
            raise NotObtained(error.message) from error
        except Interrupted as error:
            raise Interrupted(
                "stopped",
                f"Building the null set was stopped on request, at model {place}.",
                "Run it again."
                if state is None
                else "Run the same command again; finished parts are not measured again.",
            ) from error

    def _check(self, number: int, measured: MeasuredModel, others: Sequence[int]) -> None:
        source = self.references[number].source
        for other in others:
            known, theirs = self.measured[other], self.references[other].source
            if known.architecture != measured.architecture:
                raise null_mixed(f"'{source}' has another architecture than '{theirs}'")
            if known.statistics.weights_sha256 == measured.statistics.weights_sha256:
                raise null_repeated(f"'{source}' has the same weights as '{theirs}'")

    def _kept_at(self, reference: Reference) -> Path | None:
        """The file of a pinned model's measurements, named by all that decides them."""
        if self.places.state is None or reference.sha256 is None:
            return None
        one = [reference.sha256, reference.declared, *self._measured_with]
        key = json.dumps([*one, to_json(self.spec), software()["code_version"]])
        return self.places.state / f"measured-{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"

    @cached_property
    def _measured_with(self) -> list[str]:
        """Digests of images and anchor."""
        anchor = self.places.anchor
        files = [] if anchor is None else [anchor / WEIGHTS_NAME, anchor / CONFIG_NAME]
        return [open_labelled(self.places.data).sha256, *map(file_sha256, files)]


def build_null(
    references: Sequence[Reference],
    places: Places,
    spec: ScanSpec,
    run: Run,
    *,
    name: str,
    about: str = "",
    fine_tunes_of: str | None = None,
) -> NullSet:
    """Measure each reference model as a scan does, with all of `places` but its checkpoint.

    Several processes may build the same null with the same `places.state`: each pinned model is measured by
    one of them, and all of them return the whole null. Pinned models that could not be had, or do not fit
    the others, are left out, and `about` of the null names them.

    Raises what `scan` raises, where Interrupted names the null set, and OptionsRejected: `null_mixed` where
    two models that are not pinned have different architectures, `null_repeated` where two are the same,
    `null_empty` where none is left.
    """
    building = _Building(references=references, places=places, spec=spec, run=run)
    building.measure_all()
    for number, why in sorted(building.missing.items()):
        run.progress(Announced(level="warning", message=f"left out: {references[number].source}: {why}"))
    if not building.measured:
        raise OptionsRejected(
            "null_empty",
            "No reference model was given, or none of them could be fetched.",
            "Name at least one; the messages before this one say what was left out and why.",
        )
    in_order = sorted(building.measured)
    first = building.measured[in_order[0]]
    left_out = _left_out([references[number].source for number in sorted(building.missing)])
    null = sealed(
        NullSet(
            name=name,
            about=" ".join([*filter(None, [about]), *left_out])[:MAX_ABOUT],
            created_at=datetime.now(UTC),
            code_version=software()["code_version"],
            architecture=first.architecture,
            class_names_sha256=names_sha256(first.class_names),
            num_classes=len(first.class_names),
            images_sha256=first.statistics.images_sha256,
            options=spec.scan,
            seed=spec.seed,
            models=tuple(
                NullModel(
                    source=references[number].source,
                    base=references[number].base,
                    statistics=building.measured[number].statistics,
                    patterns=building.measured[number].patterns,
                )
                for number in in_order
            ),
            anchor_sha256=first.statistics.anchor_sha256,
            fine_tunes_of=fine_tunes_of,
        )
    )
    return load_null(dump_null(null))  # what could not be read again is not worth writing


def _left_out(sources: Sequence[str]) -> list[str]:
    if not sources:
        return []
    shown = ", ".join(sources[:_MOST_NAMED]) + (", …" if len(sources) > _MOST_NAMED else "")
    why = "they could not be fetched as pinned, or do not fit the others"
    return [f"{len(sources)} of the list were left out, because {why}: {shown}."]


_MOST_NAMED = 5
_MEASURED = TypeAdapter(MeasuredModel)


def _read(path: Path) -> MeasuredModel | None:
    try:
        return _MEASURED.validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
