"""Made-up rows: no model stands behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lab.zoo.plan import Model, Split, model
from lab.zoo.rows import ModelRow, ScanRow
from sanitizer.audits.statistics import wilson


def of_plan(split: Split, number: int) -> Model:
    """A model of the plan, on one bed."""
    return model(split, "digits-resnet", number)


def model_row(one: Model, *, asr: float = 0.98, weights: str = "a") -> ModelRow:
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
        untriggered=(),
        weights_sha256=weights,
        cpu_s=70.0,
        wall_s=100.0,
        made_with={},
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
