"""From options to a trigger, and the digest that names a trigger in a report. Knows no model, no data set."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, assert_never

from cleanclip.spec.attack_options import as_patch
from cleanclip.spec.errors import OptionsRejected
from cleanclip.spec.recipe import (
    AttackOptions,
    BadNetOptions,
    BlendedOptions,
    CustomPatchOptions,
    CustomPatternOptions,
    LabelConsistentOptions,
    SIGOptions,
    TextTriggerOptions,
    WaNetOptions,
    to_json,
)
from sanitizer import seeding
from sanitizer.attacks import badnet, blended, overlay, pictures, placing, sig, trigger, wanet
from sanitizer.attacks.trigger import Trigger

_OVERLAID = (overlay, pictures, placing)
_SOURCES = {
    "badnet": (badnet, placing),
    "blended": (blended,),
    "wanet": (wanet,),
    "sig": (sig,),
    "label_consistent": (badnet, placing),
    "text_trigger": _OVERLAID,
    "custom_patch": _OVERLAID,
    "custom_pattern": _OVERLAID,
}


def build_trigger(options: AttackOptions) -> Trigger:
    """The trigger that these options describe.

    Raises OptionsRejected where a picture or words cannot be used: see `pictures`.
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
    """SHA-256 over the trigger's code, options and seed: equal digests, equal triggered images.

    The code is that of the attack's own file, of what all triggers share, and of the seeding; a change
    there, even of a comment, gives another digest. So does another font or decoder that makes other pixels
    of the same words or picture. The target is no part of it: it changes no pixel.
    """
    modules = (seeding, trigger, *_SOURCES[options.attack])
    identity: dict[str, Any] = {
        "code": [hashlib.sha256(Path(module.__file__ or "").read_bytes()).hexdigest() for module in modules],
        "options": {name: value for name, value in to_json(options).items() if name != "target"},
        "seed": seed,
    }
    drawn = build_trigger(options)
    if isinstance(drawn, overlay.Overlay):
        identity["pixels"] = drawn.picture.sha256
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
