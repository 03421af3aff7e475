"""The whole check of one folder: what is wrong in it, who signed it, what it says came in.

Needs the folder, and public keys where a signature is to be believed: no server, no network.
"""

import hashlib
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from cleanclip.errors import Unreadable
from cleanclip.evidence import kinds, scan_section, scans, signature, statement, sums, training, vetted_files
from cleanclip.evidence.findings import (
    CONFIG_NAME,
    CURVE_NAME,
    NOT_READ,
    NULL_NAME,
    PUBLIC_KEY_NAME,
    REPORT_NAME,
    SCAN_NAME,
    SIGNATURE_NAME,
    STATEMENT_NAME,
    SUMS_NAME,
    WEIGHTS_NAME,
    Finding,
    misfit,
)
from cleanclip.evidence.public_keys import MAX_BYTES as MAX_KEY_BYTES
from cleanclip.evidence.public_keys import PublicKey
from cleanclip.evidence.public_keys import parse as parse_key
from cleanclip.evidence.reading import (
    MAX_JSON_BYTES,
    Inconsistent,
    Malformed,
    parse_json,
    read_small,
    sha256_of,
    sizes_of,
)
from cleanclip.evidence.signature import SignatureState
from cleanclip.evidence.statement import Statement
from cleanclip.vocabulary.exclusions import MAX_LIST_BYTES
from cleanclip.vocabulary.null_set import MAX_NULL_BYTES
from cleanclip.vocabulary.report import Report
from cleanclip.vocabulary.scan_report import ScanReport
from cleanclip.vocabulary.vet_report import EXCLUDED_NAME, VET_SCORES_NAME, VetReport

T = TypeVar("T")
_NEEDED = (REPORT_NAME, STATEMENT_NAME, SUMS_NAME)


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


@dataclass
class _Check:
    """One folder while it is looked at."""

    folder: Path
    sizes: Mapping[str, int] = field(default_factory=dict)
    sha256: dict[str, str] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def read(self, name: str, parse: Callable[[bytes], T], max_bytes: int = MAX_JSON_BYTES) -> T | None:
        """The file as `parse` reads it; None, and a finding, where it cannot."""
        if name not in self.sizes:
            return None
        try:
            content = read_small(self.folder / name, max_bytes)
            if self.sha256.get(name) == NOT_READ:
                self.sha256[name] = hashlib.sha256(content).hexdigest()
            return parse(content)
        except Inconsistent as error:
            self.findings.append(Finding(file=name, where=error.where, message=error.problem))
        except Malformed as error:
            self.findings.append(Finding(file=name, message=str(error)))
        return None

    def hash(self, listed: Mapping[str, str], stated: Statement | None) -> None:
        """Digests of the files that are listed, and of the few that are not by their nature.

        A file that nobody names, or of another size than was stated, is wrong whatever is in it, and is not
        read: it may be a terabyte.
        """
        stated_sizes = {} if stated is None else {one.name: one.size_bytes for one in stated.subject}
        for name, size_bytes in sorted(self.sizes.items()):
            is_named = name in listed or name in {SUMS_NAME, SIGNATURE_NAME}
            stated_size = stated_sizes.get(name)
            fits = size_bytes <= MAX_JSON_BYTES if stated_size is None else size_bytes == stated_size
            is_read = is_named and fits
            self.sha256[name] = sha256_of(self.folder / name, size_bytes=size_bytes) if is_read else NOT_READ


def verify(folder: Path, *, keys: Sequence[PublicKey] = (), input_file: Path | None = None) -> Verification:
    """Check everything. With `keys` the folder must be signed by one of them. Raises Unreadable."""
    check, stated = _files(folder)
    state, key_sha256 = _signature(check, keys, stated)
    check.findings += _report(check, stated)
    fits_input = None if input_file is None else _input(check, input_file, stated)
    return Verification(
        folder=folder,
        num_files=len(check.sizes),
        findings=_unique(check.findings),
        signature=state,
        key_sha256=key_sha256,
        statement=stated,
        input=fits_input,
    )


def contents(folder: Path) -> tuple[Finding, ...]:
    """What `verify` would find wrong in a folder that is yet to be signed. Raises Unreadable."""
    check, stated = _files(folder)
    check.findings += _report(check, stated)
    return _unique(check.findings)


def _files(folder: Path) -> tuple[_Check, Statement | None]:
    """Every file against the sums and the statement."""
    check = _Check(folder)
    check.sizes, check.findings = sizes_of(folder)
    for name in _NEEDED:
        if name not in check.sizes:
            check.findings.append(Finding(file=name, message="is missing"))
    listed = check.read(SUMS_NAME, sums.parse, sums.MAX_BYTES)
    stated = check.read(STATEMENT_NAME, statement.parse)
    check.hash(listed or {}, stated)
    if listed is not None:
        check.findings += sums.compare(listed, check.sha256)
    if stated is not None:
        check.findings += statement.compare_files(stated, check.sha256)
    return check, stated


