"""`vet`: a dataset and the model that it trained, or is to clean → scores, a list to leave out, a report.

Reads every sample once. Everything that can be refused without a model's pass is refused before the first
one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import torch

from cleanclip.spec.errors import Interrupted
from cleanclip.spec.jobspec import REPORT_NAME
from cleanclip.spec.progress import (
    SAMPLES_REUSED,
    Advanced,
    Noted,
    PhaseFinished,
    PhaseStarted,
    Progress,
    Stop,
    ignore,
    never_stop,
)
from cleanclip.spec.report_inputs import DataInput
from cleanclip.spec.vet_options import VetOptions
from cleanclip.spec.vet_plan import Plan, plan
from cleanclip.spec.vet_report import (
    MeasuredRecall,
    VetReport,
    dump_vet_report,
    reason_of,
)
from sanitizer.attacks.catalogue import build_triggers
from sanitizer.audits.measuring import measuring
from sanitizer.checkpoints.model import LoadedCheckpoint, load_canonical
from sanitizer.data.labelled import LabelledDataset, open_labelled
from sanitizer.data.pairs import open_pairs
from sanitizer.pipeline import reporting
from sanitizer.pipeline.anchors import open_anchor
from sanitizer.pipeline.keys import key_of
from sanitizer.seeding import generator
from sanitizer.training.device import pick, share_cores
from sanitizer.training.pace import Pace
from sanitizer.vetting import writing
from sanitizer.vetting.embedding import Embedder, Models, Passed, PassOptions, embed_set
from sanitizer.vetting.known_triggers import check_directions, known_directions
from sanitizer.vetting.overlap import refuse_overlap
from sanitizer.vetting.planted import shuffled_captions
from sanitizer.vetting.reading import Dataset
from sanitizer.vetting.row_files import RowFiles
from sanitizer.vetting.scoring import Pool, Scored, make_pool, score

STATE_FOLDER = "vet"
"""In the state folder."""


def vet(
    checkpoint_folder: Path,
    data_path: Path,
    kind: Literal["pairs", "labelled"],
    options: VetOptions,
    out_dir: Path,
    *,
    anchor_folder: Path | None = None,
    trusted_path: Path | None = None,
    seed: int = 0,
    state_folder: Path | None = None,
    save_every_s: float = 60.0,
    upload_sha256: str | None = None,
    device: str = "auto",
    progress: Progress = ignore,
    stop: Stop = never_stop,
) -> VetReport:
    """Score every sample of `data_path` and set the worst aside.

    `checkpoint_folder` holds the suspect: the model that was trained on the data, or is to be cleaned with
    them. `anchor_folder` holds a model that is trusted, of any architecture; `trusted_path` samples that
    are. Leaves report.json, vet_scores.jsonl.gz and excluded.json in `out_dir`. The same call with the
    same `state_folder` resumes. Raises CheckpointRejected, DatasetRejected, OptionsRejected, Interrupted.
    """
    torch_device = pick(device)
    scores = plan(options, has_anchor=anchor_folder is not None)
    build_triggers(options.triggers)  # an image that cannot be used is refused now
    data = _open(data_path, kind)
    suspect = load_canonical(checkpoint_folder)
    check_directions(options, suspect.architecture.embed_dim)
    anchor = None if anchor_folder is None else open_anchor(anchor_folder, suspect)
    trusted, trusted_indices = None, _drawn(None, options, seed)
    if trusted_path is not None:
        trusted = _open(trusted_path, kind)
        trusted_indices = _drawn(trusted, options, seed)
        refuse_overlap(data, trusted, trusted_indices, lambda: _check(stop))
    num_workers = share_cores(suspect.model, torch_device)
    run = _Run(
        suspect=suspect,
        anchor=anchor,
        data=data,
        trusted=trusted,
        trusted_indices=trusted_indices,
        options=options,
        scores=scores,
        seed=seed,
        device=torch_device,
        num_workers=num_workers,
        state_folder=(state_folder or out_dir) / STATE_FOLDER,
        save_every_s=save_every_s,
        progress=progress,
        stop=stop,
    )
    pool, scored = run.scored()
    out_dir.mkdir(parents=True, exist_ok=True)
    report = run.report(pool, scored, out_dir, upload_sha256)
    (out_dir / REPORT_NAME).write_bytes(dump_vet_report(report))
    return report


def _open(path: Path, kind: Literal["pairs", "labelled"]) -> Dataset:
    return open_pairs(path) if kind == "pairs" else open_labelled(path)


def _drawn(trusted: Dataset | None, options: VetOptions, seed: int) -> list[int]:
    """Which trusted samples are used."""
    if trusted is None:
        return []
    order = generator(seed, "vet_trusted").permutation(len(trusted))
    return sorted(order[: options.max_trusted].tolist())


def _check(stop: Stop) -> None:
    if stop():
        raise Interrupted("stopped", "Vetting was stopped.", "Run the same command again to resume.")


class _Run:
    """One vetting, once all that it is given has been opened."""

    def __init__(
        self,
        *,
        suspect: LoadedCheckpoint,
        anchor: LoadedCheckpoint | None,
        data: Dataset,
        trusted: Dataset | None,
        trusted_indices: Sequence[int],
        options: VetOptions,
        scores: Plan,
        seed: int,
        device: torch.device,
        num_workers: int,
        state_folder: Path,
        save_every_s: float,
        progress: Progress,
        stop: Stop,
    ) -> None:
        self._suspect, self._anchor = suspect, anchor
        self._data, self._trusted, self._trusted_indices = data, trusted, trusted_indices
        self._options, self._scores, self._seed = options, scores, seed
        self._device, self._num_workers = device, num_workers
        self._state_folder, self._save_every_s = state_folder, save_every_s
        self._progress, self._stop = progress, stop

    def scored(self) -> tuple[Pool, Scored]:
        """Go over both sets, then score them."""
        models = Models(
            suspect=Embedder(self._suspect, self._device),
            anchor=None if self._anchor is None else Embedder(self._anchor, self._device),
        )
        with ExitStack() as stack:
            for one in (self._suspect, self._anchor):
                if one is not None:
                    stack.enter_context(measuring(one, self._device))
            vetted, trusted = self._passes(models)
            pool = make_pool(vetted, trusted, self._options, self._seed)
            source, rows = (vetted, vetted.good) if trusted is None else (trusted, pool.fit_rows)
            directions = known_directions(
                self._options,
                source,
                rows,
                models.suspect,
                seed=self._seed,
                check=lambda: _check(self._stop),
            )
        scored = score(pool, self._scores.made, self._options, directions, self._seed)
        self._progress(PhaseFinished(phase="vet"))
        return pool, scored

    def _passes(self, models: Models) -> tuple[Passed, Passed | None]:
        """The trusted set first: if it is too small, that is known soon."""
        total = len(self._data) + len(self._trusted_indices)
        self._progress(PhaseStarted(phase="vet", total=total, unit="samples"))
        trusted = None
        if self._trusted is not None:
            trusted = self._pass(
                "trusted", self._trusted, self._trusted_indices, models, before=0, total=total
            )
        before = len(self._trusted_indices)
        vetted = self._pass("vetted", self._data, range(len(self._data)), models, before=before, total=total)
        return vetted, trusted

    def _pass(
        self, name: str, data: Dataset, indices: Sequence[int], models: Models, *, before: int, total: int
    ) -> Passed:
        widths = models.widths(has_sensitivity="sensitivity" in self._scores.made)
        files = RowFiles(self._state_folder, name, widths, self._key(data, indices))
        if files.num_done:
            message = SAMPLES_REUSED(done=files.num_done, total=len(indices), name=name)
            self._progress(Noted(level="info", message=message))
        pace = Pace()

        def on_done(num_done: int) -> None:
            pace.mark(num_done)
            done = before + num_done
            self._progress(
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
            max_skipped_share=self._options.max_skipped_share,
            num_workers=self._num_workers,
            save_every_s=self._save_every_s,
            stop=self._stop,
            on_done=on_done,
        )
        return embed_set(data, indices, models, files, options)

    def _key(self, data: Dataset, indices: Sequence[int]) -> str:
        """Over all that decides the rows of a set: a state of anything else is not used."""
        parts = {
            "models": [
                (one.weights_sha256, one.architecture.to_config())
                for one in (self._suspect, self._anchor)
                if one is not None
            ],
            "data_sha256": data.sha256,
            "indices": hashlib.sha256(repr(list(indices)).encode()).hexdigest(),
            "has_sensitivity": "sensitivity" in self._scores.made,
            "device": str(self._device),
        }
        return key_of(parts)

    def report(self, pool: Pool, scored: Scored, out_dir: Path, upload_sha256: str | None) -> VetReport:
        """Writes the list and the scores, and says what is in them."""
        options = self._options
        basis: Literal["p_values", "ranks"] = "ranks" if pool.trusted is None else "p_values"
        reason = reason_of(options.share, basis, scored.names)
        list_sha256 = writing.write_list(out_dir, pool, scored, reason)
        planted = shuffled_captions(pool, scored, self._seed)
        return VetReport(
            created_at=datetime.now(UTC),
            seed=self._seed,
            checkpoint=reporting.checkpoint_input(self._suspect, upload_sha256),
            anchor=None if self._anchor is None else reporting.checkpoint_input(self._anchor, None),
            data=(
                _data_input(pool.vetted, _kind(self._data)),
                *(() if pool.trusted is None else (_data_input(pool.trusted, "trusted"),)),
            ),
            options=options,
            scores=writing.summaries(pool, scored),
            num_at_levels=writing.num_at_levels(scored) if basis == "p_values" else (),
            list_sha256=list_sha256,
            measured=() if planted is None else (MeasuredRecall(poison="shuffled_captions", recall=planted),),
            worst=writing.worst_samples(
                pool, scored, options.num_shown, self._suspect.architecture.image_size
            ),
            scores_sha256=writing.write_scores(out_dir, pool, scored),
            environment=reporting.environment(self._device, "fp32"),
        )


def _kind(data: Dataset) -> Literal["pairs", "labelled"]:
    return "labelled" if isinstance(data, LabelledDataset) else "pairs"


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
