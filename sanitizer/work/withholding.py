"""inputs/labelled in two parts: what the job's process is given, and what is withheld. Free of torch."""

from __future__ import annotations

from pathlib import Path

from cleanclip.spec import jobspec
from cleanclip.spec.errors import Interrupted
from cleanclip.spec.jobspec import WithholdSpec
from cleanclip.spec.progress import Progress, Stop
from sanitizer.data.excluding import read_exclusions, without
from sanitizer.data.labelled import open_labelled
from sanitizer.data.parting import write_samples
from sanitizer.seeding import generator


def do(spec: WithholdSpec, folder: Path, _progress: Progress, stop: Stop) -> None:
    """The first `num` of generator(seed, "withheld_images").permutation(N) are withheld; both parts are in
    the dataset's order. Raises DatasetRejected, OptionsRejected, Interrupted."""
    labelled = open_labelled(folder / jobspec.LABELLED_PATH)
    if spec.exclude:
        labelled = without(labelled, read_exclusions(folder / jobspec.exclude_path("labelled")))

    def check() -> None:
        if stop():
            raise Interrupted("stopped", "Parting the labelled images was stopped.", "Run it again.")

    order = generator(spec.seed, "withheld_images").permutation(len(labelled)).tolist()
    for name, indices in (
        (jobspec.WITHHELD_NAME, order[: spec.num]),
        (jobspec.GIVEN_NAME, order[spec.num :]),
    ):
        write_samples(labelled, sorted(indices), folder / jobspec.OUTPUTS_PATH / name, before_read=check)
