"""The whole check of one folder: what is wrong in it, who signed it, what it says came in.

Needs the folder, and public keys where a signature is to be believed: no server, no network.
"""

import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from cleanclip.errors import Unreadable
from cleanclip.evidence import kinds, signature, statement, sums
from cleanclip.evidence.findings import (
    PUBLIC_KEY_NAME,
    REPORT_NAME,
    SIGNATURE_NAME,
    STATEMENT_NAME,
    SUMS_NAME,
    Finding,
)
from cleanclip.evidence.folder import CheckedFolder
from cleanclip.evidence.public_keys import MAX_BYTES as MAX_KEY_BYTES
from cleanclip.evidence.public_keys import PublicKey
from cleanclip.evidence.public_keys import parse as parse_key
from cleanclip.evidence.reading import (
    Malformed,
    parse_json,
    sha256_of,
    sizes_of,
)
from cleanclip.evidence.signature import SignatureState
from cleanclip.evidence.statement import Statement


@dataclass(frozen=True, kw_only=True)
class Verification:
    """What was found. `signature` is "signed" only where a trusted key made it and it covers every file;
    "unchecked" where it covers every file and was made with the key that lies beside it, whosever that is."""

    folder: Path
    num_files: int
    findings: tuple[Finding, ...]
    signature: SignatureState
    key_sha256: str | None
    """Of the trusted key that signed; else of the key that the statement names."""
    statement: Statement | None
    input: bool | None
    """Whether the input is what came in; None: none was given."""

    @property
    def holds(self) -> bool:
        """Whether nothing was found wrong. Says nothing about what could not be checked."""
        return not self.findings


def verify(folder: Path, *, keys: Sequence[PublicKey] = (), input_file: Path | None = None) -> Verification:
    """Check everything. With `keys` the folder must be signed by one of them. Raises Unreadable."""
    check = _files(folder)
    state, key_sha256 = _signature(check, keys)
    check.findings += _report(check)
    fits_input = None if input_file is None else _input(check, input_file)
    return Verification(
        folder=folder,
        num_files=len(check.sizes),
        findings=_unique(check.findings),
        signature=state,
        key_sha256=key_sha256,
        statement=check.stated,
        input=fits_input,
    )


def contents(folder: Path) -> tuple[Finding, ...]:
    """What `verify` would find wrong in a folder that is yet to be signed. Raises Unreadable."""
    check = _files(folder)
    check.findings += _report(check)
    return _unique(check.findings)


def _files(folder: Path) -> CheckedFolder:
    """Every file against the sums and the statement."""
    check = CheckedFolder(folder)
    check.sizes, check.findings = sizes_of(folder)
    check.findings += check.missing(REPORT_NAME, STATEMENT_NAME, SUMS_NAME)
    listed = check.read(SUMS_NAME, sums.parse, sums.MAX_BYTES)
    check.stated = check.read(STATEMENT_NAME, statement.parse)
    check.hash(listed or {})
    if listed is not None:
        check.findings += sums.compare(listed, check.sha256)
    if check.stated is not None:
        check.findings += statement.compare_files(check.stated, check.sha256)
    return check


def _unique(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    return tuple(dict.fromkeys(findings))


def _signature(check: CheckedFolder, keys: Sequence[PublicKey]) -> tuple[SignatureState, str | None]:
    stated = check.stated
    named = stated.predicate.observed.signing_key_sha256 if stated else None
    if SIGNATURE_NAME not in check.sizes:
        if named is not None:
            _add(check, "is missing, though the statement says that the folder was signed")
        elif keys:
            _add(check, "is missing: the folder is not signed, and a key was given")
        if named is None and PUBLIC_KEY_NAME in check.sizes:
            check.findings.append(
                Finding(file=PUBLIC_KEY_NAME, message="belongs to a signature; none is there")
            )
        return "unsigned", named
    read = check.read(SIGNATURE_NAME, signature.parse, signature.MAX_BYTES)
    if read is None:
        return "invalid", named
    differing = list(read.compare(check.sha256))
    check.findings += differing
    candidates = keys or _key_beside(check)
    if not candidates:
        return "invalid", named
    try:
        key = read.key_of(candidates)
    except Malformed as error:
        _add(check, str(error))
        return "invalid", named
    if key is None:
        others = "among those given" if keys else f"the one in {PUBLIC_KEY_NAME}"
        _add(check, f"was made with a key that is not {others}")
        return "invalid", named
    if stated is not None and named != key.sha256:
        _add(check, f"was made with the key {key.sha256}, and the statement names another or none")
        return "invalid", named
    if differing:
        return "invalid", key.sha256
    return ("signed" if keys else "unchecked"), key.sha256


def _key_beside(check: CheckedFolder) -> list[PublicKey]:
    """The key that came with the files. It proves that the signature is whole, and nothing of who made it."""
    if PUBLIC_KEY_NAME not in check.sizes:
        check.findings.append(
            Finding(
                file=PUBLIC_KEY_NAME,
                message=f"is missing; without it and without a key nothing can be said of {SIGNATURE_NAME}",
            )
        )
        return []
    path = check.path / PUBLIC_KEY_NAME
    key = check.read(PUBLIC_KEY_NAME, partial(parse_key, path=path), MAX_KEY_BYTES)
    return [] if key is None else [key]


def _add(check: CheckedFolder, message: str) -> None:
    check.findings.append(Finding(file=SIGNATURE_NAME, message=message))


def _report(check: CheckedFolder) -> Iterator[Finding]:
    document = check.read(REPORT_NAME, parse_json)
    if document is None:
        return
    report = check.read(REPORT_NAME, kinds.parse) or check.read(REPORT_NAME, kinds.counted)
    if report is None:
        return
    yield from kinds.check(report)
    yield from kinds.beside(report, check, document)
    if check.stated is not None:
        yield from kinds.compare_order(report, check.stated.predicate.observed, document)
        yield from statement.compare_report(check.stated, report, document)


def _input(check: CheckedFolder, path: Path) -> bool:
    try:
        status = path.stat()
    except OSError as error:
        raise Unreadable(f"{path} cannot be read: {error.strerror}.") from error
    if not stat.S_ISREG(status.st_mode):
        raise Unreadable(f"{path} cannot be read: it is not a plain file.")
    if check.stated is None:
        return False
    came_in = check.stated.predicate.observed.checkpoint.upload
    fits = status.st_size == came_in.size_bytes and sha256_of(path.resolve()) == came_in.digest.sha256
    if not fits:
        check.findings.append(
            Finding(file=str(path), message="is not the input in the statement: size or SHA-256 differ")
        )
    return fits
