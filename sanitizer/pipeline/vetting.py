"""`vet`: a dataset and the model that it trained, or is to clean → scores, a list to leave out, a report.

Reads every sample once. Everything that can be refused without a model's pass is refused before the first
one.
"""

import hashlib
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from cleanclip.kinds.vet import overlap
from cleanclip.vocabulary.errors import Interrupted
from cleanclip.vocabulary.jobspec import REPORT_NAME, VetSpec
from cleanclip.vocabulary.progress import SAMPLES_REUSED, Advanced, Noted, PhaseFinished, PhaseStarted, Stop
from cleanclip.vocabulary.report_inputs import DataInput
from cleanclip.vocabulary.vet_plan import Plan, plan
from cleanclip.vocabulary.vet_report import MeasuredRecall, VetReport, dump_vet_report, reason_of
from sanitizer.attacks.catalogue import build_triggers
from sanitizer.audits.measuring import measuring
from sanitizer.checkpoints.model import LoadedCheckpoint, load_canonical
from sanitizer.data.labelled import LabelledDataset, open_labelled
from sanitizer.data.pairs import open_pairs
from sanitizer.data.skipping import BadSample
from sanitizer.pipeline import reporting
from sanitizer.pipeline.anchors import open_anchor
from sanitizer.pipeline.places import Places
from sanitizer.pipeline.work_keys import key_of
from sanitizer.run import Run
from sanitizer.seeding import generator
from sanitizer.training.device import share_cores
from sanitizer.training.pace import Pace
from sanitizer.vetting import writing
from sanitizer.vetting.embedding import Embedder, Models, Passed, PassOptions, embed_set
from sanitizer.vetting.known_triggers import check_directions, known_directions
from sanitizer.vetting.planted import shuffled_captions
from sanitizer.vetting.reading import Dataset
from sanitizer.vetting.row_files import RowFiles
from sanitizer.vetting.scoring import Pool, Scored, make_pool, score

STATE_FOLDER = "vet"
"""In the state folder."""


def vet(places: Places, spec: VetSpec, run: Run) -> VetReport:
    """Score every sample of `places.data` and set the worst aside.

    `places.checkpoint` is the suspect: the model that was trained on the data, or is to be cleaned with them.
    Leaves report.json, vet_scores.jsonl.gz and excluded.json in `places.out`. The same call with the same
    `places.state` resumes. Raises CheckpointRejected, DatasetRejected, OptionsRejected, Interrupted.
    """
    options = spec.vet
    scores = plan(options, has_anchor=places.anchor is not None)
    build_triggers(options.triggers)  # an image that cannot be used is refused now
    data = _open(places.data, spec.data_kind)
    suspect = load_canonical(places.checkpoint)
    check_directions(options, suspect.architecture.embed_dim)
    anchor = None if places.anchor is None else open_anchor(places.anchor, suspect)
    trusted, trusted_indices = None, _drawn(None, spec)
    if places.trusted is not None:
        trusted = _open(places.trusted, spec.data_kind)
        trusted_indices = _drawn(trusted, spec)
        _refuse_overlap(data, trusted, trusted_indices, run.stop)
    vetting = _Vetting(
        suspect=suspect,
        anchor=anchor,
        data=data,
        trusted=trusted,
        trusted_indices=trusted_indices,
        scores=scores,
        places=places,
        spec=spec,
        run=replace(run, num_workers=share_cores(suspect.model, run.device)),
    )
    pool, scored = vetting.scored()
    places.out.mkdir(parents=True, exist_ok=True)
    report = vetting.report(pool, scored)
    (places.out / REPORT_NAME).write_bytes(dump_vet_report(report))
    return report


def _open(path: Path, kind: Literal["pairs", "labelled"]) -> Dataset:
    return open_pairs(path) if kind == "pairs" else open_labelled(path)


def _drawn(trusted: Dataset | None, spec: VetSpec) -> list[int]:
    """Which trusted samples are used."""
    if trusted is None:
        return []
    order = generator(spec.seed, "vet_trusted").permutation(len(trusted))
    return sorted(order[: spec.vet.max_trusted].tolist())


def _check(stop: Stop) -> None:
    if stop():
        raise Interrupted("stopped", "Vetting was stopped.", "Run the same command again to resume.")


def _refuse_overlap(vetted: Dataset, trusted: Dataset, trusted_indices: Sequence[int], stop: Stop) -> None:
    """Raises DatasetRejected `trusted_overlaps`: p-values of a sample against itself say nothing.

    Reads the bytes of each image and decodes none. An image that was saved again is another one to this.
    """
    if vetted.files_sha256 == trusted.files_sha256:
        raise overlap("The trusted set is the set that is vetted")
    known = {_digest(trusted, index) for index in trusted_indices} - {None}
    for index in range(len(vetted)):
        _check(stop)
        if _digest(vetted, index) in known:  # None, of a bad sample, is not
            raise overlap(
                f"The trusted set holds an image of the set that is vetted, {vetted.key(index)}",
                where=vetted.key(index),
            )


def _digest(dataset: Dataset, index: int) -> bytes | None:
    try:
        return hashlib.sha256(dataset.raw_image(index)).digest()
    except BadSample:
        return None


