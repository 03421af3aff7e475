"""inputs/labelled in two parts: what the job's process is given, and what is withheld. Free of torch."""

from pathlib import Path

from cleanclip.vocabulary import jobspec
from cleanclip.vocabulary.errors import Interrupted
from cleanclip.vocabulary.jobspec import WithholdSpec
from cleanclip.vocabulary.progress import Progress, Stop
from sanitizer.data.excluding import read_exclusions, without
from sanitizer.data.labelled import open_labelled
from sanitizer.data.parting import drawn, write_samples


def do(spec: WithholdSpec, folder: Path, _progress: Progress, stop: Stop) -> None:
    """Raises DatasetRejected, OptionsRejected, Interrupted."""
    labelled = open_labelled(folder / jobspec.LABELLED_PATH)
    if spec.exclude:
        labelled = without(labelled, read_exclusions(folder / jobspec.exclude_path("labelled")))

    def check() -> None:
        if stop():
            raise Interrupted("stopped", "Parting the labelled images was stopped.", "Run it again.")

    withheld, given = drawn(len(labelled), spec.num, spec.seed)
    for name, indices in ((jobspec.WITHHELD_NAME, withheld), (jobspec.GIVEN_NAME, given)):
        write_samples(labelled, indices, folder / jobspec.OUTPUTS_PATH / name, before_read=check)
