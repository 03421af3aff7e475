"""The object store answers 500, 503, slowly, cuts bodies short, sends wrong bytes: reading and writing."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from lab.drills.faults_ground import Case, Ground, Group, Groups
from lab.drills.proxy import Trouble
from lab.drills.runs import Broken

_TIMES = 6  # more than one request's own tries


def _with_trouble(ground: Ground, *troubles: Trouble) -> Broken:
    for trouble in troubles:
        ground.proxy.order(trouble)
    before = ground.proxy.num_troubles
    try:
        found = ground.stage.broken_by(ground.undisturbed)
    finally:
        ground.proxy.calm()
    happened = ground.proxy.num_troubles - before
    found.reached = happened > 0
    found.facts["requests_troubled"] = happened
    if found.facts.get("attempts_used") != 1:
        found.faults.append(f"{found.facts.get('attempts_used')} attempts were counted")
    return found


def _reading(ground: Ground) -> Mapping[str, Case]:
    troubles = {
        "500 while staging": Trouble(kind="500", times=_TIMES, method="GET"),
        "503 while staging": Trouble(kind="503", times=_TIMES, method="GET"),
        "slow while staging": Trouble(kind="slow", times=4, method="GET", delay_s=1.5),
        "a body cut short": Trouble(kind="cut", times=2, method="GET"),
        "a wrong body": Trouble(kind="wrong", times=2, method="GET", part="model.safetensors"),
        "connections dropped": Trouble(kind="drop", times=4, method="GET"),
    }
    if ground.quick:
        troubles = {
            name: troubles[name] for name in ("503 while staging", "a body cut short", "a wrong body")
        }
    return {name: partial(_with_trouble, ground, trouble) for name, trouble in troubles.items()}


def _writing(ground: Ground) -> Mapping[str, Case]:
    troubles = {
        "500 to training states": Trouble(kind="500", times=_TIMES, method="PUT", part="states/"),
        "503 to outputs": Trouble(kind="503", times=_TIMES, method="PUT", part="outputs/"),
        "slow to outputs": Trouble(kind="slow", times=3, method="PUT", part="outputs/", delay_s=1.5),
        "outputs stored, the answer lost": Trouble(kind="cut", times=2, method="HEAD", part="outputs/"),
        "connections dropped under outputs": Trouble(kind="drop", times=4, method="PUT", part="outputs/"),
    }
    if ground.quick:
        troubles = {"503 to outputs": troubles["503 to outputs"]}
    return {name: partial(_with_trouble, ground, trouble) for name, trouble in troubles.items()}


_EXPECTED = "the job succeeds in the same attempt, with the weights of an undisturbed run"
GROUPS: Groups = (
    Group(
        broken="object store, reading: 500, 503, slow, cut short, wrong bytes, dropped",
        expected=_EXPECTED,
        cases=_reading,
    ),
    Group(
        broken="object store, writing: 500, 503, slow, answers lost, dropped",
        expected=_EXPECTED,
        cases=_writing,
    ),
)
