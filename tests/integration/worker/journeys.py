"""A job as its customer has it, on real servers: ordered by the command, done by a real child, verified."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from app.db.roles import Role
from app.db.session import Database, build_engine
from app.domain.states import DatasetKind, JobState
from app.services import api_keys, sessions
from app.settings import Settings
from app.storage.s3 import S3Store
from tests.fixtures.audited import write_labelled, write_model
from tests.fixtures.shards import make_pairs
from tests.integration.api.conftest import served
from tests.integration.api.service import Service
from tests.integration.worker.world import World
from worker.confinement import sandbox

ROOT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True, kw_only=True)
class Journey:
    """A service, its worker's runner, and a checkpoint and datasets that real children have read."""

    service: Service
    world: World
    runner: Any
    checkpoint: str
    labelled: str
    pairs: str
    folder: Path

    def command(self, *arguments: str, status: int = 0) -> str:
        """What `cleanclip` prints on stdout."""
        environment = os.environ | {
            "CLEANCLIP_URL": self.service.url,
            "CLEANCLIP_API_KEY": self.service.ours.key,
            "CLEANCLIP_CACHE_DIR": str(self.folder / "cache"),
        }
        run = subprocess.run(
            [sys.executable, "-m", "cleanclip.command.main", *arguments],
            env=environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert run.returncode == status, run.stdout + run.stderr
        return run.stdout

    def done(self, command: str, *arguments: str) -> str:
        """The id of a job about the checkpoint, ordered by the command and done."""
        job: dict[str, Any] = json.loads(
            self.command(command, "--checkpoint", self.checkpoint, *arguments, "--json")
        )
        assert self.runner.run(job["id"]) is JobState.SUCCEEDED, self.world.job(job["id"]).error
        return str(job["id"])

    def page(self, job_id: str) -> str:
        """What a person is shown who has signed in."""
        return self.shown(f"jobs/{job_id}")

    def shown(self, path: str) -> str:
        """The same of any page."""
        with self.service.database.unit_of_work() as unit:
            key = api_keys.read_key(self.service.ours.key)
            token = sessions.make_link(unit, self.service.ours.project_id, key, lasts_s=60)
        cookies = httpx.get(f"{self.service.url}/ui/sign-in/once?token={token}").cookies
        page = httpx.get(f"{self.service.url}/ui/{path}", cookies=cookies, follow_redirects=True)
        assert page.status_code == 200, page.text
        return page.text

    def dataset(self, kind: DatasetKind, folder: Path) -> str:
        """The id of one that a real child has read."""
        return _dataset(self.world, self.runner, kind, folder)

    def downloaded(self, job_id: str) -> Path:
        """Its files, which `verify` finds whole."""
        folder = self.folder / job_id
        self.command("download", job_id, "--out", str(folder))
        self.command("verify", str(folder))
        return folder

    def found_in_lie(self, folder: Path, report: dict[str, Any]) -> str:
        """What `verify` says where somebody put another report in its place, and left out the digests."""
        (folder / "report.json").write_text(json.dumps(report))
        (folder / "SHA256SUMS").unlink(missing_ok=True)
        return self.command("verify", str(folder), status=8)


@contextmanager
def opened(
    settings: Settings,
    store: S3Store,
    folder: Path,
    *,
    child: tuple[str, ...] = sandbox.DEFAULT_COMMAND,
) -> Iterator[Journey]:
    """`child`: what a job's process is started with."""
    with served(settings, store) as service:
        database = Database(build_engine(settings.database.url, role=Role.WORKER))
        world = World(database, store, folder / "worker", hands=service.database)
        world.project_id = service.ours.project_id
        runner = world.runner(child_command=child)
        yield Journey(
            service=service,
            world=world,
            runner=runner,
            checkpoint=_checkpoint(world, runner, folder),
            labelled=_dataset(world, runner, DatasetKind.LABELLED, write_labelled(folder / "labelled")),
            pairs=_dataset(world, runner, DatasetKind.PAIRS, make_pairs(folder / "pairs", 60, shard_size=60)),
            folder=folder,
        )
        database.dispose()


def _checkpoint(world: World, runner: Any, folder: Path) -> str:
    model = write_model(folder / "model")
    checkpoint, inspecting = world.checkpoint((model / "model.safetensors").read_bytes())
    with world.hands.unit_of_work() as unit:
        row = unit.checkpoints.get(world.project_id, checkpoint.id, for_update=True)
        row.declared = {"num_heads_vision": 4, "num_heads_text": 2, "quick_gelu": False}
    assert runner.run(inspecting.id) is JobState.SUCCEEDED
    return checkpoint.id


def _dataset(world: World, runner: Any, kind: DatasetKind, folder: Path) -> str:
    files = {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
    dataset, validating = world.dataset(kind, files)
    assert runner.run(validating.id) is JobState.SUCCEEDED, world.job(validating.id).error
    return dataset.id
