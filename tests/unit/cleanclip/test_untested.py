"""What no figure of a report covers."""

from dataclasses import replace

import pytest

from cleanclip.vocabulary.control import MEASURED, Strongest
from cleanclip.vocabulary.report import load_json
from cleanclip.vocabulary.scan_options import PatternFamily
from cleanclip.vocabulary.untested import not_tested
from sanitizer.audits.statistics import wilson
from tests.fixtures.kept_reports import FOLDER
from tests.unit.cleanclip.test_judging import of_scan

WARP = next(family for family in MEASURED if family.family == "warp")


@pytest.mark.parametrize(
    ("family", "led", "is_said"), [(WARP, 390, True), (WARP, 300, False), (MEASURED[0], 390, False)]
)
def test_a_displacement_that_controlled_the_input_is_not_measured_again_and_that_is_said(
    family: PatternFamily, led: int, is_said: bool
) -> None:
    """A patch is: an audit applies it."""
    report = load_json((FOLDER / "cleaned.json").read_bytes())
    strongest = Strongest(family=family, class_name="cat", led=wilson(led, 400), without=wilson(4, 400))
    scan = replace(of_scan(None, num_known=3), control=strongest)
    said = [one for one in not_tested(replace(report, scan=scan)) if "very displacement" in one]
    assert bool(said) == is_said
