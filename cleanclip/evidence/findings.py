"""What a check found wrong."""

from dataclasses import dataclass

SUMS_NAME = "SHA256SUMS"
STATEMENT_NAME = "statement.json"
SIGNATURE_NAME = "model.sig"
PUBLIC_KEY_NAME = "model.sig.pub.pem"
REPORT_NAME = "report.json"
WEIGHTS_NAME = "model.safetensors"
CURVE_NAME = "training_curve.json"
CONFIG_NAME = "config.json"
NULL_NAME = "null.json"
SCAN_NAME = "scan.json"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is not as it should be: in which file, where in it, and how."""

    file: str
    where: str | None = None
    message: str

    def __str__(self) -> str:
        name = self.file if self.file.isprintable() else repr(self.file)
        return f"{name}: {self.where} {self.message}" if self.where else f"{name}: {self.message}"


NOT_READ = "not read"
"""In the place of a digest: of a file whose size is wrong, so that its bytes need not be looked at."""


def other_file(name: str, actual_sha256: str, named_by: str) -> Finding:
    """That a file is not the one that was `named_by` something, and by what it differs."""
    differing = "size" if actual_sha256 == NOT_READ else "SHA-256"
    return Finding(file=name, message=f"is not the file that {named_by}: its {differing} differs")


def misfit(where: str, message: str) -> Finding:
    """What is not as it should be at that place of report.json."""
    return Finding(file=REPORT_NAME, where=where, message=message)
