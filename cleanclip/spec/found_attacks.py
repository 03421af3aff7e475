"""Which of the triggers that a scan found an audit can take. Free of torch."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from cleanclip.spec.attack_options import MAX_ATTACKS, MAX_TRIGGER_IMAGES_CHARACTERS, AttackOptions


def fitting(
    found: Sequence[AttackOptions],
    beside: Sequence[AttackOptions],
    class_names: Collection[str] | None,
) -> tuple[AttackOptions, ...]:
    """Those of `found` that lead to one of `class_names` (None: not known) and are not in `beside`, the first
    ones as far as one audit carries their images."""
    return tuple(_fitting(found, beside, class_names))


def _fitting(
    found: Sequence[AttackOptions], beside: Sequence[AttackOptions], class_names: Collection[str] | None
) -> Iterator[AttackOptions]:
    room = MAX_TRIGGER_IMAGES_CHARACTERS - sum(map(_image_characters, beside))
    places = MAX_ATTACKS - len(beside)
    for one in found:
        is_known = class_names is None or one.target is None or one.target in class_names
        if is_known and one not in beside and places and _image_characters(one) <= room:
            room -= _image_characters(one)
            places -= 1
            yield one


def _image_characters(attack: AttackOptions) -> int:
    return len(getattr(attack, "image", ""))
