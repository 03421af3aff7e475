"""A job's process refuses: what people read is ours, by the code; what it adds is quoted as its own words.

The process may have been taken over, and a sentence in the service's name ("your key was leaked …") would be
taken for ours. `refusals.json` has our sentence and advice for each code that the library raises; it is made
from the calls that raise them (`make format`). "…" stands where the library puts in what it found: numbers
and names of settings that the process gave are filled in, nothing else is.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from cleanclip.vocabulary.jobspec import Failure
from cleanclip.vocabulary.report_inputs import ScannerEvidence
from worker.failures import AttemptFailed

PATH = Path(__file__).with_name("refusals.json")
_NUMBER = re.compile(r"-?[0-9][0-9,]{0,15}(\.[0-9]{1,12})?(e[+-]?[0-9]{1,3})?|-?inf|nan")
_WORDS = frozenset(
    {"num_heads_vision", "num_heads_text", "quick_gelu", "true", "false", "--declared", "or", "and"}
    | {"model", "anchor", "suspect"}
    | {"CA", "%", "against", "mean", "log-likelihood", "margin", "interval", "to", "n"}
)
"""Of settings and of what tells them apart: nothing else can be said with these."""
_BETWEEN_WORDS = re.compile(r'[ ,;:=(){}"]+')
_MAX_VALUE_CHARACTERS = 1000
_HOLE = "…"
_PLACES = "places"
_MAX_EVIDENCE_CHARACTERS = 32 * 1024


@cache
def _table() -> dict[str, Any]:
    """Code → our texts, each a sentence and advice, the first where no other fits; and the `places` that a
    refusal may name."""
    found: dict[str, Any] = json.loads(PATH.read_text(encoding="utf-8"))
    return found


def refused(failure: Failure | None) -> AttemptFailed:
    """The library said no, with a reason that we know: the same input will get the same answer."""
    if failure is None or failure.code not in _table().keys() - {_PLACES}:
        return AttemptFailed(
            "refused_without_reason",
            "The job's process refused the job, and gave no reason that this service knows.",
            "Ask the operator: the checkpoint or the data may have taken over the process, or the service "
            "has a defect.",
            said=None if failure is None else f"{failure.code}: {failure.message}",
        )
    choices = _table()[failure.code]
    filled = ((text, remedy) for ours, remedy in choices if (text := _filled(ours, failure.message)))
    message, remedy = next(filled, choices[0])
    remedy = _filled(remedy, failure.remedy) or remedy
    where = failure.where if failure.where in _table()[_PLACES] else None
    said = "" if message == failure.message else failure.message
    if failure.where != where:
        said += f" (at {failure.where})"
    return AttemptFailed(
        failure.code,
        message,
        remedy,
        where=where,
        said=said.strip() or None,
        scanners=_evidence(failure.scanners),
    )


def _evidence(scanners: Sequence[ScannerEvidence]) -> list[dict[str, Any]]:
    """Of a refused checkpoint what other scanners reported; nothing where ours say less than that."""
    rows = [asdict(one) for one in scanners]
    return rows if len(json.dumps(rows)) <= _MAX_EVIDENCE_CHARACTERS else []


def _filled(ours: str, theirs: str) -> str | None:
    """Our sentence, with the numbers and settings that theirs has in its holes. None: theirs is another."""
    first, *parts = ours.split(_HOLE)
    if not parts or not theirs.startswith(first):
        return ours if ours == theirs else None
    filled, at = first, len(first)
    for number, part in enumerate(parts):
        is_last = number == len(parts) - 1
        end = len(theirs) - len(part) if is_last else theirs.find(part, at)
        if end < at or not theirs.startswith(part, end):
            return None
        value = theirs[at:end]
        filled += (value if _says_little(value) else _HOLE) + part
        at = end + len(part)
    return filled


def _says_little(value: str) -> bool:
    if len(value) > _MAX_VALUE_CHARACTERS:
        return False
    words = _BETWEEN_WORDS.split(value)
    return any(words) and all(not word or word in _WORDS or _NUMBER.fullmatch(word) for word in words)
