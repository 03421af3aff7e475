"""From options to a trigger, and the digest that names a trigger in a report."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any, assert_never

from cleanclip.vocabulary.attack_options import (
    AttackOptions,
    BadNetOptions,
    BlendedOptions,
    CustomPatchOptions,
    CustomPatternOptions,
    LabelConsistentOptions,
    SIGOptions,
    TextTriggerOptions,
    WaNetOptions,
    as_patch,
)
from cleanclip.vocabulary.errors import OptionsRejected
from cleanclip.vocabulary.recipe import to_json
from sanitizer.attacks import badnet, blended, overlay, sig, wanet
from sanitizer.attacks.trigger import Trigger

VERSIONS = {
    "badnet": 1,
    "blended": 1,
    "wanet": 1,
    "sig": 1,
    "label_consistent": 1,
    "text_trigger": 1,
    "custom_patch": 1,
    "custom_pattern": 1,
}
"""Raise it when a trigger's pixels change: tests/numerics/test_golden_triggers.py keeps them."""


def build_trigger(options: AttackOptions) -> Trigger:
    """The trigger that these options describe.

    Raises OptionsRejected where an image or words cannot be used: see `trigger_images`.
    """
    match options:
        case BadNetOptions():
            return badnet.BadNet(options)
        case BlendedOptions():
            return blended.Blended(options)
        case WaNetOptions():
            return wanet.WaNet(options)
        case SIGOptions():
            return sig.SIG(options)
        case LabelConsistentOptions():
            return badnet.BadNet(as_patch(options))
        case TextTriggerOptions() | CustomPatchOptions() | CustomPatternOptions():
            return overlay.Overlay.of(options)
    assert_never(options)


def build_triggers(attacks: Sequence[AttackOptions]) -> list[Trigger]:
    """The triggers of an audit, in order.

    Raises OptionsRejected as `build_trigger` does; `where` is "audit.attacks.N".
    """
    triggers = []
    for number, options in enumerate(attacks):
        try:
            triggers.append(build_trigger(options))
        except OptionsRejected as refused:
            refused.where = f"audit.attacks.{number}"
            raise
    return triggers


def trigger_sha256(options: AttackOptions, seed: int) -> str:
    """SHA-256 over the trigger's version, options and seed: equal digests, equal triggered images.

    Where a trigger is drawn from words or an image, its pixels are part of it: another font or decoder may
    make other pixels of the same words. The target is not part of it, because it changes no pixel.
    """
    identity: dict[str, Any] = {
        "version": VERSIONS[options.attack],
        "options": {name: value for name, value in to_json(options).items() if name != "target"},
        "seed": seed,
    }
    drawn = build_trigger(options)
    if isinstance(drawn, overlay.Overlay):
        identity["pixels"] = drawn.trigger_image.sha256
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
