"""The sweep: every operation with every key that must not do, and every id that is somebody else's.

Foreign and absent are told apart by nobody: same status, same headers, same body but for the id, the same
statements in the same order. What is wrong is returned as sentences; nothing is asserted here.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from app.services.api_keys import SCOPES
from tests.integration.access.belongings import Belongings
from tests.integration.access.calls import Answer, Call, Caller
from tests.integration.access.coverage import ANY, MADE_BY_NAME, OPEN
from tests.integration.access.document import Operation, Text

NOTHING = "\0"
MALFORMED = ("x", "job_", "job_" + "!" * 26, "JOB_" + "0" * 26, "a" * 300, "%00", "..%2f..", "' OR 1=1 --")
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_NEXT = str.maketrans(_ALPHABET, _ALPHABET[1:] + _ALPHABET[0])


def absent_twin(found: str) -> str:
    """An id of the same kind and the same millisecond that nobody has."""
    return found[:-8] + found[-8:].translate(_NEXT)


@dataclass(kw_only=True)
class Timing:
    """Wall time of the two kinds of answers; printed, never judged: the machine is shared."""

    foreign_s: list[float] = field(default_factory=list)
    absent_s: list[float] = field(default_factory=list)

    def __str__(self) -> str:
        foreign, absent = (1000 * statistics.median(times) for times in (self.foreign_s, self.absent_s))
        return f"median of {len(self.foreign_s)}: foreign {foreign:.2f} ms, absent {absent:.2f} ms"


@dataclass(frozen=True, kw_only=True)
class Keys:
    """Key texts. `unusable` by what is wrong with them; `scoped` are the victim's own, one scope each."""

    unusable: Mapping[str, str]
    scoped: Mapping[str, str]


# ---------------------------------------------------------------- keys


def with_unusable_keys(caller: Caller, operation: Operation, victim: Belongings, keys: Keys) -> list[str]:
    """No key, and keys that are none: 401 before anything else, whatever the ids are."""
    if caller.coverage.scope_of(operation) == OPEN:
        return _open_to_all(caller, operation, victim)
    found, reported = [], {}
    for what, key in {"no key": None, **keys.unusable}.items():
        for call in caller.calls(operation, victim, key=key):
            answer = caller.send(call)
            expected = "key_missing" if key is None else "invalid_key"
            if (answer.status, _code(answer)) != (401, expected):
                found.append(f"{call}: {what} is answered {answer.status} {answer.text[:200]}")
            if not answer.headers.get("www-authenticate", "").startswith("Bearer"):
                found.append(f"{call}: {what} is not told how to log in")
            if key is not None and what != "malformed":
                reported[what] = answer.without(NOTHING)
    if len(set(map(repr, reported.values()))) > 1:
        found.append(f"{operation.name}: {', '.join(reported)} keys can be told apart")
    return found


def _open_to_all(caller: Caller, operation: Operation, victim: Belongings) -> list[str]:
    found = []
    for call in caller.calls(operation, victim, key=None):
        answer = caller.send(call)
        if answer.status != 200:
            found.append(f"{call}: an operator is answered {answer.status}")
        found += _shows_the_victim(call, answer, victim, NOTHING)
    return found


def with_wrong_scopes(caller: Caller, operation: Operation, victim: Belongings, keys: Keys) -> list[str]:
    """The project's own key without the scope: 403, the same for ids that exist and ids that do not."""
    needed = caller.coverage.scope_of(operation)
    if needed in {OPEN, ANY}:
        return []
    found = []
    for scope in SCOPES:
        if scope in {needed, "admin"}:
            continue
        reported = set()
        for ids in _own_and_absent(operation, victim, caller):
            for call in caller.calls(operation, victim, key=keys.scoped[scope], instead=ids):
                answer = caller.send(call)
                if (answer.status, _code(answer)) != (403, "scope_missing"):
                    found.append(f"{call}: scope {scope} is answered {answer.status} {answer.text[:200]}")
                reported.add(repr(answer.without(ids[1] if ids else NOTHING)))
        if len(reported) > 1:
            found.append(f"{operation.name}: scope {scope} can tell what exists")
    return found


def _own_and_absent(
    operation: Operation, own: Belongings, caller: Caller
) -> Sequence[tuple[Text, str] | None]:
    for text in operation.ids:
        if text.place == "path":
            existing = own.first(caller.coverage.prefixes[text.pointer])
            return [(text, existing), (text, absent_twin(existing))]
    return [None]


# ---------------------------------------------------------------- ids


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One id of the victim's in one place of one operation, tried by a stranger."""

    operation: Operation
    stranger: Belongings
    victim: Belongings
    text: Text
    prefix: str
    foreign: str

    @property
    def absent(self) -> str:
        return absent_twin(self.foreign)

    def calls(self, caller: Caller, one_id: str) -> list[Call]:
        key = self.stranger.tenant.key
        return caller.calls(self.operation, self.stranger, key=key, instead=(self.text, one_id))


