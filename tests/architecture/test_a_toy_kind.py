"""What a kind of job costs: a toy is added to a copy of the product, and goes through all of it there.

The toy counts the pixels of a dataset. Beside its value and its engine it may change as many files as
`OF_A_KIND` names, and no other. That it reads an anchor as well is a line of its value. It reads a second
dataset, too, as no kind did before: an input that has no column yet is its kind's value and `OF_AN_INPUT`.
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
OF_A_KIND: Changes = {
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
OF_AN_INPUT: Changes = {
    "app/db/models/job.py": {
        "    spec: Mapped[JsonObject]\n": "    other_dataset_id: Mapped[str | None] = "
        'mapped_column(ForeignKey("datasets.id"))\n    spec: Mapped[JsonObject]\n',
    },
    "migrations/versions/0001_initial.py": {
        '"retrieval_dataset_id trusted_dataset_id anchor': '"other_dataset_id retrieval_dataset_id trusted_'
        "dataset_id anchor",
        '_reference("jobs", "trusted_dataset_id", "datasets"),\n': '_reference("jobs", "trusted_dataset_id", '
        '"datasets"),\n        _reference("jobs", "other_dataset_id", "datasets"),\n',
        'datasets = ("dataset_id", ': 'datasets = ("other_dataset_id", "dataset_id", ',
    },
    "cleanclip/vocabulary/report_inputs.py": {'"retrieval", "trusted"]': '"retrieval", "trusted", "other"]'},
}


def test_a_toy_kind_is_its_value_its_engine_and_three_changes_and_so_is_an_input(
    tmp_path: Path,
) -> None:
    assert (len(OF_A_KIND), len(OF_AN_INPUT)) == (3, 3)
    run_in_copy(tmp_path, NEW, (OF_A_KIND, OF_AN_INPUT), JOURNEY)
