"""Each lie is refused: numbers and lists of every kind in kept reports are changed, and the report shows it.

What it cannot show stands in `NOT_HELD`, with the reason. `cleanclip verify` holds that to the statement
(`tests/integration/evidence/test_figures.py`), a supervisor to the order and the input.
"""

import json
import re
from typing import Any

from cleanclip.evidence import kinds
from cleanclip.evidence.reading import Malformed
from tests.fixtures.kept_reports import NAMES, document
from tests.fixtures.places import unnoticed

NOT_HELD = {
    r"(architecture\.settings|checkpoint\.[\w.]+|data) \w+": "the input, which a supervisor knows",
    r"examples\.examples(\.triggered)? \w+": "shown, in no figure",
    r"architecture\.(chance|num_classes|num_compared|num_image_passes|num_templates|num_text_passes)": (
        "how settings were measured: a second audit measures it again"
    ),
    r"audit\.(batch_size|max_retrieval_pairs|max_skipped_share|linear_probe\.\w+|examples|gate)": (
        "an option that no figure follows from, or not at this distance: the order has it"
    ),
    r"audit\.rebound\.(poisons|relearning_samples)": "an option: the order has it",
    r"(before|after)\.([\w.]+\.)?(untriggered_)?target_rank\.(\w+)": (
        "a place between two counts of first places: the statement has it"
    ),
    r"(before|after)\.linear_probe\.num_iterations": "how long a fit took: the statement has it",
    r"checkpoint\.architecture\.[\w.]+|checkpoint\.num_parameters": "the input, which a supervisor knows",
    r"control\.seed": "of a search: the order or a second audit has it, and the statement",
    r"data\.num_(classes|samples)": "the dataset, which a supervisor knows",
    r"environment\.num_\w+": "the machine, which a supervisor knows",
    r"examples\.([\w.]+\.)?(probability|index|image_size)": "shown, in no figure",
    r"recipe\.\w+": "an option that no figure follows from: the order has it",
    r"training\.curve\.(distance_image|distance_text|logit_scale)": "measured, within its bounds",
    r"training\.resumed_from_steps( shorter)?": "when a worker was lost: the statement has it",
}


def is_refused(written: Any) -> bool:
    try:
        report = kinds.parse(json.dumps(written).encode())
    except Malformed:
        return True
    return next(iter(kinds.check(report)), None) is not None


def test_each_lie_is_refused_by_the_report_alone_or_the_reason_is_known() -> None:
    seen: set[str] = set()
    missed: set[str] = set()
    for name in NAMES:
        written = document(name)
        assert not is_refused(written)
        missed.update(unnoticed(written, is_refused, seen))
    assert len(seen) > 500
    unknown = {kind for kind in missed if not any(re.fullmatch(known, kind) for known in NOT_HELD)}
    assert unknown == set()
    unused = [known for known in NOT_HELD if not any(re.fullmatch(known, kind) for kind in missed)]
    assert unused == [], "it is held now"
