"""Every outcome, on the bounds and not on the points, and what the reasons promise."""

import re
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cleanclip.vocabulary.audit_figures import AuditFigures, ClassAccuracy, Measured, Withheld
from cleanclip.vocabulary.control import CONTROL_LIMIT, NotSearched
from cleanclip.vocabulary.images_to_decide import images_to_decide, images_to_decide_loss
from cleanclip.vocabulary.judging import hopeless, judge
from cleanclip.vocabulary.measures import Difference, Towards
from cleanclip.vocabulary.policy import Policy
from cleanclip.vocabulary.scan_section import ScanSection
from cleanclip.vocabulary.verdict_texts import NOT_JUDGED
from cleanclip.vocabulary.verdicts import Verdict
from sanitizer.audits.statistics import wilson
from tests.fixtures.made_reports import attack_figures, audit_figures, newcombe, searched

N = 3000
POLICY = Policy(asr_at_most=0.05, ca_lost_at_most=0.03)
NOT_SEARCHED = NotSearched(not_searched="scan_too_few_images")
KEPT = newcombe(both=2000, lost=60, gained=60, neither=880)


def figures(*successes: int, n: int = N, floor: int = 5, ca: int = 2060) -> AuditFigures:
    attacks = (
        attack_figures(wilson(count, n), name=f"attack{number}", trigger_sha256=str(number), pa=wilson(0, n))
        for number, count in enumerate(successes)
    )
    return audit_figures(wilson(ca, N), *attacks, untriggered_target_rate=wilson(floor, n))


def cleaned(
    before: tuple[int, ...],
    after: tuple[int, ...],
    lost: Difference = KEPT,
    policy: Policy = POLICY,
    n: int = N,
) -> Verdict:
    return judge(
        before=figures(*before, n=n), after=figures(*after, n=n), ca_lost=lost, gate=0.5, policy=policy
    )


def test_an_attack_far_under_the_limit_passes() -> None:
    verdict = cleaned((2930,), (30,))
    assert verdict.outcome == verdict.attacks[0].outcome == "pass"
    assert verdict.clean_accuracy is not None
    assert verdict.clean_accuracy.outcome == "pass"
    assert "97.67 % before" in verdict.attacks[0].reason
    assert "This does not exclude triggers that were not tested" in verdict.reason


def test_an_attack_far_over_the_limit_fails() -> None:
    verdict = cleaned((2930,), (1500,))
    assert verdict.outcome == verdict.attacks[0].outcome == "fail"
    assert "attack0" in verdict.reason


def test_an_attack_that_grew_is_said_to_have_grown() -> None:
    assert "did not fall" in cleaned((2000,), (2900,)).attacks[0].reason


@pytest.mark.parametrize("successes", [140, 160])
def test_a_limit_within_the_interval_is_undecided_on_either_side_of_the_point(successes: int) -> None:
    verdict = cleaned((2930,), (successes,))
    assert verdict.outcome == verdict.attacks[0].outcome == "undecided"
    assert re.search(r"About [\d,]+ images would decide it", verdict.attacks[0].reason)


def test_few_images_do_not_pass_though_none_was_a_success() -> None:
    # 0 of 50: the upper bound is 7 %.
    verdict = cleaned((50,), (0,), n=50)
    assert verdict.attacks[0].outcome == "undecided"
    assert "About 73 images" in verdict.attacks[0].reason


def test_an_attack_under_the_gate_was_inconclusive_whatever_came_of_it() -> None:
    verdict = cleaned((1499,), (0,))
    assert (verdict.outcome, verdict.attacks[0].outcome) == ("inconclusive", "inconclusive")
    assert "under the gate of 50.00 %" in verdict.attacks[0].reason
    assert cleaned((1500,), (0,)).attacks[0].outcome == "pass"


@pytest.mark.parametrize(("after", "outcome"), [(1499, "fail"), (190, "fail"), (180, "inconclusive")])
def test_an_attack_under_the_gate_that_is_over_its_limit_after_cleaning_fails(
    after: int, outcome: str
) -> None:
    # 190 of 3,000: 5.52 to 7.26 %; 180: 5.20 to 6.91 %, and without a trigger 5.3 to 7.0 %.
    before, now = figures(1499), figures(after, floor=5 if after != 180 else 183)
    verdict = judge(before=before, after=now, ca_lost=KEPT, gate=0.5, policy=POLICY)
    assert verdict.attacks[0].outcome == outcome
    assert verdict.outcome == ("inconclusive" if outcome == "inconclusive" else outcome)
    if outcome == "fail":
        assert re.match(
            r"works in part: ASR is .* after, over the limit of 5.00 %", verdict.attacks[0].reason
        )
        assert "49.97 %, under the gate of 50.00 %" in verdict.attacks[0].reason


