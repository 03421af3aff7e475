"""The drills, small: some kills, some faults, a storm over ten jobs; each ends with the ledger check.

The whole of them is `make drills`. Real tiny CLIP, real child, real servers. Daily, a worker is killed, told
to leave and put to sleep in tests/end_to_end/test_worker.py.
"""

import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from app.domain.states import JobKind
from app.local.stack import Stack
from app.settings import Settings
from lab.drills.crew import Crew
from lab.drills.kills import everything
from lab.drills.proxy import StoreProxy, Trouble
from lab.drills.runs import Broken, Stage, Undisturbed, at_the_gate, gate, release, send
from lab.drills.scene import Scene
from lab.drills.servers import cut_connections
from lab.drills.storm import Storm, weather
from lab.drills.worker_entry import Workers
from tests.fixtures.buckets import own_bucket

pytestmark = [pytest.mark.full, pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def proxy(stack: Stack) -> Iterator[StoreProxy]:
    proxy = StoreProxy(str(stack.settings().storage.endpoint_url))
    yield proxy
    proxy.close()


@pytest.fixture(scope="module")
def scene(
    stack: Stack,
    service_settings: Settings,
    service_environment: dict[str, str],
    proxy: StoreProxy,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Scene]:
    """Its workers reach the store through the proxy; who looks on does not."""
    variables = service_environment | {"CLEANCLIP_STORAGE__ENDPOINT_URL": proxy.url}
    with own_bucket(stack.settings().storage, "customer") as data:
        scene = Scene(service_settings, variables, tmp_path_factory.mktemp("scene"), data.bucket)
        yield scene
        scene.close()


@pytest.fixture(scope="module")
def stage(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Stage:
    stage = Stage(scene, Workers(scene.variables))
    scene.prepare(stage.finish, tmp_path_factory.mktemp("subject"))
    return stage


@pytest.fixture(scope="module")
def undisturbed(stage: Stage) -> Undisturbed:
    return stage.undisturbed(times=1)


def held(found: Broken) -> dict[str, Any]:
    """Every promise was; what happened besides."""
    assert found.faults == []
    assert (found.lost, found.doubled) == (0, 0)
    return found.facts


@pytest.mark.parametrize(
    ("write", "side"),
    [("put states/weights.safetensors #2", "before"), ("put outputs/report.json #1", "after")],
)
def test_a_supervisor_killed_at_a_write_costs_neither_the_job_nor_its_training(
    stage: Stage, undisturbed: Undisturbed, write: str, side: str
) -> None:
    facts = held(stage.broken_by(undisturbed, gate=gate(write, side)))
    assert facts["exit_code"] == -9, "it was killed there"
    assert facts["attempts"] == 2
    notes = [e.data["message"] for e in stage.scene.events(facts["job_id"]) if e.type == "noted"]
    assert any("resumes from the state saved at step" in note for note in notes)
    assert any("audit of an earlier attempt is reused" in note for note in notes)


def test_a_child_killed_in_the_middle_of_a_save_begins_again_and_ends_with_the_same_weights(
    stage: Stage, undisturbed: Undisturbed
) -> None:
    facts = held(stage.broken_by(undisturbed, child={"within_save": 2}))
    assert facts["attempts"] == 2
    notes = [e.data["message"] for e in stage.scene.events(facts["job_id"]) if e.type == "noted"]
    assert not any("of an earlier attempt" in note or "resumes from" in note for note in notes)


def test_a_sleeper_that_wakes_when_another_has_finished_leaves_nothing(
    stage: Stage, undisturbed: Undisturbed
) -> None:
    job_id = stage.scene.order()
    process, folder = stage.start(job_id, gate=gate("put outputs/report.json #1", "before", "stop"))
    assert at_the_gate(folder, process)
    held(stage.judge(undisturbed, job_id, folder, 0.0, None))
    before = everything(stage, job_id)
    send(process, signal.SIGCONT)
    process.join(60)
    assert process.exitcode == 3, "it found that the job was no longer its own"
    assert everything(stage, job_id) == before


def test_cut_connections_and_a_store_in_trouble_cost_no_attempt(
    stage: Stage, undisturbed: Undisturbed, proxy: StoreProxy
) -> None:
    url = stage.scene.settings.database.url
    proxy.order(Trouble(kind="wrong", times=1, method="GET", part="model.safetensors"))
    proxy.order(Trouble(kind="cut", times=1, method="GET", part=".tar"))
    proxy.order(Trouble(kind="503", times=6, method="PUT", part="outputs/"))

    def cut(process: Any, folder: Path) -> None:
        assert at_the_gate(folder, process)
        cut_connections(url)
        release(folder)

    write = gate("commit finish_succeeded #1", "before", "hold")
    facts = held(stage.broken_by(undisturbed, cut, gate=write))
    assert proxy.num_troubles == 8
    assert facts["attempts"] == 1


def test_a_storm_over_ten_jobs_loses_none_and_doubles_none(
    scene: Scene, stage: Stage, proxy: StoreProxy
) -> None:
    crew = Crew(stage.variables, scene.folder / "crew")
    order = partial(scene.order, recipe={"epochs": 1})
    jobs = [order() for _ in range(3)] + [scene.order(JobKind.AUDIT) for _ in range(7)]
    crew.start(2)
    try:
        storm = Storm(scene, crew, None, proxy, seed=3)
        reported = weather(storm, scene, crew, jobs, say=print, every_s=2.0, at_most=12)
    finally:
        crew.stop()
    assert reported.states == {"succeeded": 10}, reported
    assert (reported.doubled, reported.weights_differ, reported.violations) == (0, 0, ())
    assert sum(reported.faults.values()) > 5
