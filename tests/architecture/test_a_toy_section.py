"""What a section of a report costs: a toy is added to a copy of the product, and goes through all of it.

The toy is the share of the images that are given the most common answer. Its value and `OF_A_SECTION` are
five files, beside the module that measures it. Then it gets a second figure, and the audit an option: each is
two files, where it is said and where it is measured or obeyed.
"""

from pathlib import Path

from tests.fixtures.toy_copy import Changes, run_in_copy

TOY = Path(__file__).resolve().parents[1] / "fixtures/toy_section"
JOURNEY = "tests/integration/worker/test_most_common.py"
NEW = {
    TOY / "section.py": "cleanclip/vocabulary/most_common.py",
    TOY / "engine.py": "sanitizer/audits/most_common.py",
    TOY.parent / "toy_kind/journey.py": "tests/integration/worker/pixels.py",
    TOY / "journey.py": JOURNEY,
}
IMPORT = "from cleanclip.vocabulary.most_common import MostCommonAnswer\n"
FIELD = "    common: MostCommonAnswer | None = None\n"
OF_A_SECTION: Changes = {
    "cleanclip/vocabulary/audit_figures.py": {
        "from cleanclip.vocabulary.retrieval_figures": f"{IMPORT}from cleanclip.vocabulary.retrieval_figures",
        "    drift: EmbeddingDrift | None = None\n": f"    drift: EmbeddingDrift | None = None\n{FIELD}",
    },
    "cleanclip/vocabulary/report.py": {
        "from cleanclip.vocabulary.rebound_figures": f"{IMPORT}from cleanclip.vocabulary.rebound_figures",
        "    rebound: ReboundFigures | None = None\n": f"    rebound: ReboundFigures | None = None\n{FIELD}",
    },
    "sanitizer/audits/audit.py": {
        "from sanitizer.audits.drift import Drift\n": "from sanitizer.audits.drift import Drift\n"
        "from sanitizer.audits.most_common import most_common\n" + IMPORT,
        "    drift: EmbeddingDrift | None = None\n": f"    drift: EmbeddingDrift | None = None\n{FIELD}",
        "        examples=examples,\n": "        examples=examples,\n        common=most_common(clean_N),\n",
    },
    "sanitizer/pipeline/measured.py": {
        "Measured(before=before.figures, ": "Measured(common=before.common, before=before.figures, ",
        "        drift=after.drift,\n": "        drift=after.drift,\n        common=after.common,\n",
    },
}
OF_A_FIGURE: Changes = {
    "cleanclip/vocabulary/most_common.py": {
        '    """Of all images."""\n': '    """Of all."""\n    rest: Estimate\n    """Of all."""\n',
        'of="images"),)': 'of="images"), '
        'SectionFigure(name="rest", title="the rest", figure=self.rest, of="images"))',
    },
    "sanitizer/audits/most_common.py": {
        "return MostCommonAnswer(": "return MostCommonAnswer(rest=wilson(len(predicted_N) - num, "
        "len(predicted_N)), ",
    },
}
OF_AN_OPTION: Changes = {
    "cleanclip/vocabulary/recipe.py": {
        "    linear_probe: LinearProbeOptions | None = None\n": "    common_rank: Annotated["
        'int, Interval(ge=1, le=5), NUMBER, label("Rank")] = 1\n    """Which of the common answers."""\n'
        "    linear_probe: LinearProbeOptions | None = None\n",
    },
    "sanitizer/audits/audit.py": {"most_common(clean_N)": "most_common(clean_N, options.common_rank)"},
}


def test_a_toy_section_is_its_value_its_engine_and_four_changes_a_figure_and_an_option_two(
    tmp_path: Path,
) -> None:
    assert (len(OF_A_SECTION), len(OF_A_FIGURE), len(OF_AN_OPTION)) == (4, 2, 2)
    run_in_copy(tmp_path, NEW, (OF_A_SECTION, OF_A_FIGURE, OF_AN_OPTION), JOURNEY)