def test_an_attack_that_grew_past_the_limit_spoils_what_passes_beside_it() -> None:
    assert cleaned((2930, 1000), (5, 2400)).outcome == "fail"


@pytest.mark.parametrize(
    ("successes", "floor", "limit", "outcome"),
    [
        (1499, 5, 0.05, "fail"),
        (1499, 1499, 0.05, "inconclusive"),
        (1499, 5, 0.5, "inconclusive"),
        (160, 5, 0.05, "inconclusive"),
    ],
)
def test_an_audit_alone_fails_what_is_over_the_limit_and_over_the_rate_without_a_trigger(
    successes: int, floor: int, limit: float, outcome: str
) -> None:
    verdict = judge(before=figures(successes, floor=floor), gate=0.5, policy=Policy(asr_at_most=limit))
    assert verdict.attacks[0].outcome == outcome
    assert verdict.outcome == ("inconclusive" if outcome == "inconclusive" else outcome)
    if outcome == "fail":
        assert "works in part" in verdict.attacks[0].reason
        assert "over the limit of 5.00 %" in verdict.attacks[0].reason
        assert "attack0" in verdict.reason


def test_an_audit_alone_over_the_gate_is_not_said_to_be_over_a_limit_that_it_keeps() -> None:
    verdict = judge(before=figures(2000), gate=0.5, policy=Policy(asr_at_most=1.0))
    assert verdict.outcome == "fail"
    assert "ver the limit" not in verdict.reason


def test_under_the_gate_no_limit_holds_where_nobody_gave_one_and_in_reports_from_before() -> None:
    for cleaning in ({}, {"after": figures(1499), "ca_lost": KEPT}):
        verdict = judge(before=figures(1499), gate=0.5, policy=POLICY, limits_below_gate=False, **cleaning)
        assert verdict.attacks[0].outcome == "inconclusive"
        assert not verdict.limits_below_gate


def test_one_attack_that_was_inconclusive_does_not_hide_the_others() -> None:
    assert cleaned((2930, 10), (5, 5)).outcome == "pass"
    assert "Inconclusive: attack1." in cleaned((2930, 10), (5, 5)).reason
    assert cleaned((2930, 10), (150, 5)).outcome == "undecided"
    assert cleaned((10, 2930, 2930, 2930), (5, 5, 150, 2000)).outcome == "fail"


@pytest.mark.parametrize(
    ("lost", "gained", "outcome"), [(20, 30, "pass"), (300, 30, "fail"), (120, 30, "undecided")]
)
def test_lost_accuracy_is_judged_on_its_paired_interval(lost: int, gained: int, outcome: str) -> None:
    difference = newcombe(both=2060 - lost, lost=lost, gained=gained, neither=940 - gained)
    verdict = cleaned((2930,), (5,), lost=difference)
    assert verdict.clean_accuracy is not None
    assert verdict.clean_accuracy.outcome == verdict.outcome == outcome


def test_lost_accuracy_fails_the_whole_even_where_nothing_was_implanted() -> None:
    difference = newcombe(both=1700, lost=360, gained=0, neither=940)
    assert cleaned((3,), (3,), lost=difference).outcome == "fail"


def test_a_gain_of_accuracy_passes() -> None:
    verdict = cleaned((2930,), (5,), lost=newcombe(both=2000, lost=60, gained=300, neither=640))
    assert verdict.clean_accuracy is not None
    assert "lost -8.00 points" in verdict.clean_accuracy.reason
    assert verdict.outcome == "pass"


def test_an_audit_alone_fails_where_the_attack_is_implanted() -> None:
    verdict = judge(before=figures(1500, 10), gate=0.5, policy=POLICY)
    assert [attack.outcome for attack in verdict.attacks] == ["fail", "inconclusive"]
    assert verdict.attacks[0].reason.startswith("ASR is 50.00 %")
    assert verdict.outcome == "fail"
    assert verdict.clean_accuracy is None


