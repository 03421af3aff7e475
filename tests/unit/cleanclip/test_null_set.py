"""A null is held to itself: all its models were measured alike, or it judges nothing."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from cleanclip.vocabulary.errors import OptionsRejected
from cleanclip.vocabulary.null_set import NullSet, digest_of, dump_null, load_null, sealed
from cleanclip.vocabulary.scan_options import ScanOptions
from cleanclip.vocabulary.scan_verdicts import verdict
from tests.fixtures.scans import a_null

NAMES = ("zero", "one", "two")


def document() -> dict[str, Any]:
    written: dict[str, Any] = json.loads(dump_null(a_null(ScanOptions(), NAMES, images_sha256="1" * 64)))
    return written


def resealed(reported: dict[str, Any]) -> bytes:
    """As whoever writes a null can seal it."""
    import hashlib

    del reported["sha256"]
    digest = hashlib.sha256(json.dumps(reported, sort_keys=True).encode()).hexdigest()
    return json.dumps(reported | {"sha256": digest}).encode()


def statistics(reported: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = reported["models"][3]["statistics"]
    return found


MIXED: dict[str, tuple[str, Callable[[dict[str, Any]], object]]] = {
    "models_of_other_images": (
        "null_mixed",
        lambda reported: statistics(reported).update(images_sha256="2" * 64),
    ),
    "models_of_another_seed": ("null_mixed", lambda reported: statistics(reported).update(seed=9)),
    "models_of_other_classes": (
        "null_mixed",
        lambda reported: statistics(reported).update(class_names_sha256="2" * 64),
    ),
    "models_without_edits": ("null_mixed", lambda reported: statistics(reported).update(edits=None)),
    "models_of_other_edits": ("null_mixed", lambda reported: statistics(reported)["edits"]["edits"].pop()),
    "models_of_other_families": ("null_mixed", lambda reported: statistics(reported)["collapse"].pop()),
    "models_of_fewer_images": ("null_mixed", lambda reported: statistics(reported)["edits"].update(n=100)),
    "an_agreement_that_no_restart_has": (
        "null_mixed",
        lambda reported: statistics(reported)["collapse"][0].update(agreement=0.9),
    ),
    "patterns_twice": (
        "null_mixed",
        lambda reported: reported["models"][3]["patterns"].append(reported["models"][3]["patterns"][0]),
    ),
    "a_digest_that_is_none": (
        "null_damaged",
        lambda reported: statistics(reported).update(weights_sha256="no hex"),
    ),
    "a_model_twice": ("null_repeated", lambda reported: reported["models"].append(reported["models"][3])),
    "no_model": ("null_damaged", lambda reported: reported["models"].clear()),
}


def test_an_honest_null_loads() -> None:
    null: NullSet = load_null(resealed(document()))
    assert null.sha256 == digest_of(null)
    assert sealed(null) == null


def test_fine_tunes_of_one_base_count_once_unless_the_null_is_of_them() -> None:
    null = load_null(resealed(document()))
    related = replace(null, models=tuple(replace(one, base="B/32") for one in null.models))
    assert len(null.counted) == len(null.models) > 1
    assert len(related.counted) == related.used.num_models == 1
    of_base = replace(related, fine_tunes_of="B/32").used
    assert (of_base.num_models, of_base.fine_tunes_of) == (len(null.models), "B/32")
    any_model, tuned = verdict(0.5, null.used, [], "", 0.05), verdict(0.5, of_base, [], "", 0.05)
    assert f"({len(null.models)} reference models, same architecture)" in any_model.sentence
    assert f"({len(null.models)} fine-tunes of B/32; p holds if this model is one, too)" in tuned.sentence


@pytest.mark.parametrize("lie", MIXED)
def test_a_null_whose_models_were_not_measured_alike_is_refused(lie: str) -> None:
    code, change = MIXED[lie]
    reported = document()
    change(reported)
    with pytest.raises(OptionsRejected) as refused:
        load_null(resealed(reported))
    assert refused.value.code == code