def _unique(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    return tuple(dict.fromkeys(findings))


def _signature(
    check: _Check, keys: Sequence[PublicKey], stated: Statement | None
) -> tuple[SignatureState, str | None]:
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


def _key_beside(check: _Check) -> list[PublicKey]:
    """The key that came with the files. It proves that the signature is whole, and nothing of who made it."""
    if PUBLIC_KEY_NAME not in check.sizes:
        check.findings.append(
            Finding(
                file=PUBLIC_KEY_NAME,
                message=f"is missing; without it and without a key nothing can be said of {SIGNATURE_NAME}",
            )
        )
        return []
    path = check.folder / PUBLIC_KEY_NAME
    key = check.read(PUBLIC_KEY_NAME, partial(parse_key, path=path), MAX_KEY_BYTES)
    return [] if key is None else [key]


def _add(check: _Check, message: str) -> None:
    check.findings.append(Finding(file=SIGNATURE_NAME, message=message))


def _report(check: _Check, stated: Statement | None) -> Iterator[Finding]:
    document = check.read(REPORT_NAME, parse_json)
    if document is None:
        return
    report = check.read(REPORT_NAME, kinds.parse) or check.read(REPORT_NAME, kinds.counted)
    if report is None:
        return
    yield from kinds.check(report)
    if isinstance(report, ScanReport):
        yield from scans.check_null(report, check.read(NULL_NAME, scans.parse_null, MAX_NULL_BYTES))
    elif isinstance(report, VetReport):
        yield from _vetted(check, report)
    elif isinstance(report, Report):
        yield from _beside(check, report, document)
        yield from _scanned(check, report, stated)
    if stated is not None:
        yield from statement.compare_report(stated, report, document)


def _scanned(check: _Check, report: Report, stated: Statement | None) -> Iterator[Finding]:
    """The report of the scan that a cleaning began with."""
    own_id = None if report.origin is None else report.origin.job_id
    if report.scan is None or own_id is None or report.scan.scan_id != own_id:
        return
    if SCAN_NAME not in check.sizes:
        yield Finding(file=SCAN_NAME, message="is missing")
    found = check.read(SCAN_NAME, scans.parse)
    if found is None:
        return
    findings = [
        *scans.check(found),
        *scans.check_null(found, check.read(NULL_NAME, scans.parse_null, MAX_NULL_BYTES)),
        *([] if stated is None else statement.compare_scan_order(stated, found)),
    ]
    yield from (replace(one, file=SCAN_NAME) if one.file == REPORT_NAME else one for one in findings)
    yield from scan_section.compare(report, found, check.sha256[SCAN_NAME])


def _vetted(check: _Check, report: VetReport) -> Iterator[Finding]:
    """The list and the scores that a vetting's report speaks of."""
    for name in (EXCLUDED_NAME, VET_SCORES_NAME):
        if name not in check.sizes:
            yield Finding(file=name, message="is missing")
    exclusions = check.read(EXCLUDED_NAME, vetted_files.parse_list, MAX_LIST_BYTES)
    if exclusions is not None:
        yield from vetted_files.check_list(report, exclusions, check.sha256[EXCLUDED_NAME])
    sha256 = check.sha256.get(VET_SCORES_NAME, NOT_READ)
    if sha256 != NOT_READ:
        yield from vetted_files.check_scores(report, exclusions, check.folder / VET_SCORES_NAME, sha256)


def _beside(check: _Check, report: Report, document: Mapping[str, Any]) -> Iterator[Finding]:
    """The files that the report speaks of."""
    if report.is_cleaning and report.after is not None:
        if WEIGHTS_NAME not in check.sizes:
            yield Finding(file=WEIGHTS_NAME, message="is missing")
        elif check.sha256[WEIGHTS_NAME] == NOT_READ:
            why = "no list names it with the size that it has"
            yield misfit("after.weights_sha256", f"cannot be compared with {WEIGHTS_NAME}: {why}")
        elif check.sha256[WEIGHTS_NAME] != report.after.weights_sha256:
            yield misfit("after.weights_sha256", f"is not that of {WEIGHTS_NAME}")
    config = check.read(CONFIG_NAME, parse_json)
    if isinstance(config, dict):
        architecture = {name: config.get(name) for name in ("model_cfg", "preprocess_cfg")}
        if report.checkpoint.architecture != architecture:
            yield misfit("checkpoint.architecture", f"is not that of {CONFIG_NAME}")
    curve = check.read(CURVE_NAME, parse_json)
    if curve is not None:
        yield from training.compare_curve(curve, document)


def _input(check: _Check, path: Path, stated: Statement | None) -> bool:
    try:
        status = path.stat()
    except OSError as error:
        raise Unreadable(f"{path} cannot be read: {error.strerror}.") from error
    if not stat.S_ISREG(status.st_mode):
        raise Unreadable(f"{path} cannot be read: it is not a plain file.")
    if stated is None:
        return False
    came_in = stated.predicate.observed.checkpoint.upload
    fits = status.st_size == came_in.size_bytes and sha256_of(path.resolve()) == came_in.digest.sha256
    if not fits:
        check.findings.append(
            Finding(file=str(path), message="is not the input in the statement: size or SHA-256 differ")
        )
    return fits