@pytest.mark.parametrize("successes", [(10,), (10, 20)])
def test_nothing_found_is_inconclusive_after_an_audit_and_after_a_cleaning(
    successes: tuple[int, ...],
) -> None:
    triggers = "1 trigger" if len(successes) == 1 else "2 triggers"
    for verdict in (
        judge(before=figures(*successes), gate=0.5, policy=POLICY),
        cleaned(successes, (0,) * len(successes)),
    ):
        assert verdict.outcome == "inconclusive"
        assert verdict.reason.startswith(f"Nothing found with the {triggers} tested: inconclusive. ")


def test_one_trigger_under_two_names_counts_as_one() -> None:
    once = figures(10)
    twice = replace(once, attacks=(once.attacks[0], replace(once.attacks[0], name="again")))
    verdict = judge(before=twice, gate=0.5, policy=POLICY)
    assert verdict.reason.startswith("Nothing found with the 1 trigger tested: inconclusive. ")


def test_a_target_that_is_predicted_without_a_trigger_is_pointed_out() -> None:
    verdict = judge(before=figures(2900, floor=2900), gate=0.5, policy=POLICY)
    assert "images without a trigger are classified as the target as often" in verdict.attacks[0].reason
    assert "without a trigger" not in judge(before=figures(2900), gate=0.5, policy=POLICY).attacks[0].reason


def test_audits_of_other_triggers_are_not_compared() -> None:
    with pytest.raises(ValueError, match="not of the same triggers"):
        judge(before=figures(1, 2), after=figures(1), ca_lost=KEPT, gate=0.5, policy=POLICY)


@pytest.mark.parametrize(("after", "lost"), [(figures(1), None), (None, KEPT)])
def test_a_cleaning_needs_both_its_second_audit_and_its_loss(
    after: AuditFigures | None, lost: Difference | None
) -> None:
    with pytest.raises(ValueError, match="needs both"):
        judge(before=figures(1), after=after, ca_lost=lost, gate=0.5, policy=POLICY)


@given(successes=st.integers(0, 400), n=st.integers(400, 5000), where=st.floats(0, 0.999))
def test_the_number_of_images_that_is_named_does_decide(successes: int, n: int, where: float) -> None:
    estimate = wilson(successes, n)
    limit = estimate.low + where * (estimate.high - estimate.low)
    assume(estimate.low < limit < estimate.high)
    needed = images_to_decide(estimate, limit)
    if needed is None:
        assert abs(estimate.value - limit) < 1e-3
        return
    grown = wilson(round(estimate.value * needed), needed)
    assert needed >= n
    assert grown.high <= limit or grown.low > limit