def with_foreign_ids(
    caller: Caller, operation: Operation, stranger: Belongings, victim: Belongings, timing: Timing
) -> list[str]:
    """A valid key that may do everything in its own project, and ids of another, in every place for ids."""
    found = []
    for text in operation.ids:
        names = {text.pointer: victim.names[text.pointer]} if text.pointer in victim.names else {}
        for prefix, ids in {**victim.ids, **names}.items():
            for foreign in ids:
                attempt = Attempt(
                    operation=operation,
                    stranger=stranger,
                    victim=victim,
                    text=text,
                    prefix=prefix,
                    foreign=foreign,
                )
                found += _told_apart(caller, attempt, timing)
        for malformed in MALFORMED if text.place == "path" else ():
            for call in caller.calls(operation, stranger, key=stranger.tenant.key, instead=(text, malformed)):
                if (answer := caller.send(call)).status != 404:
                    found.append(f"{call}: an id that is none is answered {answer.status}")
    return found


def _told_apart(caller: Caller, attempt: Attempt, timing: Timing) -> list[str]:
    foreign, absent = attempt.foreign, attempt.absent
    found = []
    pairs = zip(attempt.calls(caller, absent), attempt.calls(caller, foreign), strict=True)
    for for_absent, for_foreign in pairs:
        not_there, theirs = caller.send(for_absent), caller.send(for_foreign)
        for _ in range(3):  # what is looked up every few seconds only, or kept once it was written?
            if theirs.without(foreign) == not_there.without(absent):
                break
            not_there, theirs = caller.send(for_absent), caller.send(for_foreign)
        timing.absent_s.append(not_there.took_s)
        timing.foreign_s.append(theirs.took_s)
        what = f"{for_foreign} with a foreign {attempt.prefix} as {attempt.text.place} {attempt.text.pointer}"
        is_theirs_too = attempt.prefix in attempt.victim.names and attempt.operation.name in MADE_BY_NAME
        if not (is_theirs_too or _is_expected(attempt.text, attempt.prefix, theirs)):
            found.append(f"{what} is answered {theirs.status} {theirs.text[:200]}")
        if theirs.without(foreign) != not_there.without(absent):
            found.append(
                f"{what} is told apart from absent: {_difference(theirs, foreign, not_there, absent)}"
            )
        found += _shows_the_victim(for_foreign, theirs, attempt.victim, foreign)
    return found


def _is_expected(text: Text, prefix: str, answer: Answer) -> bool:
    if text.place == "query":
        return answer.status == 200
    pattern = str(text.schema.get("pattern", f"^{prefix}_"))
    if text.place == "body" and not pattern.startswith(f"^{prefix}_"):
        return answer.status == 422
    return answer.status == 404 and _code(answer).endswith("_not_found")


def _code(answer: Answer) -> str:
    is_problem = answer.headers.get("content-type") == "application/problem+json"
    return answer.code if is_problem else "no problem"


def _shows_the_victim(call: Call, answer: Answer, victim: Belongings, sent: str) -> list[str]:
    everything = f"{answer.text}\n{answer.headers}".replace(sent, "")
    theirs = [victim.mark, *(one for ids in victim.ids.values() for one in ids)]
    return [f"{call}: the answer shows {text}" for text in theirs if text in everything]


def _difference(one: Answer, one_id: str, other: Answer, other_id: str) -> str:
    for name, left, right in zip(
        ("status", "headers", "body", "work"), one.without(one_id), other.without(other_id), strict=True
    ):
        if left != right:
            return f"{name} {str(left)[:400]} / {str(right)[:400]}"
    return "nothing"


# ---------------------------------------------------------------- that the sweep reaches anything


def with_own_things(caller: Caller, operation: Operation, own: Belongings) -> list[str]:
    """The same calls with what is one's own come through, for at least one id; else a 404 proves nothing.

    A conflict (409) is about what is one's own, so it counts.
    """
    tried = []
    places = [text for text in operation.ids if text.place == "path"] or [None]
    for text in places:
        ids = [None] if text is None else own.of(caller.coverage.prefixes[text.pointer])
        for one in ids:
            instead = None if text is None or one is None else (text, one)
            for call in caller.calls(operation, own, key=own.tenant.key, instead=instead):
                answer = caller.send(call)
                tried.append(f"{answer.status} {answer.text[:300]}")
                if answer.status < 400 or answer.status == 409:
                    return []
    return [f"{operation.name}: nothing of one's own is reached: {tried}"]
