"""Made-up rows: no model stands behind them."""

from cleanclip.vocabulary.scan_options import PatternFamily
from cleanclip.vocabulary.scan_statistics import CollapseFigures, CollapseRestart, ScanStatistics
from lab.zoo.plan import BedName, Model, Split, class_names, model
from lab.zoo.rows import ModelRow, ScanRow
from sanitizer.audits.statistics import wilson

BLEND = PatternFamily(family="blend", budget=0.1)
PATCH = PatternFamily(family="patch", budget=0.25)


def of_plan(split: Split, number: int, bed: BedName = "digits-resnet") -> Model:
    """A model of the plan."""
    return model(split, bed, number)


def model_row(one: Model, *, asr: float = 0.98, weights: str = "a" * 64) -> ModelRow:
    """A row of 1,000 test images."""
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
        weights_sha256=weights,
        cpu_s=70.0,
        wall_s=100.0,
        made_with={},
    )


def scan_row(
    one: Model, *, patch: float, blend: float, towards: tuple[str, str], weights: str = "a" * 64
) -> ScanRow:
    """A look of *collapse*, a thousand passes in two seconds: how far two families agree, and on which class
    each."""
    names = class_names(one.bed)
    measured = ScanStatistics(
        weights_sha256=weights,
        class_names_sha256="c" * 64,
        images_sha256="1" * 64,
        seed=1,
        num_passes=1000,
        wall_s=1.0,
        collapse=tuple(
            CollapseFigures(
                family=family,
                n=100,
                restarts=(CollapseRestart(values=(agreement,), towards=names.index(to), num_sent=50),),
                agreed_class=names.index(to),
                agreement=agreement,
            )
            for family, agreement, to in zip((PATCH, BLEND), (patch, blend), towards, strict=True)
        ),
    )
    return ScanRow(
        name=one.name,
        split=one.split,
        bed=one.bed,
        detector="collapse",
        weights_sha256=weights,
        measured=measured,
        num_passes=1000,
        cpu_s=2.0,
        wall_s=3.0,
        made_with={},
    )
