"""The customer's part, through the public client only: upload, scan, clean on what was found, scan again."""

import base64
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from cleanclip.errors import InvalidInput
from cleanclip.models import Job
from cleanclip.sync.client import Client
from cleanclip.vocabulary.plain_images import read_image
from cleanclip.vocabulary.recipe import to_json
from cleanclip.vocabulary.scan_report import ScanReport, load_scan
from demo import screen
from demo.recipe import AUDIT, CLEANINGS, DECLARED, MAIN, SCAN, SCAN_SEED
from demo.verdict import Scanned

REPORT_NAME, WEIGHTS_NAME = "report.json", "model.safetensors"


@dataclass(frozen=True, kw_only=True)
class Cleaned:
    """What came of it. `folders`, `reports` and `jobs` have an entry for each method."""

    scan: Scanned
    rescan: Scanned
    """Of the model that the first method cleaned."""
    jobs: dict[str, Job]
    folders: dict[str, Path]
    reports: dict[str, dict[str, Any]]
    wall_s: dict[str, float]


@dataclass(kw_only=True)
class Customer:
    """Somebody with a file and clean data, who knows no trigger. `null` names one of the service's nulls."""

    client: Client
    folder: Path
    seed: int
    null: str
    console: Console
    wall_s: dict[str, float] = field(default_factory=dict)

    def clean(self, file: Path, data: Mapping[str, str]) -> Cleaned:
        """From the file to two cleaned ones, and a scan of the first. `data`: addresses by kind."""
        with screen.bars(self.console) as progress:
            checkpoint_id = self._upload(file, progress)
            datasets = {kind: self._register(kind, address) for kind, address in data.items()}
            with self._timed("scan"):
                scan_job, found = self._scan(checkpoint_id, datasets["labelled"], "scan", progress)
            with self._timed("jobs"):
                jobs = self._order(checkpoint_id, datasets, scan_job, found)
                for method, job in jobs.items():
                    self.say(method)
                    jobs[method] = self.client.jobs.wait(job.id, on_progress=screen.JobBars(progress))
                folders = {method: self._download(job, f"cleaned/{method}") for method, job in jobs.items()}
            with self._timed("rescan"):
                cleaned_id = self._upload(folders[MAIN] / WEIGHTS_NAME, progress)
                _, after = self._scan(cleaned_id, datasets["labelled"], "rescan", progress)
        return Cleaned(
            scan=Scanned.of(found),
            rescan=Scanned.of(after),
            jobs=jobs,
            folders=folders,
            reports={method: self.client.jobs.report(job.id) for method, job in jobs.items()},
            wall_s=self.wall_s,
        )

    def say(self, line: str) -> None:
        """One line of what was done."""
        self.console.print(f"  {line}", highlight=False, markup=False)

    def _upload(self, file: Path, progress: Progress) -> str:
        sent = self.client.uploads.upload_file(file, declared=DECLARED, progress=screen.UploadBar(progress))
        assert sent.checkpoint_id is not None
        checkpoint = self.client.checkpoints.wait(sent.checkpoint_id, sha256=sent.sha256)
        self.say(f"{checkpoint.id} accepted: {checkpoint.architecture_name}, layout {checkpoint.layout}")
        return checkpoint.id

    def _register(self, kind: str, address: str) -> str:
        dataset = self.client.datasets.create(kind=kind, uri=address)
        self.client.datasets.wait(dataset.id)
        return dataset.id

    def _scan(
        self, checkpoint_id: str, labelled_id: str, name: str, progress: Progress
    ) -> tuple[Job, ScanReport]:
        """A finished scan; its files, and the pattern that it found as an image, in the folder `name`."""
        order = {**to_json(SCAN), "dataset_id": labelled_id}
        try:
            job = self._ordered_scan(checkpoint_id, {**order, "null": self.null})
        except InvalidInput as refusal:
            if refusal.code != "null_does_not_fit":
                raise
            self.say(f"{refusal.detail} This scan has no p-value.")
            job = self._ordered_scan(checkpoint_id, {**order, "null": "none"})
        self.say(f"{job.id} queued: {name}")
        job = self.client.jobs.wait(job.id, on_progress=screen.JobBars(progress))
        folder = self._download(job, name)
        found = load_scan((folder / REPORT_NAME).read_bytes())
        for line in Scanned.of(found).lines():
            self.say(line)
        if found.hypotheses:
            self.say(f"Its image: {write_pattern(found.hypotheses[0].trigger.image, folder)}")
        return job, found

    def _ordered_scan(self, checkpoint_id: str, scan: dict[str, Any]) -> Job:
        return self.client.jobs.create(kind="scan", checkpoint_id=checkpoint_id, scan=scan, seed=SCAN_SEED)

    def _order(
        self, checkpoint_id: str, datasets: Mapping[str, str], scan_job: Job, found: ScanReport
    ) -> dict[str, Job]:
        """A cleaning by each method, audited with our own trigger and with those that the scan found."""
        audit = {**to_json(AUDIT), "dataset_id": datasets["labelled"]}
        if found.attacks():
            audit["attacks_from_scan"] = scan_job.id
        jobs = {}
        for method, recipe in CLEANINGS.items():
            jobs[method] = self.client.jobs.create(
                kind="sanitize",
                checkpoint_id=checkpoint_id,
                dataset_id=datasets["pairs"],
                recipe=to_json(recipe),
                audit=audit,
                seed=self.seed,
            )
            self.say(f"{jobs[method].id} queued: {method}")
        return jobs

    def _download(self, job: Job, name: str) -> Path:
        """All files that the job left; the client checks each digest."""
        folder = self.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        artifacts = self.client.jobs.artifacts(job.id)
        for artifact in artifacts:
            self.client.artifacts.download(artifact.id, folder)
        self.say(f"{len(artifacts)} files downloaded, digests right: {folder}")
        return folder

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        started = time.monotonic()
        yield
        self.wall_s[name] = round(time.monotonic() - started, 1)


def write_pattern(image: str, folder: Path) -> Path:
    """The image of a report as a file, beside the `folder` that was signed: a file more would spoil that."""
    suffix = read_image(image).media_type.rpartition("/")[2]
    path = folder.with_name(f"{folder.name}-trigger.{suffix}")
    path.write_bytes(base64.b64decode(image))
    return path
