"""The files of one folder of evidence: each is read once, in bounds, and what is wrong with it is kept."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from cleanclip.evidence.findings import NOT_READ, SIGNATURE_NAME, SUMS_NAME, Finding
from cleanclip.evidence.reading import MAX_JSON_BYTES, Inconsistent, Malformed, read_small, sha256_of
from cleanclip.evidence.statement import Statement

T = TypeVar("T")


@dataclass
class CheckedFolder:
    """One folder while it is looked at."""

    path: Path
    sizes: Mapping[str, int] = field(default_factory=dict)
    sha256: dict[str, str] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    stated: Statement | None = None

    def missing(self, *names: str) -> Iterator[Finding]:
        """Those of the files that are not there."""
        for name in names:
            if name not in self.sizes:
                yield Finding(file=name, message="is missing")

    def read(self, name: str, parse: Callable[[bytes], T], max_bytes: int = MAX_JSON_BYTES) -> T | None:
        """The file as `parse` reads it; None, and a finding, where it cannot."""
        if name not in self.sizes:
            return None
        try:
            content = read_small(self.path / name, max_bytes)
            if self.sha256.get(name) == NOT_READ:
                self.sha256[name] = hashlib.sha256(content).hexdigest()
            return parse(content)
        except Inconsistent as error:
            self.findings.append(Finding(file=name, where=error.where, message=error.problem))
        except Malformed as error:
            self.findings.append(Finding(file=name, message=str(error)))
        return None

    def hash(self, listed: Mapping[str, str]) -> None:
        """Digests of the files that are listed, and of the few that are not by their nature.

        A file that nobody names, or of another size than was stated, is wrong whatever is in it, and is not
        read: it may be a terabyte.
        """
        subject = () if self.stated is None else self.stated.subject
        stated_sizes = {one.name: one.size_bytes for one in subject}
        for name, size_bytes in sorted(self.sizes.items()):
            is_named = name in listed or name in {SUMS_NAME, SIGNATURE_NAME}
            stated_size = stated_sizes.get(name)
            fits = size_bytes <= MAX_JSON_BYTES if stated_size is None else size_bytes == stated_size
            is_read = is_named and fits
            self.sha256[name] = sha256_of(self.path / name, size_bytes=size_bytes) if is_read else NOT_READ
