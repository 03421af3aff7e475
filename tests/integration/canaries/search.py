"""Canaries and where they may be: a search over everything that left the service, with an allowlist per kind.

A place is named `group/detail` (`log/api`, `rows/jobs`, `object/outputs`, `answer/given`); an allowlist names
places or whole groups. A canary is looked for as it is, percent-encoded and in base64.
"""

import base64
import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote


@dataclass(frozen=True, kw_only=True)
class Canary:
    """`allowed`: where the text belongs; `expected`: where it must be, so that the search means something."""

    kind: str
    text: str
    allowed: frozenset[str] = frozenset()
    expected: frozenset[str] = frozenset()

    def forms(self) -> Iterator[bytes]:
        raw = self.text.encode()
        yield raw
        yield quote(self.text, safe="").encode()
        for lead in range(3):  # base64 looks different at each of three alignments
            whole = base64.b64encode(b"\0" * lead + raw).rstrip(b"=")
            yield whole[4 if lead else 0 : -2]

    def may_be_in(self, place: str) -> bool:
        return place in self.allowed or place.partition("/")[0] in self.allowed


@dataclass(kw_only=True)
class Canaries:
    kept: list[Canary] = field(default_factory=list)

    def new(self, kind: str, allowed: Iterable[str] = (), expected: Iterable[str] = ()) -> str:
        """A text that occurs nowhere else."""
        return self.keep(kind, f"canary{kind.replace('_', '')}{secrets.token_hex(8)}", allowed, expected)

    def keep(self, kind: str, text: str, allowed: Iterable[str] = (), expected: Iterable[str] = ()) -> str:
        """Watch for a text that somebody else made: a key, a password, a signature."""
        places = frozenset(expected)
        self.kept.append(Canary(kind=kind, text=text, allowed=frozenset(allowed) | places, expected=places))
        return text


def leaks(canaries: Iterable[Canary], places: Mapping[str, bytes]) -> list[str]:
    """A sentence for every canary in a place where it does not belong, and for one that was never seen."""
    found = []
    for canary in canaries:
        forms = set(canary.forms())
        seen = {place for place, content in places.items() if any(form in content for form in forms)}
        found += [
            f"{canary.kind} in {place}: {_around(canary, places[place])}"
            for place in sorted(seen)
            if not canary.may_be_in(place)
        ]
        found += [f"{canary.kind} is not even in {place}" for place in sorted(canary.expected - seen)]
    return found


def _around(canary: Canary, content: bytes) -> str:
    at = next((content.find(form) for form in canary.forms() if form in content), 0)
    return content[max(0, at - 200) : at + 120].decode(errors="replace")
