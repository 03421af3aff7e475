"""Examples of triggered pictures as the page shows them, and what has to fit before they are drawn.

A page shows them in the order of their draw and all of them: a choice made here would be a choice by hand.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cleanclip.spec.examples import num_examples
from cleanclip.spec.report import Examples, Prediction, Report, ShownPicture
from cleanclip.spec.strangers import name
from sanitizer.rendering.figures import target_of
from sanitizer.rendering.fitting import Misfit


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What was said of one picture by one model, with its place in report.json."""

    side: str
    path: str
    said: Prediction
    is_target: bool


@dataclass(frozen=True, kw_only=True)
class Picture:
    """`alt` is for who does not see it; `title` stands over the answers."""

    uri: str
    alt: str
    title: str
    answers: tuple[Answer, ...]


@dataclass(frozen=True, kw_only=True)
class Card:
    """One test picture without and with the trigger."""

    true_class: str
    pictures: tuple[Picture, ...]


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
        told = f"Test picture {pair.index}, true class {true_class}"
        yield Card(
            true_class=true_class,
            pictures=(
                _picture(pair.clean, f"{path}.clean", target, "Clean", f"{told}, without a trigger"),
                _picture(
                    pair.triggered,
                    f"{path}.triggered.{number}",
                    target,
                    "Triggered",
                    f"{told}, with the trigger {name(report.before.attacks[number].name)}",
                ),
            ),
        )


def _picture(shown: ShownPicture, path: str, target: str, title: str, alt: str) -> Picture:
    sides = (("before", shown.before), ("after", shown.after))
    answers = tuple(
        Answer(side=side, path=f"{path}.{side}", said=said, is_target=said.class_name == target)
        for side, said in sides
        if said is not None
    )
    return Picture(uri=shown.uri, alt=alt, title=title, answers=answers)


def misfits(report: Report) -> Iterator[Misfit]:
    """No more than were ordered, each with every attack's trigger and nothing of a target class."""
    told = report.examples
    if told is None:
        return
    attacks = report.before.attacks
    targets = {report.audit.target, *(target_of(report, number) for number in range(len(attacks)))}
    if len(told.examples) > num_examples(report.audit.examples, len(attacks)):
        yield "examples", "are more than were ordered"
    if told.seed != report.before.seed:
        yield "examples.seed", "is not that of the audit"
    if len({one.index for one in told.examples}) != len(told.examples):
        yield "examples", "show a picture twice"
    for place, one in enumerate(told.examples):
        where, pictures = f"examples.examples[{place}]", (one.clean, *one.triggered)
        if len(one.triggered) != len(attacks):
            yield where, "does not show every trigger"
        if one.true_class in targets:
            yield where, "is of a target class"
        if any((picture.after is None) != (report.after is None) for picture in pictures):
            yield where, "was asked of other models than the figures"
        if any(picture.plain.side != told.side for picture in pictures):
            yield where, "is not of the size that is told"
