"""Rows of the detector `ease`: read as scans once wrote them, judged class by class."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from lab.zoo.judging import judge_all, statistics_of
from lab.zoo.plan import Model, class_names
from lab.zoo.rows import SCANS_NAME, EaseFigures, EaseStatistics, ScanRow, append, read_scans
from tests.unit.zoo.made_up import BLEND, PATCH, collapse_row, model_row, of_plan, scan_row

BED = "digits-resnet"
NAMES = class_names(BED)


def ease_row(one: Model, *, easy: str, value: float) -> ScanRow:
    """One class has the ease `value` in one family, all others 0.1; the second class always has 0.9."""
    values = [value if name == easy else 0.1 for name in NAMES]
    values[1] = 0.9
    measured = EaseStatistics(
        weights_sha256="a" * 64,
        class_names_sha256="c" * 64,
        images_sha256="1" * 64,
        seed=1,
        num_passes=1000,
        wall_s=1.0,
        ease=tuple(
            EaseFigures(family=family, n=64, ease=tuple(ease), asr=tuple(ease), num_steps=(8,) * len(ease))
            for family, ease in ((BLEND, values), (PATCH, [0.1] * len(values)))
        ),
    )
    return replace(scan_row(one, {}, detector="ease"), measured=measured)


def test_the_class_that_is_easier_than_in_the_null_is_named_first_and_not_the_easiest_one() -> None:
    null = [of_plan("calibration", number) for number in range(4)]
    suspect = of_plan("development", 0)
    models = {one.name: model_row(one) for one in (*null, suspect)}
    looks = [ease_row(one, easy=NAMES[5 + number], value=0.15) for number, one in enumerate(null)]
    looks.append(ease_row(suspect, easy=suspect.targets[0], value=0.6))
    judged = {one.name: one for one in judge_all(models, looks, "ease")}
    assert judged[suspect.name].place == 1
    assert judged[suspect.name].p == judged[suspect.name].smallest_p
    assert len(statistics_of(looks[0])) == 2 * len(NAMES)


def test_rows_are_read_as_they_were_written_also_by_scans_that_had_the_detector(tmp_path: Path) -> None:
    model = of_plan("calibration", 0)
    eased = ease_row(model, easy=NAMES[3], value=0.4)
    collapsed = collapse_row(model, patch=0.2, blend=0.1, agreed=NAMES[2])
    for row in (eased, collapsed):
        append(row, tmp_path)
    assert list(read_scans(tmp_path).values()) == [eased, collapsed]
    path = tmp_path / SCANS_NAME
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[1]["measured"]["ease"] = []
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert list(read_scans(tmp_path).values()) == [eased, collapsed]
