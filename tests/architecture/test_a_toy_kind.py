"""What a kind of job costs: a toy is added to a copy of the product, and goes through all of it there.

The toy counts the pixels of a dataset. Beside its value and its engine it may change as many files as
`CHANGES` names, and no other. That it reads an anchor as well is a line of its value: so much an input costs.
"""

from pathlib import Path

from tests.fixtures.toy_copy import Changes, run_in_copy

TOY = Path(__file__).resolve().parents[1] / "fixtures/toy_kind"
JOURNEY = "tests/integration/worker/test_pixels.py"
NEW = {
    TOY / "kind.py": "cleanclip/kinds/pixels.py",
    TOY / "engine.py": "sanitizer/work/pixels.py",
    TOY / "journey.py": JOURNEY,
}
CHANGES: Changes = {
    "cleanclip/kinds/catalogue.py": {
        "import TEXT_SCAN\n": "import TEXT_SCAN\nfrom cleanclip.kinds.pixels import PIXELS\n",
        "SCAN, VET)": "SCAN, VET, PIXELS)",
    },
    "app/domain/states.py": {
        'VET = "vet"\n\n\nRESUMABLE': 'VET = "vet"\n    PIXELS = "pixels"\n\n\nRESUMABLE',
        'VET = "vet"\n    PUBLISH': 'VET = "vet"\n    COUNT = "count"\n    PUBLISH',
    },
    "migrations/versions/0001_initial.py": {
        'scan text_scan vet")': 'scan text_scan vet pixels")',
        "text_scan vet publish": "text_scan vet count publish",
    },
}


def test_a_toy_kind_is_its_value_its_engine_and_three_changes(tmp_path: Path) -> None:
    run_in_copy(tmp_path, NEW, CHANGES, JOURNEY)
