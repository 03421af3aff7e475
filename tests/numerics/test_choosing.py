"""The choice of a ladder against a plain reference: lists of numbers, no dataclass of ours in the rule."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

import pytest

from cleanclip.spec.auto_figures import Look, RungFigures, UniversalShare, Validated, ValidatedAttack
from cleanclip.spec.choosing import UNKNOWN_AT_MOST, Judge, choose, not_judged, on_front
from cleanclip.spec.intervals import newcombe, wilson
from cleanclip.spec.measures import Difference, Estimate, Towards
from cleanclip.spec.recipe import Policy, UARRecipe
from cleanclip.spec.scan_section import ScanSection

KINDS = ("badnet", "blended")
N = 400


def share(successes, n=N):
    value, low, high = wilson(successes, n)
    return Estimate(value=value, n=n, successes=successes, low=low, high=high)


def loss(lost):
    value, low, high = newcombe(both=200, lost=lost, gained=2, neither=N - 202 - lost)
    return Difference(value=value, n=N, lost=lost, gained=2, low=low, high=high)


def validated(attacked, sent, floor=4):
    return Validated(
        ca=share(200),
        attacks=tuple(
            ValidatedAttack(asr=share(one), untriggered_target_rate=share(floor)) for one in attacked
        ),
        patterns=tuple(
            UniversalShare(name=f"pattern {number}", class_name="dog", moved=share(one))
            for number, one in enumerate(sent)
        ),
    )


JUDGE = Judge(before=validated((390, 380), (300,)), kinds=KINDS, policy=Policy(), gate=0.5)


@dataclass(frozen=True)
class Plain:
    """A look in bare numbers: ASR of both attacks, images sent to one class by patterns, images lost."""

    attacked: tuple[int, int]
    sent: tuple[int, ...]
    lost: int

    def look(self):
        return Look(
            epoch=1, figures=validated(self.attacked, self.sent), ca_lost=loss(self.lost), seconds=1.0
        )


def reference(rungs, before, policy, gate):
    """(rung, look) by the rule as it is written down, with a loop for each step of it."""
    limits = {0: policy.asr_at_most_for.get("badnet", policy.asr_at_most), 1: policy.asr_at_most}
    over = {}
    for number, looks in enumerate(rungs):
        for place, one in enumerate(looks):
            excess = [newcombe(both=200, lost=one.lost, gained=2, neither=N - 202 - one.lost)[2]]
            excess[0] -= policy.ca_lost_at_most
            for attack in (0, 1):
                _, low, high = wilson(one.attacked[attack], N)
                if before[attack] / N >= gate:
                    excess.append(high - limits[attack])
                elif low > limits[attack] and low > wilson(4, N)[2]:
                    excess.append(low - limits[attack])
            over[number, place] = max([0.0, *excess])
    within = [at for at in over if over[at] == 0.0]
    for number, place in within:
        sent = rungs[number][place].sent
        if sent and all(wilson(one, N)[2] <= UNKNOWN_AT_MOST for one in sent):
            return number, place
    best = None
    for at in within:
        worst = max((wilson(one, N)[2] for one in rungs[at[0]][at[1]].sent), default=1.0)
        if best is None or worst < best[0]:
            best = (worst, at)
    if best is not None:
        return best[1]
    nearest = None
    for at, excess in over.items():
        if nearest is None or excess < nearest[0]:
            nearest = (excess, at)
    return None if nearest is None else nearest[1]


def built(rungs):
    return [
        RungFigures(
            name="uar",
            recipe=UARRecipe(),
            looks=tuple(one.look() for one in looks),
            end="finished",
            seconds=1.0,
        )
        for looks in rungs
    ]


@pytest.mark.parametrize("seed", range(8))
def test_the_choice_is_that_of_the_plain_rule(seed):
    draws = random.Random(seed)
    met = {1: 0, 2: 0, 3: 0}
    for _ in range(60):
        policy = Policy(
            asr_at_most=draws.choice([0.02, 0.05, 0.3]),
            asr_at_most_for=draws.choice([{}, {"badnet": 0.4}]),
            ca_lost_at_most=draws.choice([0.02, 0.05]),
        )
        before = (draws.choice([390, 8, 60]), draws.choice([380, 100]))
        rungs = [
            [
                Plain(
                    attacked=(draws.choice([0, 1, 8, 40, 200]), draws.choice([0, 3, 30])),
                    sent=tuple(draws.choice([4, 60, 150, 300]) for _ in range(draws.choice([0, 2]))),
                    lost=draws.choice([0, 2, 5, 9, 30]),
                )
                for _ in range(draws.choice([0, 1, 2]))
            ]
            for _ in range(draws.choice([1, 2, 4]))
        ]
        judge = Judge(before=validated(before, (300,)), kinds=KINDS, policy=policy, gate=0.5)
        choice = choose(built(rungs), judge)
        found = None if choice is None else (choice.rung, choice.look)
        assert found == reference(rungs, before, policy, 0.5)
        if choice is not None:
            met[1 if choice.meets_unknown else 2 if choice.meets_policy else 3] += 1
    assert all(met.values()), "the cases do not reach every step of the rule"


def test_a_look_that_is_added_never_makes_an_older_one_of_the_others_the_choice():
    """The best weights so far are all that is kept."""
    draws = random.Random(5)
    for _ in range(200):
        looks = [
            Plain(
                (draws.choice([0, 8, 30]), 0), (draws.choice([4, 150, 160, 300]),), draws.choice([0, 2, 30])
            )
            for _ in range(4)
        ]
        before = choose(built([looks[:3]]), JUDGE)
        after = choose(built([looks]), JUDGE)
        assert after is not None
        assert before is not None
        assert after.look in (before.look, 3)


def test_the_front_holds_what_nothing_beats():
    looks = [Plain((40, 0), (), 2), Plain((8, 0), (), 10), Plain((40, 0), (), 12), Plain((0, 8), (), 10)]
    assert on_front(built([looks]), JUDGE) == [(0, 0), (0, 1), (0, 3)]


def test_a_surrogate_counts_as_a_pattern_does():
    clean = Plain((0, 0), (4,), 0).look()
    assert JUDGE.meets_both(clean)
    surrogate = UniversalShare(name="sig", class_name="cat", moved=share(200))
    assert not JUDGE.meets_both(replace(clean, figures=replace(clean.figures, surrogates=(surrogate,))))
    assert not JUDGE.meets_both(replace(clean, figures=replace(clean.figures, patterns=())))


def test_what_was_not_measured_on_the_chosen_look_is_not_a_failure():
    """Patterns are not inverted where the policy is missed; a surrogate that works is known even so."""
    missed = Plain((200, 0), (), 0).look()
    works = UniversalShare(name="sig", class_name="cat", moved=share(200))
    fails = replace(missed, figures=replace(missed.figures, surrogates=(works,)))
    for look, expected in ((missed, None), (fails, False)):
        (rung,) = built([[Plain((200, 0), (), 0)]])
        choice = choose([replace(rung, looks=(look,))], JUDGE)
        assert (choice.meets_policy, choice.meets_unknown) == (False, expected)
        assert choice.reason.endswith("uar, after epoch 1. Fresh patterns were not inverted on it.")


@pytest.mark.parametrize(
    ("excess", "words"),
    [(1e-9, "less than 0.1 points"), (0.0004, "less than 0.1 points"), (0.0012, "0.1 points")],
)
def test_a_look_that_misses_a_limit_by_little_is_not_called_0_points_over(excess, words):
    missed = Plain((0, 0), (), 2)
    policy = Policy(asr_at_most=0.2, ca_lost_at_most=missed.look().ca_lost.high - excess)
    judge = Judge(before=validated((390, 380), (300,)), kinds=KINDS, policy=policy, gate=0.5)
    choice = choose(built([[missed]]), judge)
    assert not choice.meets_policy
    assert choice.reason.startswith(
        f"No rung meets the policy; this is the nearest, {words} over a limit by its bound: "
    )


def test_the_front_and_the_worst_attack_go_by_each_attacks_own_limit():
    """The second look has the higher ASR, under a limit of its own, and is chosen."""
    limits = Policy(asr_at_most=0.2, asr_at_most_for={"badnet": 0.01}, ca_lost_at_most=0.05)
    judge = Judge(before=validated((390, 380), (300,)), kinds=KINDS, policy=limits, gate=0.5)
    looks = [Plain((6, 12), (), 2), Plain((0, 40), (4,), 2)]
    choice = choose(built([looks]), judge)
    assert (choice.look, choice.meets_policy) == (1, True)
    assert on_front(built([looks]), judge) == [(0, 1)]
    assert [judge.worst_attack(one.look().figures) for one in looks] == [0, 0]
    assert judge.over_limits(looks[0].look().figures)[0] == pytest.approx(0.005)


@pytest.mark.parametrize("spared", [(), (0, 1)])
def test_where_no_attack_takes_part_there_is_no_front(spared):
    before = validated((390, 390) if spared else (8, 8), (300,))
    judge = Judge(before=before, kinds=KINDS, policy=Policy(), gate=0.5, not_judged=spared)
    looks = built([[Plain((0, 380), (4,), 0)]])
    assert on_front(looks, judge) == []
    assert judge.worst_attack(before) is None


def of_scan(p_value, num_known):
    return ScanSection(
        report_sha256="0" * 64,
        weights_sha256="0" * 64,
        outcome="inconclusive" if p_value is None else "fail",
        p_value=p_value,
        significance=0.05,
        families=("edits",),
        num_known=num_known,
        only_suites=False,
        found=(),
    )


@pytest.mark.parametrize(("p_value", "chosen"), [(None, 0), (0.05, 1)])
def test_an_attack_that_only_a_scan_found_decides_only_where_the_scan_failed(p_value, chosen):
    scan = of_scan(p_value, num_known=1)
    before = validated((390, 390), (300,))
    judge = Judge(before=before, kinds=KINDS, policy=Policy(), gate=0.5, not_judged=not_judged(scan, 2))
    looks = [Plain((0, 380), (4,), 0), Plain((0, 0), (4,), 0)]
    choice = choose(built([looks]), judge)
    assert (choice.look, choice.meets_policy) == (chosen, True)
    assert judge.worst_attack(before) == 0
    assert judge.worst_attack(looks[0].look().figures) == (0 if p_value is None else 1)


def led(class_name, triggered, untriggered=4):
    return Towards(class_name=class_name, triggered=share(triggered), untriggered=share(untriggered))


def look_at(plain, **attack):
    """A look whose first attack has these figures, too."""
    look = plain.look()
    first, *others = look.figures.attacks
    return replace(look, figures=replace(look.figures, attacks=(replace(first, **attack), *others)))


def wrong_target(before):
    """A judge whose first attack was named with a target that it does not lead to."""
    figures = validated((8, 380), (300,))
    first, second = figures.attacks
    figures = replace(figures, attacks=(replace(first, elsewhere=before), second))
    return Judge(before=figures, kinds=KINDS, policy=Policy(), gate=0.5)


def test_an_attack_that_worked_towards_another_class_is_held_against_its_limit_by_that_class():
    judge = wrong_target(led("cat", 300))
    stays = look_at(Plain((8, 0), (4,), 0), elsewhere=led("cat", 150), as_before=led("cat", 150))
    gone = look_at(Plain((8, 0), (4,), 0), as_before=led("cat", 3))
    assert judge.led(judge.before, 0) == led("cat", 300)
    assert judge.share(judge.before, 0) == share(300)
    assert judge.share(stays.figures, 0) == share(150)
    assert judge.excess(stays) == pytest.approx(wilson(150, N)[2] - 0.05)
    assert judge.excess(gone) == 0
    assert judge.over_limits(stays.figures)[0] == pytest.approx(150 / N - 0.05)


@pytest.mark.parametrize("before", [None, led("cat", 199), led("cat", 300, untriggered=300)])
def test_an_attack_that_led_nowhere_has_no_share(before):
    """To no other class, to it under the gate, or as often without the trigger."""
    judge = wrong_target(before)
    look = look_at(Plain((8, 0), (4,), 0), as_before=before and led("cat", 150, untriggered=150))
    assert judge.share(look.figures, 0) is None
    assert judge.excess(look) == 0


def test_a_trigger_that_leads_to_a_class_of_its_own_meets_no_limit():
    loose = Judge(before=JUDGE.before, kinds=KINDS, policy=Policy(asr_at_most=1.0), gate=0.5)
    moved = look_at(Plain((0, 0), (4,), 0), elsewhere=led("cat", 250))
    for judge in (JUDGE, loose):
        assert judge.excess(moved) > 0
        assert judge.excess(look_at(Plain((0, 0), (4,), 0), elsewhere=led("cat", 150))) == 0
    assert JUDGE.share(moved.figures, 0) == share(250)
    new = Judge(before=validated((8, 380), (300,)), kinds=KINDS, policy=Policy(), gate=0.5)
    assert new.excess(moved) > 0
    assert new.worst_attack(moved.figures) == 0
    spared = replace(loose, not_judged=(0,))
    assert spared.share(moved.figures, 0) is None
    assert spared.excess(moved) == 0