@dataclass(frozen=True, kw_only=True)
class _Vetting:
    """One vetting, once all that it is given has been opened."""

    suspect: LoadedCheckpoint
    anchor: LoadedCheckpoint | None
    data: Dataset
    trusted: Dataset | None
    trusted_indices: Sequence[int]
    scores: Plan
    places: Places
    spec: VetSpec
    run: Run

    def scored(self) -> tuple[Pool, Scored]:
        """Go over both sets, then score them."""
        models = Models(
            suspect=Embedder(self.suspect, self.run.device),
            anchor=None if self.anchor is None else Embedder(self.anchor, self.run.device),
        )
        with ExitStack() as stack:
            for one in (self.suspect, self.anchor):
                if one is not None:
                    stack.enter_context(measuring(one, self.run.device))
            vetted, trusted = self._passes(models)
            pool = make_pool(vetted, trusted, self.spec.vet, self.spec.seed)
            source, rows = (vetted, vetted.good) if trusted is None else (trusted, pool.fit_rows)
            directions = known_directions(
                self.spec.vet,
                source,
                rows,
                models.suspect,
                seed=self.spec.seed,
                check=lambda: _check(self.run.stop),
            )
        scored = score(pool, self.scores.made, self.spec.vet, directions, self.spec.seed)
        self.run.progress(PhaseFinished(phase="vet"))
        return pool, scored

    def _passes(self, models: Models) -> tuple[Passed, Passed | None]:
        """The trusted set first: if it is too small, that is known soon."""
        total = len(self.data) + len(self.trusted_indices)
        self.run.progress(PhaseStarted(phase="vet", total=total, unit="samples"))
        trusted = None
        if self.trusted is not None:
            trusted = self._pass("trusted", self.trusted, self.trusted_indices, models, before=0, total=total)
        before = len(self.trusted_indices)
        vetted = self._pass("vetted", self.data, range(len(self.data)), models, before=before, total=total)
        return vetted, trusted

    def _pass(
        self, name: str, data: Dataset, indices: Sequence[int], models: Models, *, before: int, total: int
    ) -> Passed:
        widths = models.widths(has_sensitivity="sensitivity" in self.scores.made)
        files = RowFiles(
            (self.places.state or self.places.out) / STATE_FOLDER, name, widths, self._key(data, indices)
        )
        if files.num_done:
            message = SAMPLES_REUSED(done=files.num_done, total=len(indices), name=name)
            self.run.progress(Noted(level="info", message=message))
        pace = Pace()

        def on_done(num_done: int) -> None:
            pace.mark(num_done)
            done = before + num_done
            self.run.progress(
                Advanced(
                    phase="vet",
                    done=done,
                    total=total,
                    rate=pace.rate,
                    rate_unit="samples",
                    eta_s=pace.eta_s(total - done),
                )
            )

        options = PassOptions(
            max_skipped_share=self.spec.vet.max_skipped_share,
            num_workers=self.run.num_workers,
            save_every_s=self.spec.save_every_s,
            stop=self.run.stop,
            on_done=on_done,
        )
        return embed_set(data, indices, models, files, options)

    def _key(self, data: Dataset, indices: Sequence[int]) -> str:
        """Over all that decides the rows of a set: a state of anything else is not used."""
        parts = {
            "models": [
                (one.weights_sha256, one.architecture.to_config())
                for one in (self.suspect, self.anchor)
                if one is not None
            ],
            "data_sha256": data.sha256,
            "indices": hashlib.sha256(repr(list(indices)).encode()).hexdigest(),
            "has_sensitivity": "sensitivity" in self.scores.made,
            "device": str(self.run.device),
        }
        return key_of(parts)

    def report(self, pool: Pool, scored: Scored) -> VetReport:
        """Writes the list and the scores, and says what is in them."""
        options, out_dir = self.spec.vet, self.places.out
        basis: Literal["p_values", "ranks"] = "ranks" if pool.trusted is None else "p_values"
        reason = reason_of(options.share, basis, scored.names)
        list_sha256 = writing.write_list(out_dir, pool, scored, reason)
        planted = shuffled_captions(pool, scored, self.spec.seed)
        return VetReport(
            created_at=datetime.now(UTC),
            seed=self.spec.seed,
            checkpoint=reporting.checkpoint_input(self.suspect, self.spec.upload_sha256),
            anchor=None if self.anchor is None else reporting.checkpoint_input(self.anchor, None),
            data=(
                _data_input(pool.vetted, self.spec.data_kind),
                *(() if pool.trusted is None else (_data_input(pool.trusted, "trusted"),)),
            ),
            options=options,
            scores=writing.summaries(pool, scored),
            num_at_levels=writing.num_at_levels(scored) if basis == "p_values" else (),
            list_sha256=list_sha256,
            measured=() if planted is None else (MeasuredRecall(poison="shuffled_captions", recall=planted),),
            worst=writing.worst_samples(
                pool, scored, options.num_shown, self.suspect.architecture.image_size
            ),
            scores_sha256=writing.write_scores(out_dir, pool, scored),
            environment=reporting.environment(self.run.device, "fp32"),
        )


def _data_input(passed: Passed, kind: Literal["pairs", "labelled", "trusted"]) -> DataInput:
    """`num_samples` counts the samples that were read, bad ones included."""
    data = passed.dataset
    return DataInput(
        kind=kind,
        sha256=data.files_sha256,
        num_samples=len(passed.indices),
        num_skipped=len(passed.skipped),
        num_classes=len(data.class_names) if isinstance(data, LabelledDataset) else None,
        skipped_examples=tuple(one.example for one in passed.skipped[:10]),
    )