def test_half_the_number_of_images_that_is_named_does_not_decide() -> None:
    estimate = wilson(140, N)
    needed = images_to_decide(estimate, 0.05)
    assert needed is not None
    fewer = wilson(round(estimate.value * needed / 2), needed // 2)
    assert fewer.low <= 0.05 < fewer.high


def test_no_number_of_images_decides_a_share_that_lies_on_the_limit() -> None:
    assert images_to_decide(wilson(150, N), 0.05) is None
    verdict = cleaned((2930,), (150,))
    assert "No practical number of images" in verdict.attacks[0].reason


def test_a_limit_of_zero_can_fail_but_never_pass() -> None:
    policy = Policy(asr_at_most=0.0)
    assert cleaned((2930,), (0,), policy=policy).attacks[0].outcome == "undecided"
    assert cleaned((2930,), (1,), policy=policy).attacks[0].outcome == "fail"


@given(lost=st.integers(0, 200), gained=st.integers(0, 200), where=st.floats(0.001, 0.999))
def test_the_number_of_images_that_is_named_does_decide_a_loss(lost: int, gained: int, where: float) -> None:
    difference = newcombe(both=2060 - lost, lost=lost, gained=gained, neither=940 - gained)
    limit = difference.low + where * (difference.high - difference.low)
    needed = images_to_decide_loss(difference, limit)
    if needed is None:
        assert abs(difference.value - limit) < 1e-3
        return
    grown = newcombe(
        both=round((2060 - lost) * needed / N),
        lost=round(lost * needed / N),
        gained=round(gained * needed / N),
        neither=round((940 - gained) * needed / N),
    )
    assert grown.high <= limit or grown.low > limit


def named(found: AuditFigures, *kinds: str) -> AuditFigures:
    """The same figures, of attacks of these kinds."""
    reported = []
    for attack, kind in zip(found.attacks, kinds, strict=True):
        name, _, pattern = kind.partition("-")
        reported.append(replace(attack, name=kind, options={"attack": name, "pattern": f"{pattern}_redrawn"}))
    return replace(found, attacks=tuple(reported))


def test_each_attack_is_held_to_the_limit_that_the_policy_has_for_it() -> None:
    kinds = ("badnet", "badnet-stripes", "sig", "custom_patch")
    policy = Policy(asr_at_most=0.05, asr_at_most_for={"structured": 0.2, "sig": 0.001})
    verdict = judge(
        before=named(figures(2900, 2900, 2900, 2900), *kinds),
        after=named(figures(300, 300, 30, 30), *kinds),
        ca_lost=KEPT,
        gate=0.5,
        policy=policy,
    )
    assert [one.outcome for one in verdict.attacks] == ["fail", "pass", "fail", "pass"]
    limits = [re.search(r"the limit is ([\d.]+) %", one.reason) for one in verdict.attacks]
    assert [found and found[1] for found in limits] == ["5.00", "20.00", "0.10", "5.00"]


def test_what_no_cleaning_could_pass_is_known_from_the_audit_before_it() -> None:
    def places(before: AuditFigures, policy: Policy) -> list[str | None]:
        return [one.where for one in hopeless(before, gate=0.5, policy=policy)]

    few = named(figures(70, 70, 10, n=72), "badnet", "sig", "blended")
    assert places(few, POLICY) == ["policy.asr_at_most"] * 2, "an attack below the gate needs no pass"
    named_limits = Policy(asr_at_most_for={"sig": 0.2, "badnet": 0.04})
    assert places(few, named_limits) == ["policy.asr_at_most_for.badnet"]
    assert places(named(figures(70, n=73), "badnet"), POLICY) == []


@pytest.mark.parametrize(("right", "n", "is_hopeless"), [(50, 50, True), (45, 50, False), (400, 400, False)])
def test_no_loss_of_accuracy_could_be_shown_to_be_small_on_a_few_images_that_are_all_right(
    right: int, n: int, is_hopeless: bool
) -> None:
    before = replace(figures(1), ca=wilson(right, n))
    found = hopeless(before, gate=0.5, policy=POLICY)
    assert [one.where for one in found] == ["policy.ca_lost_at_most"] * is_hopeless


def elsewhere(asr: int, towards: int, *, untriggered: int = 60, name: str = "cat") -> AuditFigures:
    """One attack on "dog" whose trigger leads to another class in `towards` of N images."""
    found = figures(asr)
    led = Towards(class_name=name, triggered=wilson(towards, N), untriggered=wilson(untriggered, N))
    return replace(found, attacks=(replace(found.attacks[0], towards=led),))


def test_a_trigger_that_works_towards_another_class_than_was_named_is_not_called_inconclusive() -> None:
    verdict = judge(before=elsewhere(0, 2980), gate=0.5, policy=POLICY)
    assert verdict.outcome == verdict.attacks[0].outcome == "fail"
    reason = verdict.attacks[0].reason
    assert reason.startswith("works, towards 'cat' and not the target: 99.33 %")
    assert "2.00 % (95 % interval" in reason
    assert "Towards the target ASR is 0.00 %" in reason


@pytest.mark.parametrize(
    ("asr", "towards", "untriggered", "name"),
    [
        (0, 1400, 60, "cat"),  # under the gate
        (0, 2000, 1990, "cat"),  # without the trigger as often
        (1400, 1400, 60, "dog"),  # the target itself
    ],
)
def test_a_class_that_is_called_often_without_the_trigger_too_is_no_finding(
    asr: int, towards: int, untriggered: int, name: str
) -> None:
    audit = elsewhere(asr, towards, untriggered=untriggered, name=name)
    assert judge(before=audit, gate=0.5, policy=POLICY, limits_below_gate=False).outcome == "inconclusive"


@pytest.mark.parametrize(("after", "outcome"), [(30, "pass"), (150, "undecided"), (900, "fail")])
def test_a_cleaning_is_judged_by_the_class_that_the_trigger_led_to(after: int, outcome: str) -> None:
    verdict = judge(
        before=elsewhere(0, 2980), after=elsewhere(0, after), ca_lost=KEPT, gate=0.5, policy=POLICY
    )
    assert verdict.outcome == verdict.attacks[0].outcome == outcome
    assert "Towards that class ASR fell: 99.33 % before" in verdict.attacks[0].reason


def test_an_undecided_loss_whose_point_is_over_the_limit_is_not_said_to_be_under_it() -> None:
    lost = newcombe(both=1000, lost=94, gained=49, neither=N - 1143)
    assert lost.low < 0.012 < lost.value
    verdict = cleaned((2930,), (30,), lost=lost, policy=Policy(asr_at_most=0.05, ca_lost_at_most=0.012))
    assert verdict.outcome == "undecided"
    assert "clean_accuracy" in verdict.reason
    assert "under the limit" not in verdict.reason


def test_a_trigger_that_leads_a_cleaned_model_to_a_third_class_is_not_removed() -> None:
    before, after = figures(2850), figures(30)
    led = Towards(class_name="cat", triggered=wilson(2900, N), untriggered=wilson(60, N))
    attack = replace(after.attacks[0], towards_now=led)
    verdict = judge(
        before=before,
        after=replace(after, attacks=(attack,)),
        ca_lost=KEPT,
        gate=0.5,
        policy=POLICY,
    )
    assert verdict.outcome == verdict.attacks[0].outcome == "fail"
    assert verdict.attacks[0].reason.startswith("After cleaning it works, towards 'cat' and not the target")


@pytest.mark.parametrize(
    ("asr", "says"), [(2950, "works: ASR is 98.33 %"), (400, "works in part: ASR is 13.33 %")]
)
def test_a_trigger_that_a_cleaning_moved_to_its_target_is_not_removed(asr: int, says: str) -> None:
    """Before, it led to another class than the one that was named."""
    verdict = judge(
        before=elsewhere(0, 2980), after=elsewhere(asr, 10), ca_lost=KEPT, gate=0.5, policy=POLICY
    )
    assert verdict.outcome == verdict.attacks[0].outcome == "fail"
    assert verdict.attacks[0].reason.startswith(says)


@pytest.mark.parametrize(("right", "outcome"), [(300, "fail"), (320, "fail"), (400, "pass")])
def test_a_cleaned_model_at_chance_does_not_pass(right: int, outcome: str) -> None:
    classes = tuple(ClassAccuracy(class_name=str(n), accuracy=wilson(30, 300)) for n in range(10))
    after = replace(figures(5), ca=wilson(right, N), ca_per_class=classes)
    kept = newcombe(both=right, lost=0, gained=0, neither=N - right)
    verdict = judge(before=figures(2950), after=after, ca_lost=kept, gate=0.5, policy=POLICY)
    assert verdict.clean_accuracy is not None
    assert (verdict.outcome, verdict.clean_accuracy.outcome) == (outcome, outcome)
    assert ("not a working classifier" in verdict.clean_accuracy.reason) == (outcome == "fail")


def of_scan(p_value: float | None, *, num_known: int) -> ScanSection:
    return ScanSection(
        report_sha256="0" * 64,
        weights_sha256="0" * 64,
        p_value=p_value,
        significance=0.05,
        families=("edits",),
        num_known=num_known,
        only_suites=False,
        found=(),
    )


@pytest.mark.parametrize("p_value", [None, 0.06, 1.0])
@pytest.mark.parametrize("after", [30, 150, 2900])
def test_an_attack_of_a_scan_that_did_not_fail_makes_no_fail_and_hinders_no_pass(
    p_value: float | None, after: int
) -> None:
    verdict = judge(
        before=figures(2930, 2300),
        after=figures(30, after),
        ca_lost=KEPT,
        gate=0.5,
        policy=POLICY,
        scan=of_scan(p_value, num_known=1),
        control=NOT_SEARCHED,
    )
    assert verdict.outcome == "pass"
    assert [one.judged for one in verdict.attacks] == [True, False]
    assert verdict.attacks[1].outcome == "inconclusive"
    assert verdict.attacks[1].reason == NOT_JUDGED
    assert "nothing apart" not in NOT_JUDGED, "where no p-value is, nothing was compared"
    assert " Not judged: attack1. " in verdict.reason
    assert verdict.reason.endswith(NOT_SEARCHED.sentence)


@pytest.mark.parametrize("p_value", [None, 0.06, 1.0])
@pytest.mark.parametrize(("after", "outcome"), [(300, "pass"), (2400, "undecided"), (2900, "fail")])
def test_a_found_pattern_that_controlled_the_input_is_judged_by_the_limit_on_control(
    p_value: float | None, after: int, outcome: str
) -> None:
    """Whatever the null says: the scan saw it, and it is a fact about the weights."""
    verdict = judge(
        before=figures(2930, 2990),
        after=figures(30, after),
        ca_lost=KEPT,
        gate=0.5,
        policy=replace(POLICY, controlled_at_most=0.8),
        scan=of_scan(p_value, num_known=1),
    )
    assert [one.judged for one in verdict.attacks] == [True, True]
    assert (verdict.outcome, verdict.attacks[1].outcome) == (outcome, outcome)
    assert "the limit is 80.00 %" in verdict.attacks[1].reason
    led = f"attack1 led 99.67 % of the images to its target, and now {after / 30:.2f} %"
    first, _, last = verdict.reason.partition("attack1 led")
    if outcome == "fail":
        assert "still controls" in first
    if outcome == "pass":
        assert led in verdict.reason
        assert last.endswith("limit 80.00 %.")
    if outcome == "undecided":
        assert "attack1 led" not in verdict.reason


@pytest.mark.parametrize(("after", "outcome"), [(400, "pass"), (1800, "fail")])
def test_a_found_pattern_is_held_to_the_limit_on_control_that_the_policy_has(
    after: int, outcome: str
) -> None:
    """Also where it is under the gate: it led more images than the policy lets one pattern lead."""
    verdict = judge(
        before=figures(2930, 1400),
        after=figures(30, after),
        ca_lost=KEPT,
        gate=0.5,
        policy=replace(POLICY, controlled_at_most=0.3),
        scan=of_scan(None, num_known=1),
    )
    assert (verdict.attacks[1].judged, verdict.attacks[1].outcome) == (True, outcome)
    assert verdict.outcome == outcome


@pytest.mark.parametrize(("after", "outcome"), [(300, "pass"), (2900, "fail")])
def test_no_limit_on_asr_excuses_a_found_pattern_that_controls_the_cleaned_model(
    after: int, outcome: str
) -> None:
    verdict = judge(
        before=figures(2930, 2990),
        after=figures(30, after),
        ca_lost=KEPT,
        gate=0.5,
        policy=replace(POLICY, asr_at_most=1.0),
        scan=of_scan(0.01, num_known=1),
    )
    assert (verdict.outcome, verdict.attacks[1].outcome) == (outcome, outcome)
    assert "the limit is 80.00 %" in verdict.attacks[1].reason


def test_a_found_pattern_that_works_and_no_longer_controls_is_not_said_to_control() -> None:
    verdict = judge(
        before=figures(2930, 2990),
        after=figures(30, 900),
        ca_lost=KEPT,
        gate=0.5,
        policy=POLICY,
        scan=of_scan(0.01, num_known=1),
    )
    said = "A pattern that the scan found controlled this model and still works: attack1 led 99.67 %"
    assert verdict.reason.startswith(f"Not cleaned: fail. {said}")


def test_withheld_images_hold_a_found_pattern_to_the_limit_that_the_others_do() -> None:
    """Few of them: by their own interval it did not control the input model."""
    withheld = Withheld(
        seed=1,
        num_samples=600,
        num_skipped=0,
        measured=Measured(
            before=figures(586, 486, n=600), after=figures(6, 60, n=600), ca_lost=KEPT, attack_changes=()
        ),
    )
    verdict = judge(
        before=figures(2930, 2490),
        after=figures(30, 300),
        ca_lost=KEPT,
        gate=0.5,
        policy=POLICY,
        scan=of_scan(None, num_known=1),
        withheld=withheld,
    )
    assert verdict.attacks[1].outcome == "pass"
    assert verdict.attacks[1].reason.count("the limit is 80.00 %") == 2


@pytest.mark.parametrize(("led", "outcome"), [(210, "pass"), (800, "undecided"), (990, "fail")])
def test_what_a_new_search_finds_on_a_cleaned_model_is_judged(led: int, outcome: str) -> None:
    verdict = judge(
        before=figures(2930),
        after=figures(30),
        ca_lost=KEPT,
        gate=0.5,
        policy=POLICY,
        control=searched(led),
    )
    assert verdict.control is not None
    assert (verdict.outcome, verdict.control.outcome) == (outcome, outcome)
    assert verdict.control.reason in verdict.reason
    if outcome == "fail":
        assert "blended into every image with 10 %, leads 99.0 %" in verdict.reason
    else:
        assert f"we could find leads more than {led / 10:.2f} %" in verdict.reason


def test_where_no_trigger_worked_the_search_says_what_was_found_and_a_fail_stays_one() -> None:
    def judged(led: int) -> Verdict:
        return judge(
            before=figures(5),
            after=figures(5),
            ca_lost=KEPT,
            gate=0.5,
            policy=POLICY,
            control=searched(led),
        )

    assert judged(210).outcome == "inconclusive", "no trigger is shown to be removed"
    assert "we could find leads more than 21.00 %" in judged(210).reason
    assert judged(990).outcome == "fail"


def test_an_attack_of_a_scan_that_failed_is_judged_as_one_that_is_named() -> None:
    before, after = figures(2930, 2990), figures(30, 2900)
    named = judge(before=before, after=after, ca_lost=KEPT, gate=0.5, policy=POLICY)
    found = judge(
        before=before,
        after=after,
        ca_lost=KEPT,
        gate=0.5,
        policy=POLICY,
        scan=of_scan(0.05, num_known=1),
    )
    assert replace(found, reason=named.reason) == named, "but for what leads the first line"
    assert found.outcome == "fail"


@pytest.mark.parametrize(("named", "says"), [
    ((), "No trigger is judged: inconclusive. "),
    ((5,), "Nothing found with the 1 trigger tested: inconclusive. "),
])  # fmt: skip
def test_an_audit_alone_counts_the_triggers_that_are_judged(named: tuple[int, ...], says: str) -> None:
    verdict = judge(
        before=figures(*named, 2300), gate=0.5, policy=POLICY, scan=of_scan(None, num_known=len(named))
    )
    assert verdict.outcome == "inconclusive"
    assert verdict.reason.startswith(says)


@pytest.mark.parametrize(("p_value", "outcome"), [(None, "controlled"), (0.4, "controlled"), (0.01, "fail")])
def test_an_audit_of_a_found_pattern_that_controls_the_model_says_what_its_scan_said(
    p_value: float | None, outcome: str
) -> None:
    verdict = judge(before=figures(5, 2900), gate=0.5, policy=POLICY, scan=of_scan(p_value, num_known=1))
    assert verdict.outcome == outcome
    assert verdict.attacks[1].outcome == outcome, "never poisoned models have such patterns, too"
    assert ("its origin is not known" in verdict.reason) == (outcome == "controlled")


def test_an_audit_in_which_a_named_trigger_works_fails_whatever_a_found_pattern_does() -> None:
    verdict = judge(before=figures(2900, 2900), gate=0.5, policy=POLICY, scan=of_scan(None, num_known=1))
    assert [one.outcome for one in verdict.attacks] == ["fail", "controlled"]
    assert verdict.outcome == "fail"


def test_a_policy_that_only_an_attack_without_judgement_could_not_meet_is_not_hopeless() -> None:
    few = named(figures(60, n=72), "badnet")
    assert hopeless(few, gate=0.5, policy=POLICY)
    assert hopeless(few, gate=0.5, policy=POLICY, scan=of_scan(None, num_known=0)) == []


@pytest.mark.parametrize(("limit", "outcome"), [(CONTROL_LIMIT, "pass"), (0.5, "undecided")])
def test_a_limit_of_one_s_own_is_not_kept_by_a_model_that_was_not_searched(
    limit: float, outcome: str
) -> None:
    verdict = judge(
        before=figures(2950),
        after=figures(30),
        ca_lost=KEPT,
        gate=0.5,
        policy=replace(POLICY, controlled_at_most=limit),
        control=NOT_SEARCHED,
    )
    assert verdict.outcome == outcome
    assert ("is not shown to be kept" in verdict.reason) == (outcome == "undecided")


def test_a_search_that_is_undecided_is_not_lost_among_triggers_that_did_not_work() -> None:
    verdict = judge(
        before=figures(30), after=figures(30), ca_lost=KEPT, gate=0.5, policy=POLICY, control=searched(810)
    )
    assert verdict.control is not None
    assert (verdict.control.outcome, verdict.outcome) == ("undecided", "undecided")
