"""Examples of triggered images as the page shows them.

A page shows them in the order of their draw and all of them: a choice made here would be a choice by hand.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cleanclip.face.figures import target_of
from cleanclip.spec.examples import Examples, Prediction, ShownImage
from cleanclip.spec.report import Report
from cleanclip.spec.untrusted import name


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What was said of one image by one model, with its place in report.json."""

    side: str
    path: str
    prediction: Prediction
    is_target: bool


@dataclass(frozen=True, kw_only=True)
class CardImage:
    """`alt` is for who does not see it; `title` stands over the answers."""

    image: str
    alt: str
    title: str
    answers: tuple[Answer, ...]


@dataclass(frozen=True, kw_only=True)
class Card:
    """One test image without and with the trigger."""

    true_class: str
    images: tuple[CardImage, ...]


@dataclass(frozen=True, kw_only=True)
class Grid:
    """All examples of one attack."""

    title: str
    target: str
    cards: tuple[Card, ...]


def grids(report: Report) -> list[Grid]:
    """One for each attack; none where the report holds no examples."""
    if report.examples is None or not report.examples.examples:
        return []
    return [
        Grid(
            title=name(attack.name),
            target=target_of(report, number),
            cards=tuple(_cards(report, report.examples, number)),
        )
        for number, attack in enumerate(report.before.attacks)
    ]


def _cards(report: Report, examples: Examples, number: int) -> Iterator[Card]:
    target = target_of(report, number)
    for place, pair in enumerate(examples.of_attack(number)):
        path = f"examples.examples.{place}"
        true_class = name(pair.true_class)
        alt = f"Test image {pair.index}, true class {true_class}"
        yield Card(
            true_class=true_class,
            images=(
                _image(pair.clean, f"{path}.clean", target, "Clean", f"{alt}, without a trigger"),
                _image(
                    pair.triggered,
                    f"{path}.triggered.{number}",
                    target,
                    "Triggered",
                    f"{alt}, with the trigger {name(report.before.attacks[number].name)}",
                ),
            ),
        )


def _image(shown: ShownImage, path: str, target: str, title: str, alt: str) -> CardImage:
    sides = (("before", shown.before), ("after", shown.after))
    answers = tuple(
        Answer(side=side, path=f"{path}.{side}", prediction=said, is_target=said.class_name == target)
        for side, said in sides
        if said is not None
    )
    return CardImage(image=shown.image, alt=alt, title=title, answers=answers)
