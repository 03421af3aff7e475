"""A second audit of weights that the supervisor has checked, in a process that never read the upload."""

from dataclasses import replace
from functools import partial
from pathlib import Path

from cleanclip.vocabulary import jobspec
from cleanclip.vocabulary.audit_figures import Measured, Withheld
from cleanclip.vocabulary.jobspec import RecheckedFigures, RecheckSpec
from cleanclip.vocabulary.progress import Progress, Stop
from cleanclip.vocabulary.recipe import AuditOptions
from sanitizer.audits.audit import AuditResult, run_audit
from sanitizer.audits.class_memory import ClassMemory
from sanitizer.checkpoints.model import load_canonical
from sanitizer.data.labelled import LabelledDataset, open_labelled
from sanitizer.data.pairs import PairDataset
from sanitizer.data.training_data import LabelsAsCaptions
from sanitizer.pipeline.control import search
from sanitizer.pipeline.measured import measured
from sanitizer.pipeline.opening import ToExclude, open_for_audit, open_training
from sanitizer.pipeline.operations import class_embeddings
from sanitizer.pipeline.places import Places
from sanitizer.pipeline.rebound import Cleaned, measure_rebound
from sanitizer.pipeline.settling import settle
from sanitizer.run import Run
from sanitizer.training.device import pick, share_cores


def do(spec: RecheckSpec, folder: Path, progress: Progress, stop: Stop) -> None:
    """Writes figures.json. Raises SanitizerErrors but TrainingDiverged.

    What came in is settled here whatever is audited: a configuration of cleaned weights has the heads and the
    activation that the first process claims.
    """
    run = Run(device=pick(), progress=progress, stop=stop)
    places = Places.of_job(folder, spec)
    lists = ToExclude(places.exclude)
    given = open_for_audit(places, spec, lists)
    run = replace(run, num_workers=share_cores(given.checkpoint.model, run.device))
    settled = settle(given, spec.audit, run, seed=spec.seed)
    came_in = settled.given.checkpoint
    cleaned, memory = None, ClassMemory()
    if spec.is_cleaned:
        cleaned = load_canonical(folder / jobspec.CLEANED_PATH, came_in.architecture)

    def audited(
        labelled: LabelledDataset, options: AuditOptions, seed: int, retrieval: PairDataset | None
    ) -> tuple[Measured, AuditResult, AuditResult | None]:
        audit = partial(
            run_audit,
            labelled=labelled,
            options=options,
            run=run,
            seed=seed,
            phase="final_audit",
            memory=memory,
            retrieval_pairs=retrieval,
        )
        before = audit(came_in)
        after = None if cleaned is None else audit(cleaned, came_in=came_in, towards=before.towards)
        found = measured(
            before,
            after,
            options,
            class_names=labelled.class_names,
            seed=seed,
            image_size=came_in.architecture.image_size,
        )
        return found, before, after

    labelled = given.labelled
    confirmed, before, after = audited(labelled, spec.audit, spec.seed, given.retrieval)
    rebound = None
    if spec.recipe is not None and places.training is not None and after is not None:
        data = open_training(places.training, spec.recipe, given, lists)
        came_in.model.to("cpu")  # beside the copies that are trained next
        rebound = measure_rebound(
            Cleaned(
                folder=folder / jobspec.CLEANED_PATH,
                input_folder=places.checkpoint,
                recipe=spec.recipe,
                data=data,
                image_size=came_in.architecture.image_size,
                class_CD=class_embeddings(came_in, data, run.device, memory)
                if isinstance(data, LabelsAsCaptions)
                else None,
                num_processes=spec.num_processes,
                before=before,
                after=after,
            ),
            labelled,
            spec.audit,
            run,
            seed=spec.seed,
            state_folder=folder / jobspec.STATE_PATH,
        )
    withheld, images = None, labelled
    if spec.withheld_seed is not None:
        images = open_labelled(folder / jobspec.WITHHELD_PATH)
        # The order bounds the share of bad images in the whole dataset; in a part it differs by chance.
        options = replace(spec.audit, examples=0, linear_probe=None, max_skipped_share=1.0)
        found, result, _ = audited(images, options, spec.withheld_seed, None)
        withheld = Withheld(
            seed=spec.withheld_seed, num_samples=len(images), num_skipped=result.num_skipped, measured=found
        )
    control = None
    if cleaned is not None and spec.control_seed is not None:
        control = search(cleaned, images, spec.audit, run, seed=spec.control_seed)
    rechecked = RecheckedFigures(
        measured=confirmed, rebound=rebound, architecture=settled.figures, withheld=withheld, control=control
    )
    (places.out / jobspec.FIGURES_NAME).write_bytes(jobspec.RECHECKED_ADAPTER.dump_json(rechecked))
