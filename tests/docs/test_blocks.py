"""The blocks of each page are run, in the page's order and in one shell, against a whole service.

What a reader would put in is put in here: addresses of services, a key, the id of a job. Only in the full
suite; what the pages are about is shown daily elsewhere: the release gate by
tests/integration/cleanclip/test_one_line.py, operators' commands by tests/integration/local.
"""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cleanclip.sync.client import Client
from demo.recipe import TARGET
from tests.docs.blocks import ROOT, Block, blocks, pages
from tests.docs.conftest import Served

pytestmark = [pytest.mark.full, pytest.mark.timeout(900)]

RUN = {
    str(path.relative_to(ROOT)): found
    for path in pages()
    if (found := [block for block in blocks(path) if block.is_run])
}


@pytest.fixture(scope="module")
def job_id(served: Served, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Of a finished audit."""
    from tests.docs.conftest import write_place

    folder = tmp_path_factory.mktemp("job")
    write_place(folder)
    with pytest.MonkeyPatch.context() as patch, Client(served.url, served.key) as client:
        patch.setenv("CLEANCLIP_CACHE_DIR", str(folder / "cache"))
        sent = client.uploads.upload_file(folder / "clip.pt")
        labelled = client.datasets.create(kind="labelled", uri="s3://cleanclip-data/seed1/labelled/")
        assert sent.checkpoint_id is not None
        order: dict[str, Any] = {
            "kind": "audit",
            "checkpoint_id": client.checkpoints.wait(sent.checkpoint_id).id,
            "audit": {"dataset_id": client.datasets.wait(labelled.id).id, "target": TARGET},
        }
        return client.jobs.wait(client.jobs.create(**order).id).id


def as_typed(code: str, served: Served, job: str, folder: Path) -> str:
    for shown, real in {
        "http://127.0.0.1:8000": served.url,
        "https://clean.example.org": served.url,
        "cclip_live_…": served.key,
        "job_…": job,
        "/etc/cleanclip/signing": str(folder / "signing"),
    }.items():
        code = code.replace(shown, real)
    return code


def script(found: list[Block], served: Served, job: str, folder: Path) -> str:
    """One shell for the page; a Python block is a program of its own. Each says on stderr where it begins."""
    lines = ["set -euo pipefail"]
    for number, block in enumerate(found):
        code = as_typed(block.code, served, job, folder)
        lines.append(f"echo '=== {block}' >&2")
        if block.language == "python":
            program = folder / f".block_{number}.py"
            program.write_text(code, encoding="utf-8")
            code = f"{sys.executable} {program}\n"
        lines.append(code)
    return "\n".join(lines)


@pytest.mark.parametrize("page", sorted(RUN))
def test_the_blocks_of_a_page_run(
    page: str, served: Served, job_id: str, place: tuple[Path, dict[str, str]]
) -> None:
    folder, environment = place
    path = folder / ".page.sh"
    path.write_text(script(RUN[page], served, job_id, folder), encoding="utf-8")
    ended = subprocess.run(
        ["bash", path],
        cwd=folder,
        env=environment,
        input=served.key + "\n",  # for `cleanclip login`, which would ask
        capture_output=True,
        text=True,
        check=False,
        timeout=800,
    )
    assert ended.returncode == 0, f"{ended.stderr[-4000:]}\n--- stdout\n{ended.stdout[-3000:]}"
    if page == "docs/how-to/client.md":
        assert {"report.json", "statement.json", "SHA256SUMS"} <= {
            path.name for path in (folder / "audited").iterdir()
        }
    if page == "docs/how-to/ci-gate.md":
        said = [line for line in ended.stdout.splitlines() if "gate" in line or "release it" in line]
        assert said == ["the gate is closed: status 12", "the audit's gate is closed: status 12"], (
            "this service signs nothing, so no second process confirmed a figure"
        )
