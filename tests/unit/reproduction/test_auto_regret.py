"""The regret of auto's choice: made rows against plain numbers, and a tiny ladder to its end."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cleanclip.spec.attack_options import kind_of
from cleanclip.spec.auto_figures import Look, RungFigures, UniversalShare, Validated, ValidatedAttack
from cleanclip.spec.choosing import Judge
from cleanclip.spec.ladder import Rung
from cleanclip.spec.measures import Difference, Estimate
from cleanclip.spec.recipe import PARRecipe, Policy, SIGOptions, UARRecipe
from lab.reproduction import auto_regret, data
from lab.reproduction.auto_regret import Row, Truth, given_to, regret_of, table
from lab.reproduction.cells import Subject
from lab.reproduction.development import MODELS, DevelopmentModel
from lab.testbed.options import SubjectOptions, trigger_of
from sanitizer.audits.statistics import newcombe, wilson
from sanitizer.pipeline import ladder_looks

N = 2_000
TINY = SubjectOptions(num_pairs=160, epochs=1, batch_size=32, vision_width=8, warmup_steps=2)
MODEL = DevelopmentModel(name="tiny", subject=Subject(options=TINY, seed=11), families=("badnet",))


def lost(points: float) -> Difference:
    images = round(N * points / 100)
    return newcombe(both=N // 2, lost=images, gained=0, neither=N // 2 - images)


def validated(sent: float) -> Validated:
    share = ValidatedAttack(asr=wilson(20, N), untriggered_target_rate=wilson(2, N))
    pattern = UniversalShare(name="pattern", class_name="dog", moved=wilson(round(N * sent), N))
    return Validated(ca=wilson(N // 2, N), attacks=(share,), patterns=(pattern,))


def rung(name: str, *looks: tuple[float, float]) -> RungFigures:
    """Looks of a rung: points lost, and the share that a fresh pattern sends to one class."""
    made = [
        Look(epoch=number, figures=validated(sent), ca_lost=lost(points), seconds=1.0)
        for number, (points, sent) in enumerate(looks, 1)
    ]
    return RungFigures(
        name=name,  # type: ignore[arg-type]
        recipe=UARRecipe(),
        looks=tuple(made),
        end="finished",
        seconds=1.0,
    )


def truth(points: float, **asr: float) -> Truth:
    shares = {family: wilson(round(N * share), N) for family, share in asr.items()}
    return Truth(asr=shares, ca_lost=lost(points))


def row(rungs: tuple[RungFigures, ...], *truths: Truth, **before: float) -> Row:
    return Row(
        id="a",
        model="vit-five",
        seed=11,
        attacks=(SIGOptions(),),
        num_validation=N,
        num_test=N,
        before=validated(0.9),
        rungs=rungs,
        true_before=replace(truth(0, **before), ca_lost=None),
        truth=truths,
        made_with={},
    )


def plain_best(truths: list[tuple[list[Estimate], Difference]], policy: Policy) -> int:
    """By the words of the rule, in a loop."""
    least, found = None, 0
    for place, (asr, cost) in enumerate(truths):
        worst = max(one.high for one in asr)
        excess = max(0, worst - policy.asr_at_most, cost.high - policy.ca_lost_at_most)
        if least is None or (excess, worst) < least:
            least, found = (excess, worst), place
    return found


def test_surrogates_which_are_of_the_models_own_kinds_do_not_count_in_the_choice() -> None:
    first, second = rung("uar", (0.5, 0.1)), rung("par", (0.5, 0.1))
    works = UniversalShare(name="badnet", class_name="dog", moved=wilson(N, N))
    seen = replace(first.looks[0], figures=replace(first.looks[0].figures, surrogates=(works,)))
    made = row((replace(first, looks=(seen,)), second), truth(0.5, text=0.9), truth(0.5, text=0), text=0.9)
    assert regret_of(made, Policy()).chosen == "uar after 1"


def test_the_regret_is_the_distance_of_the_choice_from_the_best_by_the_truth() -> None:
    made = row(
        (rung("uar", (0.5, 0.1), (0.2, 0.1)), rung("par", (1.0, 0.05))),
        truth(0.4, text=0.20, stripes=0.01),
        truth(0.3, text=0.10, stripes=0.01),
        truth(1.1, text=0.0, stripes=0.01),
        text=0.9,
        stripes=0.8,
    )
    found = regret_of(made, Policy())
    assert (found.chosen, found.best) == ("uar after 1", "par after 1"), "chosen: the first that meets both"
    assert found.asr == pytest.approx(0.20 - 0.01)
    assert found.ca_lost == pytest.approx(0.004 - 0.011)
    truths = [(list(one.asr.values()), one.ca_lost) for one in made.truth if one.ca_lost]
    assert plain_best(truths, Policy()) == 2
    line = table([made], Policy()).splitlines()[-1]
    assert line.startswith("| vit-five | 11 | 2,000 | 3 | uar after 1 | text 20.0 (")
    assert line.endswith("| 19.0 | -0.7 |")


def test_a_trigger_that_never_worked_is_no_regret_and_outside_the_policy_the_nearest_is_best() -> None:
    rungs = (rung("uar", (0.5, 0.1)), rung("par", (9.0, 0.05)))
    weak = row(rungs, truth(0.4, text=0.20), truth(8.0, text=0.0), text=0.3)
    assert regret_of(weak, Policy()).asr == 0
    strict = Policy(asr_at_most=0.02, ca_lost_at_most=0.001)
    strong = row(rungs, truth(0.4, text=0.04), truth(8.0, text=0.0), text=0.9)
    assert regret_of(strong, strict).best == "uar after 1"
    assert table([], Policy()) == "Not measured yet.\n"


def test_a_ladder_is_given_no_kind_that_the_model_carries() -> None:
    for model in MODELS:
        own = {kind_of(one) for attack, _ in model.attacks() if (one := trigger_of(attack))}
        given = given_to(model)
        assert given
        assert not own & {kind_of(one) for one in given}


@pytest.mark.full  # the rules of the choice and of the regret are proven daily, above
def test_a_tiny_ladder_runs_to_its_end_and_its_row_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uar = UARRecipe(
        epochs=2, strong_epochs=1, batch_size=32, inversion_steps=1, reinversion_steps=1, warmup_steps=1
    )
    rungs = (
        Rung(name="uar", recipe=uar, looks=(1, 2)),
        Rung(name="par", recipe=PARRecipe(epochs=1, batch_size=32), looks=(1,)),
    )
    monkeypatch.setattr(auto_regret, "ladder", lambda *_, **__: rungs)
    monkeypatch.setattr(auto_regret, "MODELS", (MODEL,))
    monkeypatch.setattr(auto_regret, "NUM_PAIRS", 64)
    monkeypatch.setattr(ladder_looks, "PATTERN_STEPS", 1)
    monkeypatch.setattr(data, "_SIZES", {"test": 150, "validation": 200})
    raw = tmp_path / "auto-regret.jsonl"
    order = ["--folder", str(tmp_path), "--raw", str(raw)]
    assert auto_regret.main(order) == 0
    assert auto_regret.main(order) == 0, "a row is made once"
    (made,) = auto_regret.ROWS.read(raw)
    assert [len(one.looks) for one in made.rungs] == [2, 1]
    assert [one.end for one in made.rungs] == ["finished", "finished"]
    assert len(made.truth) == 3
    assert (made.num_validation, made.num_test) == (200, 150)
    assert all(one.ca_lost is not None and one.ca_lost.n == 150 for one in made.truth)
    assert regret_of(made, Policy()).best
    assert Judge.meets_both.__name__ == "meets_both"
