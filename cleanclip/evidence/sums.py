"""SHA256SUMS: every file but itself and the signature, one line each, sorted, as sha256sum writes it."""

import re
from collections.abc import Iterator, Mapping

from cleanclip.evidence.findings import SIGNATURE_NAME, SUMS_NAME, Finding, other_file
from cleanclip.evidence.reading import MAX_ENTRIES, Malformed

MAX_BYTES = MAX_ENTRIES * 256
_LINE = re.compile(rb"([0-9a-f]{64})  ([A-Za-z0-9][A-Za-z0-9._-]{0,127})")


def parse(content: bytes) -> dict[str, str]:
    """Name → digest. Raises Malformed for anything that is not exactly as the service writes it."""
    lines = content.split(b"\n")
    if lines.pop() != b"":
        raise Malformed("does not end with a line break")
    found: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        match = _LINE.fullmatch(line)
        if match is None:
            raise Malformed(f"line {number} is not a digest, two spaces and a plain file name")
        name = match[2].decode()
        if name in found:
            raise Malformed(f"line {number} lists {name} again")
        found[name] = match[1].decode()
    if list(found) != sorted(found):
        raise Malformed("is not sorted by name")
    return found


def compare(listed: Mapping[str, str], actual: Mapping[str, str]) -> Iterator[Finding]:
    """What `listed` says against the digests of the files that are there."""
    expected = set(actual) - {SUMS_NAME, SIGNATURE_NAME}
    for name in sorted(expected - set(listed)):
        yield Finding(file=name, message=f"is not listed in {SUMS_NAME}: it was added, or its line removed")
    for name in sorted(set(listed) - expected):
        yield Finding(file=name, message=f"is listed in {SUMS_NAME}, but is not there")
    for name in sorted(expected & set(listed)):
        if listed[name] != actual[name]:
            yield other_file(name, actual[name], f"{SUMS_NAME} lists")
