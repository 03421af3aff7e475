"""`python -m sanitizer.checkpoints.scanner_process NAME FILE SECONDS`: one scanner's evidence as JSON.

The process is fresh and has little in it: no torch, and of ours only the vocabulary. It limits itself before
it loads the scanner.
"""

import importlib
import math
import re
import resource
import sys
from collections.abc import Callable

from pydantic import TypeAdapter

from cleanclip.vocabulary import inspection_phrases as phrases
from cleanclip.vocabulary.report_inputs import ScannerEvidence, ScannerName, ScannerVerdict

_MEMORY_BYTES = 2 * 2**30
_MAX_ISSUES = 50
_MODELAUDIT: dict[str, ScannerVerdict] = {
    "clean": "nothing_found",
    "suspicious": "suspicious",
    "malicious": "dangerous",
}


def picklescan(path: str, time_limit_s: float) -> ScannerEvidence:
    """Strict: every global that is not on its list of innocent ones counts as dangerous."""
    scanner = importlib.import_module("picklescan.scanner")
    result = scanner.scan_file_path(path, strict=True)
    issues = [
        phrases.ISSUE_OF_GLOBAL(severity=found.safety.value, name=_word(f"{found.module}.{found.name}"))
        for found in result.globals
    ]
    issues = sorted(issue for issue in issues if not issue.startswith("innocuous"))
    verdict: ScannerVerdict = "nothing_found"
    if result.scan_err or not result.scanned_files:
        verdict = "inconclusive"
    if result.suspicious_count:
        verdict = "suspicious"
    if result.issues_count:
        verdict = "dangerous"
    return _evidence("picklescan", verdict, issues)


def modelaudit(path: str, time_limit_s: float) -> ScannerEvidence:
    """Its own verdict; where it could not finish, inconclusive."""
    package = importlib.import_module("modelaudit_picklescan")
    report = package.scan_file(path, options=package.ScanOptions(timeout_s=0.9 * time_limit_s))
    issues = [
        _of_rule(found.severity.value, found.rule_code, found.details.get("import_reference"))
        for found in report.findings
    ]
    issues += [_of_rule("error", error.category, None) for error in report.errors]
    verdict = _MODELAUDIT.get(report.verdict.value, "inconclusive")
    return _evidence("modelaudit", verdict, issues)


def _of_rule(severity: str, rule: object, name: object) -> str:
    """Without the scanner's own sentence, which quotes the file."""
    if name is None:
        return phrases.ISSUE_OF_GLOBAL(severity=severity, name=_word(rule))
    return phrases.ISSUE_OF_RULE(severity=severity, rule=_word(rule), name=_word(name))


def _word(value: object) -> str:
    """An identifier of at most 80 characters, whatever stands in the file."""
    return re.sub(r"^(?![A-Za-z_])|[^A-Za-z0-9_.]", "_", str(value)[:80])


def _evidence(name: ScannerName, verdict: ScannerVerdict, issues: list[str]) -> ScannerEvidence:
    shown = tuple(issues[:_MAX_ISSUES])
    return ScannerEvidence(name=name, version=None, verdict=verdict, num_issues=len(issues), issues=shown)


_SCANNERS: dict[str, Callable[[str, float], ScannerEvidence]] = {
    "picklescan": picklescan,
    "modelaudit": modelaudit,
}


def main(arguments: list[str]) -> int:
    """Exit code 0 with evidence on stdout; anything else is for the caller to tell."""
    name, path, limit = arguments
    time_limit_s = float(limit)
    cpu_s = math.ceil(time_limit_s) + 1  # for one that no longer looks at the clock
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s))
    evidence = _SCANNERS[name](path, time_limit_s)
    sys.stdout.buffer.write(TypeAdapter(ScannerEvidence).dump_json(evidence))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
