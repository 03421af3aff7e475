"""Limits by name, where they came from, and orders that contradict themselves."""

import hashlib
from typing import get_args

import pytest
from pydantic import ValidationError

from cleanclip.vocabulary.attack_options import (
    SUITES,
    USUAL,
    AttackOptions,
    BadNetOptions,
    TextTriggerOptions,
)
from cleanclip.vocabulary.control import CONTROL_LIMIT
from cleanclip.vocabulary.errors import OptionsRejected
from cleanclip.vocabulary.intervals import wilson
from cleanclip.vocabulary.policy import (
    SUITE_OF_KIND,
    LimitName,
    Policy,
    PolicySource,
    check_audit,
    check_images,
    check_itself,
    check_searched,
    fewest_images,
    policy_sha256,
    upper_bound_of_none,
)
from cleanclip.vocabulary.recipe import parse


def test_every_suite_and_every_attack_can_have_a_limit_and_nothing_else_can() -> None:
    attacks = {kind.attack for kind in get_args(get_args(AttackOptions)[0])}
    assert {kind.partition("-")[0] for kind in SUITE_OF_KIND} == attacks
    assert set(get_args(LimitName)) == {*SUITE_OF_KIND, *SUITE_OF_KIND.values()}
    assert set(SUITE_OF_KIND.values()) == {*SUITES, "custom"}
    with pytest.raises(ValidationError):
        parse(Policy, {"asr_at_most_for": {"badnet-2": 0.1}})


def test_an_attacks_own_limit_goes_before_its_suites_and_that_before_the_one_for_all() -> None:
    limits = {"structured": 0.2, "text_trigger": 0.5, "paper": 0.01}
    policy = Policy(asr_at_most=0.1, asr_at_most_for=limits)  # type: ignore[arg-type]
    assert policy.limit_of("text_trigger") == ("policy.asr_at_most_for.text_trigger", 0.5)
    assert policy.limit_of("badnet-stripes") == ("policy.asr_at_most_for.structured", 0.2)
    assert policy.limit_of("badnet") == ("policy.asr_at_most_for.paper", 0.01)
    assert policy.limit_of("custom_patch") == ("policy.asr_at_most", 0.1)


@pytest.mark.parametrize("limit", [0.9, 0.5, 0.05, 0.03, 0.01, 0.001, 0.000_01])
def test_the_fewest_images_are_the_first_whose_interval_ends_under_the_limit(limit: float) -> None:
    needed = fewest_images(limit)
    assert needed is not None
    assert wilson(0, needed)[1] <= limit < wilson(0, needed - 1)[1]
    assert upper_bound_of_none(needed) == pytest.approx(wilson(0, needed)[1], abs=1e-15)


@pytest.mark.parametrize("limit", [0.0, 1e-9])
def test_a_limit_that_no_number_of_images_can_show_is_refused_with_its_place(limit: float) -> None:
    for policy, where in (
        (Policy(asr_at_most=limit), "policy.asr_at_most"),
        (Policy(asr_at_most_for={"sig": limit}), "policy.asr_at_most_for.sig"),
        (Policy(controlled_at_most=limit), "policy.controlled_at_most"),
    ):
        with pytest.raises(OptionsRejected) as refused:
            check_itself(policy)
        assert (refused.value.code, refused.value.where) == ("policy_cannot_pass", where)
    check_itself(Policy(ca_lost_at_most=limit))  # accuracy can be gained


@pytest.mark.parametrize(
    ("limit", "num_images", "code"),
    [
        (0.5, 127, "policy_limits_unsearched"),
        (0.5, 128, None),
        (0.05, 128, "policy_cannot_pass"),
        (0.05, 3000, None),
        (0.0095, 10**6, "policy_cannot_pass"),
        (0.01, 10**6, None),
        (0.012, 800, None),
        (0.0096, 3000, None),
        (CONTROL_LIMIT, 5, None),
    ],
)
def test_a_limit_on_control_that_no_search_of_these_images_can_show_is_refused(
    limit: float, num_images: int, code: str | None
) -> None:
    """Of 128 images 64 are held out, of many 384, of 600 that were withheld of 3,000 for a second audit 400:
    Wilson's upper bounds for none of them are 5.66, 0.99 and 0.95 %."""
    policy = Policy(controlled_at_most=limit)
    if code is None:
        return check_searched(policy, num_images)
    with pytest.raises(OptionsRejected) as refused:
        check_searched(policy, num_images)
    assert (refused.value.code, refused.value.where) == (code, "policy.controlled_at_most")
    return None


@pytest.mark.parametrize("name", ["structured", "custom", "blended-stripes", "label_consistent"])
def test_a_limit_on_what_the_audit_does_not_try_is_refused(name: LimitName) -> None:
    with pytest.raises(OptionsRejected) as refused:
        check_audit(Policy(asr_at_most_for={name: 0.2}), USUAL)
    assert refused.value.code == "policy_limits_untried"
    assert refused.value.where == f"policy.asr_at_most_for.{name}"
    assert "it tests badnet, blended, wanet, sig" in refused.value.message


def test_limits_on_what_the_audit_tries_are_taken() -> None:
    attacks = (BadNetOptions(), TextTriggerOptions())
    check_audit(Policy(asr_at_most_for={"paper": 0.1, "structured": 0.2, "text_trigger": 0.3}), attacks)


def test_too_few_images_are_refused_by_the_limit_that_holds_with_how_many_are_needed() -> None:
    policy = Policy(asr_at_most=0.2, asr_at_most_for={"structured": 0.05})
    check_images(policy, TextTriggerOptions(), 73)
    check_images(policy, BadNetOptions(), 20)
    with pytest.raises(OptionsRejected) as refused:
        check_images(policy, TextTriggerOptions(), 72)
    assert refused.value.where == "policy.asr_at_most_for.structured"
    assert "At least 73 images" in refused.value.message


def test_a_policys_digest_is_that_of_its_json_and_says_where_it_came_from() -> None:
    content = (
        b'{"asr_at_most":0.1,"asr_at_most_for":{"badnet":1.0,"sig":0.25},"ca_lost_at_most":0.03,'
        b'"controlled_at_most":0.8}'
    )
    read = parse(Policy, {"asr_at_most": 0.1, "asr_at_most_for": {"badnet": 1, "sig": 0.25}})
    assert policy_sha256(read) == hashlib.sha256(content).hexdigest()
    assert PolicySource.of(read, name="release") == PolicySource(
        given="kept", name="release", sha256=policy_sha256(read)
    )
    assert PolicySource.of(read).given == "order"
    assert PolicySource.of(None) == PolicySource(given="default", sha256=policy_sha256(Policy()))


def test_a_search_of_two_classes_shows_no_limit() -> None:
    with pytest.raises(OptionsRejected) as refused:
        check_searched(Policy(controlled_at_most=0.5), 3000, num_classes=2)
    assert refused.value.code == "policy_limits_unsearched"
    assert "3000 labelled images of 2 classes are too few" in refused.value.message
    check_searched(Policy(controlled_at_most=0.5), 3000, num_classes=3)
