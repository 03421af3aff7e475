"""What a dry run says that a scan costs is what the library plans, detector by detector."""

from __future__ import annotations

import pytest

from app.services.scan_cost import num_passes
from cleanclip.spec.scan_options import EaseDetectorOptions, Heat, ScanOptions
from sanitizer.scans.statistics import cost_thirds


@pytest.mark.parametrize(
    "options",
    [
        ScanOptions(num_held_out=64),
        ScanOptions(
            detectors=("collapse", "ease"),
            ease=EaseDetectorOptions(
                heats=(Heat(share=0.5, most=50, steps=3), Heat(share=0.1, most=2, steps=20)), steps=(5, 20)
            ),
        ),
    ],
)
@pytest.mark.parametrize("num_classes", [2, 10, 1000])
def test_the_cost_is_the_librarys(options: ScanOptions, num_classes: int) -> None:
    planned = cost_thirds(options, num_held_out=options.num_held_out, num_classes=num_classes)
    assert num_passes(options, num_classes, 10_000) == -(-planned // 3)


def test_of_a_small_set_two_thirds_are_measured_on_and_unknown_sizes_are_not_guessed() -> None:
    options = ScanOptions(detectors=("collapse", "ease"))
    whole, small = num_passes(options, 10, 10_000), num_passes(options, 10, 150)
    assert whole is not None
    assert small is not None
    assert small < whole
    assert num_passes(options, None, 300) is None
    assert num_passes(options, 10, None) is None
    assert num_passes(ScanOptions(), None, 300) is not None
