"""What a report says of the scan behind its attacks, held to the report: the scan is of the model that came
in, and what it found is among the attacks. The scan's own report is checked by itself (`scans`).
"""

from collections.abc import Iterator

from cleanclip.evidence import control as control_of
from cleanclip.evidence.counted import same
from cleanclip.evidence.findings import SCAN_NAME, Finding, misfit
from cleanclip.vocabulary.found_attacks import KINDS_FOUND, only_suites, section_of
from cleanclip.vocabulary.image_edits import attack_of, bank
from cleanclip.vocabulary.report import Report
from cleanclip.vocabulary.scan_report import ScanReport
from cleanclip.vocabulary.scan_section import FoundPattern


def check(report: Report) -> Iterator[Finding]:
    """Of a report whose audits use what a scan found; elsewhere there is no section."""
    section = report.scan
    if section is None:
        return
    yield from same("scan.weights_sha256", section.weights_sha256, report.checkpoint.weights_sha256)
    yield from control_of.check("scan.control", () if section.control is None else (section.control,))
    known = report.audit.attacks[: section.num_known]
    yield from same("scan.only_suites", section.only_suites, only_suites(known))
    taken = [one.attack for one in section.found if one.attack is not None]
    expected = list(range(section.num_known, len(report.audit.attacks)))
    yield from same("scan.found", sorted(taken), expected)
    for place, found in enumerate(section.found):
        yield from _found(f"scan.found[{place}]", found, report)


def compare(report: Report, scan: ScanReport, sha256: str) -> Iterator[Finding]:
    """The section against the scan's own report, of that digest, where it lies beside."""
    section = report.scan
    if section is None:
        return
    expected = section_of(
        scan,
        report_sha256=sha256,
        attacks=report.audit.attacks,
        num_known=section.num_known,
        scan_id=section.scan_id,
    )
    if section != expected:
        yield misfit("scan", f"is not what {SCAN_NAME} says")
    if scan.checkpoint.upload_sha256 != report.checkpoint.upload_sha256:
        yield misfit("scan", f"is of another input than {SCAN_NAME}")


def _found(where: str, found: FoundPattern, report: Report) -> Iterator[Finding]:
    if found.attack is None or found.attack >= len(report.audit.attacks):
        return
    attack = report.audit.attacks[found.attack]
    edit = next((one for one in bank() if one.name == found.family), None)
    is_of_family = attack.attack in KINDS_FOUND if edit is None else attack == attack_of(edit, found.target)
    if not is_of_family:
        yield misfit(f"{where}.attack", "is not an attack that a scan finds, or not that of this family")
    yield from same(f"{where}.target", found.target, attack.target)
