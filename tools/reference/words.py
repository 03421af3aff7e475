"""The tables of what verdicts mean and of what figures there are."""

from collections.abc import Mapping

from cleanclip.vocabulary.figures import OF_ATTACK, OF_MODEL, OF_RETRIEVAL
from cleanclip.vocabulary.verdicts import MEANINGS, WORST_FIRST
from tools.reference.markdown import Kept, Maker, code, table


def _verdicts(_: Kept) -> str:
    rows = [
        (code(outcome), MEANINGS[outcome].of_job, MEANINGS[outcome].of_part, MEANINGS[outcome].remedy)
        for outcome in WORST_FIRST
    ]
    return table(("outcome", "of a job", "of an attack, or of clean accuracy", "what to do"), rows)


_STAND_INS = {"own": "Target", "target": "target", "k": "k", "class_name": "class", "attack": "attack"}
"""What the page writes where a report has a name or a number."""


def _figures(_: Kept) -> str:
    places = (("before.", OF_MODEL), ("before.attacks.*.", OF_ATTACK), ("before.", OF_RETRIEVAL))
    rows = [
        (
            code(f"{place}{figure.path}"),
            figure.title.format(**_STAND_INS),
            figure.meaning.format(**_STAND_INS),
        )
        for place, figures in places
        for figure in figures
    ]
    return table(("where, and in `after` the same", "name", "which images, and what counts"), rows)


MAKERS: Mapping[str, Maker] = {"outcomes": _verdicts, "figures": _figures}
