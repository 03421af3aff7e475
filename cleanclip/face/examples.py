"""Examples of triggered images as the page shows them.

A page shows them in the order of their draw and all of them: a choice made here would be a choice by hand.
"""

from collections.abc import Container
from dataclasses import dataclass, replace

from cleanclip.vocabulary.examples import Example, Prediction, ShownImage
from cleanclip.vocabulary.report import MOST_ATTACKS_IN_FRONT, Report
from cleanclip.vocabulary.untrusted import name


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What was said of one image by one model, with its place in report.json."""

    side: str
    path: str
    prediction: Prediction
    is_target: bool


@dataclass(frozen=True, kw_only=True)
class CardImage:
    """`alt` is for who does not see it; `title` stands over the answers. `is_printed`: as its attack is."""

    image: str
    alt: str
    title: str
    answers: tuple[Answer, ...]
    is_printed: bool = True


@dataclass(frozen=True, kw_only=True)
class Card:
    """One test image without a trigger, and with each."""

    true_class: str
    images: tuple[CardImage, ...]


def cards(report: Report) -> list[Card]:
    """One for each example; none where the report holds no examples."""
    found = [] if report.examples is None else report.examples.examples
    return [_card(report, place, example) for place, example in enumerate(found)]


def _card(report: Report, place: int, example: Example) -> Card:
    path, true_class = f"examples.examples.{place}", name(example.true_class)
    alt = f"Test image {example.index}, true class {true_class}"
    attacks = list(enumerate(zip(report.before.attacks, example.triggered, strict=True)))
    printed = report.worst_attacks(MOST_ATTACKS_IN_FRONT)
    targets = {attack.target for _, (attack, _) in attacks}
    clean = _image(example.clean, f"{path}.clean", targets, "Clean", f"{alt}, without a trigger")
    triggered = [
        replace(
            _image(
                shown,
                f"{path}.triggered.{number}",
                {attack.target},
                f"{name(attack.name)}, to {name(attack.target)}",
                f"{alt}, with the trigger {name(attack.name)}",
            ),
            is_printed=number in printed,
        )
        for number, (attack, shown) in attacks
    ]
    return Card(true_class=true_class, images=(clean, *triggered))


def _image(shown: ShownImage, path: str, targets: Container[str], title: str, alt: str) -> CardImage:
    sides = (("before", shown.before), ("after", shown.after))
    answers = tuple(
        Answer(side=side, path=f"{path}.{side}", prediction=said, is_target=said.class_name in targets)
        for side, said in sides
        if said is not None
    )
    return CardImage(image=shown.image, alt=alt, title=title, answers=answers)
