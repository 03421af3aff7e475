"""`method: auto`, from files to files: what it tries, what decides, what it keeps, and what it refuses."""

from __future__ import annotations

import json

import pytest

from cleanclip.evidence import report as evidence_report
from cleanclip.spec import ladder as spec_ladder
from cleanclip.spec.recipe import (
    AuditOptions,
    AutoRecipe,
    BadNetOptions,
    Policy,
    TextTriggerOptions,
)
from cleanclip.spec.report import dump_json, load_json
from sanitizer.pipeline import ladder_looks
from sanitizer.pipeline import operations as pipeline
from tests.fixtures.audited import write_model
from tests.fixtures.shards import make_labelled, make_pairs

ATTACKS = (BadNetOptions(pattern="yellow"), TextTriggerOptions(text="abc"))
OPTIONS = AuditOptions(target="dog", attacks=ATTACKS, gate=1e-6, examples=2)
LOOSE = Policy(asr_at_most=1.0, ca_lost_at_most=1.0)
TIGHT = Policy(asr_at_most=0.2, ca_lost_at_most=0.2)
SHORT = {
    "uar-weak": {"epochs": 2, "strong_epochs": 0, "inversion_steps": 0},
    "uar": {"epochs": 2, "strong_epochs": 1, "inversion_steps": 1, "reinversion_steps": 1},
}
"""A ladder of two rungs; 24 pairs are one batch."""


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    write_model(folder / "checkpoint")
    make_pairs(folder / "pairs", 24)
    make_labelled(folder / "labelled", 80)
    return folder


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """Two short rungs, inversions of two steps, and fewer images than settings are measured on."""
    monkeypatch.setattr(spec_ladder, "MIN_IMAGES", 20)
    monkeypatch.setattr(spec_ladder, "LADDER", tuple(SHORT))
    monkeypatch.setattr(spec_ladder, "_UAR_CHANGES", SHORT)
    monkeypatch.setattr(ladder_looks, "PATTERN_STEPS", 2)


def sanitize(inputs, out, **changes):
    options = {
        "recipe": AutoRecipe(),
        "recipe_given": (),
        "options": OPTIONS,
        "policy": TIGHT,
        "state_folder": out / "state",
        "seed": 3,
        "device": "cpu",
    }
    return pipeline.sanitize(
        inputs / "checkpoint", inputs / "pairs", inputs / "labelled", out_dir=out, **(options | changes)
    )


def test_it(inputs, tmp_path):
    events = []
    report = sanitize(inputs, tmp_path, progress=events.append)
    print(json.dumps(json.loads(dump_json(report))["auto"], indent=1)[:6000])
    print(report.warnings, report.verdict)
    print(list(evidence_report.check(report)))
    assert load_json(dump_json(report)) == report


def test_pages(inputs, tmp_path):
    from sanitizer.rendering.html import render_html
    from sanitizer.rendering.markdown import render_markdown

    report = sanitize(inputs, tmp_path)
    html = render_html(report)
    (__import__("pathlib").Path("/tmp/auto/r.html")).write_text(html)
    md = render_markdown(report)
    print(md[md.index("Recipes tried") :][:3000])
