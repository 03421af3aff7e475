"""From options to a trigger, and the digest that names a trigger in a report. Knows no model, no data set."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import assert_never

from sanitizer import seeding
from sanitizer.attacks import badnet, blended, label_consistent, sig, trigger, wanet
from sanitizer.attacks.trigger import Trigger
from sanitizer.recipe import (
    AttackOptions,
    BadNetOptions,
    BlendedOptions,
    LabelConsistentOptions,
    SIGOptions,
    WaNetOptions,
    to_json,
)

_SOURCES = {
    "badnet": (badnet,),
    "blended": (blended,),
    "wanet": (wanet,),
    "sig": (sig,),
    "label_consistent": (badnet, label_consistent),
}


def build_trigger(options: AttackOptions) -> Trigger:
    """The trigger that these options describe."""
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
            return label_consistent.LabelConsistent(options)
    assert_never(options)


def trigger_sha256(options: AttackOptions, seed: int) -> str:
    """SHA-256 over the trigger's code, options and seed: equal digests, equal triggered images.

    The code is that of the attack's own file, of what all triggers share, and of the seeding; a change
    there, even of a comment, gives another digest.
    """
    modules = (seeding, trigger, *_SOURCES[options.attack])
    identity = {
        "code": [hashlib.sha256(Path(module.__file__ or "").read_bytes()).hexdigest() for module in modules],
        "options": to_json(options),
        "seed": seed,
    }
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
