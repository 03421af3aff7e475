"""Cells with figures made up here, and how to find them in the page."""

from collections.abc import Callable, Iterable

from lab.reproduction import document
from lab.reproduction.cells import NUM_TEST, Cell, Cleaning, Subject, cell_id, spec
from lab.reproduction.grid import in_order, questions
from lab.reproduction.measured import Measured, Shares, packed
from sanitizer.audits.statistics import wilson
from tests.fixtures.made_reports import newcombe

OTHERS = 2_900
"""Test pictures that are not of the target class."""


def made_up(cell: Cell, ca: int, asr: int, *, lost: int = 0) -> Measured:
    """A cell with these counts of 3,000 and of 2,900 pictures; `lost` of those right before are wrong now.

    The first `ca` pictures are those that are right.
    """
    shares = Shares(
        ca=wilson(ca, NUM_TEST),
        asr=wilson(asr, OTHERS),
        asr_top5=wilson(asr, OTHERS),
        pa=wilson(ca, NUM_TEST),
        untriggered=wilson(10, OTHERS),
    )
    return Measured(
        id=cell_id(cell),
        spec=spec(cell),
        test=shares,
        validation=shares,
        ca_lost=newcombe(both=ca, lost=lost, gained=0, neither=NUM_TEST - ca - lost)
        if isinstance(cell, Cleaning)
        else None,
        correct=packed([place < ca for place in range(NUM_TEST)]),
        weights_sha256="0" * 64,
        ca_by_epoch=(0.5, 0.6, 0.7, 0.8, 0.8, 0.8) if isinstance(cell, Subject) else (),
        wall_s=36.0,
        made_with={"code_sha256": "c" * 64},
    )


def text_of(runs: Iterable[Measured]) -> str:
    return document.document(list(runs), 1, [])


def section_of(text: str, start: str, end: str) -> str:
    return text[text.index(start) : text.index(end)]


def whole(asr_after: Callable[[Cell], int] = lambda _: 29) -> list[Measured]:
    """Every cell of the grid: 90 % CA, 99 % ASR before, and `asr_after` of 2,900 after."""
    return [
        made_up(cell, 2_700, 2_871)
        if isinstance(cell, Subject)
        else made_up(cell, 2_640, asr_after(cell), lost=60)
        for cell in in_order(questions())
    ]


def line_of(text: str, start: str) -> str:
    (found,) = (line for line in text.splitlines() if line.startswith(start))
    return found
