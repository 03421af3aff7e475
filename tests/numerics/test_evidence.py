"""What `cleanclip verify` holds a report to, against what the library makes of the same counts."""

import copy
import json
import random
from dataclasses import fields
from typing import Any

import pytest
import torch

from cleanclip.evidence import figures as checks
from cleanclip.evidence import report as checked
from cleanclip.evidence import training
from cleanclip.evidence.reading import Malformed
from cleanclip.vocabulary.audit_figures import MOST_CLASSES_REPORTED, AuditFigures
from cleanclip.vocabulary.control import NotSearched
from cleanclip.vocabulary.judging import judge
from cleanclip.vocabulary.measures import Towards
from cleanclip.vocabulary.policy import Policy, PolicySource
from cleanclip.vocabulary.recipe import SupervisedRecipe, parse, to_json
from cleanclip.vocabulary.report import Report
from cleanclip.vocabulary.verdicts import Verdict
from sanitizer.audits.accuracy import classes_lost, per_class
from sanitizer.audits.statistics import paired_difference, wilson
from tests.fixtures.kept_reports import NAMES, counted
from tests.fixtures.kept_reports import document as kept
from tests.fixtures.made_reports import RANK, newcombe


def figures(asr: int) -> dict[str, Any]:
    names = {
        "badnet": {"attack": "badnet", "pattern": "yellow"},
        "badnet-2": {"attack": "badnet", "pattern": "white"},
        "blended-stripes": {"attack": "blended", "pattern": "stripes_fixed"},
        "text_trigger": {"attack": "text_trigger"},
        "custom_patch": {"attack": "custom_patch", "image": "AAAA"},
    }
    return {
        "weights_sha256": "0" * 64,
        "seed": 0,
        "ca": to_json(wilson(250, 300)),
        "ca_top5": to_json(wilson(290, 300)),
        "untriggered_target_rate": to_json(wilson(asr // 2, 200)),
        "untriggered_target_top_k": [],
        "untriggered_target_rank": to_json(RANK),
        "attacks": [
            {
                "name": name,
                "options": options,
                "trigger_sha256": "0" * 64,
                "asr": to_json(wilson(asr, 200)),
                "asr_including_target": to_json(wilson(asr + 90, 300)),
                "pa": to_json(wilson(290 - asr, 300)),
                "still_right": to_json(wilson(250, 250)),
                "asr_top_k": [],
                "target": "dog",
                "target_rank": to_json(RANK),
            }
            for name, options in names.items()
        ],
    }


def led(audit: dict[str, Any], random_: random.Random, *names: str) -> None:
    """Each attack leads to classes, told under `names`."""
    for attack in audit["attacks"]:
        for name in names:
            shares = {side: wilson(random_.randrange(201), 200) for side in ("triggered", "untriggered")}
            reported = Towards(class_name=random_.choice(("cat", "dog")), **shares)
            attack[name] = to_json(reported)


NOT_SEARCHED = NotSearched(not_searched="scan_images_equal")


def document(
    before: int,
    after: int | None,
    lost: int,
    gate: float,
    policy: Policy,
    *,
    random_: random.Random,
    given: str,
) -> dict[str, Any]:
    reported, then = figures(before), None if after is None else figures(after)
    led(reported, random_, "towards")
    if then is not None:
        led(then, random_, "towards", "towards_now")
    difference = (
        None if after is None else newcombe(both=250 - lost, lost=lost, gained=lost, neither=50 - lost)
    )
    verdict = judge(
        before=parse(AuditFigures, reported),
        after=None if then is None else parse(AuditFigures, then),
        ca_lost=difference,
        gate=gate,
        policy=policy,
        limits_below_gate=after is not None or given != "default",
        control=None if after is None else NOT_SEARCHED,
    )
    base = {name: value for name, value in kept("cleaned").items() if name != "warnings"}
    return base | {
        "kind": "audit" if after is None else "sanitize",
        "audit": base["audit"] | {"gate": gate},
        "policy": to_json(policy),
        "policy_source": base["policy_source"] | {"given": given},
        "before": reported,
        "after": then,
        "ca_lost": None if difference is None else to_json(difference),
        "control": None if after is None else to_json(NOT_SEARCHED),
        "verdict": _lists(verdict),
    }


def parsed(reported: dict[str, Any]) -> Report:
    """Without what follows from its figures."""
    return checked.parse(json.dumps(counted(reported)).encode())


def policy_of(reported: dict[str, Any]) -> list[str | None]:
    return [one.where for one in checked.check(parsed(reported)) if (one.where or "").startswith("policy")]


def _lists(verdict: Verdict) -> dict[str, Any]:
    return {**to_json(verdict), "attacks": [to_json(one) for one in verdict.attacks]}


@pytest.mark.parametrize(("seed", "times"), [(36, 80), pytest.param(4, 600, marks=pytest.mark.full)])
def test_the_verdict_that_the_library_gives_is_the_one_that_follows(seed: int, times: int) -> None:
    random_ = random.Random(seed)
    outcomes = set()
    for _ in range(times):
        policy = Policy(
            asr_at_most=random_.choice([0.0, 0.05, 0.3, 1.0]),
            asr_at_most_for={
                name: random_.choice([0.0, 0.02, 0.2, 1.0])
                for name in random_.sample(["paper", "badnet", "structured", "text_trigger", "custom"], 2)
            },
            ca_lost_at_most=random_.choice([0.0, 0.03, 1.0]),
        )
        after = random_.choice([None, random_.randrange(201)])
        reported = document(
            random_.randrange(201),
            after,
            random_.randrange(40),
            random_.choice([0.1, 0.5]),
            policy,
            random_=random_,
            given=random_.choice(["default", "order"]),
        )
        outcomes.add(reported["verdict"]["outcome"])
        assert checked.parse(json.dumps(reported).encode()).verdict.outcome == reported["verdict"]["outcome"]
        others = {"pass", "fail", "undecided", "inconclusive"} - {reported["verdict"]["outcome"]}
        reported["verdict"]["outcome"] = random_.choice(sorted(others))
        with pytest.raises(Malformed, match="verdict"):
            checked.parse(json.dumps(reported).encode())
    assert outcomes == {"pass", "fail", "undecided", "inconclusive"}


@pytest.mark.parametrize(("side", "is_there"), [("after", False), ("before", True)])
def test_the_class_that_a_trigger_leads_to_now_is_told_after_a_cleaning_and_nowhere_else(
    side: str, is_there: bool
) -> None:
    reported = document(9, 9, 1, 0.5, Policy(), random_=random.Random(4), given="order")
    cat = Towards(class_name="cat", triggered=wilson(50, 200), untriggered=wilson(1, 200))
    reported[side]["attacks"][0] |= {
        "towards": to_json(cat),
        "towards_now": to_json(cat) if is_there else None,
    }
    found = [one.where for one in checks.check(parsed(reported))]
    assert f"{side}.attacks[0].towards_now" in found
    reported[side]["attacks"][0]["towards_now"] = None if is_there else to_json(cat)
    found = [one.where for one in checks.check(parsed(reported))]
    assert f"{side}.attacks[0].towards_now" not in found


def test_a_policy_that_is_not_the_one_its_digest_names_is_found() -> None:
    reported = kept("par")
    assert policy_of(reported) == [], "nothing was given"
    policy = parse(Policy, {"asr_at_most": 0.1, "asr_at_most_for": {"structured": 0.3, "badnet": 1}})
    reported |= {
        "policy": to_json(policy),
        "policy_source": to_json(PolicySource.of(policy, name="release")),
    }
    assert policy_of(reported) == []
    reported["policy_source"]["given"] = "order"
    assert policy_of(reported) == ["policy_source.name"]
    reported["policy"]["asr_at_most_for"]["structured"] = 0.4
    assert "policy_source.sha256" in policy_of(reported)


@pytest.mark.parametrize("name", NAMES)
def test_in_no_report_that_was_kept_is_anything_found(name: str) -> None:
    assert [str(one) for one in checked.check(parsed(kept(name)))] == []


def of_classes(named: list[str]) -> list[str]:
    return [one for one in named if one.startswith("classes_lost")]


@pytest.mark.parametrize(
    ("sizes", "shares"),
    [
        ((1, 10, 30), (0.3, 0.8)),
        pytest.param((1, 2, 5, 9, 10, 11, 30, 60), (0.3, 0.6, 0.7, 0.8), marks=pytest.mark.full),
    ],
    ids=["few", "many"],
)
def test_the_classes_that_the_library_tells_are_held_and_none_can_be_left_out(
    sizes: tuple[int, ...], shares: tuple[float, ...]
) -> None:
    generator, lengths = torch.Generator().manual_seed(3), set()
    for num_classes in sizes:
        for share_after in shares:
            label_N = torch.randint(num_classes, (400,), generator=generator)
            before_N = torch.rand(400, generator=generator) < 0.7
            after_N = torch.rand(400, generator=generator) < share_after
            names = [f"class {number // 2}" for number in range(num_classes)]  # as a dataset may have them
            reported, by_class = kept("par"), {}
            for side, correct_N in (("before", before_N), ("after", after_N)):
                reported[side]["ca"] = to_json(wilson(int(correct_N.sum()), 400))
                by_class[side] = [to_json(one) for one in per_class(correct_N, label_N, names)]
            reported["data"][-1]["num_classes"] = num_classes
            reported["ca_lost"] = to_json(paired_difference(before_N.tolist(), after_N.tolist()))
            changes = [to_json(one) for one in classes_lost(before_N, after_N, label_N, names)]
            assert named_of(reported | {"classes_lost": changes}) == []
            lengths.add(len(changes))
            also = {side: reported[side] | {"ca_per_class": by_class[side]} for side in by_class}
            assert named_of(reported | {"classes_lost": changes} | also) == []
            for index in range(len(changes)):
                without = changes[:index] + changes[index + 1 :]
                assert "classes_lost" in named_of(reported | {"classes_lost": without} | also)
            net = reported["ca_lost"]["lost"] - reported["ca_lost"]["gained"]
            sum_of_nets = sum(one["lost"]["lost"] - one["lost"]["gained"] for one in changes)
            for index, one in enumerate(changes):
                without = changes[:index] + changes[index + 1 :]
                rest = sum_of_nets - one["lost"]["lost"] + one["lost"]["gained"]
                assert bool(named_of(reported | {"classes_lost": without})) == (rest < net)
    assert {0, MOST_CLASSES_REPORTED} < lengths


def named_of(reported: dict[str, Any]) -> list[str]:
    return of_classes([str(one.where) for one in checks.check(parsed(reported))])


@pytest.mark.parametrize(
    "left_out", [[0], [9], range(1, 10), range(10)], ids=["worst", "last", "nine", "all"]
)
def test_of_a_real_reports_ten_classes_none_can_be_left_out(left_out: list[int]) -> None:
    reported = kept("par")
    assert len(reported["classes_lost"]) == MOST_CLASSES_REPORTED
    reported["classes_lost"] = [
        one for index, one in enumerate(reported["classes_lost"]) if index not in left_out
    ]
    assert named_of(reported) == ["classes_lost"]


def test_ten_classes_that_lost_little_do_not_hide_what_the_others_lost() -> None:
    reported = kept("par")
    least = {
        "class_name": "white six",
        "before": to_json(wilson(100, 100)),
        "after": to_json(wilson(99, 100)),
        "lost": to_json(newcombe(both=99, lost=1, gained=0, neither=0)),
    }
    reported["classes_lost"] = [copy.deepcopy(least) for _ in range(MOST_CLASSES_REPORTED)]
    assert named_of(reported) == ["classes_lost"]


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"distance_image": 77.0}, "distance_image"),
        ({"distance_text": 4.01}, "distance_text"),
        ({"distance_text": -0.01, "loss_push": 0.0}, "distance_text"),
        ({"distance_image": None}, "distance_image"),
        ({"loss_push": None}, "loss_push"),
        ({"loss_push": -5.0, "loss_clip": -5.0}, "loss_push"),
        ({"loss_push": 5.0, "loss_clip": 5.0}, "loss_push"),
    ],
)
def test_a_distance_or_a_push_that_cannot_be_is_named(values: dict[str, float | None], name: str) -> None:
    reported = kept("par")
    point = reported["training"]["curve"][1]
    point |= values
    point["loss"] = point["loss_clip"] - (point["loss_push"] or 0)
    named = [one.where for one in training.check(parsed(reported))]
    assert named == [f"training.curve[1].{name}"]


def test_what_is_no_number_is_no_distance() -> None:
    for odd in ("far", True, [2.0], float("nan"), float("inf")):
        reported = kept("par")
        reported["training"]["curve"][1]["distance_image"] = odd
        with pytest.raises(Malformed):
            parsed(reported)


@pytest.mark.parametrize("name", ["loss_push", "distance_image", "distance_text"])
def test_only_par_pushes(name: str) -> None:
    reported = kept("cleaned")
    reported["training"]["curve"][3][name] = 0.0
    assert [one.where for one in training.check(parsed(reported))] == [f"training.curve[3].{name}"]
    supervised = kept("not_cleaned")
    shared = {part.name for part in fields(SupervisedRecipe)}
    supervised["recipe"] = {name: value for name, value in supervised["recipe"].items() if name in shared}
    supervised["recipe"]["method"] = "supervised"
    for point in supervised["training"]["curve"]:
        point |= {"loss_clip": None, "loss_self_supervised": None}
    assert list(training.check(parsed(supervised))) == []
