"""What a check found wrong. Knows no check."""

from __future__ import annotations

from dataclasses import dataclass

SUMS_NAME = "SHA256SUMS"
STATEMENT_NAME = "statement.json"
SIGNATURE_NAME = "model.sig"
PUBLIC_KEY_NAME = "model.sig.pub.pem"
REPORT_NAME = "report.json"
WEIGHTS_NAME = "model.safetensors"
CURVE_NAME = "training_curve.json"
CONFIG_NAME = "config.json"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is not as it should be: in which file, where in it, and how."""

    file: str
    where: str | None = None
    message: str

    def __str__(self) -> str:
        name = self.file if self.file.isprintable() else repr(self.file)
        return f"{name}: {self.where} {self.message}" if self.where else f"{name}: {self.message}"


def misfit(where: str, message: str) -> Finding:
    """What is not as it should be at that place of report.json."""
    return Finding(file=REPORT_NAME, where=where, message=message)
