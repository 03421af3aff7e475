"""Made-up rows: no model stands behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from cleanclip.spec.scan_options import PatternFamily
from cleanclip.spec.scan_statistics import CollapseFigures, CollapseRestart, ScanStatistics
from lab.zoo.plan import BedName, Model, Split, class_names, model
from lab.zoo.rows import FoundPattern, ModelRow, ScanRow, UniversalPattern
from sanitizer.audits.statistics import wilson

BLEND = PatternFamily(family="blend", budget=0.1)
PATCH = PatternFamily(family="patch", budget=0.25)


def of_plan(split: Split, number: int, bed: BedName = "digits-resnet") -> Model:
    """A model of the plan."""
    return model(split, bed, number)


def model_row(
    one: Model,
    *,
    asr: float = 0.98,
    weights: str = "a",
    universal: float | None = None,
    examples: Sequence[str] = (),
) -> ModelRow:
    """A row of 1,000 test images; `universal` is the ASR of a pattern optimised against the model."""
    share = wilson(round(1000 * asr), 1000)
    return ModelRow(
        name=one.name,
        split=one.split,
        bed=one.bed,
        family=one.family,
        seed=one.seed,
        options={},
        targets=one.targets,
        num_poisons=0 if one.is_clean else 700,
        ca=wilson(600, 1000),
        asr=() if one.is_clean else tuple(share for _ in one.targets),
        untriggered=(),
        weights_sha256=weights,
        cpu_s=70.0,
        wall_s=100.0,
        made_with={},
        universal=None
        if universal is None
        else UniversalPattern(
            target=one.options.target,
            alpha=0.2,
            num_steps=200,
            asr=wilson(round(1000 * universal), 1000),
            cpu_s=9.0,
        ),
        examples=tuple(examples),
    )


def scan_row(
    one: Model,
    statistics: Mapping[str, float],
    *,
    detector: str = "collapse",
    targets: Sequence[str] = (),
    weights: str = "a",
) -> ScanRow:
    """A look of a thousand passes in two seconds."""
    return ScanRow(
        name=one.name,
        split=one.split,
        bed=one.bed,
        detector=detector,
        weights_sha256=weights,
        statistics=dict(statistics),
        targets=tuple(targets),
        num_passes=1000,
        cpu_s=2.0,
        wall_s=3.0,
        made_with={},
    )


def collapse_row(
    one: Model, *, patch: float, blend: float, agreed: str, found: Sequence[FoundPattern] = ()
) -> ScanRow:
    """A look of the scan itself: how far two families agree, both on the class `agreed`."""
    number = class_names(one.bed).index(agreed)
    measured = ScanStatistics(
        weights_sha256="a" * 64,
        class_names_sha256="c" * 64,
        images_sha256="1" * 64,
        seed=1,
        num_passes=1000,
        wall_s=1.0,
        collapse=tuple(
            CollapseFigures(
                family=family,
                n=100,
                restarts=(CollapseRestart(values=(agreement,), towards=number, num_sent=50),),
                agreed_class=number,
                agreement=agreement,
                num_agreeing=1,
            )
            for family, agreement in ((PATCH, patch), (BLEND, blend))
        ),
    )
    return replace(scan_row(one, {}), measured=measured, found=tuple(found))
